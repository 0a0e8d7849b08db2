"""Operators that only say where elements stand: transposes, parts, new dimensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from mapper.import_builder import Builder
from mapper.import_layout import index, view
from mapper.import_registry import operator
from mapper.import_values import Activation, Ids


def size(x: Any) -> tuple[int, ...]:
    """Shape of an activation or a constant."""
    return x.shape if isinstance(x, Activation) else tuple(x.data.shape)


def viewed(builder: Builder, x: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Activation:
    """A view of an activation: what ``change`` makes of a tensor of its shape."""
    if not isinstance(x, Activation):
        raise builder.error("a view of a constant is not supported here")
    try:
        places = change(index(builder, x))
    except (RuntimeError, IndexError) as error:
        raise builder.error(f"a view of shape {x.shape} failed: {str(error).splitlines()[0]}") from error
    return view(builder, x, places)


@operator("transpose", "swapaxes", "swapdims")
def transpose(builder: Builder, x: Any, dim0: Any = None, dim1: Any = None, **axes: Any) -> Activation:
    """Two dimensions change places."""
    first, second = (dim0, dim1) if dim0 is not None else tuple(axes.values())
    return viewed(builder, x, lambda t: t.transpose(first, second))


@operator("t", "numpy_T", "mT")
def t(builder: Builder, x: Any) -> Activation:
    """The last two dimensions change places."""
    return viewed(builder, x, lambda p: p.transpose(-2, -1))


@operator("permute")
def permute(builder: Builder, x: Any, dims: Any) -> Activation:
    """Dimensions in another order."""
    return viewed(builder, x, lambda p: p.permute(dims))


@operator("movedim", "moveaxis")
def movedim(builder: Builder, x: Any, source: Any, destination: Any) -> Activation:
    """Dimensions moved to other places."""
    return viewed(builder, x, lambda p: p.movedim(source, destination))


@operator("unflatten")
def unflatten(builder: Builder, x: Any, dim: int, sizes: Any) -> Activation:
    """A dimension taken apart."""
    shape = size(x)
    at = dim % len(shape)
    return viewed(builder, x, lambda p: p.reshape(*shape[:at], *sizes, *shape[at + 1 :]))


@operator("expand")
def expand(builder: Builder, x: Any, size: Any, **_: Any) -> Activation:
    """Dimensions of 1 repeated."""
    return viewed(builder, x, lambda p: p.expand(tuple(size)))


@operator("expand_as")
def expand_as(builder: Builder, x: Any, other: Any) -> Activation:
    """Dimensions of 1 repeated to the shape of another tensor."""
    return viewed(builder, x, lambda p: p.expand(tuple(size(other))))


@operator("repeat_interleave")
def repeat_interleave(builder: Builder, x: Any, repeats: Any, dim: Any = None, **_: Any) -> Activation:
    """Every place of a dimension so many times."""
    return viewed(builder, x, lambda p: p.repeat_interleave(repeats, dim))


@operator("select")
def select(builder: Builder, x: Any, dim: int, index: Any) -> Activation:
    """One place of a dimension."""
    return viewed(builder, x, lambda p: p.select(dim, index))


@operator("narrow")
def narrow(builder: Builder, x: Any, dim: int, start: Any, length: Any) -> Activation:
    """Neighbouring places of a dimension."""
    return viewed(builder, x, lambda p: p.narrow(dim, start, length))


@operator("chunk", "unsafe_chunk")
def chunk(builder: Builder, x: Any, chunks: int, dim: int = 0) -> tuple[Activation, ...]:
    """A dimension in so many parts."""
    return _parts(builder, x, lambda p: p.chunk(chunks, dim))


@operator("split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes")
def split(builder: Builder, x: Any, split_size: Any = None, split_sizes: Any = None, dim: int = 0) -> Any:
    """A dimension in parts of a size, or of sizes."""
    sizes = split_sizes if split_size is None else split_size
    return _parts(builder, x, lambda p: torch.split(p, sizes, dim))


@operator("unbind")
def unbind(builder: Builder, x: Any, dim: int = 0) -> tuple[Activation, ...]:
    """Every place of a dimension."""
    return _parts(builder, x, lambda p: p.unbind(dim))


def _parts(builder: Builder, x: Any, change: Callable[[torch.Tensor], Any]) -> tuple[Activation, ...]:
    source = index(builder, x) if isinstance(x, Activation) else None
    if source is None or isinstance(x, Ids):
        raise builder.error("parts are supported of tensors computed from the model's inputs only")
    return tuple(view(builder, x, part) for part in change(source))
