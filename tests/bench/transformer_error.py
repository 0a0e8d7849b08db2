"""How far integer softmax, attention and norms are from float64 on the same codes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataflows.attention import Attention, Norm
from dataflows.network import Tensor
from sim.golden import norms, softmax
from sim.golden.attention import attention, counted, heads, scores
from tests.bench.figures import Figure

COMMAND = "python -m tests.bench transformer_error"
CHANNELS = 64
"""Of the one head."""

LENGTHS = (128, 384, 1024)
SPREADS = (0.1, 1.0, 3.0, 10.0)
"""Standard deviations of the scores, as exponents of e: from all keys alike to one that takes all."""

WIDTHS = (64, 768, 1024)

Reals = NDArray[np.float64]


@dataclass(frozen=True)
class Errors:
    """Absolute errors of probabilities and, in steps of their scale, of outputs; ``moved``: probability misplaced."""

    probability: Reals
    moved: float
    output: Reals


def codes(rng: np.random.Generator, *shape: int) -> NDArray[np.int8]:
    """Normally distributed codes as calibration leaves them: three standard deviations fill the range."""
    return np.clip(np.rint(rng.normal(0, 127 / 3, shape)), -128, 127).astype(np.int8)


def attention_errors(length: int, spread: float) -> Errors:
    """One head of ``length`` queries and keys; the scale of the result just holds the largest output."""
    rng = np.random.default_rng([length, round(10 * spread)])
    xs = [codes(rng, 1, 1, length, CHANNELS) for _ in range(3)]
    real = [x[0, 0].astype(np.float64) for x in xs]
    products = real[0] @ real[1].T
    factor = float(np.float32(spread / products.std()))
    power = np.exp(factor * (products - products.max(axis=1, keepdims=True)))
    share = power / power.sum(axis=1, keepdims=True)
    output = share @ real[2]
    sources = [Tensor(name, x.shape, 1.0, 0) for name, x in zip("qkv", xs, strict=True)]
    result = Tensor("y", xs[0].shape, float(np.float32(np.abs(output).max() / 127)), 0)
    layer = Attention("attention", ("q", "k", "v"), "y", factor=factor)
    queries, keys = heads(xs[0], 1), heads(xs[1], 1)
    numerators, sums = softmax.numerators(scores(layer, queries, keys, sources), counted(layer, queries, keys))
    difference = np.abs(numerators[0, 0] / sums[0, 0, :, np.newaxis] - share)
    found = attention(layer, xs, sources, result)[0, 0]
    steps = np.abs(found - output / np.float64(result.scale))
    return Errors(difference, float(difference.sum(axis=1).mean()) / 2, steps)


def norm_errors(channels: int, *, centered: bool) -> Reals:
    """Layer or RMS norm of 256 tokens with gains around 1, in steps of a result that saturates at four deviations."""
    rng = np.random.default_rng([channels, centered])
    x, scale = codes(rng, 1, 1, 256, channels), np.float32(0.05)
    gain, bias = rng.normal(1, 0.3, channels).astype(np.float32), rng.normal(0, 0.2, channels).astype(np.float32)
    source, result = Tensor("x", x.shape, float(scale), 5), Tensor("y", x.shape, float(np.float32(4 / 127)), 0)
    layer = Norm("norm", ("x",), "y", centered=centered, gain=gain, bias=bias)
    real = np.float64(scale) * (x.astype(np.float64) - 5)
    mean = real.mean(axis=-1, keepdims=True) if centered else 0.0
    root = np.sqrt(((real - mean) ** 2).mean(axis=-1, keepdims=True) + np.float64(np.float32(layer.epsilon)))
    wanted = ((real - mean) / root * gain + bias) / np.float64(result.scale)
    return np.abs(norms.norm(layer, x, source, result) - np.clip(wanted, -128, 127))


def run() -> list[Figure]:
    """Errors of attention for every length and spread, and of norms for every width."""
    figures = []
    for length in LENGTHS:
        for spread in SPREADS:
            errors, what = attention_errors(length, spread), f"{length} keys, scores {spread:g}"
            rows = (
                ("largest error of a probability", float(errors.probability.max()), ""),
                ("mean error of a probability", float(errors.probability.mean()), ""),
                ("probability misplaced in a row", errors.moved, ""),
                ("largest error of attention", float(errors.output.max()), "steps"),
                ("mean error of attention", float(errors.output.mean()), "steps"),
            )
            figures += [Figure(f"{what}: {name}", value, unit, "", None, COMMAND) for name, value, unit in rows]
    for channels in WIDTHS:
        for name, centered in (("layer norm", True), ("RMS norm", False)):
            error = norm_errors(channels, centered=centered)
            for kind, value in (("largest", float(error.max())), ("mean", float(error.mean()))):
                figures.append(Figure(f"{name}, {channels} channels: {kind} error", value, "steps", "", None, COMMAND))
    return figures
