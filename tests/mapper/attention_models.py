"""Transformers for the tests, every form that can be imported."""

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from tests.demo.transformer_train import DigitTransformer
from tests.mapper.models import seeded

N, LENGTH, WIDTH, HEADS = 2, 5, 16, 4


class Wrap(nn.Module):
    """A function of a module with queries, keys, values, masks and tables at hand."""

    def __init__(self, function: Callable[["Wrap", torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.rms = nn.RMSNorm(WIDTH)
        self.table = nn.Embedding(11, WIDTH)
        self.positions = nn.Parameter(torch.randn(1, LENGTH, WIDTH))
        self.register_buffer("causal", torch.triu(torch.full((LENGTH, LENGTH), -math.inf), 1))
        self.register_buffer("seen", torch.arange(LENGTH) < torch.tensor([5, 3])[:, None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self, x)

    def heads(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(N, heads, L, D) of queries, keys and values."""
        parts = self.qkv(x).chunk(3, -1)
        return tuple(p.view(len(x), -1, HEADS, WIDTH // HEADS).transpose(1, 2) for p in parts)

    def join(self, x: torch.Tensor) -> torch.Tensor:
        """(N, heads, L, D) to (N, L, C)."""
        return self.out(x.transpose(1, 2).flatten(2))


def wrap(function: Callable[[Wrap, torch.Tensor], torch.Tensor]) -> nn.Module:
    """A seeded model of a function."""
    return seeded(Wrap(function), 5)


def plain(m: Wrap, x: torch.Tensor, scores: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Products, a softmax, products."""
    q, k, v = m.heads(x)
    return m.join(functional.softmax(scores(q @ k.transpose(-2, -1)), -1) @ v)


def sdpa(m: Wrap, x: torch.Tensor, **options) -> torch.Tensor:
    """``scaled_dot_product_attention``."""
    return m.join(functional.scaled_dot_product_attention(*m.heads(x), **options))


def by_three(m: Wrap, x: torch.Tensor) -> torch.Tensor:
    """One reshape to (3, N, heads, L, D), as vision transformers have it."""
    q, k, v = m.qkv(x).reshape(*x.shape[:2], 3, HEADS, -1).permute(2, 0, 3, 1, 4).unbind(0)
    return m.join(functional.scaled_dot_product_attention(q * 0.5, k, v, scale=1.0))


def interleaved(m: Wrap, x: torch.Tensor) -> torch.Tensor:
    """Queries, keys and values of each head side by side, heads before samples, products of three dimensions."""
    q, k, v = m.qkv(x).view(*x.shape[:2], HEADS, 3, -1).permute(3, 2, 0, 1, 4)
    q, k, v = (t.reshape(-1, x.shape[1], WIDTH // HEADS) for t in (q, k, v))
    y = torch.bmm(torch.softmax(torch.bmm(q, k.transpose(1, 2)) / 2.0, 2), v)
    return m.out(y.view(HEADS, x.shape[0], x.shape[1], -1).permute(1, 2, 0, 3).reshape(x.shape))


def grouped(m: Wrap, x: torch.Tensor) -> torch.Tensor:
    """All heads share keys and values."""
    q, k, v = m.heads(x)
    return m.join(functional.scaled_dot_product_attention(q, k[:, :1].expand_as(q), v[:, :1].expand_as(q)))


def cross(m: Wrap, x: torch.Tensor) -> torch.Tensor:
    """The last two tokens ask all of them."""
    q, k, v = m.heads(x)
    y = functional.scaled_dot_product_attention(q[:, :, 3:], k, v, attn_mask=m.causal[3:])
    return m.join(y)


def sums(m: Wrap, x: torch.Tensor) -> torch.Tensor:
    """Products by ``einsum``, tokens before heads."""
    q, k, v = (p.view(*x.shape[:2], HEADS, -1) for p in m.qkv(x).chunk(3, -1))
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(WIDTH // HEADS)
    return torch.einsum("blc,oc->blo", torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v).flatten(2), m.out.weight)


ATTENTION: dict[str, Callable[[Wrap, torch.Tensor], torch.Tensor]] = {
    "sdpa": sdpa,
    "sdpa_causal": lambda m, x: sdpa(m, x, is_causal=True),
    "sdpa_scale": lambda m, x: sdpa(m, x, scale=0.3),
    "sdpa_float_mask": lambda m, x: sdpa(m, x, attn_mask=m.causal),
    "sdpa_lengths": lambda m, x: sdpa(m, x, attn_mask=m.seen[:, None, None]),
    "sdpa_both": lambda m, x: sdpa(m, x, attn_mask=m.seen[:, None, None] & (m.causal == 0)),
    "plain": lambda m, x: plain(m, x, lambda s: s / math.sqrt(WIDTH // HEADS)),
    "plain_unscaled": lambda m, x: plain(m, x, lambda s: s),
    "plain_added": lambda m, x: plain(m, x, lambda s: s * 0.5 + m.causal),
    "plain_filled": lambda m, x: plain(m, x, lambda s: (s * 0.5).masked_fill(~m.seen[:, None, None], -1e9)),
    "plain_where": lambda m, x: plain(m, x, lambda s: torch.where(m.causal == 0, s, -math.inf) / 2),
    "plain_tril": lambda m, x: plain(m, x, lambda s: s.masked_fill(torch.ones(5, 5).tril() == 0, -math.inf)),
    "by_three": by_three,
    "interleaved": interleaved,
    "grouped": grouped,
    "cross": cross,
    "sums": sums,
}
"""Attention over (N, LENGTH, WIDTH)."""

OTHERS: dict[str, Callable[[Wrap, torch.Tensor], torch.Tensor]] = {
    "layer_norm": lambda m, x: m.norm(x),
    "rms_norm": lambda m, x: m.rms(x),
    "norm_of_part": lambda m, x: m.norm(m.qkv(x)[..., WIDTH : 2 * WIDTH]),
    "gelu": lambda m, x: functional.gelu(m.out(x)),
    "gelu_tanh": lambda m, x: functional.gelu(x, approximate="tanh"),
    "silu": lambda m, x: functional.silu(m.qkv(x).chunk(3, -1)[1]),
    "tanh": lambda m, x: torch.tanh(x),
    "sigmoid": lambda m, x: torch.sigmoid(x) * 2 - 1,
    "relu": lambda m, x: functional.relu(m.out(x)),
    "positions": lambda m, x: m.out(x + m.positions),
    "positions_of_table": lambda m, x: x + m.table(torch.arange(x.shape[1])) * 0.5,
    "per_channel": lambda m, x: m.out(x - m.positions[0, 0]),
    "mean": lambda m, x: m.out(x).mean(1),
    "mean_keep": lambda m, x: m.out(x.mean(1, keepdim=True)),
    "first": lambda m, x: m.out(m.norm(x)[:, 0]),
    "last": lambda m, x: m.out(x)[:, -1],
    "some": lambda m, x: x[:, 1:4],
    "turned": lambda m, x: m.out(x.transpose(0, 1)).transpose(0, 1) + x,
    "flat": lambda m, x: m.out(x.reshape(-1, WIDTH)).view(x.shape) * 2,
    "side_by_side": lambda m, x: torch.cat([x, m.norm(x)], -1),
    "matmul": lambda m, x: x @ m.out.weight,
}
"""Everything else, over (N, LENGTH, WIDTH)."""


class Tokens(nn.Module):
    """A language model: ids, positions, causal attention."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(19, WIDTH), nn.Embedding(9, WIDTH)
        self.layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 24, activation="gelu", batch_first=True, norm_first=True)
        self.head = nn.Linear(WIDTH, 19)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1])
        x = self.words(ids) * math.sqrt(WIDTH) + self.places(torch.arange(ids.shape[1]))
        return self.head(self.layer(x, src_mask=mask, is_causal=True))


class Patches(nn.Module):
    """A vision transformer: patches by a strided convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, WIDTH, 2, 2)
        self.positions = nn.Parameter(torch.randn(16, WIDTH))
        self.layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 24, batch_first=True)
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.layer(x).mean(1))


def encoder(layers: int = 1, **options) -> nn.Module:
    """``nn.TransformerEncoder``."""
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 24, batch_first=True, **options)
    return seeded(nn.TransformerEncoder(layer, layers, enable_nested_tensor=False), 6)


class Padded(nn.Module):
    """An encoder whose samples have lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = encoder()
        self.register_buffer("hidden", torch.arange(LENGTH) >= torch.tensor([5, 2])[:, None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.encoder(x, src_key_padding_mask=self.hidden)


class Weights(nn.Module):
    """``nn.MultiheadAttention`` that computes the mean of its probabilities, too."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.register_buffer("hidden", torch.arange(LENGTH) >= torch.tensor([4, 5])[:, None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.attention(x, x, x, key_padding_mask=self.hidden)
        return x + y


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "encoder": (encoder, (N, LENGTH, WIDTH)),
    "encoder_pre": (lambda: encoder(2, norm_first=True, activation="gelu"), (3, 7, WIDTH)),
    "padded": (lambda: seeded(Padded(), 6), (N, LENGTH, WIDTH)),
    "weights": (lambda: seeded(Weights(), 6), (N, LENGTH, WIDTH)),
    "tokens": (lambda: seeded(Tokens(), 7), (N, 6)),
    "digits": (lambda: seeded(DigitTransformer(), 9), (N, 1, 8, 8)),
    "patches": (lambda: seeded(Patches(), 8), (N, 1, 8, 8)),
}
"""Models and the shapes of their inputs."""
