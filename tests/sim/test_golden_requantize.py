"""Scales, shifts and rounding against exact rational numbers."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.errors import InputError
from sim.golden.requantize import common_fixed_point, fixed_point, requantize, round_shift, wrap32

ACC = st.integers(-(2**31), 2**31 - 1)
SCALE = st.floats(min_value=0, max_value=float(np.float32(2**24 - 1)), width=32)


def one(scale: float) -> np.ndarray:
    return np.array([scale], np.float32)


@given(st.integers(-(2**55), 2**55), st.integers(0, 63))
def test_round_shift_is_round_half_even(value, shift):
    assert int(round_shift(np.int64(value), shift)) == round(Fraction(value, 2**shift))


@pytest.mark.parametrize("shift", range(64))
def test_round_shift_at_and_beside_every_tie(shift):
    half = 2**shift // 2
    limit = 2**62  # the sums below stay exact
    values = [k * 2**shift + sign * half + d for k in range(-4, 5) for sign in (-1, 1) for d in (-1, 0, 1)]
    values = [v for v in values if abs(v) < limit]
    expected = [round(Fraction(v, 2**shift)) for v in values]
    assert round_shift(np.array(values, np.int64), shift).tolist() == expected


def test_round_shift_takes_a_shift_per_element():
    values = np.array([[5, -5, 6], [7, 3, -3]], np.int64)
    assert round_shift(values, np.array([0, 1, 2])).tolist() == [[5, -2, 2], [7, 2, -1]]


@given(SCALE)
def test_fixed_point_is_the_significand(scale):
    multiplier, shift = (int(a[0]) for a in fixed_point(one(scale), "layer"))
    assert 0 <= shift <= 63
    if scale >= 2**-39:
        assert 2**23 <= multiplier < 2**24
        assert Fraction(multiplier, 2**shift) == Fraction(scale)
    else:
        assert shift == 63
        assert multiplier == round(Fraction(scale) * 2**63)


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        (1.0, (2**23, 23)),
        (0.5, (2**23, 24)),
        (2.0**-40, (2**23, 63)),
        (np.nextafter(np.float32(1), np.float32(0)), (2**24 - 1, 24)),
        (2.0**-39, (2**23, 62)),
        (2.0**-41, (2**22, 63)),
        (2.0**-63, (1, 63)),
        (2.0**-64, (0, 63)),
        (1.5 * 2.0**-63, (2, 63)),
        (2.5 * 2.0**-63, (2, 63)),
        (1e-45, (0, 63)),
        (0.0, (0, 63)),
        (2.0**23, (2**23, 0)),
        (np.nextafter(np.float32(2**24), np.float32(0)), (2**24 - 1, 0)),
    ],
)
def test_fixed_point_corners(scale, expected):
    assert tuple(int(a[0]) for a in fixed_point(one(scale), "layer")) == expected


@pytest.mark.parametrize("scale", [2.0**24, 1e30, np.inf, np.nan, -1.0])
@pytest.mark.parametrize("convert", [fixed_point, common_fixed_point])
def test_impossible_scale_names_the_layer(scale, convert):
    with pytest.raises(InputError, match=r"layer 'stem\.conv'.* below 2\*\*24, not "):
        convert(np.array([0.5, scale], np.float32), "stem.conv")


@given(st.lists(SCALE, min_size=1, max_size=4))
def test_common_fixed_point(scales):
    scale = np.array(scales, np.float32)
    multiplier, shift = common_fixed_point(scale, "layer")
    assert 0 <= shift <= 63
    assert [int(m) for m in multiplier] == [round(Fraction(float(s)) * 2**shift) for s in scale]
    assert int(multiplier.max()) < 2**24
    assert int(multiplier.max()) >= 2**23 or shift == 63


@given(
    st.lists(ACC, min_size=1, max_size=8), SCALE, st.integers(-128, 127), st.integers(-128, 127), st.integers(-128, 127)
)
def test_requantize(accumulators, scale, zero, a, b):
    low, high = min(a, b), max(a, b)
    multiplier, shift = (int(v[0]) for v in fixed_point(one(scale), "layer"))
    expected = [min(max(round(Fraction(acc * multiplier, 2**shift)) + zero, low), high) for acc in accumulators]
    got = requantize(np.array(accumulators, np.int64), one(scale), zero, low, high, "layer")
    assert got.dtype == np.int8
    assert got.tolist() == expected


def test_requantize_extremes():
    extremes = np.array([-(2**31), 2**31 - 1, 0, 1, -1], np.int64)
    largest = one(np.nextafter(np.float32(2**24), np.float32(0)))
    assert requantize(extremes, largest, 0, -128, 127, "layer").tolist() == [-128, 127, 0, 127, -128]
    assert requantize(extremes, one(2.0**-41), 5, -128, 127, "layer").tolist() == [5] * 5
    assert requantize(extremes, one(2.0**-31), 5, -128, 127, "layer").tolist() == [4, 6, 5, 5, 5]


@given(st.integers(-(2**60), 2**60))
def test_wrap32(value):
    wrapped = int(wrap32(np.array([value], np.int64))[0])
    assert -(2**31) <= wrapped < 2**31
    assert (wrapped - value) % 2**32 == 0
