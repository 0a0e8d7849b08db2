"""Golden model and mapper derive the same integers from the same scales, each with code of its own."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mapper.numbers import common, significand
from sim.golden.requantize import common_fixed_point, fixed_point

SCALE = st.floats(min_value=0, max_value=float(np.float32(2**24 - 1)), width=32)


@settings(max_examples=200)
@given(SCALE)
def test_one_scale(scale):
    multiplier, shift = fixed_point(np.array([scale], np.float32), "layer")
    assert significand(np.float32(scale), "layer") == (int(multiplier[0]), int(shift[0]))


@settings(max_examples=200)
@given(st.lists(SCALE, min_size=1, max_size=4))
def test_several_scales(scales):
    multiplier, shift = common_fixed_point(np.array(scales, np.float32), "layer")
    assert common([np.float32(s) for s in scales], "layer") == ([int(m) for m in multiplier], shift)
