"""Calibration: the range of every tensor of a float graph, seen while samples run through it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from dataflows.errors import InputError
from mapper.float_reference import execute
from mapper.graph import FloatGraph
from mapper.graph_attention import has_lengths

Samples = Mapping[str, NDArray[np.float32]]
Method = Literal["minmax", "percentile"]

BINS = 4096
"""Histogram bins of the percentile method, over the whole range of a tensor."""


@dataclass(frozen=True)
class Calibration:
    """What is known of each tensor, by its name.

    Attributes
    ----------
    ranges : smallest and largest value that it has to represent
    histograms : how its values are distributed, where narrow tensors need to know
    """

    ranges: dict[str, tuple[float, float]]
    histograms: dict[str, Histogram] = field(default_factory=dict)


@dataclass(frozen=True)
class Histogram:
    """Counts of values in bins of equal width over ``low``..``high``, all that was seen."""

    low: float
    high: float
    counts: NDArray[np.float64]


def observe(
    graph: FloatGraph, samples: Samples, method: Method = "minmax", percentile: float = 99.99, batch: int = 16,
    histograms: bool = False,
) -> Calibration:  # fmt: skip
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
    histograms
        Whether to count values, too, for tensors of few bits.

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
    if method == "minmax" and not histograms:
        return Calibration(ranges)
    counted = _count(graph, samples, ranges, batch)
    if method == "percentile":
        ranges = {name: _cut(found, percentile / 100) for name, found in counted.items()}
    return Calibration(ranges, counted if histograms else {})


def _count(
    graph: FloatGraph, samples: Samples, ranges: dict[str, tuple[float, float]], batch: int
) -> dict[str, Histogram]:
    """Histograms over the full ranges."""
    counts = {name: np.zeros(BINS) for name in ranges}

    def count(name: str, value: torch.Tensor) -> None:
        low, high = ranges[name]
        if low < high:
            counts[name] += torch.histc(value, BINS, low, high).numpy()

    for chunk in _chunks(graph, samples, batch):
        execute(graph, chunk, count)
    return {name: Histogram(low, high, counts[name]) for name, (low, high) in ranges.items()}


def _cut(found: Histogram, part: float) -> tuple[float, float]:
    """The range that holds the values between two quantiles."""
    low, high, total = found.low, found.high, np.cumsum(found.counts)
    if not total[-1]:
        return low, high
    first = int(np.searchsorted(total, (1 - part) * total[-1], side="right"))
    last = int(np.searchsorted(total, part * total[-1], side="left"))
    step = (high - low) / BINS
    return low + step * first, low + step * (min(last, BINS - 1) + 1)


def _chunks(graph: FloatGraph, samples: Samples, batch: int) -> Iterator[dict[str, NDArray[np.float32]]]:
    """``batch`` samples at a time."""
    missing = [name for name in graph.inputs if name not in samples]
    if missing:
        raise InputError(f"calibration samples lack the input {missing[0]}; the model takes {', '.join(graph.inputs)}")
    counts = {len(samples[name]) for name in graph.inputs}
    if len(counts) != 1 or 0 in counts:
        raise InputError(f"calibration needs the same number of samples, at least 1, per input, not {sorted(counts)}")
    (count,) = counts
    whole = graph.shapes[graph.inputs[0]][0]  # lengths of attention belong to samples by their place in a batch
    batch = -(-batch // whole) * whole if has_lengths(graph) else batch
    for start in range(0, count, batch):
        yield {name: samples[name][start : start + batch] for name in graph.inputs}
