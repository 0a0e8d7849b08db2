"""Ranges of activations: every method against a plain implementation of its definition."""

import math

import numpy as np
import pytest

from mapper.activation_scale import activation_scale
from mapper.calibrate import Calibration
from mapper.clipping import least_error
from mapper.histogram import BINS, Histogram, Wanted
from mapper.range_entropy import STEPS, bins_within, entropy
from mapper.range_methods import METHODS
from mapper.range_percentile import percentile

SHAPES = {
    "normal": lambda rng: rng.standard_normal(40_000),
    "relu": lambda rng: np.maximum(rng.standard_normal(40_000), 0),
    "heavy": lambda rng: rng.standard_t(3, 40_000),
    "outlier": lambda rng: np.append(rng.uniform(-1, 1, 40_000), 30),
    "one-sided below": lambda rng: -rng.exponential(1, 20_000),
    "few": lambda rng: rng.standard_normal(50),
}


def histogram(values: np.ndarray) -> Histogram:
    counts, _ = np.histogram(values, BINS, (values.min(), values.max()))
    return Histogram(float(values.min()), float(values.max()), counts.astype(float))


def plain_divergence(counts: list[float], first: int, last: int, levels: int) -> float:
    """KL(P, Q) of one threshold, element by element as MXNet has it."""
    p = counts[first:last]
    q = list(p)
    p[0] += sum(counts[:first])
    p[-1] += sum(counts[last:])
    merged, members = [0.0] * levels, [[] for _ in range(levels)]
    for i, count in enumerate(q):
        level = i * levels // len(q)
        merged[level] += count
        if p[i]:
            members[level].append(i)
    q = [0.0] * len(q)
    for total, places in zip(merged, members, strict=True):
        for i in places:
            q[i] = total / len(places)
    smooth = []
    for counts_ in (p, q):
        zeros = sum(v == 0 for v in counts_)
        taken = 1e-4 * zeros / (len(counts_) - zeros) if zeros < len(counts_) else math.inf
        values = [1e-4 if v == 0 else v - taken for v in counts_]
        if taken >= 1 or min(values) <= 0:
            return math.inf
        whole = sum(values)
        smooth.append([v / whole for v in values])
    return sum(a * math.log(a / b) for a, b in zip(*smooth, strict=True))


@pytest.mark.parametrize("name", SHAPES)
def test_entropy_is_the_least_divergence(name, rng):
    found = histogram(SHAPES[name](rng))
    low, high = found.whole
    chosen = entropy(found, Wanted(6))
    largest, counts = max(-low, high), list(found.counts)
    if low < high and found.low <= 0 <= found.high:
        edges = np.linspace(found.low, found.high, BINS + 1)
        zero = min(int(np.searchsorted(edges, 0, "right")) - 1, BINS - 1)
        counts[zero] = min(counts[zero], max(counts[max(zero - 1, 0) : zero][:1] + counts[zero + 1 : zero + 2]))
    tried = {}
    for step in [*range(STEPS, 0, -37), round(max(-chosen[0], chosen[1]) / largest * STEPS)]:
        first, last = bins_within(found, largest * step / STEPS)
        if last - first >= 64:
            tried[step] = plain_divergence(counts, first, last, 64)
    best = round(max(-chosen[0], chosen[1]) / largest * STEPS)
    assert tried[best] == min(tried.values()) or tried[best] == pytest.approx(min(tried.values()), rel=1e-6)
    assert low <= chosen[0] <= 0 <= chosen[1] <= high


def test_entropy_cuts_outliers_only(rng):
    low, high = entropy(histogram(SHAPES["outlier"](rng)), Wanted(4))
    assert low == pytest.approx(-1, abs=0.01) and 1 <= high < 8
    values = rng.uniform(-1, 1, 100_000)
    assert entropy(histogram(values), Wanted()) == (pytest.approx(values.min()), pytest.approx(values.max()))


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("bits", [3, 8])
def test_least_error_is_no_worse_than_others(name, bits, rng):
    """Measured on the values themselves, not on the histogram."""
    values = SHAPES[name](rng)
    found = histogram(values)

    def error(low: float, high: float) -> float:
        scale, zero = activation_scale(low, high, bits)
        codes = np.clip(np.rint(values / scale) + zero, -(1 << bits - 1), (1 << bits - 1) - 1)
        return float(((codes - zero) * scale - values).__pow__(2).mean())

    best = error(*least_error(found, Wanted(bits)))
    for method in ("percentile", "entropy"):
        assert best <= error(*METHODS[method].choose(found, Wanted(bits))) * 1.02
    assert best <= error(*found.whole) * 1.02


def test_zeros_of_relus_do_not_decide(rng):
    values = np.maximum(rng.standard_normal(100_000), 0)
    assert entropy(histogram(values), Wanted())[1] > 0.8 * entropy(histogram(values[values > 0]), Wanted())[1] > 2.5


def test_percentiles_are_quantiles(rng):
    values = SHAPES["heavy"](rng)
    found = percentile(histogram(values), Wanted(percentile=99))
    width = (values.max() - values.min()) / BINS
    assert found == pytest.approx(np.quantile(values, [0.01, 0.99]), abs=1.5 * width)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bits", [2, 8, 16])
def test_degenerate_tensors(method, bits):
    """Nothing but one value, nothing at all, and two values."""
    for low, high in ((3.0, 3.0), (0.0, 0.0), (-2.0, 5.0)):
        counts = np.zeros(BINS)
        if low < high:
            counts[[0, -1]] = 1
        known = Calibration({"x": (low, high)}, {"x": Histogram(low, high, counts)}, method)
        found = known.range("x", bits)
        assert min(low, 0) <= found[0] <= found[1] <= max(high, 0)


def test_narrow_tensors_take_the_least_error(rng):
    found = histogram(SHAPES["heavy"](rng))
    known = {m: Calibration({"x": (found.low, found.high)}, {"x": found}, m, 99.0) for m in METHODS}
    least = least_error(found, Wanted(3))
    assert [known[m].range("x", 3) == least for m in METHODS] == [True, True, False, True]
    assert len({known[m].range("x", 8) for m in METHODS}) == 4
    assert {known[m].range("x", 16) for m in ("minmax", "entropy", "mse")} == {found.whole}
