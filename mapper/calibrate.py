"""Calibration: the range of every tensor of a float graph, seen while samples run through it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from dataflows.errors import InputError
from mapper.clipping import NARROW
from mapper.float_reference import execute
from mapper.graph import FloatGraph
from mapper.graph_attention import has_lengths
from mapper.histogram import BINS, Histogram, Range, Wanted
from mapper.range_methods import METHODS

Samples = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Calibration:
    """What is known of each tensor, by its name.

    Attributes
    ----------
    ranges : smallest and largest value that was seen
    histograms : how its values are distributed, where the method or narrow tensors need to know
    method : one of :data:`mapper.range_methods.METHODS`
    percentile : of the method of that name
    """

    ranges: dict[str, Range]
    histograms: dict[str, Histogram] = field(default_factory=dict)
    method: str = "minmax"
    percentile: float = 99.99

    def range(self, name: str, bits: int = 8, ternary: bool = False) -> Range:
        """Smallest and largest value that a tensor of ``bits`` bits has to represent."""
        found, method = self.histograms.get(name), METHODS[self.method]
        if bits <= NARROW and not method.narrow:
            method = METHODS["mse"]
        if found is None or method.choose is None:
            return self.ranges[name]
        return method.choose(found, Wanted(bits, ternary, self.percentile))


def observe(
    graph: FloatGraph, samples: Samples, method: str = "minmax", percentile: float = 99.99, batch: int = 16,
    histograms: bool = False,
) -> Calibration:  # fmt: skip
    """Run samples through the graph and note the range of every tensor.

    Parameters
    ----------
    samples
        One float array (samples, C, H, W) per graph input.
    method
        How ranges are chosen: one of :data:`mapper.range_methods.METHODS`.
    percentile
        Of the method ``percentile``: it cuts what lies outside ``100 - percentile`` and ``percentile`` percent of a
        tensor's values (resolution: 1/4096 of its range).
    batch
        Samples run at a time.
    histograms
        Whether to count values even if the method does not need it, for tensors of few bits.

    Raises
    ------
    InputError
        For unknown methods and percentiles, and when a tensor is not finite.
    """
    if method not in METHODS:
        raise InputError(f"calibration method must be one of {', '.join(METHODS)}, not {method!r}")
    if not 50 < percentile <= 100:
        raise InputError(f"percentile must be above 50 and at most 100, not {percentile}")
    ranges: dict[str, Range] = {}

    def note(name: str, value: torch.Tensor) -> None:
        low, high = (float(bound) for bound in torch.aminmax(value))
        if not np.isfinite((low, high)).all():
            raise InputError(f"calibration: the values of {name} are not finite; check the samples and the model")
        before = ranges.get(name, (low, high))
        ranges[name] = min(low, before[0]), max(high, before[1])

    for chunk in _chunks(graph, samples, batch):
        execute(graph, chunk, note)
    counts = histograms or METHODS[method].choose is not None
    return Calibration(ranges, _count(graph, samples, ranges, batch) if counts else {}, method, percentile)


def _count(
    graph: FloatGraph, samples: Samples, ranges: dict[str, Range], batch: int
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
