"""A network of depthwise and pointwise convolutions with batch normalizations for the digits, as MobileNets are."""

from __future__ import annotations

import torch
from torch import nn

from tests.demo.train import Digits, fit, shifted

EPOCHS = 10
WIDTH = 24
"""Channels of the first layers; there are twice as many after the first stride."""


class Separable(nn.Sequential):
    """One convolution, four pairs of a depthwise and a pointwise one, a mean, a linear layer."""

    def __init__(self, activation: type[nn.Module]) -> None:
        wide, layers = 2 * WIDTH, list[nn.Module]()

        def add(inputs: int, outputs: int, size: int, groups: int = 1, stride: int = 1) -> None:
            layers.append(nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False))
            layers.extend((nn.BatchNorm2d(outputs), activation()))

        add(1, WIDTH, 3)
        for inputs, outputs, stride in ((WIDTH, WIDTH, 1), (WIDTH, wide, 2), (wide, wide, 1), (wide, wide, 1)):
            add(inputs, inputs, 3, inputs, stride)
            add(inputs, outputs, 1)
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, 10))


def train(data: Digits, activation: type[nn.Module]) -> nn.Module:
    """Trained, in evaluation mode."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return fit(Separable(activation), data, EPOCHS, 64, 1e-2, 0, shifted)
