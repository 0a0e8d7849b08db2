"""Calibration: the range of every tensor of a float graph, seen while samples run through it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from dataflows.errors import InputError
from mapper.float_reference import execute
from mapper.graph import FloatGraph

Samples = Mapping[str, NDArray[np.float32]]
Method = Literal["minmax", "percentile"]

BINS = 4096
"""Histogram bins of the percentile method, over the whole range of a tensor."""


@dataclass(frozen=True)
class Calibration:
    """Smallest and largest value that each tensor has to represent, by tensor name."""

    ranges: dict[str, tuple[float, float]]


def observe(
    graph: FloatGraph, samples: Samples, method: Method = "minmax", percentile: float = 99.99, batch: int = 16
) -> Calibration:
    """Run samples through the graph and note the range of every tensor.

    Parameters
    ----------
    samples
        One float array (samples, C, H, W) per graph input.
    method
        ``minmax`` takes everything that was seen; ``percentile`` cuts what lies outside ``100 - percentile`` and
        ``percentile`` percent of a tensor's values (resolution: 1/4096 of its range).
    batch
        Samples run at a time.

    Raises
    ------
    InputError
        For unknown methods and percentiles, and when a tensor is not finite.
    """
    if method not in ("minmax", "percentile"):
        raise InputError(f"calibration method must be minmax or percentile, not {method!r}")
    if not 50 < percentile <= 100:
        raise InputError(f"percentile must be above 50 and at most 100, not {percentile}")
    ranges: dict[str, tuple[float, float]] = {}

    def note(name: str, value: torch.Tensor) -> None:
        low, high = (float(bound) for bound in torch.aminmax(value))
        if not np.isfinite((low, high)).all():
            raise InputError(f"calibration: the values of {name} are not finite; check the samples and the model")
        before = ranges.get(name, (low, high))
        ranges[name] = min(low, before[0]), max(high, before[1])

    for chunk in _chunks(graph, samples, batch):
        execute(graph, chunk, note)
    if method == "percentile":
        ranges = _cut(graph, samples, ranges, percentile / 100, batch)
    return Calibration(ranges)


def _cut(
    graph: FloatGraph, samples: Samples, ranges: dict[str, tuple[float, float]], part: float, batch: int
) -> dict[str, tuple[float, float]]:
    """Ranges that hold the values between the two quantiles, from a histogram over the full ranges."""
    counts = {name: np.zeros(BINS) for name in ranges}

    def count(name: str, value: torch.Tensor) -> None:
        low, high = ranges[name]
        if low < high:
            counts[name] += torch.histc(value, BINS, low, high).numpy()

    for chunk in _chunks(graph, samples, batch):
        execute(graph, chunk, count)
    result = {}
    for name, (low, high) in ranges.items():
        total = np.cumsum(counts[name])
        if not total[-1]:
            result[name] = low, high
            continue
        first = int(np.searchsorted(total, (1 - part) * total[-1], side="right"))
        last = int(np.searchsorted(total, part * total[-1], side="left"))
        step = (high - low) / BINS
        result[name] = low + step * first, low + step * (min(last, BINS - 1) + 1)
    return result


def _chunks(graph: FloatGraph, samples: Samples, batch: int) -> Iterator[dict[str, NDArray[np.float32]]]:
    """``batch`` samples at a time."""
    missing = [name for name in graph.inputs if name not in samples]
    if missing:
        raise InputError(f"calibration samples lack the input {missing[0]}; the model takes {', '.join(graph.inputs)}")
    counts = {len(samples[name]) for name in graph.inputs}
    if len(counts) != 1 or 0 in counts:
        raise InputError(f"calibration needs the same number of samples, at least 1, per input, not {sorted(counts)}")
    (count,) = counts
    for start in range(0, count, batch):
        yield {name: samples[name][start : start + batch] for name in graph.inputs}
