"""Operators: products, with constants and of two computed tensors."""

from __future__ import annotations

from typing import Any

import torch

from mapper.graph_attention import Lookup
from mapper.graph_operators import Multiply
from mapper.import_arithmetic import affine, per_channel
from mapper.import_builder import Builder
from mapper.import_constants import alike
from mapper.import_functions import lookup
from mapper.import_layout import index, plain
from mapper.import_parts import placed, rows, whole
from mapper.import_registry import activation, operator
from mapper.import_values import Activation
from mapper.import_views import chunk

FORMS = "the shapes must be equal, or dimensions of one of them 1: (N, C, 1, 1), (N, 1, H, W) or (N, 1, C)"


@operator("mul", "multiply")
def mul(builder: Builder, x: Any, other: Any) -> Activation:
    """Product of an activation and a constant, or of two activations."""
    if not isinstance(x, Activation):
        x, other = other, x
    x = activation(builder, x, "mul")
    if not isinstance(other, Activation):
        return affine(builder, x, per_channel(builder, x, other, "mul"), 0.0)
    return product(builder, x, activation(builder, other, "mul"))


@operator("square")
def square(builder: Builder, x: Any) -> Activation:
    """Product of an activation with itself."""
    return product(builder, activation(builder, x, "square"), x)


@operator("pow")
def power(builder: Builder, x: Any, exponent: Any) -> Activation:
    """Second power."""
    if exponent != 2:
        raise builder.error(f"pow is supported with the exponent 2 only, not {exponent}")
    return square(builder, x)


@operator("glu")
def glu(builder: Builder, x: Any, dim: int = -1) -> Activation:
    """Half of a dimension times the sigmoid of the other half."""
    first, second = chunk(builder, activation(builder, x, "glu"), 2, dim)
    return product(builder, first, lookup(builder, second, "sigmoid"))


def product(builder: Builder, x: Activation, other: Activation) -> Activation:
    """Product of two activations; dimensions of one of them may be 1."""
    for a, b in ((x, other), (other, x)):
        if _is_gate(builder, a, b):
            return lookup(builder, b, "silu")
    if x.shape == other.shape:
        x, other = alike(builder, x, other, "mul")
        result = builder.add(Multiply, [x, other], builder.shape(x))
        return Activation(result.name, x.shape, index=x.index)
    if len(x.shape) < len(other.shape) or any(a < b for a, b in zip(x.shape, other.shape, strict=False)):
        x, other = other, x
    if len(x.shape) != len(other.shape) or any(b not in (1, a) for a, b in zip(x.shape, other.shape, strict=True)):
        raise builder.error(f"mul of shapes {x.shape} and {other.shape} is not supported; {FORMS}")
    return _spread(builder, x, other)


def _spread(builder: Builder, x: Activation, other: Activation) -> Activation:
    """Product of an activation and one of fewer elements, both of as many dimensions."""
    if len(x.shape) == 3:
        (wide, where), (narrow, there) = rows(builder, x, "mul"), rows(builder, other, "mul")
        held, found = builder.shape(wide), builder.shape(narrow)
        straight = all(torch.equal(w.reshape(-1), torch.arange(w.numel())) for w in (where, there))
        if straight and all(b in (1, a) for a, b in zip(held[1:], found[1:], strict=True)):
            return placed(builder, builder.add(Multiply, [wide, narrow], held), where)
    else:
        x, other = whole(builder, x), whole(builder, other)
        small = plain(builder, other)
        if plain(builder, x) is not None and small is not None:
            return Activation(builder.add(Multiply, [x, small], builder.shape(x)).name, x.shape)
    raise builder.error(f"mul of shapes {x.shape} and {other.shape} is not supported in this order of dimensions")


def _is_gate(builder: Builder, gate: Activation, x: Activation) -> bool:
    """Whether ``gate`` is the sigmoid of ``x``, element by element: a product of both is one table."""
    node = builder.maker(gate.name)
    if not isinstance(node, Lookup) or node.function != "sigmoid" or node.inputs[0] != x.name:
        return False
    return gate.shape == x.shape and torch.equal(index(builder, gate), index(builder, x))
