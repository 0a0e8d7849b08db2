"""Trains a small residual network on scikit-learn's handwritten digits (8 x 8 grey images, real data, no download)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

BATCH = 20
"""Images that one execution of the exported model takes; divides the test split."""

EPOCHS = 20


class DigitNet(nn.Module):
    """Convolutions with batch norm, max pooling, a residual addition, global average pooling, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = self._block(1, 16)
        self.pool = nn.MaxPool2d(2)
        self.widen = self._block(16, 32)
        self.conv1 = self._block(32, 32)
        self.conv2 = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32))
        self.relu = nn.ReLU()
        self.average = nn.AdaptiveAvgPool2d(1)
        self.classify = nn.Linear(32, 10)

    @staticmethod
    def _block(inputs: int, outputs: int) -> nn.Sequential:
        conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.widen(self.pool(self.stem(x)))
        x = self.relu(x + self.conv2(self.conv1(x)))
        return self.classify(torch.flatten(self.average(x), 1))


@dataclass(frozen=True)
class Digits:
    """Images (count, 1, 8, 8) in 0..1 and labels, split once and for all."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def digits() -> Digits:
    """The data: 1437 images for training, 360 for testing."""
    data = load_digits()
    images = (data.images / 16).astype(np.float32)[:, None]
    parts = train_test_split(images, data.target, test_size=360, random_state=0, stratify=data.target)
    return Digits(parts[0], parts[2], parts[1], parts[3])


def shifted(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Every batch moved by up to one pixel each way: more writing styles from the same images."""
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    dy, dx = torch.randint(0, 3, (2,), generator=generator).tolist()
    return padded[:, :, dy : dy + 8, dx : dx + 8]


def fit(
    model: nn.Module, data: Digits, epochs: int, batch: int, rate: float, seed: int,
    altered: Callable[[torch.Tensor, torch.Generator], torch.Tensor] = lambda images, _: images,
) -> nn.Module:  # fmt: skip
    """Train a classifier on whole batches of ``altered`` images, at a rate that rises to ``rate`` and falls again."""
    images, labels = torch.from_numpy(data.train_images), torch.from_numpy(data.train_labels.astype(np.int64))
    generator = torch.Generator().manual_seed(seed)
    steps = epochs * (len(images) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    model.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(images), generator=generator).split(batch):
            if len(chosen) < batch:
                continue
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(altered(images[chosen], generator)), labels[chosen]).backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def train(data: Digits, epochs: int = EPOCHS, seed: int = 0) -> nn.Module:
    """A trained network in evaluation mode; the same one for the same seed on the same machine."""
    torch.set_num_threads(1)  # tensors this small lose more by sharing work between cores than they gain
    torch.manual_seed(seed)
    return fit(DigitNet(), data, epochs, 64, 1e-2, seed, shifted)


def predict(model: nn.Module, images: np.ndarray) -> np.ndarray:
    """Classes of images."""
    with torch.inference_mode():
        return model(torch.from_numpy(images)).argmax(1).numpy()


def save(model: nn.Module, data: Digits, folder: Path, name: str = "digits", batch: int = BATCH) -> None:
    """Write the model file, of ``batch`` images at a time, and the samples that the command line takes."""
    folder.mkdir(parents=True, exist_ok=True)
    example = torch.from_numpy(data.test_images[:batch])
    torch.export.save(torch.export.export(model, (example,)), folder / f"{name}.pt2")
    np.savez(folder / "calibration.npz", x=data.train_images[:256])
    np.savez(folder / "inputs.npz", x=data.test_images)
    np.save(folder / "labels.npy", data.test_labels)
