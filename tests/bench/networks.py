"""ImageNet networks as PyTorch modules, with random weights and live batch-norm statistics."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import nn

from tests.mapper.models import seeded


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution that keeps the size (but for its stride), and batch norm."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class Residual(nn.Module):
    """A body and a shortcut, added, with a ReLU behind."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class Inverted(nn.Module):
    """Expand, depthwise, project; added to the input where the shapes agree (MobileNetV2)."""

    def __init__(self, inputs: int, outputs: int, stride: int, factor: int) -> None:
        super().__init__()
        hidden = inputs * factor
        expand = [_conv(inputs, hidden, 1), nn.ReLU6()] if factor > 1 else []
        depthwise = [_conv(hidden, hidden, 3, stride, hidden), nn.ReLU6()]
        self.body = nn.Sequential(*expand, *depthwise, _conv(hidden, outputs, 1))
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x) if self.adds else self.body(x)


def _classifier(body: nn.Sequential, channels: int) -> nn.Module:
    model = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000))
    return seeded(model)


def _resnet(counts: tuple[int, ...], bottleneck: bool) -> nn.Module:
    layers: list[nn.Module] = [_conv(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for stage, (width, count) in enumerate(zip((64, 128, 256, 512), counts, strict=True)):
        for block in range(count):
            stride = 2 if stage and block == 0 else 1
            outputs = width * (4 if bottleneck else 1)
            if bottleneck:
                parts = [_conv(inputs, width, 1), nn.ReLU(), _conv(width, width, 3, stride), nn.ReLU()]
                parts.append(_conv(width, outputs, 1))
            else:
                parts = [_conv(inputs, width, 3, stride), nn.ReLU(), _conv(width, width, 3)]
            same = stride == 1 and inputs == outputs
            layers.append(Residual(nn.Sequential(*parts), nn.Identity() if same else _conv(inputs, outputs, 1, stride)))
            inputs = outputs
    return _classifier(nn.Sequential(*layers), inputs)


def _mobilenet_v2() -> nn.Module:
    layers: list[nn.Module] = [_conv(3, 32, 3, 2), nn.ReLU6()]
    inputs = 32
    stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for factor, outputs, count, stride in stages:
        for block in range(count):
            layers.append(Inverted(inputs, outputs, stride if block == 0 else 1, factor))
            inputs = outputs
    layers += [_conv(inputs, 1280, 1), nn.ReLU6()]
    return _classifier(nn.Sequential(*layers), 1280)


def _plain(inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0, groups: int = 1) -> nn.Sequential:
    """Convolution and ReLU, without batch norm."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups), nn.ReLU())


def _head(inputs: int) -> list[nn.Module]:
    """The three linear layers of AlexNet and VGG."""
    linear = [nn.Linear(inputs, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000)]
    return [nn.Flatten(), *linear]


def _alexnet() -> nn.Module:
    """The one-tower form of 2014, as torchvision has it."""
    pool = nn.MaxPool2d(3, 2)
    layers = [_plain(3, 64, 11, 4, 2), pool, _plain(64, 192, 5, 1, 2), pool, _plain(192, 384, 3, 1, 1)]
    layers += [_plain(384, 256, 3, 1, 1), _plain(256, 256, 3, 1, 1), pool, *_head(256 * 6 * 6)]
    return seeded(nn.Sequential(*layers))


def _towers() -> list[nn.Module]:
    """The five convolutions of 2012 with their two towers."""
    pool = nn.MaxPool2d(3, 2)
    layers = [_plain(3, 96, 11, 4), pool, _plain(96, 256, 5, 1, 2, groups=2), pool, _plain(256, 384, 3, 1, 1)]
    return [*layers, _plain(384, 384, 3, 1, 1, groups=2), _plain(384, 256, 3, 1, 1, groups=2)]


def alexnet_convolutions() -> nn.Module:
    """The five convolutions of 2012 with their two towers, for 227x227 images, as Eyeriss was measured on them."""
    return seeded(nn.Sequential(*_towers()))


def alexnet_towers() -> nn.Module:
    """AlexNet of 2012 with its two towers, for 227x227 images; the linear layers are fc6, fc7, fc8."""
    _, *head = _head(256 * 6 * 6)
    names = ("fc6", "relu6", "fc7", "relu7", "fc8")
    body = nn.Sequential(*_towers(), nn.MaxPool2d(3, 2), nn.Flatten())
    return seeded(nn.Sequential(OrderedDict([("convolutions", body), *zip(names, head, strict=True)])))


def _vgg16() -> nn.Module:
    layers: list[nn.Module] = []
    inputs = 3
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            layers.append(_plain(inputs, width, 3, 1, 1))
            inputs = width
        layers.append(nn.MaxPool2d(2))
    return seeded(nn.Sequential(*layers, *_head(512 * 7 * 7)))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: _resnet((2, 2, 2, 2), bottleneck=False),
    "resnet50": lambda: _resnet((3, 4, 6, 3), bottleneck=True),
    "mobilenet_v2": _mobilenet_v2,
    "alexnet": _alexnet,
    "vgg16": _vgg16,
}
"""Networks for 224x224 images."""
