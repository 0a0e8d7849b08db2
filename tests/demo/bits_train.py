"""Digits with few bits: networks trained on for narrow operands, and a network of signs from end to end."""

from __future__ import annotations

import copy
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from mapper.finetune_bits import Quantizer
from mapper.straight_through import Sign
from tests.demo.train import BATCH, Digits, shifted

THRESHOLDS = np.arange(1, 16, 2) / 16
"""Brightness at which a pixel becomes +1, channel by channel: images of one bit."""

EPOCHS = 12
"""Epochs of fine-tuning."""

BINARY_EPOCHS = 40


class BinaryNet(nn.Module):
    """Every operand is +1 or -1: convolutions padded with -1, batch norm and sign, one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        channels = (len(THRESHOLDS), 64, 64, 64)
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, bias=False) for a, b in pairwise(channels))
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for b in channels[1:])
        self.signs = nn.ModuleList(Sign() for _ in channels[1:])
        self.classify = nn.Linear(64 * 4, 10)
        self.scores = nn.BatchNorm1d(10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for index, (conv, norm, sign) in enumerate(zip(self.convs, self.norms, self.signs, strict=True)):
            x = norm(conv(functional.pad(x, (1, 1, 1, 1), value=-1)))
            x = sign(functional.max_pool2d(x, 2) if index != 1 else x)
        return self.scores(self.classify(torch.flatten(x, 1)))


def one_bit(images: np.ndarray) -> np.ndarray:
    """Images (count, 1, 8, 8) as +1 and -1, a channel per threshold."""
    return np.where(images >= THRESHOLDS[:, None, None], np.float32(1), np.float32(-1))


def fit(model: nn.Module, data: Digits, epochs: int, rate: float, bits: bool = False, seed: int = 1) -> nn.Module:
    """Train a model, on images of one bit if ``bits``; returns it in evaluation mode."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    images, labels = torch.from_numpy(data.train_images), torch.from_numpy(data.train_labels)
    levels = torch.from_numpy(THRESHOLDS.astype(np.float32))[:, None, None]
    generator = torch.Generator().manual_seed(seed)
    chunks = len(images) // 64
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * chunks)
    model.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(images), generator=generator)[: chunks * 64].split(64):
            x = shifted(images[chosen], generator)
            x = torch.where(x >= levels, 1.0, -1.0) if bits else x
            optimizer.zero_grad()
            functional.cross_entropy(model(x), labels[chosen]).backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def fine_tuned(model: nn.Module, data: Digits, bits: str, exceptions: dict[str, str] | None = None) -> nn.Module:
    """A copy of a trained model, trained on with narrow operands."""
    tuned = copy.deepcopy(model)
    quantizer = Quantizer(tuned, bits, exceptions)
    quantizer.observe(torch.from_numpy(data.train_images[:256]))
    fit(tuned, data, EPOCHS, 3e-3)
    quantizer.finish()
    return tuned


def binary(data: Digits) -> nn.Module:
    """A trained :class:`BinaryNet`."""
    torch.manual_seed(0)
    model = BinaryNet()
    quantizer = Quantizer(model, "binary")
    fit(model, data, BINARY_EPOCHS, 1e-2, bits=True)
    quantizer.finish()
    return model


def save(model: nn.Module, samples: np.ndarray, path: Path) -> Path:
    """Write a model file that takes ``BATCH`` images at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.export.save(torch.export.export(model, (torch.from_numpy(samples[:BATCH]),)), path)
    return path
