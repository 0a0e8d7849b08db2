"""Operator: ``einsum`` of two operands, which is a matrix product of views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mapper.import_builder import Builder
from mapper.import_registry import apply, operator
from mapper.import_values import Activation, Constant


@operator("einsum")
def einsum(builder: Builder, equation: str, tensors: Sequence[Any], path: Any = None) -> Any:
    """Products of queries and keys, of probabilities and values, or with a constant matrix."""
    text = equation.replace(" ", "")
    left, _, out = text.partition("->")
    terms = left.split(",")
    if len(tensors) != 2 or len(terms) != 2 or not out.isalpha() or any(len(set(t)) != len(t) for t in (*terms, out)):
        raise builder.error(f"einsum {equation!r} is not supported; only products of two tensors are")
    first, second = terms
    summed = "".join(c for c in first if c in second and c not in out)
    shared = "".join(c for c in out if c in first and c in second)
    rows, columns = ("".join(c for c in out if c in a and c not in b) for a, b in ((first, second), (second, first)))
    if len(summed) != 1 or len(columns) != 1 or {*summed, *shared, *rows} != {*first} or len(rows) < 1:
        raise builder.error(f"einsum {equation!r} is not supported; only products of matrices are")
    a = _turned(builder, tensors[0], first, shared + rows + summed)
    b = _turned(builder, tensors[1], second, shared + summed + columns)
    return _turned(builder, apply(builder, "matmul", {"self": a, "other": b}), shared + rows + columns, out)


def _turned(builder: Builder, x: Any, axes: str, wanted: str) -> Any:
    """A tensor with its dimensions in another order; scores keep theirs."""
    if axes == wanted:
        return x
    if isinstance(x, Activation | Constant):
        return apply(builder, "permute", {"self": x, "dims": [axes.index(c) for c in wanted]})
    raise builder.error("attention scores in an einsum must end with queries and keys, in this order")
