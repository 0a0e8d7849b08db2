"""Operands of additions and products: constants over an activation, and activations side by side."""

from __future__ import annotations

from typing import Any

import torch

from mapper.graph import Floats
from mapper.import_builder import Builder
from mapper.import_layout import index
from mapper.import_parts import spaced, whole
from mapper.import_values import Activation, Constant


def spread(builder: Builder, x: Activation, value: Any, op: str) -> float | Floats:
    """A constant operand of ``x`` as a number, or as an array (1, C, H, W) of the graph; (1, C, 1, 1) if that will do.

    ``x`` must be a whole tensor of the graph.
    """
    if isinstance(value, int | float):
        return float(value)
    if value.data.ndim == 0:  # a number in the model's code, possibly an integer
        return float(Constant(value.name, value.data.double()).floats())
    values = value.floats()
    if values.size == 1:
        return float(values.reshape(()))
    n, c, h, w = builder.shape(x)
    try:
        over = torch.from_numpy(values).expand(x.shape)
    except RuntimeError as error:
        raise builder.error(
            f"{op} with a constant of shape {values.shape} is not supported on shape {x.shape}; "
            "the constant must be a scalar or one value per channel, or fit that shape"
        ) from error
    there = torch.empty(n * c * h * w)
    there[index(builder, x).reshape(-1)] = over.reshape(-1)
    there = there.reshape(n, c, h, w)
    if not bool((there == there[:1]).all()):
        raise builder.error(f"{op} with a constant {values.shape} that differs between samples is not supported")
    one = there[:1]
    if bool((one == one[:, :, :1, :1]).all()):
        one = one[:, :, :1, :1]
    return one.contiguous().numpy()


def in_a_row(builder: Builder, x: Activation) -> Activation:
    """A whole tensor with its pixels as tokens: H is 1."""
    _, _, h, w = builder.shape(x)
    return Activation(spaced(builder, x, 1, h * w).name, x.shape, index=index(builder, x))


def alike(builder: Builder, x: Activation, other: Activation, op: str) -> tuple[Activation, Activation]:
    """Two activations of equal shape as graph tensors of equal shape, whose elements stand in the same places."""
    if x.index is None and other.index is None and builder.shape(x) == builder.shape(other):
        return x, other
    x, other = whole(builder, x), whole(builder, other)
    if builder.shape(x) != builder.shape(other):
        x, other = in_a_row(builder, x), in_a_row(builder, other)
    if builder.shape(x) != builder.shape(other) or not torch.equal(index(builder, x), index(builder, other)):
        raise builder.error(
            f"{op} of two tensors of shape {x.shape} whose elements are held in different orders is not supported"
        )
    return x, other
