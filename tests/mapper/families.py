"""Small networks of the families that people bring: their blocks, a few channels wide."""

import torch
from torch import nn
from torch.nn import functional

from tests.mapper.models import seeded


def conv_bn(inputs, outputs, kernel=3, stride=1, groups=1, act=nn.ReLU6):
    """Convolution, batch normalization, activation."""
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)]
    return nn.Sequential(*layers, nn.BatchNorm2d(outputs), *([act()] if act else []))


class Squeeze(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, channels, inner):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc1, self.fc2 = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 1)

    def forward(self, x):
        y = functional.relu(self.fc1(self.pool(x)))
        return x * functional.hardsigmoid(self.fc2(y))


class Inverted(nn.Module):
    """Inverted residual of MobileNetV2 and V3 and EfficientNet-Lite."""

    def __init__(self, inputs, inner, outputs, kernel, stride, act, squeeze=False):
        super().__init__()
        self.body = nn.Sequential(
            conv_bn(inputs, inner, 1, act=act),
            conv_bn(inner, inner, kernel, stride, inner, act=act),
            *([Squeeze(inner, 8)] if squeeze else []),
            conv_bn(inner, outputs, 1, act=None),
        )
        self.add = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.body(x) if self.add else self.body(x)


class Classifier(nn.Sequential):
    """Features, mean over the map, a linear layer."""

    def __init__(self, features, channels, *head):
        super().__init__(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *head, nn.Linear(channels, 10))


def mobilenet_v2():
    blocks = [Inverted(8, 24, 12, 3, 2, nn.ReLU6), Inverted(12, 24, 12, 3, 1, nn.ReLU6)]
    return Classifier(nn.Sequential(conv_bn(3, 8, stride=2), *blocks), 12)


def mobilenet_v3():
    blocks = [
        Inverted(8, 16, 8, 3, 1, nn.ReLU, True), Inverted(8, 24, 12, 5, 2, nn.Hardswish, True),
        Inverted(12, 24, 12, 5, 1, nn.Hardswish),
    ]  # fmt: skip
    head = nn.Linear(12, 20), nn.Hardswish()
    features = nn.Sequential(conv_bn(3, 8, stride=2, act=nn.Hardswish), *blocks)
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *head, nn.Linear(20, 10))


def efficientnet_lite():
    blocks = [Inverted(8, 24, 12, 5, 2, nn.ReLU6), Inverted(12, 36, 12, 3, 1, nn.ReLU6)]
    return Classifier(nn.Sequential(conv_bn(3, 8, stride=2), *blocks), 12)


def vgg():
    layers = []
    for inputs, outputs in ((3, 8), (8, 16)):
        layers += [conv_bn(inputs, outputs, act=nn.ReLU), nn.MaxPool2d(2)]
    head = nn.Linear(16 * 16, 24), nn.ReLU(), nn.Dropout(), nn.Linear(24, 10)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), *head)


class Fire(nn.Module):
    """Squeeze and expand layers of SqueezeNet."""

    def __init__(self, inputs, inner, outputs):
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, inner, 1)
        self.one, self.three = nn.Conv2d(inner, outputs, 1), nn.Conv2d(inner, outputs, 3, padding=1)

    def forward(self, x):
        x = functional.relu(self.squeeze(x))
        return torch.cat([functional.relu(self.one(x)), functional.relu(self.three(x))], 1)


