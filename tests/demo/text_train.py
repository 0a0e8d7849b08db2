"""Trains a small decoder of characters on a text that comes with Python."""

import importlib
import os
from pathlib import Path

import numpy as np
import torch
from torch import nn

CONTEXT, WIDTH, HEADS, LAYERS = 64, 128, 4, 2

CHARACTERS = 14_000
"""Of the text, at most."""

BATCH, STEPS = 16, 1000


def text() -> tuple[str, str]:
    """A text and its name: the licence of Python beside its library; else its topics of help; else ``this``.

    All three are parts of Python, under its licence (PSF).
    """
    licence = Path(os.__file__).with_name("LICENSE.txt")
    if licence.is_file():
        return licence.read_text(encoding="utf-8", errors="ignore")[:CHARACTERS], str(licence)
    try:
        topics = importlib.import_module("pydoc_data.topics").topics
        return "\n".join(topics[name] for name in sorted(topics))[:CHARACTERS], "pydoc_data.topics"
    except ImportError:
        this = importlib.import_module("this")
        return "".join(this.d.get(c, c) for c in this.s), "this"


class Block(nn.Module):
    """Causal attention and two linear layers, norms before both."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, length, width = x.shape
        q, k, v = (
            part.reshape(n, length, self.heads, width // self.heads).transpose(1, 2)
            for part in self.qkv(self.norm1(x)).chunk(3, -1)
        )
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(n, length, width))
        return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))


class TextModel(nn.Module):
    """Ids of characters (N, context) to logits of the next ones, in the manner of GPT-2."""

    def __init__(
        self, words: int, context: int = CONTEXT, width: int = WIDTH, heads: int = HEADS, layers: int = LAYERS
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(words, width)
        self.positions = nn.Parameter(0.1 * torch.randn(context, width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, words)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.blocks(self.tokens(ids) + self.positions)))


def windows(ids: torch.Tensor, starts: torch.Tensor, size: int) -> torch.Tensor:
    """Pieces of a text (count, size)."""
    return ids[starts[:, None] + torch.arange(size)]


def train(ids: np.ndarray, words: int, steps: int = STEPS, seed: int = 0) -> tuple[TextModel, float]:
    """A trained model in evaluation mode and its last loss in nats; the same for the same seed on the same machine."""
    torch.set_num_threads(1)  # tensors this small lose more by sharing work between cores than they gain
    torch.manual_seed(seed)
    model, data = TextModel(words), torch.from_numpy(ids)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    model.train()
    loss = torch.tensor(0.0)
    for _ in range(steps):
        starts = torch.randint(len(data) - CONTEXT, (BATCH,), generator=generator)
        batch = windows(data, starts, CONTEXT + 1)
        optimizer.zero_grad()
        logits = model(batch[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval(), loss.item()
