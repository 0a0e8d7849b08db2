"""Operators: concatenation, shapes, padding, and those that compute nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch

from mapper.graph import Concat, Flatten, Pad
from mapper.graph_attention import Constant as Fixed
from mapper.import_builder import Builder
from mapper.import_layout import sequence
from mapper.import_parts import ordered, placed, rows
from mapper.import_registry import activation, operator
from mapper.import_values import Activation, Constant, Ids, Storage
from mapper.import_views import viewed


@operator("cat", "concat", "concatenate")
def cat(builder: Builder, tensors: Sequence[Any], dim: int = 0) -> Activation:
    """Concatenation over channels, or over the tokens of sequences, constants (class tokens) among them."""
    like = next(t for t in tensors if isinstance(t, Activation))
    rank = len(like.shape)
    if rank == 3 and dim % rank == 1:
        return _cat_sequences(builder, [_tokens(builder, t, like) for t in tensors])
    parts = [activation(builder, t, "cat") for t in tensors]
    if rank == 4 and dim % rank == 1:
        parts = [ordered(builder, p, "cat") for p in parts]
    first = parts[0].shape
    if any(p.index is not None for p in parts):
        return _cat_tokens(builder, parts, dim % len(first))
    if dim % len(first) != 1:
        raise builder.error(f"cat is supported over channels (dimension 1) only, not over dimension {dim}")
    if any(p.shape[:1] + p.shape[2:] != first[:1] + first[2:] for p in parts):
        raise builder.error(f"cat needs maps of equal size, not {', '.join(str(p.shape) for p in parts)}")
    if len(parts) == 1:
        return parts[0]
    return builder.add(Concat, parts, (first[0], sum(p.shape[1] for p in parts), *first[2:]))


def _tokens(builder: Builder, x: Any, like: Activation) -> Activation:
    """Tokens (N, L, C); constants become tensors of the graph."""
    if isinstance(x, Activation):
        return activation(builder, x, "cat")
    value = x.floats()
    if value.ndim != 3 or value.shape[2] != like.shape[2] or not (value == value[:1]).all():
        raise builder.error(
            f"cat of tokens {like.shape} and the constant {x.name} of shape {value.shape} is not supported; it must be "
            f"(N, tokens, {like.shape[2]}), the same for all samples"
        )
    held = like.shape[0], value.shape[2], 1, value.shape[1]
    node = builder.add(Fixed, [], held, value=np.ascontiguousarray(value[:1].transpose(0, 2, 1)[:, :, None]))
    return sequence(Activation(node.name, held))


def _cat_sequences(builder: Builder, parts: list[Activation]) -> Activation:
    """Tokens of sequences (N, L, C) one after the other."""
    n, _, channels = parts[0].shape
    tensors = []
    for part in parts:
        if (part.shape[0], part.shape[2]) != (n, channels):
            raise builder.error(f"cat of tokens needs equal channels, not {', '.join(str(p.shape) for p in parts)}")
        tensor, where = rows(builder, part, "cat")
        if not torch.equal(where, torch.arange(where.numel()).reshape(where.shape)):
            raise builder.error("cat of tokens that are not held one sequence after the other is not supported")
        tensors.append(tensor)
    result = builder.add(Concat, tensors, (n, channels, 1, sum(p.shape[1] for p in parts)), axis=3)
    return sequence(result)


@operator("stack")
def stack(builder: Builder, tensors: Sequence[Any], dim: int = 0) -> Activation:
    """Vectors (N, C) as the tokens of a sequence (N, L, C)."""
    parts = [activation(builder, t, "stack") for t in tensors]
    if any(len(p.shape) != 2 for p in parts) or dim not in (1, -2):
        shapes = ", ".join(str(p.shape) for p in parts)
        raise builder.error(f"stack of {shapes} over dimension {dim} is supported for vectors (N, C) as tokens only, 1")
    return _cat_sequences(builder, [viewed(builder, p, lambda places: places[:, None]) for p in parts])


def _cat_tokens(builder: Builder, parts: list[Activation], dim: int) -> Activation:
    """Concatenation over the channels of tokens."""
    first = parts[0].shape
    if dim != len(first) - 1 or any(p.shape[:-1] != first[:-1] for p in parts):
        shapes = ", ".join(str(p.shape) for p in parts)
        raise builder.error(f"cat of {shapes} over dimension {dim} is not supported; only over the channels of tokens")
    found = [rows(builder, p, "cat") for p in parts]
    where = found[0][1]
    if any(not torch.equal(where, other) for _, other in found):
        raise builder.error("cat of tokens that are held in different orders is not supported")
    tensors = [tensor for tensor, _ in found]
    n, _, h, w = builder.shape(tensors[0])
    channels = sum(p.shape[-1] for p in parts)
    return placed(builder, builder.add(Concat, tensors, (n, channels, h, w)), where)


@operator("flatten")
def flatten(builder: Builder, x: Any, start_dim: int = 0, end_dim: int = -1) -> Activation:
    """Dimensions joined."""
    start, end = start_dim % len(x.shape), end_dim % len(x.shape)
    middle = int(np.prod(x.shape[start : end + 1]))
    return _reshape(builder, x, (*x.shape[:start], middle, *x.shape[end + 1 :]))


@operator("view", "reshape", "_unsafe_view", "_reshape_alias")
def reshape(builder: Builder, x: Any, size: Any = None, shape: Any = None, **_: Any) -> Activation:
    """The same elements in other dimensions."""
    wanted = [int(s) for s in (shape if size is None else size)]
    total = int(np.prod(x.shape))
    if -1 in wanted:
        wanted[wanted.index(-1)] = total // max(1, -int(np.prod(wanted)))
    if int(np.prod(wanted)) != total:
        raise builder.error(f"reshape of {x.shape} to {tuple(wanted)} does not keep the number of elements")
    return _reshape(builder, x, tuple(wanted))


@operator("unsqueeze")
def unsqueeze(builder: Builder, x: Any, dim: int) -> Activation:
    """A new dimension of 1."""
    at = dim % (len(x.shape) + 1)
    return _reshape(builder, x, (*x.shape[:at], 1, *x.shape[at:]))


@operator("squeeze")
def squeeze(builder: Builder, x: Any, dim: Any = None) -> Activation:
    """Dimensions of 1 removed."""
    axes = range(len(x.shape)) if dim is None else [dim] if isinstance(dim, int) else dim
    gone = {a % len(x.shape) for a in axes}
    return _reshape(builder, x, tuple(s for i, s in enumerate(x.shape) if i not in gone or s != 1))


def _reshape(builder: Builder, x: Activation, shape: tuple[int, ...]) -> Activation:
    """Without dimensions of 1 at the end nothing changes; (N, C, H, W) to (N, C*H*W) is a flatten; others are views."""
    if shape == x.shape:
        return x
    if x.index is not None:
        return viewed(builder, x, lambda places: places.reshape(shape))
    held = builder.shape(x)
    if 2 <= len(shape) <= 4 and (*shape, 1, 1)[:4] == held:
        return builder.view(x, shape)
    if len(shape) == 2 and shape[0] == held[0]:
        x.storage.views += 1  # a flatten shares its elements in the model, though not in the graph
        result = builder.add(Flatten, [x], shape)
        result.storage = x.storage
        return result
    return viewed(builder, x, lambda places: places.reshape(shape))


@operator("slice")
def slice_(builder: Builder, x: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Activation:
    """Some places of a dimension."""
    length = x.shape[dim]
    taken = range(length)[slice(start, end, step)]
    if taken == range(length):
        return cast(Activation, x)
    return viewed(builder, x, lambda places: places.index_select(dim, torch.tensor(taken, dtype=torch.int64)))


@operator("pad", "constant_pad_nd")
def pad(builder: Builder, x: Any, pad: Any, mode: str = "constant", value: float | None = None) -> Activation:
    """Padding of the map with zeros, or with -1 around signs."""
    x = activation(builder, x, "pad", 4)
    amounts = [int(p) for p in pad]
    left, right, top, bottom = [*amounts, 0, 0][:4]
    others = amounts[4:]
    if mode != "constant" or value not in (None, 0, -1) or any(others) or min(left, right, top, bottom) < 0:
        raise builder.error(
            f"pad {list(pad)} with mode {mode!r} and value {value} is not supported; "
            "only zeros around rows and columns are, or -1 around signs"
        )
    n, c, h, w = x.shape
    size, around = (n, c, h + top + bottom, w + left + right), (top, left, bottom, right)
    return builder.add(Pad, [x], size, padding=around, value=float(value or 0))


@operator("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
def dropout(builder: Builder, x: Any, train: bool = False, p: float = 0.5) -> Any:
    """Dropout, which does nothing in evaluation mode."""
    if train and p:
        raise builder.error("dropout is in training mode; call model.eval() before exporting")
    return x


@operator("contiguous", "detach", "alias", "lift_fresh", "lift_fresh_copy", "requires_grad_", "positive")
def identity(builder: Builder, x: Any, **_: Any) -> Any:
    """Operators that return what they got."""
    return x


@operator("clone")
def clone(builder: Builder, x: Any, **_: Any) -> Any:
    """A copy: operators in place on one do not change the other."""
    if isinstance(x, Constant):
        return Constant(x.name, x.data.clone())
    return replace(x, storage=Storage()) if isinstance(x, Activation) else x


@operator("to", "_to_copy", "type_as", "float")
def to(builder: Builder, x: Any, dtype: Any = None, **_: Any) -> Any:
    """Conversions between floating-point types: the import computes in float32 anyway."""
    if isinstance(x, Constant) and isinstance(dtype, torch.dtype):
        return Constant(x.name, x.data.to(dtype))
    if isinstance(x, Ids) and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        return x
    if isinstance(dtype, torch.dtype) and not dtype.is_floating_point:
        raise builder.error(f"conversion to {str(dtype).removeprefix('torch.')} is not supported")
    return x


@operator("size", "sym_size")
def size(builder: Builder, x: Any, dim: int | None = None) -> Any:
    """Shape of a tensor."""
    shape = x.shape if isinstance(x, Activation) else tuple(x.data.shape)
    return list(shape) if dim is None else shape[dim]


@operator("dim")
def dim(builder: Builder, x: Any) -> int:
    """Number of dimensions."""
    return len(size(builder, x))