def squeezenet():
    features = nn.Conv2d(3, 12, 3, 2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True), Fire(12, 4, 8), Fire(16, 6, 12)
    return nn.Sequential(*features, nn.Conv2d(24, 10, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


class UNet(nn.Module):
    """Two levels: one goes up by a transposed convolution, the other by nearest neighbours."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = conv_bn(3, 8), conv_bn(8, 16), conv_bn(16, 16)
        self.up = nn.ConvTranspose2d(16, 12, 2, 2)
        self.wide = nn.ConvTranspose2d(20, 8, 3, 2, 1, 1)
        self.left, self.last = conv_bn(28, 20), nn.Conv2d(8 + 8 + 20, 2, 1)

    def forward(self, x):
        a = self.first(x)
        b = self.second(functional.max_pool2d(a, 2))
        c = self.third(functional.max_pool2d(b, 2))
        d = self.left(torch.cat([b, self.up(c)], 1))
        near = functional.interpolate(d, scale_factor=2, mode="nearest")
        return self.last(torch.cat([a, self.wide(d), near], 1))


class Bottleneck(nn.Module):
    """Residual block of YOLO's C2f."""

    def __init__(self, channels):
        super().__init__()
        self.one, self.two = (conv_bn(channels, channels, act=nn.SiLU) for _ in range(2))

    def forward(self, x):
        return x + self.two(self.one(x))


class Yolo(nn.Module):
    """C2f, upsampling, concatenation, and a head that decodes boxes."""

    def __init__(self):
        super().__init__()
        self.stem, self.down = conv_bn(3, 8, stride=2, act=nn.SiLU), conv_bn(8, 16, stride=2, act=nn.SiLU)
        self.enter, self.inner = conv_bn(16, 16, 1, act=nn.SiLU), Bottleneck(8)
        self.leave = conv_bn(24, 16, 1, act=nn.SiLU)
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.boxes, self.classes = nn.Conv2d(24, 8, 1), nn.Conv2d(24, 5, 1)

    def forward(self, x):
        a = self.stem(x)
        y = list(self.enter(self.down(a)).split((8, 8), 1))
        y.append(self.inner(y[-1]))
        b = torch.cat([a, self.up(self.leave(torch.cat(y, 1)))], 1)
        boxes, (scores, gate) = self.boxes(b), self.classes(b).sigmoid().split((4, 1), 1)
        near, far = boxes.chunk(2, 1)
        return torch.cat([(near.sigmoid() * 2) ** 2 * far.tanh(), scores * gate], 1)


class Layer(nn.Module):
    """Transformer layer: heads, and a feed-forward part, plain or SwiGLU."""

    def __init__(self, width, heads, swiglu=False, causal=False, norm=nn.LayerNorm):
        super().__init__()
        self.heads, self.causal, self.swiglu = heads, causal, swiglu
        self.n1, self.n2 = norm(width), norm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.gate, self.down = (nn.Linear(*s) for s in ((width, 24), (width, 24), (24, width)))

    def forward(self, x):
        n, length, width = x.shape
        parts = self.qkv(self.n1(x)).reshape(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(*parts, is_causal=self.causal)
        x = x + self.proj(y.transpose(1, 2).reshape(n, length, width))
        y = self.n2(x)
        y = functional.silu(self.gate(y)) * self.up(y) if self.swiglu else functional.gelu(self.up(y))
        return x + self.down(y)


class ViT(nn.Module):
    """Patches, class token, positions, a layer."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 16, generator=torch.Generator().manual_seed(3)))
        self.position = nn.Parameter(torch.randn(1, 17, 16, generator=torch.Generator().manual_seed(4)) * 0.3)
        self.layer, self.norm, self.head = Layer(16, 2), nn.LayerNorm(16), nn.Linear(16, 10)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        return self.head(self.norm(self.layer(x))[:, 0])


class Recurrent(nn.Module):
    """A recurrent layer and a linear one on its last state."""

    def __init__(self, kind, **options):
        super().__init__()
        self.cells = kind(6, 12, batch_first=True, **options)
        self.head = nn.Linear(24 if options.get("bidirectional") else 12, 5)

    def forward(self, x):
        return self.head(self.cells(x)[0][:, -1])


class Cells(nn.Module):
    """An LSTM cell and a GRU cell whose states come from outside."""

    def __init__(self):
        super().__init__()
        self.lstm, self.gru = nn.LSTMCell(6, 8), nn.GRUCell(8, 8)

    def forward(self, x, h, c):
        h, c = self.lstm(x, (h, c))
        return self.gru(h, h), c


IMAGE, TOKENS = ((1, 3, 16, 16),), ((1, 6, 16),)
FAMILIES = {
    "mobilenet_v2": (mobilenet_v2, IMAGE), "mobilenet_v3": (mobilenet_v3, IMAGE),
    "efficientnet_lite": (efficientnet_lite, IMAGE), "vgg": (vgg, IMAGE), "squeezenet": (squeezenet, IMAGE),
    "unet": (UNet, IMAGE), "yolo": (Yolo, IMAGE), "vit": (ViT, IMAGE),
    "gpt": (lambda: Layer(16, 2, causal=True), TOKENS),
    "llama": (lambda: Layer(16, 2, swiglu=True, causal=True, norm=nn.RMSNorm), TOKENS),
    "lstm": (lambda: Recurrent(nn.LSTM), ((1, 4, 6),)), "gru": (lambda: Recurrent(nn.GRU, num_layers=2), ((1, 3, 6),)),
    "bilstm": (lambda: Recurrent(nn.LSTM, bidirectional=True), ((2, 3, 6),)),
    "cells": (Cells, ((2, 6), (2, 8), (2, 8))),
}  # fmt: skip
"""By name: how to make a network, and the shapes of its inputs."""


def make(name, seed=0):
    """A network in evaluation mode, and samples for its inputs."""
    build, shapes = FAMILIES[name]
    torch.manual_seed(seed)
    return seeded(build(), seed), [torch.randn(shape) for shape in shapes]
