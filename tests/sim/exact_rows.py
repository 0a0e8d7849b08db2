"""Softmax and norms in exact rational arithmetic, number by number, from the text of ``docs/numerics.md``."""

from collections.abc import Iterator
from decimal import Decimal, getcontext
from fractions import Fraction
from math import isqrt

import numpy as np

getcontext().prec = 60


def real(value: float) -> Fraction:
    """A float32 value, exactly."""
    return Fraction(float(np.float32(value)))


def rhe(value: Fraction) -> int:
    """Nearest integer, ties to the even one."""
    return round(value)


def clamp(value: int, low: int, high: int) -> int:
    """Limit a number."""
    return min(max(value, low), high)


def fixed(scale: np.float32) -> tuple[int, int]:
    """Multiplier and shift of a scale that is not below 2**-39."""
    value, shift = Fraction(float(scale)), 0
    while value * 2**shift < 2**23:
        shift += 1
    assert (value * 2**shift).denominator == 1
    return int(value * 2**shift), shift


TABLE = [rhe(Fraction(Decimal(127 * 256) * Decimal(2) ** (Decimal(-x) / 256))) for x in range(256)]


def softmax(scores: list[int], counted: list[bool]) -> tuple[list[int], int]:
    """Numerators and their sum."""
    largest = max((s for s, c in zip(scores, counted, strict=True) if c), default=0)
    codes = []
    for score, counts in zip(scores, counted, strict=True):
        octave, fraction = divmod(largest - score, 256)
        codes.append((TABLE[fraction] // 2**octave + 128) // 256 if counts else 0)
    return codes, sum(codes)


def row_scale(total: int, multiplier: int, shift: int) -> tuple[int, int, int]:
    """Multiplier and shift of a row, and the inverse."""
    if not total:
        return 0, shift, 0
    bits = total.bit_length()
    inverse = (2 ** (bits + 23) - 1) // total
    return multiplier * inverse // 2**24, shift + bits - 1, inverse


def rows(layer, q, k, scales) -> Iterator[tuple[tuple[int, int, int], tuple[list[int], int]]]:
    """Numerators and sum of every row, by sample, head and query."""
    f = np.float32
    score = fixed(f(369.32993046757) * (f(scales[0]) * f(scales[1]) * f(layer.factor)))
    (samples, _, queries, channels), keys = q.shape, k.shape[2]
    size = channels // layer.heads
    for n, h, i in np.ndindex(samples, layer.heads, queries):
        part = slice(h * size, h * size + size)
        products = [sum(int(a) * int(b) for a, b in zip(q[n, 0, i, part], row[part], strict=True)) for row in k[n, 0]]
        scores = [clamp(rhe(Fraction(p * score[0], 2 ** score[1])), -(2**15), 2**15 - 1) for p in products]
        length = keys if layer.lengths is None else layer.lengths[n]
        counted = [j < length and (not layer.causal or j <= i + keys - queries) for j in range(keys)]
        yield (n, h, i), softmax(scores, counted)


def sums(layer, q, k, scales) -> np.ndarray:
    """Sums of all rows, (N, H, Lq)."""
    found = np.zeros((q.shape[0], layer.heads, q.shape[2]), np.int64)
    for place, (_, total) in rows(layer, q, k, scales):
        found[place] = total
    return found


def attention(layer, q, k, v, scales, result) -> tuple[np.ndarray, np.ndarray]:
    """Codes (N, 1, Lq, C) and probabilities (N, H, Lq, Lk) of 16 fraction bits; scales are those of q, k and v."""
    value = fixed(np.float32(scales[2]) / np.float32(result.scale))
    (samples, _, queries, channels), keys = q.shape, k.shape[2]
    size = channels // layer.heads
    out, share = np.zeros(q.shape, np.int64), np.zeros((samples, layer.heads, queries, keys), np.int64)
    for (n, h, i), (codes, total) in rows(layer, q, k, scales):
        multiplier, shift, inverse = row_scale(total, *value)
        for d in range(h * size, h * size + size):
            acc = sum(code * int(row[d]) for code, row in zip(codes, v[n, 0], strict=True))
            out[n, 0, i, d] = clamp(rhe(Fraction(acc * multiplier, 2**shift)) + result.zero, layer.low, layer.high)
        places = 2 ** max(total.bit_length() - 1, 0)
        share[n, h, i] = [code * (inverse // 256) // places for code in codes]
    return out, share


def norm(layer, x: list[int], source, result) -> list[int]:
    """One token."""
    channels = len(x)
    values = [e - source.zero for e in x]
    epsilon = rhe(real(layer.epsilon) * channels**2 / real(source.scale) ** 2)
    total = sum(values) if layer.centered else 0
    square = max(channels * sum(u * u for u in values) - total**2 + epsilon, 1)
    half = (square.bit_length() + 1) // 2
    root = isqrt(square * 4 ** (22 - half))
    assert 2**21 <= root < 2**22
    inverse = (2**45 - 1) // root
    gain, bias, shift = gains(layer, result)
    out = []
    for u, g, b in zip(values, gain, bias, strict=True):
        n = (channels * u - total) * (inverse // 256) // 2 ** (half + 3)
        out.append(clamp(rhe(Fraction(n * g + b, 2**shift)) + result.zero, layer.low, layer.high))
    return out


def gains(layer, result) -> tuple[list[int], list[int], int]:
    """Integer gains and biases with the largest shift that fits."""
    g, b = ([Fraction(float(v / np.float32(result.scale))) for v in values] for values in (layer.gain, layer.bias))
    for shift in range(37, -1, -1):
        gain, bias = [rhe(v * 2**shift / 4096) for v in g], [rhe(v * 2**shift) for v in b]
        if max(map(abs, gain)) < 2**15 and max(map(abs, bias)) < 2**31:
            return gain, bias, shift
    raise AssertionError("no shift")
