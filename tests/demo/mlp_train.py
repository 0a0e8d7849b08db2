"""Trains a multi-layer perceptron on the digits, prunes it to a tenth of its weights, lets these share 15 values."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mapper.finetune import Pruner, Sharer
from tests.demo.train import Digits, digits, predict, shifted
from tests.demo.train import save as save_digits

WIDTHS = (64, 512, 256, 10)
BATCH = 120
"""Images that one execution of the exported model takes; divides the test split."""

DENSITIES = (0.5, 0.3, 0.2, 0.1)
"""Share of the weights that stays after each round of pruning and training; the same in every layer."""

CLUSTERS = 16
"""Values of weights, zero among them: codes of four bits."""


@dataclass(frozen=True)
class Trained:
    """The model in evaluation mode, its accuracy after each stage, and how dense and varied its layers are."""

    model: nn.Module
    accuracy: Mapping[str, float]
    density: Mapping[str, float]
    values: Mapping[str, int]


def perceptron() -> nn.Sequential:
    """Three linear layers, fc1 to fc3, ReLU between them."""
    layers: list[tuple[str, nn.Module]] = []
    last = len(WIDTHS) - 1
    for number in range(1, last + 1):
        layers.append((f"fc{number}", nn.Linear(WIDTHS[number - 1], WIDTHS[number])))
        if number < last:
            layers.append((f"relu{number}", nn.ReLU()))
    return nn.Sequential(OrderedDict(layers))


def flat(data: Digits) -> Digits:
    """The same images as vectors of 64."""
    train, test = (images.reshape(len(images), -1) for images in (data.train_images, data.test_images))
    return replace(data, train_images=train, test_images=test)


def fit(model: nn.Module, data: Digits, epochs: int, seed: int, rate: float = 1e-2) -> None:
    """The user's own training loop: it knows nothing of masks and centroids."""
    images, labels = torch.from_numpy(data.train_images), torch.from_numpy(data.train_labels)
    generator = torch.Generator().manual_seed(seed)
    batch = 64
    steps = epochs * (len(images) // batch)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    model.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(images), generator=generator).split(batch):
            if len(chosen) < batch:
                continue
            optimizer.zero_grad()
            moved = shifted(images[chosen].reshape(-1, 1, 8, 8), generator).flatten(1)
            nn.functional.cross_entropy(model(moved), labels[chosen]).backward()
            optimizer.step()
            schedule.step()
    model.eval()


def train(data: Digits, tell: Callable[[str], None], epochs: int = 25, seed: int = 0) -> Trained:
    """Train, prune in rounds, cluster; ``data`` holds vectors. The same model for the same seed on the same machine."""
    torch.set_num_threads(1)  # tensors this small lose more by sharing work between cores than they gain
    torch.manual_seed(seed)
    model = perceptron()
    accuracy: dict[str, float] = {}

    def done(stage: str) -> None:
        accuracy[stage] = float(np.mean(predict(model, data.test_images) == data.test_labels))
        tell(f"{stage}: {100 * accuracy[stage]:.2f} %")

    fit(model, data, 2 * epochs, seed)
    done("dense")
    density: Mapping[str, float] = {}
    for share in DENSITIES:
        pruner = Pruner(model, share)
        fit(model, data, 2 * epochs if share == DENSITIES[-1] else epochs, seed)
        density = pruner.densities
        pruner.finish()
    done("pruned")
    sharer = Sharer(model, CLUSTERS)
    fit(model, data, epochs, seed)
    values = sharer.values
    sharer.finish()
    done("clustered")
    return Trained(model, accuracy, density, values)


def save(model: nn.Module, data: Digits, folder: Path) -> None:
    """Write the model file and the samples that the command line takes."""
    save_digits(model, data, folder, "mlp", BATCH)


def vectors() -> Digits:
    """The digits as vectors."""
    return flat(digits())
