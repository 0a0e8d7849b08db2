"""Attention of the golden model against exact arithmetic and against floating-point softmax."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from dataflows.attention import Attention
from dataflows.errors import InputError
from dataflows.network import Network, Tensor
from sim import golden
from sim.golden import softmax
from sim.golden.attention import counted, heads, scores
from tests.bench.transformer_error import attention_errors, norm_errors
from tests.sim import exact_rows


def network(queries, keys, channels, heads=1, samples=1, scales=(0.05, 0.04, 0.03, 0.02), zero=0, **fields):
    """One attention layer."""
    tensors = {
        name: Tensor(name, (samples, 1, length, channels), float(np.float32(scale)), 0)
        for name, length, scale in zip("qkv", (queries, keys, keys), scales, strict=False)
    }
    tensors["y"] = Tensor("y", (samples, 1, queries, channels), float(np.float32(scales[3])), zero)
    factor = float(np.float32(1 / math.sqrt(channels // heads)))
    layer = Attention("attention", ("q", "k", "v"), "y", **{"heads": heads, "factor": factor, **fields})
    return Network("attention", tensors, (layer,), ("q", "k", "v"), ("y",))


def draw(net, rng, low=-128, high=127):
    """Codes of queries, keys and values."""
    return {name: rng.integers(low, high + 1, net.tensors[name].shape).astype(np.int8) for name in net.inputs}


def compare(net, x):
    """Golden against exact, bit by bit; returns the result."""
    (layer,) = net.layers
    sources = [net.tensors[name] for name in net.inputs]
    found = golden.run(net, x)["y"]
    wanted, share = exact_rows.attention(layer, *x.values(), [s.scale for s in sources], net.tensors["y"])
    np.testing.assert_array_equal(found, wanted)
    q, k, _ = (heads(v, layer.heads) for v in x.values())
    codes, sums = softmax.numerators(scores(layer, q, k, sources), counted(layer, q, k))
    np.testing.assert_array_equal(softmax.probabilities(codes, sums), share)
    return found


CASES = {
    "plain": (5, 7, 12, {"heads": 3}),
    "causal": (6, 6, 8, {"heads": 2, "causal": True}),
    "cache": (2, 9, 8, {"heads": 1, "causal": True}),
    "rows without keys": (7, 4, 4, {"causal": True}),
    "lengths": (3, 5, 6, {"heads": 2, "samples": 3, "lengths": (0, 1, 5)}),
    "both": (4, 4, 6, {"samples": 2, "causal": True, "lengths": (4, 2)}),
    "one key": (3, 1, 5, {}),
    "saturated": (4, 6, 16, {"scales": (1.0, 1.0, 0.1, 0.1)}),
    "flat": (3, 40, 4, {"scales": (1e-4, 1e-4, 0.1, 0.05), "zero": -128}),
    "coarse": (4, 9, 8, {"scales": (0.05, 0.05, 0.1, 2.0), "zero": 127}),
    "fine": (4, 9, 8, {"scales": (0.05, 0.05, 0.1, 1e-4), "low": -100, "high": 90}),
}


@pytest.mark.parametrize("case", CASES)
def test_attention_is_exact(case, rng):
    queries, keys, channels, fields = CASES[case]
    net = network(queries, keys, channels, **fields)
    compare(net, draw(net, rng))


def test_attention_of_extremes():
    """Most negative everywhere, all equal, and keys of both signs: scores saturate at both ends."""
    net = network(3, 5, 64, scales=(0.5, 0.5, 0.1, 0.1))
    least = {name: np.full(net.tensors[name].shape, -128, np.int8) for name in "qkv"}
    assert (compare(net, least) == -128).all()
    opposed = least | {"k": np.where(np.arange(5)[:, None] % 2, -128, 127).astype(np.int8)[None, None].repeat(64, 3)}
    opposed["v"] = np.arange(5, dtype=np.int8)[None, None, :, None].repeat(64, 3)
    assert (compare(net, opposed) == 2).all()  # two keys share: (1 + 3) / 2


def test_equal_scores_give_the_mean():
    """1,024 equal rows: nothing is lost where every probability is far below a step of eight bits."""
    net = network(2, 1024, 4, scales=(0.1, 0.1, 0.05, 0.05))
    rng = np.random.default_rng(3)
    x = draw(net, rng) | {"q": np.zeros((1, 1, 2, 4), np.int8)}
    mean = x["v"].astype(np.float64).mean(axis=2)
    assert np.abs(golden.run(net, x)["y"] - mean[:, :, None]).max() <= 0.5 + 1e-4


def test_no_key_gives_the_zero_point():
    net = network(2, 3, 4, zero=-7, lengths=(0,))
    assert (golden.run(net, draw(net, np.random.default_rng(0)))["y"] == -7).all()


def test_powers():
    np.testing.assert_array_equal(softmax.POWERS, exact_rows.TABLE)
    assert softmax.POWERS[0] == 127 * 256 and softmax.POWERS.max() < 1 << 15


def test_sums_of_every_length():
    """Reciprocals of all sums that rows can have keep 23 bits; multipliers and shifts fit their fields."""
    sums = np.concatenate([np.arange(3000), np.array([1 << b for b in range(12, 19)]), [127 * 4096 - 1, 127 * 4096]])
    inverse, bits = softmax.reciprocal(sums)
    for total, found, length in zip(sums.tolist(), inverse.tolist(), bits.tolist(), strict=True):
        assert found == (((1 << total.bit_length() + 23) - 1) // total if total else 0)
        assert not total or (length == total.bit_length() and 1 << 23 <= found < 1 << 24)
    for multiplier, shift in ((1 << 23, 0), ((1 << 24) - 1, 45)):
        scale, places = softmax.row_scale(sums, multiplier, shift)
        wanted = [exact_rows.row_scale(total, multiplier, shift)[:2] for total in sums.tolist()]
        assert list(zip(scale[sums > 0].tolist(), places[sums > 0].tolist(), strict=True)) == wanted[1:]
        assert places.min() >= 0 and places.max() <= 63 and scale.max() < 1 << 24 and scale[0] == 0


@pytest.mark.parametrize("queries", [64, 384])
@pytest.mark.parametrize("mask", ["none", "causal", "lengths"])
def test_agrees_with_torch(queries, mask, rng):
    """Within six steps of the output, half a step on average, of float attention on the same (full-range) codes."""
    fields = {"causal": {"causal": True}, "lengths": {"lengths": (queries - 7, 3)}}.get(mask, {})
    net = network(queries, queries, 64, heads=2, samples=2, scales=(0.04, 0.04, 0.02, 0.02), **fields)
    x = draw(net, rng)
    q, k, v = (
        torch.tensor(x[n][:, 0] * np.float64(net.tensors[n].scale)).unflatten(2, (2, 32)).transpose(1, 2) for n in "qkv"
    )
    keys = torch.arange(queries) < torch.tensor(fields.get("lengths", (queries, queries)))[:, None, None, None]
    seen = keys & torch.ones(queries, queries, dtype=torch.bool).tril() if mask == "causal" else keys
    wanted = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen.expand(2, 1, queries, queries))
    steps = wanted.transpose(1, 2).flatten(2)[:, None].numpy() / np.float64(net.tensors["y"].scale)
    found = golden.run(net, x)["y"]
    error = np.abs(found - np.clip(steps, -128, 127))
    assert error.max() < 6 and error.mean() < 0.5


BAD = {
    "4 channels do not divide into 3 heads": {"heads": 3},
    "zero point 0, not 3": {"zeros": 3},
    "must be \\(N, 1, Lq, C\\), \\(N, 1, Lk, C\\) twice": {"shape": (1, 1, 3, 8)},
    "lengths must be 1 numbers of 0 to 3 keys": {"lengths": (4,)},
    "their quotient must be at least 2\\*\\*-22": {"scale": 1e-9},
    "has 16 bits; attention takes and gives 8": {"bits": 16},
}


@pytest.mark.parametrize("message", BAD)
def test_bad_layers_are_refused(message):
    case = BAD[message]
    net = network(2, 3, 4, **{k: v for k, v in case.items() if k in ("heads", "lengths")})
    changes = {"zeros": "zero", "shape": "shape", "scale": "scale", "bits": "bits"}
    for key, field in changes.items():
        if key in case:
            net.tensors["v"] = replace(net.tensors["v"], **{field: case[key]})
    x = {name: np.zeros(net.tensors[name].shape, net.tensors[name].dtype) for name in "qkv"}
    with pytest.raises(InputError, match=message):
        golden.run(net, x)


def test_macs():
    net = network(5, 7, 12, heads=3, samples=2)
    assert net.macs(net.layers[0]) == 2 * (2 * 5 * 7 * 12)


def test_stated_errors():
    """What ``docs/numerics.md`` states: a row of it, and of norms."""
    errors = attention_errors(128, 1.0)
    assert errors.probability.max() < 0.003 and errors.moved < 0.01
    assert errors.output.max() < 3 and errors.output.mean() < 0.4
    assert max(norm_errors(64, centered=centered).max() for centered in (True, False)) < 0.52
