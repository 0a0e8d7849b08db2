"""Small PyTorch models with every supported operator, and the networks that the system tests use."""

import io
import warnings
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional


def seeded(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights and batch-norm statistics that keep activations alive in every layer; evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            module.weight.data.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
            if module.bias is not None:
                module.bias.data.normal_(0, 0.1, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.2, generator=generator)
            module.bias.data.normal_(0, 0.2, generator=generator)
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.6, 1.6, generator=generator)
    return model.eval()


class Block(nn.Module):
    """Basic residual block: two 3x3 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += self.shortcut(x)
        return self.relu(y)


class ResNet(nn.Module):
    """ResNet of basic blocks for small images: 3x3 stem, no pooling after it."""

    def __init__(self, widths: tuple[int, ...], blocks: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        self.stages = nn.ModuleList()
        inputs = widths[0]
        for index, width in enumerate(widths):
            strides = [1 if index == 0 else 2] + [1] * (blocks - 1)
            self.stages.append(
                nn.Sequential(*(Block(w, width, s) for w, s in zip([inputs, *[width] * blocks], strides, strict=False)))
            )
            inputs = width
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        for stage in self.stages:
            x = stage(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))


def resnet18_cifar(seed: int = 0) -> nn.Module:
    """ResNet-18 for 32x32 images: widths 64, 128, 256, 512, two blocks each, 10 classes."""
    return seeded(ResNet((64, 128, 256, 512), 2, 10), seed)


def resnet_tiny(seed: int = 0) -> nn.Module:
    """The same structure with 8 and 12 channels, one block each."""
    return seeded(ResNet((8, 12), 1, 5), seed)


class Lenet(nn.Module):
    """Convolutions, pooling, flatten and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 9, 3), nn.ReLU6(), nn.AvgPool2d(2)
        )
        self.drop = nn.Dropout(0.5)
        self.fc1 = nn.Linear(9 * 5 * 4, 17)
        self.fc2 = nn.Linear(17, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.flatten(self.features(x), 1)
        return self.fc2(self.drop(functional.relu(self.fc1(x))))


def lenet(seed: int = 0) -> nn.Module:
    """Takes (N, 1, 24, 20)."""
    return seeded(Lenet(), seed)


class Mobile(nn.Module):
    """Inverted residual with depthwise convolution and ReLU6, padding by a node of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.pad = nn.ZeroPad2d((0, 1, 0, 1))
        self.stem = nn.Conv2d(3, 8, 3, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.expand = nn.Conv2d(8, 24, 1)
        self.depthwise = nn.Conv2d(24, 24, 3, padding="same", groups=24, bias=False)
        self.project = nn.Conv2d(24, 8, 1)
        self.act = nn.ReLU6()
        self.grouped = nn.Conv2d(8, 12, 3, dilation=2, padding=2, groups=4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.bn(self.stem(self.pad(x))))
        x = x + self.project(self.act(self.depthwise(self.act(self.expand(x)))))
        return functional.hardtanh(self.grouped(x)).mean([2, 3])


def mobile(seed: int = 0) -> nn.Module:
    """Takes (N, 3, H, W)."""
    return seeded(Mobile(), seed)


class Branches(nn.Module):
    """Two inputs and outputs, concatenation, pooling with ceil_mode and padding, a lone batch norm, x + x."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(2, 4, 3, padding=(1, 0))
        self.right = nn.Conv2d(3, 5, (1, 3))
        self.pool = nn.MaxPool2d(3, 2, 1, ceil_mode=True)
        self.bn = nn.BatchNorm2d(9)
        self.mean = nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False)
        self.out = nn.Conv2d(9, 3, 1)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.cat([self.left(a), functional.relu(self.right(b))], 1)
        x = functional.relu(self.bn(self.pool(x)))
        y = self.out(self.mean(x))
        return y + y, torch.flatten(x, 1)


def branches(seed: int = 0) -> nn.Module:
    """Takes (N, 2, H, W) and (N, 3, H, W)."""
    return seeded(Branches(), seed)


def save_export(model: nn.Module, path: Path, *examples: torch.Tensor, **options: object) -> Path:
    """Write a ``torch.export`` archive under any file name."""
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(model.eval(), examples, **options), buffer)
    path.write_bytes(buffer.getvalue())
    return path


def save_torchscript(model: nn.Module, path: Path, *examples: torch.Tensor) -> Path:
    """Write a TorchScript archive: traced with the examples, scripted where there are none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.trace(model.eval(), examples) if examples else torch.jit.script(model.eval())
        torch.jit.save(module, path)
    return path
