"""Scales, shifts and rounding against exact rational numbers."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.errors import InputError
from dataflows.network import Tensor
from sim.golden.requantize import common_fixed_point, fixed_point, requantize, round_shift, scaled, wrap

ACC = st.integers(-(2**31), 2**31 - 1)
SCALE = st.floats(min_value=0, max_value=float(np.float32(2**24 - 1)), width=32)


def target(zero: int) -> Tensor:
    return Tensor("y", (1, 1, 1, 1), 1.0, zero)


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
    got = requantize(np.array(accumulators, np.int64), one(scale), target(zero), low, high, "layer")
    assert got.dtype == np.int8
    assert got.tolist() == expected


def test_requantize_extremes():
    extremes = np.array([-(2**31), 2**31 - 1, 0, 1, -1], np.int64)
    largest = one(np.nextafter(np.float32(2**24), np.float32(0)))
    assert requantize(extremes, largest, target(0), -128, 127, "layer").tolist() == [-128, 127, 0, 127, -128]
    assert requantize(extremes, one(2.0**-41), target(5), -128, 127, "layer").tolist() == [5] * 5
    assert requantize(extremes, one(2.0**-31), target(5), -128, 127, "layer").tolist() == [4, 6, 5, 5, 5]


WIDE = st.one_of(st.integers(-(2**47), 2**47 - 1), st.sampled_from([-(2**47), 2**47 - 1, 0, -1, 1]))


@given(st.lists(WIDE, min_size=1, max_size=8), st.integers(0, 2**24 - 1), st.integers(0, 63))
def test_products_of_72_bits_are_exact(accumulators, multiplier, shift):
    """Where the quotient is so large that it clamps anyway, it may be any as large one."""
    got = scaled(np.array(accumulators, np.int64), np.int64(multiplier), np.int64(shift))
    for acc, value in zip(accumulators, got.tolist(), strict=True):
        exact = round(Fraction(acc * multiplier, 2**shift))
        assert value == exact if abs(exact) < 2**38 else abs(value) >= 2**38 and (value > 0) == (exact > 0)


@pytest.mark.parametrize("shift", range(64))
def test_wide_ties(shift):
    """Products at ties and one beside them: multiplier 1 leaves the accumulator, 3 makes ties of its halves."""
    half = 2**shift // 2
    wide = 2**40 << 7  # one accumulator that takes the way of large products
    values = [k * 2**shift + sign * half + d for k in range(-3, 4) for sign in (-1, 1) for d in (-1, 0, 1)]
    values = [v for v in values if abs(v) < 2**47]
    for multiplier in (1, 3, 2**23):
        got = scaled(np.array([*values, -wide], np.int64), np.int64(multiplier), np.int64(shift))[:-1]
        exact = [round(Fraction(v * multiplier, 2**shift)) for v in values]
        assert [g for g, e in zip(got.tolist(), exact, strict=True) if abs(e) < 2**38] == [
            e for e in exact if abs(e) < 2**38
        ]


@given(st.integers(-(2**60), 2**60), st.sampled_from([32, 48]))
def test_wrap(value, bits):
    wrapped = int(wrap(np.array([value], np.int64), bits)[0])
    assert -(2 ** (bits - 1)) <= wrapped < 2 ** (bits - 1)
    assert (wrapped - value) % 2**bits == 0
