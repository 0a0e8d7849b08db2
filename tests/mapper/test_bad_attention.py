"""What cannot be imported of transformers is refused with one message: what was found and what is supported."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from dataflows.errors import InputError
from mapper.loading import import_model
from mapper.samples import load_samples
from tests.mapper import attention_models as forms
from tests.mapper import models
from tests.mapper.attention_models import HEADS, LENGTH, WIDTH, plain, sdpa

BAND = (torch.arange(5)[:, None] - torch.arange(5)).abs() < 2
BIAS = torch.eye(5) / 4
PER_HEAD = torch.ones(HEADS, LENGTH, LENGTH, dtype=torch.bool)
PER_HEAD[0, :, 4] = False


def refused(path, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        import_model(path)
    assert "\n" not in str(caught.value)


def unlike(m, x):
    """Heads taken from tokens."""
    q, k, v = (p.reshape(2, HEADS, LENGTH, -1) for p in m.qkv(x).chunk(3, -1))
    return m.out(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape))


@pytest.mark.parametrize(
    "function, message",
    [
        (lambda m, x: sdpa(m, x, attn_mask=BAND), "mask over 5 queries and 5 keys is neither causal nor by length"),
        (lambda m, x: sdpa(m, x, attn_mask=BIAS), "adds 0.25 .* only 0 and minus infinity"),
        (lambda m, x: sdpa(m, x, attn_mask=PER_HEAD), "differs between heads"),
        (lambda m, x: sdpa(m, x, attn_mask=torch.ones(5, 5).triu().bool()), "neither causal nor by length"),
        (lambda m, x: sdpa(m, x, attn_mask=m.seen[:, None, None].flip(3)), "neither causal nor by length"),
        (lambda m, x: sdpa(m, x, attn_mask=(m.seen & False)[:, None, None]), "hides all keys from query 0 of sample 0"),
        (lambda m, x: sdpa(m, x, attn_mask=x[:, None, :, :5]), r"mask is a computed tensor of shape \(2, 1, 5, 5\)"),
        (lambda m, x: sdpa(m, x, scale=-1.0), "multiplied with -1"),
        (lambda m, x: plain(m, x, lambda s: s * m.out.bias[:5]), "multiplied or divided by constant numbers only"),
        (lambda m, x: plain(m, x, lambda s: s.masked_fill(m.causal < 0, 0.0)), "filled with minus infinity"),
        (lambda m, x: plain(m, x, torch.tanh), "operator tanh on attention scores is not .*softmax"),
        (lambda m, x: plain(m, x, lambda s: s.softmax(-1)), "softmax after the softmax"),
        (lambda m, x: x @ x.transpose(1, 2), "output 0 .* products of queries and keys, cannot be outputs"),
        (lambda m, x: x @ x.transpose(1, 2) @ x, "only attention is supported, which has a softmax between"),
        (lambda m, x: m.out(x).softmax(-1), "operator softmax is not supported outside attention"),
        (lambda m, x: (m.heads(x)[0] @ m.heads(x)[1].mT).softmax(2), "goes over keys, the last"),
        (unlike, r"the q of shape \(2, 4, 5, 4\) are not \(..., heads, tokens, channels of a head\)"),
        (lambda m, x: sdpa(m, m.norm(x)) + x.transpose(0, 1).reshape(x.shape), "held in different orders"),
        (lambda m, x: functional.scaled_dot_product_attention(x, x, m.qkv(x)), "must have as many channels"),
        (lambda m, x: functional.layer_norm(x, (5, WIDTH)), "over the channels of tokens only"),
        (lambda m, x: functional.layer_norm(x.transpose(1, 2), (5,)), r"sequences \(N, L, C\)"),
        (lambda m, x: m.out(x)[:, ::2], "only neighbouring"),
        (lambda m, x: x.mean(2), r"mean of sequences \(2, 5, 16\) over dimensions"),
        (lambda m, x: x * m.positions, "a scalar or one value per channel"),
        (lambda m, x: m.table(x[:, :, 0].long()), "conversion to int64 is not supported"),
    ],
)
def test_unsupported(function, message, tmp_path):
    path = models.save_export(forms.wrap(function), tmp_path / "m", torch.randn(2, LENGTH, WIDTH))
    refused(path, message)


def test_place_is_named(tmp_path):
    class Inner(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.scaled_dot_product_attention(x, x, x, attn_mask=BAND)

    path = models.save_export(nn.Sequential(nn.Linear(4, 4), Inner()), tmp_path / "m", torch.randn(1, 5, 4))
    refused(path, r"^1 \(test_bad_attention.py line \d+\): an attention mask")


def test_masks_are_constants(tmp_path):
    class Masked(nn.Module):
        def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return functional.scaled_dot_product_attention(x, x, x, attn_mask=mask)

    args = torch.randn(1, 5, 4), torch.zeros(5, 5, dtype=torch.bool)
    refused(models.save_export(Masked(), tmp_path / "m", *args), "input mask holds bool; .* register_buffer")


def test_training_mode(tmp_path):
    model = nn.TransformerEncoderLayer(WIDTH, HEADS, 24, batch_first=True).train()
    torch.export.save(torch.export.export(model, (torch.randn(1, 3, WIDTH),)), tmp_path / "m.pt2")
    refused(tmp_path / "m.pt2", r"model\.eval\(\)")


def test_fused_layers(tmp_path):
    """TorchScript keeps PyTorch's fast path."""
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 24, batch_first=True)
    with torch.no_grad():
        path = models.save_torchscript(layer, tmp_path / "m", torch.randn(2, LENGTH, WIDTH))
    refused(path, r"fused transformer layer; export the model with torch\.export")


def test_ids(tmp_path):
    make, shape = forms.MODELS["tokens"]
    graph = import_model(models.save_export(make(), tmp_path / "m", torch.zeros(shape, dtype=torch.int64)))
    for values, message in (
        (np.full((2, 6), 19), "integers from 0 to 18 are needed"),
        (np.full((2, 6), -1), "integers from 0 to 18"),
        (np.full((2, 6), 0.5), "integers from 0 to 18"),
        (np.zeros((2, 5)), r"at least one sample of \(samples, 6\)"),
    ):
        np.savez(tmp_path / "s.npz", ids=values)
        with pytest.raises(InputError, match=message):
            load_samples(tmp_path / "s.npz", graph)
    np.savez(tmp_path / "s.npz", ids=np.full((2, 6), 18))
    assert load_samples(tmp_path / "s.npz", graph)["ids"].shape == (2, 1, 1, 6)


def test_masks_of_wrong_shape(tmp_path):
    """PyTorch would make more scores of it."""
    function = forms.wrap(lambda m, x: (m.heads(x)[0] @ m.heads(x)[1].mT + torch.zeros(3, 1, 1, 5, 5)).softmax(-1))
    path = models.save_export(function, tmp_path / "m", torch.randn(2, LENGTH, WIDTH))
    refused(path, r"mask of shape \(3, 1, 1, 5, 5\) does not fit scores of \(2, 4, 5, 5\)")
