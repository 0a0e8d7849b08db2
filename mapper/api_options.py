"""Options of the Python interface: those of the command line under their names, with values of Python."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from dataflows.errors import InputError
from mapper.options import ROOT

KEPT = ROOT / "build" / "samples"
"""Where arrays that were given in memory are kept, by their contents, so that a command line can name them."""

Samples = str | Path | NDArray[Any] | Mapping[str, NDArray[Any]]
"""An ``.npz`` file, an array per input by name, or the array of a single input; samples along the first axis."""

Number = float | str
PerLayer = Number | Mapping[str, Number]
"""A value for every layer, values by layer, or both as text: ``"0.5,fc1=0.1"``."""


class ModelOptions(TypedDict, total=False):
    """How a model file is read."""

    input_shape: Sequence[int] | str
    allow_pickle: bool
    arch: str


class QuantizeOptions(TypedDict, total=False):
    """How weights and activations become integers, and which of them stay."""

    seed: int
    calibration: Samples
    calibration_method: str
    percentile: float
    weights: str
    equalize: bool
    unclamp: bool
    correct_bias: bool | str
    bits: PerLayer
    auto_bits: str
    prune: PerLayer
    prune_pattern: PerLayer
    prune_channels: PerLayer
    cluster: PerLayer
    keep_tokens: PerLayer
    keep_heads: PerLayer
    keep_values: PerLayer
    value_threshold: PerLayer
    post_scoring: PerLayer
    candidates: PerLayer
    generate: int
    prompt: str | Path | NDArray[Any]
    context: int
    alphabet: str | Path
    key_threshold: PerLayer


class MemoryOptions(TypedDict, total=False):
    """Behaviour of the DRAM."""

    dram_latency: int
    dram_bytes_per_cycle: float
    dram: str


class MapOptions(MemoryOptions, total=False):
    """How a network becomes a program."""

    objective: str
    no_fuse: bool
    engine: str | Mapping[str, str]
    layers: str
    advise: bool


class RunOptions(TypedDict, total=False):
    """What is run on the RTL."""

    inputs: Samples
    dump: str | Path
    trace: str
    dram_stall: float


def words(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Options as words of the command line; what is None or False is left out.

    Raises
    ------
    InputError
        For values of a type that no option has.
    """
    found: list[str] = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            found.append(option)
        elif value is not None and value is not False:
            content = _text(option, value)
            found += [f"{option}={content}"] if content.startswith("-") else [option, content]
    return tuple(found)


def _text(option: str, value: Any) -> str:
    """One value as the command line takes it."""
    if isinstance(value, np.ndarray) or _holds_arrays(value):
        return str(keep(value) if option == "--prompt" else sample_file(value))
    if isinstance(value, Mapping):
        return ",".join(f"{name}={content}" for name, content in value.items())
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    if isinstance(value, str | Path | int | float | np.integer | np.floating):
        return str(value)
    raise InputError(f"{option}: a {type(value).__name__} is no value of an option; see python -m mapper --help")


def _holds_arrays(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(content, np.ndarray) for content in value.values())


def sample_file(samples: Samples) -> Path:
    """The ``.npz`` file of samples; arrays in memory are written to one."""
    if isinstance(samples, str | Path):
        return Path(samples)
    return keep({"x": samples} if isinstance(samples, np.ndarray) else samples)


def keep(value: NDArray[Any] | Mapping[str, NDArray[Any]]) -> Path:
    """Write an array (``.npy``) or arrays by name (``.npz``) to a file named by its contents."""
    arrays: dict[str, Any] = dict(value) if isinstance(value, Mapping) else {"": value}
    digest, buffer = hashlib.sha256(), io.BytesIO()
    for name, array in arrays.items():  # not of the file: an archive holds the time of its making
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    if isinstance(value, Mapping):
        np.savez(buffer, **arrays)
    else:
        np.save(buffer, value)
    path = KEPT / f"{digest.hexdigest()[:16]}.{'npz' if isinstance(value, Mapping) else 'npy'}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())
    return path
