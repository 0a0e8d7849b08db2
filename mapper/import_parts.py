"""Parts of tensors, and tensors in the order that an operator needs: what views have to become before they are used.

Channels of a part are chosen where they are made, if they can be: the convolution before gets rows of its weights, in
any order. Else they are sliced, as tokens are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from mapper.graph import Affine, Clamp, Concat, Conv, Node
from mapper.graph_attention import Lookup, Respace, Slice
from mapper.graph_operators import ChannelSlice
from mapper.import_builder import Builder
from mapper.import_layout import SEQUENCES, Places, arranged, index, is_whole, plain, sequence
from mapper.import_values import Activation


def pick(builder: Builder, x: Activation, channels: Sequence[int], title: str = "") -> Activation:
    """The graph's tensor of ``x`` with these channels only, in this order: (N, channels, H, W)."""
    n, count, h, w = builder.shape(x)
    if list(channels) == list(range(count)):
        return Activation(x.name, (n, count, h, w))
    key = ("pick", x.name, *channels)
    return builder.once(key, lambda: _pick(builder, x, list(channels), title))


def _pick(builder: Builder, x: Activation, order: list[int], title: str) -> Activation:
    n, _, h, w = builder.shape(x)
    node, shape = builder.maker(x.name), (n, len(order), h, w)
    title = title or (f"{node.name}.part" if node else "")
    match node:
        case Conv(groups=1):
            return builder.add(
                Conv, [_input(node)], shape, title, weight=node.weight[order], bias=node.bias[order],
                steps=None if node.steps is None else node.steps[order],
                window=node.window, low=node.low, high=node.high, sign=node.sign,
            )  # fmt: skip
        case Affine():
            source = pick(builder, _input(node), order)
            normal = node.normal and node.normal.picked(order)
            scale, shift = node.scale[order], node.shift[order]
            return builder.add(Affine, [source], shape, title, scale=scale, shift=shift, normal=normal)
        case Clamp():
            source = pick(builder, _input(node), order)
            return builder.add(Clamp, [source], shape, title, low=node.low, high=node.high)
        case Lookup():
            source = pick(builder, _input(node), order)
            return builder.add(Lookup, [source], shape, title, function=node.function)
    parts = [_channels(builder, x, start, stop) for start, stop in _runs(order)]
    return parts[0] if len(parts) == 1 else builder.add(Concat, parts, shape, title)


def _runs(order: list[int]) -> Iterator[tuple[int, int]]:
    """Neighbouring channels: first and last + 1 of each run."""
    start = 0
    for i in range(1, len(order) + 1):
        if i == len(order) or order[i] != order[i - 1] + 1:
            yield order[start], order[i - 1] + 1
            start = i


def _channels(builder: Builder, x: Activation, start: int, stop: int) -> Activation:
    """Channels ``start`` to ``stop - 1`` of the graph's tensor of ``x``."""
    n, count, h, w = builder.shape(x)
    source = Activation(x.name, (n, count, h, w))
    if (start, stop) == (0, count):
        return source
    key = ("channels", x.name, start, stop)
    shape = n, stop - start, h, w
    return builder.once(key, lambda: builder.add(ChannelSlice, [source], shape, start=start, stop=stop))


def _input(node: Node) -> Activation:
    """The graph tensor that a node reads, for its name."""
    return Activation(node.inputs[0], ())


def spaced(builder: Builder, x: Activation, height: int, width: int) -> Activation:
    """The graph's tensor of ``x`` as a map of another height and width: no work."""
    n, c, h, w = builder.shape(x)
    if (h, w) == (height, width):
        return Activation(x.name, (n, c, h, w))
    source = Activation(x.name, (n, c, h, w))
    key = ("space", x.name, height, width)
    return builder.once(key, lambda: builder.add(Respace, [source], (n, c, height, width), height=height, width=width))


def tokens(builder: Builder, x: Activation, start: int, stop: int) -> Activation:
    """Pixels ``start`` to ``stop - 1`` of the graph's tensor of ``x``: (N, C, 1, stop - start), or all as they are."""
    n, c, h, w = builder.shape(x)
    if (start, stop) == (0, h * w):
        return Activation(x.name, (n, c, h, w))
    source = spaced(builder, x, 1, h * w)
    part = _joined(builder, source, start, stop)
    if part is not None:
        return part
    key = ("slice", source.name, start, stop)
    shape = (n, c, 1, stop - start)
    return builder.once(key, lambda: builder.add(Slice, [source], shape, start=start, stop=stop))


def _joined(builder: Builder, x: Activation, start: int, stop: int) -> Activation | None:
    """The tensor whose tokens these are, where tokens of several were joined."""
    node, first = builder.maker(x.name), 0
    if not isinstance(node, Concat) or node.axis == 1:
        return None
    for name in node.inputs:
        part = Activation(name, ())
        shape = builder.shape(part)
        if (start, stop) == (first, first + shape[3]):
            return Activation(name, shape)
        first += shape[3]
    return None


