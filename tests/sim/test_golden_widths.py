"""Numbers that do not fit their widths are refused, in words."""

from dataclasses import replace

import numpy as np
import pytest

from dataflows.errors import InputError
from dataflows.network import AvgPool, Conv, Layer, MaxPool, Network, Reshape, Tensor
from sim.golden import run


def network(layer: Layer, source: Tensor, target: Tensor) -> Network:
    """A network of one layer."""
    return Network("n", {"x": source, "y": target}, (layer,), ("x",), ("y",))


X4, Y4 = Tensor("x", (1, 1, 1, 2), 1.0, 0, 4), Tensor("y", (1, 1, 1, 2), 1.0, 0, 4)
X1, Y1 = replace(X4, bits=1), replace(Y4, bits=1)
CONV = Conv("c", ("x",), "y", -8, 7, np.ones((2, 2, 1, 1), np.int8), np.ones(2, np.float32), np.zeros(2, np.int32),
            weight_bits=4)  # fmt: skip
ONES = np.ones((1, 1, 1, 2), np.int8)


@pytest.mark.parametrize(
    ("layer", "source", "target", "x", "message"),
    [
        (CONV, X4, Y4, 8 * ONES, "input 'x': 8 is outside the range of 4 bits, -8 to 7"),
        (CONV, X4, Y4, -9 * ONES, "input 'x': -9 is outside the range of 4 bits, -8 to 7"),
        (CONV, X1, Y4, 0 * ONES, "input 'x': 0 is outside the two numbers of one bit, -1 and 1"),
        (CONV, X1, Y4, -2 * ONES, "input 'x': -2 is outside the two numbers of one bit, -1 and 1"),
        (CONV, replace(X4, bits=9), Y4, ONES, "tensor 'x' has 9 bits; possible are 1 to 8, and 16"),
        (CONV, replace(X4, zero=8), Y4, ONES, "tensor 'x': zero point 8 is outside the range of 4 bits, -8 to 7"),
        (CONV, replace(X1, zero=-1), Y4, ONES, "tensor 'x' has one bit, so its zero point is 0, not -1"),
        (CONV, replace(X4, bits=2, ternary=True), Y4, -2 * ONES,
         "input 'x': -2 is outside the ternary numbers, -1 to 1"),
        (CONV, replace(X4, zero=-2, bits=2, ternary=True), Y4, ONES,
         "tensor 'x': zero point -2 is outside the ternary numbers, -1 to 1"),
        (CONV, replace(X4, ternary=True), Y4, ONES, "tensor 'x' is ternary, so it has 2 bits, not 4"),
        (replace(CONV, weight=CONV.weight * np.int8(8)), X4, Y4, ONES,
         "weights of layer 'c': 8 is outside the range of 4 bits, -8 to 7"),
        (replace(CONV, weight=CONV.weight * np.int8(0), weight_bits=1), X4, Y4, ONES,
         "weights of layer 'c': 0 is outside the two numbers of one bit, -1 and 1"),
        (replace(CONV, high=8), X4, Y4, ONES,
         "layer 'c': it clamps to -8..8, which is outside the range of 4 bits, -8 to 7"),
        (replace(CONV, low=0, high=1), X4, Y1, ONES, "layer 'c': a one-bit result is clamped to -1..1, not to 0..1"),
        (MaxPool("p", ("x",), "y", -1, 1), X4, Y1, ONES,
         "layer 'p': max_pool cannot make a one-bit result of 4 bits; only a convolution can"),
        (AvgPool("p", ("x",), "y", -1, 1), X1, Y1, ONES,
         "layer 'p': avg_pool cannot make a one-bit result of 1 bits; only a convolution can"),
        (Reshape("r", ("x",), "y", -4, 3), X4, replace(Y4, bits=3), ONES,
         "layer 'r': it keeps the bits of its input, so a result of 4, not 3"),
    ],
)  # fmt: skip
def test_numbers_that_do_not_fit_are_refused(layer, source, target, x, message) -> None:
    with pytest.raises(InputError) as error:
        run(network(layer, source, target), {"x": x.astype(np.int8)})
    assert str(error.value) == message


def test_numbers_that_fit_are_taken() -> None:
    for source, x in ((X4, -8 * ONES), (X4, 7 * ONES), (X1, -ONES)):
        run(network(CONV, source, Y4), {"x": x.astype(np.int8)})
    run(network(replace(CONV, low=-1, high=1, weight_bits=1), X1, Y1), {"x": ONES})
