"""What flows through an import: activations, constants, and the errors that name a place in the model."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from dataflows.errors import InputError
from mapper.graph import Floats, Quantized, Shape


@dataclass(frozen=True)
class Where:
    """A place in the model: module path, source line, and whether the module is one of PyTorch's own."""

    path: str = ""
    line: str = ""
    leaf: bool = False

    def __str__(self) -> str:
        place = self.path or "the model's forward"
        return f"{place} ({self.line})" if self.line else place


@dataclass
class Storage:
    """What views of one tensor share: whether an in-place operator has made them out of date."""

    views: int = 1
    changed_by: str = ""


@dataclass
class Activation:
    """A tensor computed from the inputs: its name in the graph and its shape in the model.

    In-place operators rename it, so that whoever holds it sees the new contents. ``index`` says where its elements are
    in the graph's tensor (``mapper/import_layout.py``); None: as they stand there.
    """

    name: str
    shape: tuple[int, ...]
    storage: Storage = field(default_factory=Storage)
    index: torch.Tensor | None = None


@dataclass
class Rounded(Activation):
    """An activation between quantization and dequantization: integers in the model, real values in the graph."""

    levels: Quantized | None = None


@dataclass
class Ids(Activation):
    """Integers, that choose rows of tables."""


@dataclass(frozen=True)
class Constant:
    """A parameter, buffer or literal tensor, with the name the model has for it.

    ``steps``, of the shape of ``data``: where the elements are integers times a scale, that scale.
    """

    name: str
    data: torch.Tensor
    steps: torch.Tensor | None = None

    def row_steps(self) -> NDArray[np.float64] | None:
        """The scale of every row (first dimension), where there is one that all of its elements have."""
        if self.steps is None or self.steps.shape != self.data.shape or not self.data.numel():
            return None
        rows = self.steps.reshape(len(self.steps), -1).double()
        return rows[:, 0].numpy() if bool((rows == rows[:, :1]).all()) else None

    def floats(self) -> Floats:
        """The contents as float32; InputError for other kinds of numbers, NaN and infinity."""
        if not self.data.is_floating_point():
            kind = str(self.data.dtype).removeprefix("torch.")
            raise InputError(f"parameter {self.name} holds {kind}; only floating-point parameters can be quantized")
        values = self.data.detach().to(torch.float32).contiguous().numpy()
        bad = int(np.size(values) - np.isfinite(values).sum())
        if bad:
            raise InputError(
                f"parameter {self.name} holds {bad} value(s) that are NaN or infinite; mend or retrain the model"
            )
        return values


def graph_shape(shape: tuple[int, ...], what: str) -> Shape:
    """The (N, C, H, W) form of a model's shape, which must have 2 to 4 dimensions, none of them empty.

    Sequences (N, L, C) are (N, C, 1, L).
    """
    if not 2 <= len(shape) <= 4:
        raise InputError(f"{what} has shape {shape}; only (N, C, H, W), (N, L, C) and (N, features) can be mapped")
    if min(shape) < 1:
        raise InputError(f"{what} has the empty shape {shape}; every dimension must be at least 1")
    n, c, h, w = (shape[0], shape[2], 1, shape[1]) if len(shape) == 3 else (*shape, 1, 1)[:4]
    return n, c, h, w


def ids_shape(shape: tuple[int, ...], what: str) -> Shape:
    """The (N, 1, 1, L) form of integers (N, L)."""
    if len(shape) != 2 or min(shape) < 1:
        raise InputError(f"{what} holds integers and has shape {shape}; integers must be (N, tokens), for an embedding")
    return shape[0], 1, 1, shape[1]
