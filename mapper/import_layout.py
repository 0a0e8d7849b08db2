"""Where the elements of a model's tensor are in the tensor of the graph.

A view (transpose, reshape, chunk, select, expand) computes nothing: it only says which element stands where. So
every activation may have an *index*: an integer tensor of its shape that holds, for each element, its flat place in the
graph's tensor (N, C, H, W). Views are done to the index, by PyTorch itself, and operators look at what has become of
it, not at how it came about.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from mapper.graph import Shape
from mapper.import_builder import Builder
from mapper.import_values import Activation

SEQUENCES = "sequences (N, L, C) with all channels of a token in the last dimension"


def index(builder: Builder, x: Activation) -> torch.Tensor:
    """Places of all elements of an activation."""
    if x.index is not None:
        return x.index
    n, c, h, w = builder.shape(x)
    return torch.arange(n * c * h * w).reshape(x.shape)


def arranged(x: Activation, places: torch.Tensor) -> Activation:
    """The graph's tensor of ``x`` with its elements where ``places`` says; None of them need be in order."""
    return replace(x, shape=tuple(places.shape), index=places)


def view(builder: Builder, x: Activation, places: torch.Tensor) -> Activation:
    """A view of ``x``: elements of the same graph tensor at ``places``."""
    result = arranged(builder.read(x), places)
    x.storage.views += 1
    return result


def sequence(x: Activation) -> Activation:
    """A new graph tensor (N, C, H, W), as (N, H*W, C)."""
    n, c, h, w = x.shape
    return arranged(x, torch.arange(n * c * h * w).reshape(n, c, h * w).transpose(1, 2))


@dataclass(frozen=True)
class Places:
    """Sample, channel and pixel of every element, tensors of one shape."""

    sample: torch.Tensor
    channel: torch.Tensor
    pixel: torch.Tensor

    @classmethod
    def of(cls, places: torch.Tensor, held: Shape) -> Places:
        """Coordinates in a graph tensor of shape ``held``."""
        _, channels, height, width = held
        pixels = height * width
        return cls(places // (channels * pixels), places // pixels % channels, places % pixels)

    def flat(self, held: Shape) -> torch.Tensor:
        """Flat places in a graph tensor of shape ``held``."""
        _, channels, height, width = held
        return (self.sample * channels + self.channel) * (height * width) + self.pixel


def is_whole(places: torch.Tensor, held: Shape) -> bool:
    """Whether every element of a graph tensor is there once."""
    total = held[0] * held[1] * held[2] * held[3]
    if places.numel() != total:
        return False
    there = torch.zeros(total, dtype=torch.bool)
    there[places.reshape(-1)] = True
    return bool(there.all())


def plain(builder: Builder, x: Activation) -> Activation | None:
    """``x`` as the graph holds it, (N, C, H, W) or with dimensions of 1 left out at the end, if it is that."""
    held = builder.shape(x)
    if x.index is None:
        return x
    if not 2 <= len(x.shape) <= 4 or (*x.shape, 1, 1)[:4] != held:
        return None
    if not torch.equal(x.index.reshape(-1), torch.arange(x.index.numel())):
        return None
    return replace(x, index=None)
