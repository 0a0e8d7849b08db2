"""Products against rational arithmetic and ONNX Runtime; maps that grow against PyTorch."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from torch.nn import functional

from dataflows.errors import InputError
from dataflows.network import Concat, Conv, Tensor, Window
from dataflows.operators import ChannelSlice, Multiply, Spread, Upsample
from sim.golden.conv import conv
from sim.golden.elementwise import concat, multiply
from sim.golden.resample import channels, spread, upsample
from tests.sim.golden_layers import SEED, ZERO, random_codes
from tests.sim.golden_layers import zeros as zero_points
from tests.sim.test_golden_onnx import infer, parameters

SCALE = st.floats(2**-12, 16, width=32)
SHAPE = st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), st.integers(1, 5))


def product(layer, a, b, y, xs):
    """The golden model's product."""
    return multiply(layer, xs, [a, b], y)


@pytest.mark.parametrize("bits", [8, 16])
@given(SHAPE, st.lists(SCALE, min_size=3, max_size=3), st.tuples(*[st.booleans()] * 3), st.data(), SEED)
def test_multiply(bits, shape, scales, ones, data, seed):
    rng = np.random.default_rng(seed)
    zeros = [data.draw(zero_points(bits)) for _ in range(3)]
    small = (shape[0], *(1 if one else size for one, size in zip(ones, shape[1:], strict=True)))
    xs = [random_codes(rng, shape, bits), random_codes(rng, small, bits)]
    a, b, y = (Tensor(n, shape, s, z, bits) for n, s, z in zip("aby", scales, zeros, strict=True))
    low, high = (-120, 99) if bits == 8 else (-30000, 32767)
    got = product(Multiply("l", ("a", "b"), "y", low, high), a, b, y, xs)
    f = Fraction(float(np.float32(scales[0]) * np.float32(scales[1]) / np.float32(scales[2])))
    if f < Fraction(1, 2**39):
        return
    for p, q, r in zip(xs[0].flat, np.broadcast_to(xs[1], shape).flat, got.flat, strict=True):
        total = round((int(p) - zeros[0]) * (int(q) - zeros[1]) * f)
        assert r == min(max(total + zeros[2], low), high)


@pytest.mark.parametrize("zeros", [(0, 0, 0), (-128, 127, 3), (127, -128, -128), (5, -11, 127)])
@pytest.mark.parametrize("small", [(2, 3, 4, 5), (2, 1, 1, 5), (2, 3, 4, 1)])
def test_multiply_is_that_of_onnx_runtime(rng, zeros, small):
    xs = random_codes(rng, (2, 3, 4, 5)), random_codes(rng, small)
    scales = 0.125, 0.25, 1.0
    a, b, y = (Tensor(n, (), s, z) for n, s, z in zip("aby", scales, zeros, strict=True))
    names = ["a", "a_scale", "a_zero", "b", "b_scale", "b_zero", "y_scale", "y_zero"]
    node = helper.make_node("QLinearMul", names, ["y"], domain="com.microsoft")
    constants = {k: v for n, s, z in zip("aby", scales, zeros, strict=True) for k, v in parameters(n, s, z).items()}
    wanted = infer([node], constants, dict(zip("ab", xs, strict=True)))
    got = product(Multiply("l", ("a", "b"), "y"), a, b, y, list(xs))
    if zeros[2] % 2:  # it adds the zero point before it rounds: ties go the other way
        assert np.abs(got.astype(int) - wanted).max() <= 1 and (got == wanted).mean() > 0.9
    else:
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("factor", [(1, 1), (2, 2), (1, 3), (4, 1)])
def test_upsample(rng, factor):
    x = random_codes(rng, (2, 3, 4, 5))
    got = upsample(Upsample("l", ("x",), "y", -100, 90, factor=factor), x, Tensor("y", (), 1.0, 0))
    wide = torch.from_numpy(x.astype(np.float32).transpose(0, 3, 1, 2))
    wanted = functional.interpolate(wide, scale_factor=factor, mode="nearest").numpy().transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(got, wanted.clip(-100, 90))


@given(SHAPE, st.tuples(*[st.integers(1, 3)] * 5), ZERO, SEED)
def test_spread_makes_convolutions_transposed(shape, sizes, zero, seed):
    """A convolution of spread pixels, kernel turned around, is PyTorch's transposed convolution, in integers."""
    rng = np.random.default_rng(seed)
    kernel, stride, more = sizes[:2], sizes[2:4], min(sizes[4], *sizes[2:4]) - 1
    x = random_codes(rng, shape)
    weight = rng.integers(-3, 4, (shape[3], 2, *kernel)).astype(np.int8)
    source, target = Tensor("x", shape, 1.0, zero), Tensor("y", (), 64.0, 0, 16)
    apart = spread(Spread("s", ("x",), "s", stride=stride), x, source, source)
    around = (kernel[0] - 1, kernel[1] - 1, kernel[0] - 1 + more, kernel[1] - 1 + more)
    turned = np.ascontiguousarray(weight.transpose(1, 0, 2, 3)[..., ::-1, ::-1])
    layer = Conv(
        "c", ("s",), "y", -32768, 32767, turned, np.ones(2, np.float32), np.zeros(2, np.int32),
        Window(kernel, padding=around),
    )  # fmt: skip
    got = conv(layer, apart, source, target)
    real = torch.from_numpy((x.astype(np.float64) - zero).transpose(0, 3, 1, 2))
    wide = functional.conv_transpose2d(real, torch.from_numpy(weight.astype(np.float64)), None, stride, 0, more)
    np.testing.assert_array_equal(got, np.rint(wide.numpy().transpose(0, 2, 3, 1) / 64))


def test_channels(rng):
    x = random_codes(rng, (2, 3, 4, 5))
    got = channels(ChannelSlice("l", ("x",), "y", start=1, stop=4), x, Tensor("y", (), 1.0, 0))
    np.testing.assert_array_equal(got, x[..., 1:4])
    with pytest.raises(InputError, match="channels 3 to 5 are not all among the 5"):
        channels(ChannelSlice("l", ("x",), "y", start=3, stop=6), x, Tensor("y", (), 1.0, 0))


def test_concatenated_tokens(rng):
    xs = [random_codes(rng, (2, 1, n, 3)) for n in (1, 4)]
    a, b, y = Tensor("a", (), 0.5, -5), Tensor("b", (), 1.0, 3), Tensor("y", (), 1.0, 9)
    got = concat(Concat("l", ("a", "b"), "y", axis=2), xs, [a, b], y)
    wanted = [np.rint((xs[0].astype(int) + 5) * 0.5), xs[1].astype(int) - 3]
    np.testing.assert_array_equal(got, np.concatenate(wanted, 2).clip(-137, 118) + 9)
