"""ONNX operators: shapes, parts, concatenation, padding, and those that compute nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from mapper.import_values import Activation, Ids
from mapper.onnx_registry import Call, onnx_operator
from mapper.onnx_values import Array


@onnx_operator("Shape")
def shape(call: Call) -> Any:
    """Shape of a tensor, which is known."""
    part = call.shape(0)[slice(call.attribute("start", 0), call.attribute("end"))]
    return Array("shape", np.array(part, np.int64))


@onnx_operator("Size")
def size(call: Call) -> Any:
    """Number of elements."""
    return Array("size", np.array(np.prod(call.shape(0)), np.int64))


@onnx_operator("Reshape")
def reshape(call: Call) -> Any:
    """The same elements in other dimensions; 0 keeps one, -1 is what is left."""
    wanted, there = call.ints("shape", 1) or [], call.shape(0)
    if not call.attribute("allowzero", 0):
        wanted = [there[i] if s == 0 and i < len(there) else s for i, s in enumerate(wanted)]
    if wanted.count(-1) > 1 or min(wanted, default=0) < -1:
        raise call.error(f"Reshape to {wanted} is no shape")
    return call.run("reshape", self=call.value(0), shape=wanted)


@onnx_operator("Flatten")
def flatten(call: Call) -> Any:
    """Two dimensions: those before an axis, and the others."""
    there = call.shape(0)
    axis = int(call.attribute("axis", 1))
    axis += len(there) if axis < 0 else 0
    return call.run("reshape", self=call.value(0), shape=[int(np.prod(there[:axis])), int(np.prod(there[axis:]))])


@onnx_operator("Transpose")
def transpose(call: Call) -> Any:
    """Dimensions in another order."""
    order = call.ints("perm") or list(range(len(call.shape(0))))[::-1]
    return call.run("permute", self=call.value(0), dims=order)


@onnx_operator("Squeeze")
def squeeze(call: Call) -> Any:
    """Dimensions of 1 removed."""
    axes, there = call.ints("axes", 1), call.shape(0)
    gone = {a % len(there) for a in axes} if axes is not None else {i for i, s in enumerate(there) if s == 1}
    left = [s for i, s in enumerate(there) if i not in gone]
    if any(there[i] != 1 for i in gone):
        raise call.error(f"Squeeze of dimensions {sorted(gone)} of {there}, which are not all 1")
    return call.run("reshape", self=call.value(0), shape=left)


@onnx_operator("Unsqueeze")
def unsqueeze(call: Call) -> Any:
    """New dimensions of 1."""
    axes, there = call.ints("axes", 1) or [], list(call.shape(0))
    rank = len(there) + len(axes)
    for axis in sorted(a % rank for a in axes):
        there.insert(axis, 1)
    return call.run("reshape", self=call.value(0), shape=there)


@onnx_operator("Concat")
def concat(call: Call) -> Any:
    """Tensors one after the other."""
    return call.run("cat", tensors=[call.value(i) for i in range(len(call))], dim=int(call.attribute("axis", 1)))


@onnx_operator("Split")
def split(call: Call) -> Any:
    """Parts of a dimension, of given sizes or equal ones."""
    axis = int(call.attribute("axis", 0))
    length, count = call.shape(0)[axis], call.outputs
    part = -(-length // count)
    sizes = call.ints("split", 1) or [min(part, length - i * part) for i in range(count)]
    return call.run("split", self=call.value(0), split_sizes=sizes, dim=axis)


@onnx_operator("Slice")
def slice_(call: Call) -> Any:
    """Some places of some dimensions."""
    result, there = call.value(0), call.shape(0)
    starts, ends = call.ints("starts", 1) or [], call.ints("ends", 2) or []
    axes = call.ints("axes", 3, range(len(starts))) or []
    steps = call.ints("steps", 4, [1] * len(starts)) or []
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if step < 1:
            raise call.error(f"Slice with step {step} is not supported; only forward ones are")
        result = call.run("slice", self=result, dim=axis % len(there), start=start, end=end, step=step)
    return result


@onnx_operator("Gather")
def gather(call: Call) -> Any:
    """One place of a dimension, or rows of a table chosen by integers of an input."""
    x, axis = call.value(0), int(call.attribute("axis", 0))
    if isinstance(call.get(1), Ids):
        if axis != 0:
            raise call.error(f"Gather by an input of the model is supported over rows of a table, not dimension {axis}")
        return call.run("embedding", weight=x, indices=call.value(1))
    places = call.array(1, "a choice of places")
    if not isinstance(x, Activation) or places.ndim > 1:
        raise call.error(f"Gather of {places.ndim} dimensions of places is not supported; one place, or a list is")
    if places.ndim == 0:
        return call.run("select", self=x, dim=axis, index=int(places))
    run = np.arange(len(places)) + int(places[0]) if len(places) else places
    if not np.array_equal(places, run):
        raise call.error("Gather is supported of one place, or of places that follow each other")
    return call.run("slice", self=x, dim=axis, start=int(run[0]), end=int(run[-1]) + 1)


@onnx_operator("Expand")
def expand(call: Call) -> Any:
    """Dimensions of 1 repeated."""
    there, wanted = call.shape(0), call.ints("shape", 1) or []
    return call.run("expand", self=call.value(0), size=list(np.broadcast_shapes(there, tuple(wanted))))


@onnx_operator("Pad")
def pad(call: Call) -> Any:
    """Padding with a constant."""
    amounts, there = call.ints("pads", 1) or [], call.shape(0)
    axes = call.ints("axes", 3, range(len(there))) or []
    mode = call.attribute("mode", "constant")
    value = float(call.attribute("value", 0.0))
    if call.get(2) is not None:
        value = call.number(2, "value to pad with")
    before, after = dict(zip(axes, amounts, strict=False)), dict(zip(axes, amounts[len(axes) :], strict=True))
    wanted = [amount for axis in range(len(there))[::-1] for amount in (before.get(axis, 0), after.get(axis, 0))]
    return call.run("pad", self=call.value(0), pad=wanted, mode=mode, value=value)


@onnx_operator("Dropout")
def dropout(call: Call) -> Any:
    """Dropout, which does nothing in evaluation mode."""
    if call.get(2) is not None and bool(call.number(2, "training mode")):
        raise call.error("Dropout is in training mode; export the model in evaluation mode")
    return call.value(0), None


@onnx_operator("Cast", "CastLike")
def cast(call: Call) -> Any:
    """Conversion between floating-point types, or of ids: the import computes in float32 anyway."""
    kinds = {1: "float", 10: "float16", 11: "double", 16: "bfloat16"}
    x, to = call.value(0), int(call.attribute("to", 1))
    if isinstance(x, Ids) or to in kinds:
        return x
    raise call.error(f"{call.op} of a computed tensor to integers (type {to}) is not supported")


@onnx_operator("Resize", "Upsample", needs=("upsample_nearest2d",))
def resize(call: Call) -> Any:
    """Nearest upsampling by whole factors."""
    there, scales = call.shape(0), _scales(call)
    if scales is None:
        scales = [new / old for new, old in zip(call.ints("sizes", 3) or [], call.shape(0), strict=True)]
    whole = [int(s) for s in scales]
    if call.attribute("mode", "nearest") != "nearest" or whole != scales or whole[:2] != [1, 1] or len(there) != 4:
        raise call.error(
            f"{call.op} with mode {call.attribute('mode', 'nearest')!r} and scales {scales} is not supported; nearest "
            "upsampling of rows and columns by whole factors is"
        )
    if call.op == "Resize" and call.opset > 10 and not all(_repeats(call, factor) for factor in whole[2:]):
        raise call.error("Resize with these coordinates does not repeat every pixel; export asymmetric ones with floor")
    return call.run(
        "upsample_nearest2d", self=call.value(0), output_size=[there[2] * whole[2], there[3] * whole[3]]
    )


def _scales(call: Call) -> list[float] | None:
    """Factors of a resize, where it has some."""
    if "scales" in call.attributes:
        return [float(v) for v in call.attributes["scales"]]
    index = 2 if call.op == "Resize" and call.opset > 10 else 1
    if call.get(index) is None or not call.array(index, "scales").size:
        return None
    return [float(v) for v in call.array(index, "scales")]


def _repeats(call: Call, factor: int) -> bool:
    """Whether nearest sampling takes every pixel ``factor`` times."""
    place = np.arange(3 * factor)
    mode = call.attribute("coordinate_transformation_mode", "half_pixel")
    at = place / factor if mode == "asymmetric" else (place + 0.5) / factor - 0.5
    rounding = {
        "round_prefer_floor": np.ceil(at - 0.5), "round_prefer_ceil": np.floor(at + 0.5), "floor": np.floor(at),
        "ceil": np.ceil(at),
    }  # fmt: skip
    if mode not in ("asymmetric", "half_pixel", "pytorch_half_pixel"):
        return factor == 1
    taken = np.clip(rounding[call.attribute("nearest_mode", "round_prefer_floor")], 0, 2)
    return bool((taken == place // factor).all())


@onnx_operator("DepthToSpace", needs=("pixel_shuffle",))
def depth_to_space(call: Call) -> Any:
    """Channels to pixels, in PyTorch's order."""
    if call.attribute("mode", "DCR") != "CRD":
        raise call.error("DepthToSpace is supported with mode CRD only")
    return call.run("pixel_shuffle", self=call.value(0), upscale_factor=int(call.attribute("blocksize")))