def span(builder: Builder, pixels: torch.Tensor) -> tuple[int, int]:
    """First and last + 1 of the pixels that occur, which must be neighbours."""
    there = torch.zeros(int(pixels.max()) + 1, dtype=torch.bool)
    there[pixels.reshape(-1)] = True
    found = there.nonzero().reshape(-1)
    start, stop = int(found[0]), int(found[-1]) + 1
    if stop - start != len(found):
        raise builder.error(
            f"{len(found)} pixels between {start} and {stop - 1} are taken (a token is one); "
            "only neighbouring ones can be sliced"
        )
    return start, stop


def whole(builder: Builder, x: Activation) -> Activation:
    """``x`` as a permutation of a graph tensor: of its own, or of one that holds nothing else."""
    held = builder.shape(x)
    if x.index is None or is_whole(x.index, held):
        return x
    at = Places.of(x.index, held)
    channels, start_stop = torch.unique(at.channel), span(builder, at.pixel)
    part = pick(builder, x, channels.tolist())
    part = tokens(builder, part, *start_stop)
    rank = torch.zeros(held[1], dtype=torch.int64)
    rank[channels] = torch.arange(len(channels))
    places = Places(at.sample, rank[at.channel], at.pixel - start_stop[0]).flat(builder.shape(part))
    if not is_whole(places, builder.shape(part)):
        raise builder.error(f"the view of shape {x.shape} repeats or leaves out elements; it cannot be computed on")
    return arranged(replace(x, name=part.name), places)


def rows(builder: Builder, x: Activation, op: str) -> tuple[Activation, torch.Tensor]:
    """``x`` as tokens whose channels are its last dimension.

    Returns
    -------
    the graph's tensor (N, C, H, W), C being that dimension; and, for every other dimension of ``x``, which of its N*H*W
    tokens is meant.
    """
    held = builder.shape(x)
    places = index(builder, x)
    at = Places.of(places, held)
    first = at.channel.reshape(-1, x.shape[-1])[0]
    same = (at.channel == first) & (at.sample == at.sample[..., :1]) & (at.pixel == at.pixel[..., :1])
    if not bool(same.all()):
        raise builder.error(f"{op} on shape {x.shape} is supported where that is {SEQUENCES}")
    start, stop = span(builder, at.pixel[..., 0])
    tensor = tokens(builder, pick(builder, x, first.tolist()), start, stop)
    if len(x.shape) == 3:
        tensor = spaced(builder, tensor, 1, stop - start)
    where = at.sample[..., 0] * (stop - start) + at.pixel[..., 0] - start
    if not is_whole(where, (held[0], 1, 1, stop - start)):
        raise builder.error(f"{op} on shape {x.shape}: tokens are repeated or left out of some samples")
    return tensor, where


def placed(builder: Builder, result: Activation, where: torch.Tensor) -> Activation:
    """A new graph tensor with tokens arranged like ``where`` of :func:`rows`, channels last."""
    _, c, h, w = builder.shape(result)
    pixels = h * w
    base = where // pixels * (c * pixels) + where % pixels
    return arranged(result, base[..., None] + torch.arange(c) * pixels)


def ordered(builder: Builder, x: Activation, op: str, rank: int | None = None) -> Activation:
    """``x`` as the graph holds it: (N, C, H, W), or (N, C)."""
    x = whole(builder, x)
    found = plain(builder, x)
    if found is None and len(x.shape) == 4 and x.index is not None:  # tokens that become a map again
        n, c, h, w = builder.shape(x)
        if x.shape[:2] == (n, c) and torch.equal(x.index.reshape(-1), torch.arange(n * c * h * w)):
            found = spaced(builder, x, x.shape[2], x.shape[3])
    if found is None or (rank is not None and len(found.shape) != rank):
        form = "(N, features)" if rank == 2 else "(N, C, H, W)"
        raise builder.error(f"{op} is supported on {form} tensors in this order, not on this view of shape {x.shape}")
    return found


def settled(builder: Builder, x: Activation) -> Activation:
    """``x`` as an output of the graph can be: in the graph's order, or a sequence (N, L, C)."""
    if x.index is None:
        return x
    if len(x.shape) == 3:
        x = whole(builder, x)
        n, c, h, w = builder.shape(x)
        wanted = sequence(Activation("", (n, c, h, w))).index
        if wanted is not None and x.index is not None and torch.equal(x.index, wanted):
            flat = spaced(builder, x, 1, h * w)
            return arranged(flat, wanted)
    return ordered(builder, x, "an output")

