"""Attention that a model writes as products and a softmax: what is known of the scores until they meet the values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import numpy as np
import torch

from mapper.graph import Affine
from mapper.graph_attention import Attention
from mapper.import_builder import Builder
from mapper.import_heads import heads, joined
from mapper.import_layout import arranged, index
from mapper.import_masks import Mask, classified, constant_mask, seen
from mapper.import_memory import remembered
from mapper.import_values import Activation, Constant


@dataclass
class Scores:
    """Products of queries (..., Lq, D) and keys (..., Lk, D), masked, and their softmax.

    ``unusable`` says what has become of them that attention does not need.
    """

    queries: Activation
    keys: Activation
    shape: tuple[int, ...]
    factor: float = 1.0
    allowed: torch.Tensor | None = None
    soft: bool = False
    unusable: str = ""


def attend(
    builder: Builder, q: Activation, k: Activation | Constant, v: Activation | Constant, factor: float,
    allowed: torch.Tensor | None = None,
) -> Activation:  # fmt: skip
    """Attention of queries, keys and values (..., L, D); keys and values may be those of the model.

    Parameters
    ----------
    factor : what products are multiplied with
    allowed : bool tensor (..., Lq, Lk), True where a key counts
    """
    depth = q.shape[-1]
    keys, values = (x.shape if isinstance(x, Activation) else tuple(x.data.shape) for x in (k, v))
    if len(keys) < 2 or len(values) < 2 or keys[-1] != depth or values[-1] != depth or keys[-2] != values[-2]:
        raise builder.error(
            f"attention of queries {q.shape}, keys {keys} and values {values} is not supported; heads of all three "
            "must have as many channels, and keys and values as many tokens"
        )
    lead = tuple(np.broadcast_shapes(q.shape[:-2], keys[:-2], values[:-2]))
    first = heads(builder, _over(builder, q, lead), "q")
    parts = [first]
    for x, role in ((k, "k"), (v, "v")):
        if isinstance(x, Constant):
            parts.append(remembered(builder, x, lead, first, role))
        else:
            parts.append(heads(builder, _over(builder, x, lead), role))
    for part, role in zip(parts[1:], ("keys", "values"), strict=True):
        if not torch.equal(part.sample, first.sample) or not torch.equal(part.head, first.head):
            raise builder.error(f"attention: {role} have samples and heads in another order than queries")
    mask = Mask()
    if allowed is not None:
        rows = allowed.expand(*lead, *allowed.shape[-2:]).reshape(-1, *allowed.shape[-2:])
        mask = classified(builder, rows, first.sample)
    factor, sources = _unscaled(builder, factor, [part.tensor for part in parts])
    if not isfinite(factor) or factor < 0:
        raise builder.error(f"attention: products are multiplied with {factor:g}; that must be a positive number")
    shape = builder.shape(sources[0])
    result = builder.add(
        Attention, sources, shape, f"{builder.where.path}.attention".strip("."), heads=first.count, factor=factor,
        causal=mask.causal, lengths=mask.lengths,
    )  # fmt: skip
    return joined(builder, result, first, lead, depth)


def _over(builder: Builder, x: Activation, lead: tuple[int, ...]) -> Activation:
    """``x`` with its dimensions before the last two expanded."""
    return arranged(x, index(builder, x).expand(*lead, *x.shape[-2:]))


def _unscaled(builder: Builder, factor: float, sources: list[Activation]) -> tuple[float, list[Activation]]:
    """Queries and keys from before they were multiplied with a number, which goes into the factor."""
    found = list(sources)
    for place in (0, 1):
        while isinstance(node := builder.maker(found[place].name), Affine):
            if node.shift.any() or (node.scale != node.scale[0]).any():
                break
            factor *= float(node.scale[0])
            found[place] = replace(found[place], name=node.inputs[0])
    return factor, found


def on_scores(builder: Builder, name: str, arguments: dict[str, Any]) -> Any:
    """Import an operator that has scores among its arguments."""
    renamed = {"x" if key in ("self", "input") else key: value for key, value in arguments.items()}
    handler = HANDLERS.get(name)
    broken = next((v.unusable for v in arguments.values() if isinstance(v, Scores) and v.unusable), "")
    if handler is None or broken:
        raise builder.error(
            f"operator {name} on attention scores{broken and f' after {broken}'} is not supported; supported is "
            "softmax(q @ k.transpose(-2, -1) * scale + mask, -1) @ v, with a scale and a constant mask or without, "
            "or scaled_dot_product_attention"
        )
    return handler(builder, **renamed)


def _scaled(x: Scores, factor: float) -> Scores:
    return replace(x, factor=x.factor * factor)


def _number(builder: Builder, value: Any) -> float:
    """A constant scalar."""
    if isinstance(value, Constant) and value.data.numel() == 1:
        return float(value.data.reshape(()))
    if not isinstance(value, int | float):
        raise builder.error("attention scores can be multiplied or divided by constant numbers only")
    return float(value)


def _before_softmax(builder: Builder, x: Scores, what: str) -> None:
    if x.soft:
        raise builder.error(f"attention: {what} after the softmax is not supported; do it before")


def _mul(builder: Builder, x: Any, other: Any) -> Scores:
    x, other = (x, other) if isinstance(x, Scores) else (other, x)
    _before_softmax(builder, x, "a scale")
    if x.allowed is not None and _number(builder, other) <= 0:
        raise builder.error("attention scores are masked and then multiplied with a number that is not positive")
    return _scaled(x, _number(builder, other))


def _div(builder: Builder, x: Any, other: Any, rounding_mode: Any = None) -> Scores:
    divisor = _number(builder, other)
    if not isinstance(x, Scores) or rounding_mode is not None or not divisor:
        raise builder.error("attention scores can be divided by constant numbers other than 0 only")
    return _mul(builder, x, 1.0 / divisor)


def _hide(builder: Builder, x: Scores, allowed: torch.Tensor) -> Scores:
    _before_softmax(builder, x, "a mask")
    return replace(x, allowed=allowed if x.allowed is None else x.allowed & allowed)


def _add(builder: Builder, x: Any, other: Any, alpha: float = 1) -> Scores:
    x, other = (x, other) if isinstance(x, Scores) else (other, x)
    mask = constant_mask(builder, other)
    if mask.dtype == torch.bool:
        raise builder.error("a mask that is added to attention scores must hold 0 and minus infinity, not bool")
    return _hide(builder, x, seen(builder, mask * alpha, x.shape))


def _masked_fill(builder: Builder, x: Scores, mask: Any, value: Any) -> Scores:
    if not _number(builder, value) <= -1e4:
        raise builder.error("masked scores must be filled with minus infinity")
    return _hide(builder, x, ~seen(builder, constant_mask(builder, mask).bool(), x.shape))


def _where(builder: Builder, condition: Any, x: Any, other: Any) -> Scores:
    mask = constant_mask(builder, condition).bool()
    if isinstance(x, Scores):
        return _masked_fill(builder, x, Constant("mask", ~mask), other)
    return _masked_fill(builder, other, Constant("mask", mask), x)


def _softmax(builder: Builder, x: Scores, dim: int, *_: Any, **__: Any) -> Scores:
    _before_softmax(builder, x, "a softmax")
    if dim % len(x.shape) != len(x.shape) - 1:
        raise builder.error(f"the softmax of attention goes over keys, the last dimension, not over dimension {dim}")
    return replace(x, soft=True)


def _reshape(builder: Builder, x: Scores, size: Any = None, shape: Any = None, **_: Any) -> Scores:
    wanted = list(shape if size is None else size)
    total = int(np.prod(x.shape))
    if -1 in wanted:
        wanted[wanted.index(-1)] = total // max(1, -int(np.prod(wanted)))
    return _leading(builder, x, tuple(wanted), lambda t, to: t.reshape(to))


def _expand(builder: Builder, x: Scores, size: Any, **_: Any) -> Scores:
    wanted = tuple(old if new == -1 else new for new, old in zip(size, (*x.shape,), strict=False))
    return _leading(builder, x, wanted, lambda t, to: t.expand(to))


def _leading(
    builder: Builder, x: Scores, wanted: tuple[int, ...],
    change: Callable[[torch.Tensor, tuple[int, ...]], torch.Tensor],
) -> Scores:  # fmt: skip
    """Scores with other dimensions before the last two."""
    if wanted[-2:] != x.shape[-2:]:
        raise builder.error(f"attention scores of shape {x.shape} cannot be viewed as {wanted}; queries and keys stay")
    parts = [_over(builder, part, x.shape[:-2]) for part in (x.queries, x.keys)]
    q, k = (arranged(p, change(index(builder, p), (*wanted[:-2], *p.shape[-2:]))) for p in parts)
    allowed = None if x.allowed is None else change(x.allowed.expand(x.shape), wanted)
    return replace(x, queries=q, keys=k, shape=wanted, allowed=allowed)


def _times_values(builder: Builder, x: Any, other: Any = None, mat2: Any = None) -> Activation:
    values = other if mat2 is None else mat2
    if not isinstance(x, Scores) or not isinstance(values, Activation):
        raise builder.error("attention: the softmax must be the left operand of its product with the values")
    if not x.soft:
        raise builder.error(
            "a product of two computed matrices is multiplied with a third; only attention is supported, "
            "which has a softmax between"
        )
    return attend(builder, x.queries, x.keys, values, x.factor, x.allowed)


def _same(builder: Builder, x: Scores, *_: Any, **__: Any) -> Scores:
    return x


def _dropout(builder: Builder, x: Scores, train: bool = False, p: float = 0.5) -> Scores:
    if train and p:
        raise builder.error("dropout is in training mode; call model.eval() before exporting")
    return x


def _mean(builder: Builder, x: Scores, **_: Any) -> Scores:
    """The mean of probabilities over heads, which ``nn.MultiheadAttention`` computes whether it is used or not."""
    return replace(x, unusable="a mean")


HANDLERS: dict[str, Callable[..., Any]] = {
    "mul": _mul, "div": _div, "add": _add, "masked_fill": _masked_fill, "where": _where, "expand": _expand,
    "dropout": _dropout, "mean": _mean,
    **dict.fromkeys(("softmax", "_softmax", "_safe_softmax"), _softmax),
    **dict.fromkeys(("view", "reshape", "_unsafe_view"), _reshape),
    **dict.fromkeys(("matmul", "bmm"), _times_values),
    **dict.fromkeys(("to", "_to_copy", "float", "type_as", "clone", "contiguous", "detach", "alias"), _same),
}  # fmt: skip
"""What may be done to scores, by the operator's name."""
