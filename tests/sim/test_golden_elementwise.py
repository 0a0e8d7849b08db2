"""Add, concat and reshape against rational arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.network import Add, Concat, Reshape, Tensor
from sim.golden.elementwise import reshape
from tests.sim.golden_layers import SEED, ZERO, apply, random_codes
from tests.sim.golden_layers import zeros as zero_points

SCALE = st.floats(2**-12, 16, width=32)
SHAPE = st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), st.integers(1, 5))


def multipliers(scales: list[float], result: float) -> tuple[list[int], int]:
    """The rule of several scales with one shift, written down naively."""
    effective = [Fraction(float(np.float32(s) / np.float32(result))) for s in scales]
    shift = max(s for s in range(64) if round(max(effective) * 2**s) < 2**24)
    return [round(e * 2**shift) for e in effective], shift


@pytest.mark.parametrize("bits", [8, 16])
@given(SHAPE, st.lists(SCALE, min_size=3, max_size=3), st.data(), SEED)
def test_add(bits, shape, scales, data, seed):
    rng = np.random.default_rng(seed)
    zeros = [data.draw(zero_points(bits)) for _ in range(3)]
    xs = [random_codes(rng, shape, bits) for _ in range(2)]
    tensors = [Tensor(name, shape, scale, zero, bits) for name, scale, zero in zip("aby", scales, zeros, strict=True)]
    low, high = (-120, 99) if bits == 8 else (-30000, 32767)
    got = apply(Add("l", ("a", "b"), "y", low, high), tensors, xs, shape[3])
    (m_a, m_b), shift = multipliers(scales[:2], scales[2])
    for a, b, y in zip(xs[0].flat, xs[1].flat, got.flat, strict=True):
        total = (int(a) - zeros[0]) * m_a + (int(b) - zeros[1]) * m_b
        assert y == min(max(round(Fraction(total, 2**shift)) + zeros[2], low), high)


def test_add_of_a_tensor_to_itself(rng):
    x = random_codes(rng, (1, 4, 4, 3))
    tensors = [Tensor("x", x.shape, 0.5, -5), Tensor("y", (), 1.0, 9)]
    got = apply(Add("l", ("x", "x"), "y"), [tensors[0], tensors[0], tensors[1]], [x, x], 3)
    np.testing.assert_array_equal(got, np.clip(x.astype(int) + 5 + 9, -128, 127))


def test_add_rounds_once():
    one = np.ones((1, 1, 1, 1), np.int8)
    tensors = [Tensor("a", one.shape, 0.5, 0), Tensor("b", one.shape, 0.5, 0), Tensor("y", (), 1.0, 0)]
    assert apply(Add("l", ("a", "b"), "y"), tensors, [one, one], 1).item() == 1  # two roundings would give 0


@given(st.lists(st.tuples(st.integers(1, 4), SCALE, ZERO), min_size=1, max_size=4), SCALE, ZERO, SEED)
def test_concat(parts, result_scale, result_zero, seed):
    rng = np.random.default_rng(seed)
    xs = [random_codes(rng, (2, 3, 2, channels)) for channels, _, _ in parts]
    tensors = [Tensor(f"x{i}", xs[i].shape, scale, zero) for i, (_, scale, zero) in enumerate(parts)]
    layer = Concat("l", tuple(t.name for t in tensors), "y", -128, 120)
    got = apply(layer, [*tensors, Tensor("y", (), result_scale, result_zero)], xs, sum(p[0] for p in parts))
    ms, shift = multipliers([scale for _, scale, _ in parts], result_scale)
    start = 0
    for x, (channels, _, zero), m in zip(xs, parts, ms, strict=True):
        expected = [min(max(round(Fraction((int(q) - zero) * m, 2**shift)) + result_zero, -128), 120) for q in x.flat]
        assert got[..., start : start + channels].flatten().tolist() == expected
        start += channels


def test_concat_passes_equal_scales_unchanged(rng):
    xs = [random_codes(rng, (1, 2, 2, 3)) for _ in range(2)]
    tensors = [Tensor("a", xs[0].shape, 0.3, 4), Tensor("b", xs[1].shape, 300.0, 7), Tensor("y", (), 0.3, 4)]
    got = apply(Concat("l", ("a", "b"), "y"), tensors, xs, 6)
    np.testing.assert_array_equal(got[..., :3], xs[0])


def test_reshape_keeps_nhwc_order():
    x = np.arange(24, dtype=np.int8).reshape(2, 2, 3, 2)
    got = reshape(Reshape("l", ("x",), "y"), x, Tensor("y", (2, 1, 1, 12), 1.0, 0))
    assert got.shape == (2, 1, 1, 12)
    assert got.reshape(2, 12).tolist() == x.reshape(2, 12).tolist()
