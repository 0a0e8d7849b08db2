"""Packing of narrow operands against bits written out one by one."""

import numpy as np
import pytest

from dataflows.formats import pitch
from dataflows.network import Tensor
from dataflows.packing import pack, unpack


def numbers(rng, bits, shape):
    if bits == 1:
        return rng.choice(np.array([-1, 1], np.int8), shape)
    codes = rng.integers(-(1 << bits - 1), 1 << bits - 1, shape)
    codes.flat[0] = -(1 << bits - 1)
    return codes.astype(np.int16 if bits > 8 else np.int8)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 7, 8, 16])
@pytest.mark.parametrize("channels", [1, 3, 8, 13])
def test_bits_lie_where_they_should(bits, channels):
    codes = numbers(np.random.default_rng(bits), bits, (2, 3, channels))
    raw = pack(codes, bits)
    width = {1: 1, 2: 2, 3: 4, 4: 4, 5: 8, 7: 8, 8: 8, 16: 16}[bits]
    assert raw.shape == (2, 3, -(-channels * width // 8)) and raw.shape[-1] == pitch(channels, bits)
    for pixel, line in zip(raw.reshape(6, -1), codes.reshape(6, -1), strict=True):
        memory = int.from_bytes(pixel.tobytes(), "little")
        for place, code in enumerate(line.tolist()):
            field = memory >> place * width & (1 << width) - 1
            assert field == ((code > 0) if bits == 1 else code & (1 << width) - 1)
        assert memory >> channels * width == 0
    assert np.array_equal(unpack(raw, channels, bits), codes) and unpack(raw, channels, bits).dtype == codes.dtype


def test_what_fills_a_pixel_does_not_matter():
    rng = np.random.default_rng(1)
    codes = numbers(rng, 2, (4, 5))
    raw = pack(codes, 2)
    raw[:, -1] |= rng.integers(0, 64, 4, np.uint8) << 2
    assert np.array_equal(unpack(raw, 5, 2), codes)


def test_tensors_count_whole_bytes_per_pixel():
    tensor = Tensor("x", (2, 3, 4, 5), 1.0, 0, 3)
    assert (tensor.container, tensor.pitch, tensor.bytes) == (4, 3, 72)
    assert (tensor.lowest, tensor.highest, tensor.dtype) == (-4, 3, np.int8)
    one = Tensor("y", (1, 1, 1, 9), 1.0, 0, 1)
    assert (one.bytes, one.lowest, one.highest) == (2, -1, 1)
