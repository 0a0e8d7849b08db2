"""Samples: reading ``.npz`` files, making random ones, and their way into and out of the quantized network."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from dataflows.attention import Embedding
from dataflows.errors import InputError
from dataflows.network import Codes, Network
from mapper.graph import FloatGraph
from mapper.graph_attention import id_inputs

Arrays = dict[str, NDArray[np.float32]]

UNREADABLE = (
    OSError, ValueError, TypeError, SyntaxError, EOFError, MemoryError, RuntimeError, TokenError, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip
"""What NumPy raises for files that it did not write: their headers are Python text, and say how large arrays are."""


def load_samples(path: str | Path, graph: FloatGraph) -> Arrays:
    """One float32 array (samples, C, H, W) per input of the model.

    The file holds one array per input under the input's name (a single one may have any name), samples along the
    first axis; an input that is a matrix in the model takes (samples, features).

    Raises
    ------
    InputError
        When the file, a name, a shape, a type or a value is not as the model needs it.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            arrays = {name: content[name] for name in content.files} if isinstance(content, NpzFile) else None
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except UNREADABLE as error:
        raise InputError(f"{path} is not a NumPy .npz file of plain arrays: {error}") from error
    if arrays is None:
        raise InputError(f"{path} holds a single array without a name; save it with numpy.savez")
    for name, value in arrays.items():
        if not isinstance(value, np.ndarray):  # a member that does not begin as one
            raise InputError(f"{path}: {name} is no array; save it with numpy.savez")
    if len(arrays) == 1 and len(graph.inputs) == 1:
        arrays = {graph.inputs[0]: next(iter(arrays.values()))}
    if set(arrays) != set(graph.inputs):
        names = sorted(arrays)
        found = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "") or "nothing"
        wanted = ", ".join(graph.inputs)
        raise InputError(f"{path} holds {found}; one array per input is needed: {wanted}")
    samples = {name: _checked(path, name, arrays[name], graph) for name in graph.inputs}
    counts = {name: len(array) for name, array in samples.items()}
    if len(set(counts.values())) > 1:
        raise InputError(f"{path} holds different numbers of samples: {counts}; all inputs need the same")
    return samples


def _checked(path: Path, name: str, array: NDArray[Any], graph: FloatGraph) -> NDArray[np.float32]:
    """The array as float32 (samples, C, H, W)."""
    _, *rest = graph.shapes[name]
    wanted = graph.form(name)[1:]
    if array.dtype.kind not in "fiu":
        raise InputError(f"{path}: array {name} holds {array.dtype}; numbers (float32) are needed")
    if array.ndim == 0 or array.shape[1:] not in (wanted, tuple(rest)) or not len(array):
        form = ", ".join(map(str, wanted))
        raise InputError(
            f"{path}: array {name} has shape {array.shape}; at least one sample of (samples, {form}) is needed"
        )
    with np.errstate(over="ignore"):  # what overflows is infinite, and refused
        values = graph.held(name, array.astype(np.float32))
    bad = int(values.size - np.isfinite(values).sum())
    if bad:
        raise InputError(f"{path}: array {name} holds {bad} value(s) that are NaN, infinite or beyond float32")
    entries = id_inputs(graph).get(name)
    if entries is not None and ((values < 0) | (values >= entries) | (values != np.rint(values))).any():
        raise InputError(
            f"{path}: array {name} holds values from {values.min():g} to {values.max():g}; "
            f"integers from 0 to {entries - 1} are needed, rows of a table"
        )
    return values


def random_samples(graph: FloatGraph, count: int = 8, seed: int = 0, signs: Collection[str] = ()) -> Arrays:
    """Seeded normal samples, for lack of real ones; +1 and -1 for the inputs named in ``signs``; ids of all entries."""
    rng = np.random.default_rng(seed)
    ids = id_inputs(graph)
    samples = {}
    for name in graph.inputs:
        shape = (count, *graph.shapes[name][1:])
        drawn = rng.integers(ids[name], size=shape) if name in ids else rng.standard_normal(shape, np.float32)
        samples[name] = drawn.astype(np.float32)
    return {name: np.copysign(np.float32(1), x) if name in signs else x for name, x in samples.items()}


def check_signs(name: str, *samples: NDArray[np.float32]) -> None:
    """Refuse samples of an input of one bit that are not +1 and -1."""
    if not all(bool(np.isin(values, (-1, 1)).all()) for values in samples):
        raise InputError(
            f"input {name} has one bit, but its samples are not all -1 and +1; "
            "give numpy.where(x >= threshold, 1, -1)"
        )


def quantize_input(network: Network, name: str, array: NDArray[np.floating[Any]]) -> Codes:
    """Float samples (samples, C, H, W), or (samples, F), as integers (samples, H, W, C)."""
    tensor = network.tensors[name]
    _, height, width, channels = tensor.shape
    if array.shape[1:] not in ((channels, height, width), (channels,)) or (array.ndim == 2 and height * width > 1):
        raise InputError(f"input {name} has shape {array.shape}; (samples, {channels}, {height}, {width}) is needed")
    quotients = array.astype(np.float32) / np.float32(tensor.scale)  # in float32, as ONNX defines it
    values = np.rint(quotients.astype(np.float64)) + tensor.zero
    if tensor.bits == 1:
        values = np.where(array >= 0, 1.0, -1.0)
    if tensor.bits == 16 and any(isinstance(la, Embedding) and name in la.inputs for la in network.layers):
        values = values.astype(np.uint16).view(np.int16)  # ids are read without sign
    least, most = network.input_range.get(name, (tensor.lowest, tensor.highest))
    codes = np.clip(values, least, most).astype(tensor.dtype)
    return np.ascontiguousarray(codes.reshape(len(array), channels, height, width).transpose(0, 2, 3, 1))


def dequantize_output(network: Network, name: str, array: Codes) -> NDArray[np.float32]:
    """A quantized tensor (samples, H, W, C) as float32 (samples, C, H, W), elements in the order of the model."""
    tensor = network.tensors[name]
    codes = array.reshape(-1, *tensor.shape[1:]).transpose(0, 3, 1, 2)
    order = network.output_order.get(name)
    if order is not None:
        codes = codes[:, order]
    return np.ascontiguousarray((codes.astype(np.float64) - tensor.zero) * tensor.scale, np.float32)
