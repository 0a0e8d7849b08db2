"""Operators: linear layers and matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np

from mapper.graph import Conv, Floats
from mapper.import_builder import Builder
from mapper.import_layout import index, view
from mapper.import_parts import placed, rows
from mapper.import_registry import activation, floats, operator
from mapper.import_scores import Scores, on_scores
from mapper.import_values import Activation, Constant


@operator("linear")
def linear(builder: Builder, x: Any, weight: Any, bias: Any = None) -> Activation:
    """Linear layer on (N, features) or on the channels of tokens (..., features)."""
    return _linear(builder, x, weight, bias)


def _linear(builder: Builder, x: Any, weight: Any, bias: Any = None) -> Activation:
    x = activation(builder, x, "linear")
    values = floats(builder, weight, "linear")
    if values.ndim != 2 or values.shape[1] != x.shape[-1]:
        raise builder.error(f"weights of shape {values.shape} do not fit an input of shape {x.shape}")
    shift = np.zeros(len(values), np.float32)
    if bias is not None:
        shift = shift + floats(builder, bias, "linear")
    if x.index is None:
        activation(builder, x, "linear", 2)
        return _conv(builder, x, (x.shape[0], len(values)), weight, values, shift)
    tensor, where = rows(builder, x, "linear")
    n, _, h, w = builder.shape(tensor)
    return placed(builder, _conv(builder, tensor, (n, len(values), h, w), weight, values, shift), where)


def _conv(
    builder: Builder, x: Activation, shape: tuple[int, ...], weight: Any, values: Floats, shift: Floats
) -> Activation:
    """The layer, named after its weights where they belong to a part of the module."""
    owner = weight.name.removesuffix("weight").rstrip("._")
    title = owner if owner.startswith(f"{builder.where.path}.") else ""
    return builder.add(
        Conv, [x], shape, title, weight=values[:, :, None, None], bias=shift, steps=weight.row_steps()
    )


@operator("matmul", "mm", "bmm", "__matmul__")
def matmul(builder: Builder, x: Any, other: Any = None, mat2: Any = None) -> Activation | Scores:
    """Product of an activation with a constant matrix, or of queries and keys."""
    right = other if mat2 is None else mat2
    if isinstance(x, Activation) and isinstance(right, Activation):
        q, k = (activation(builder, value, "matmul") for value in (x, right))
        if min(len(q.shape), len(k.shape)) < 2 or q.shape[-1] != k.shape[-2]:
            raise builder.error(f"matmul of {q.shape} and {k.shape} is not supported")
        lead = tuple(np.broadcast_shapes(q.shape[:-2], k.shape[:-2]))
        keys = view(builder, k, index(builder, k).transpose(-2, -1))
        return Scores(q, keys, (*lead, q.shape[-2], k.shape[-1]))
    if not isinstance(right, Constant) or right.data.ndim != 2:
        raise builder.error("matmul is supported as (N, features) times a constant matrix, and in attention, only")
    return _linear(builder, x, turned(right))


@operator("baddbmm")
def baddbmm(builder: Builder, x: Any, batch1: Any, batch2: Any, beta: float = 1, alpha: float = 1) -> Any:
    """``beta * mask + alpha * queries @ keys``."""
    scores = matmul(builder, batch1, batch2)
    if beta != 1 or not isinstance(scores, Scores):
        raise builder.error("baddbmm is supported for attention only: a constant mask, queries and keys")
    scores = on_scores(builder, "mul", {"self": scores, "other": alpha}) if alpha != 1 else scores
    return on_scores(builder, "add", {"self": scores, "other": x})


@operator("addmm")
def addmm(builder: Builder, x: Any, mat1: Any, mat2: Any, beta: float = 1, alpha: float = 1) -> Activation:
    """``beta * bias + alpha * mat1 @ mat2`` with constant bias and ``mat2``."""
    if not isinstance(x, Constant) or not isinstance(mat2, Constant):
        raise builder.error("addmm is supported with a constant bias and a constant second matrix only")
    return _linear(builder, mat1, turned(mat2, alpha), Constant(x.name, x.data * beta))


def turned(matrix: Constant, factor: float = 1) -> Constant:
    """A constant matrix with rows for columns, times a factor."""
    steps = None if matrix.steps is None else matrix.steps.t() * abs(factor)
    return Constant(matrix.name, matrix.data.t() * factor, steps)
