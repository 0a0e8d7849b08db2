"""Whole networks: order, names, refusals, and the quality figure."""

import math

import numpy as np
import pytest

from dataflows.errors import InputError
from dataflows.network import Add, AvgPool, Concat, Conv, Layer, MaxPool, Network, Reshape, Tensor, Window
from sim.golden import dequantize, run, sqnr
from tests.sim.golden_layers import random_codes


def small(rng: np.random.Generator) -> Network:
    """Every operator once: two branches, added, concatenated, pooled, flattened, classified."""

    def conv(name, source, target, outputs, depth, kernel=1):
        return Conv(
            name,
            (source,),
            target,
            weight=random_codes(rng, (outputs, depth, kernel, kernel)),
            weight_scale=np.full(outputs, 0.01, np.float32),
            bias=rng.integers(-500, 500, outputs).astype(np.int32),
            window=Window((kernel, kernel), padding=(kernel // 2,) * 4),
        )

    shapes = {
        "x": (1, 4, 4, 3),
        "a": (1, 4, 4, 5),
        "b": (1, 4, 4, 5),
        "s": (1, 4, 4, 5),
        "c": (1, 4, 4, 8),
        "m": (1, 2, 2, 8),
        "g": (1, 1, 1, 8),
        "f": (1, 1, 1, 8),
        "y": (1, 1, 1, 10),
    }
    tensors = {name: Tensor(name, shape, 0.1 * (1 + i), 3 - i) for i, (name, shape) in enumerate(shapes.items())}
    tensors["m"] = Tensor("m", shapes["m"], tensors["c"].scale, tensors["c"].zero)
    tensors["f"] = Tensor("f", shapes["f"], tensors["g"].scale, tensors["g"].zero)
    layers: tuple[Layer, ...] = (
        conv("a", "x", "a", 5, 3, 3),
        conv("b", "x", "b", 5, 3),
        Add("add", ("a", "b"), "s"),
        Concat("cat", ("s", "x"), "c"),
        MaxPool("max", ("c",), "m", window=Window((2, 2), (2, 2))),
        AvgPool("mean", ("m",), "g", window=Window((2, 2)), divisors=np.array([[4]], np.int32)),
        Reshape("flat", ("g",), "f"),
        conv("fc", "f", "y", 10, 8),
    )
    return Network("small", tensors, layers, ("x",), ("y",))


def test_every_tensor_comes_back(rng):
    network = small(rng)
    x = random_codes(rng, (1, 4, 4, 3))
    values = run(network, {"x": x})
    assert list(values) == ["x", *(layer.output for layer in network.layers)]
    assert all(v.dtype == np.int8 and v.shape == network.tensors[name].shape for name, v in values.items())
    assert np.array_equal(values["x"], x)
    assert len(np.unique(values["y"])) > 1


def test_samples_do_not_affect_each_other(rng):
    network = small(rng)
    x = random_codes(rng, (5, 4, 4, 3))
    together = run(network, {"x": x})
    for i in range(5):
        alone = run(network, {"x": x[i : i + 1]})
        for name, value in alone.items():
            np.testing.assert_array_equal(value[0], together[name][i])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "network 'small' takes the inputs x, not none"),
        ({"z": np.zeros((1, 4, 4, 3), np.int8)}, "network 'small' takes the inputs x, not z"),
        ({"x": np.zeros((1, 4, 4, 3), np.float32)}, "input 'x' must be an array of int8, not float32"),
        ({"x": np.zeros((1, 3, 4, 4), np.int8)}, "input 'x' must have the shape (N, 4, 4, 3), not (1, 3, 4, 4)"),
        ({"x": np.zeros((4, 4, 3), np.int8)}, "input 'x' must have the shape (N, 4, 4, 3), not (4, 4, 3)"),
    ],
)
def test_wrong_inputs_are_refused(rng, inputs, message):
    with pytest.raises(InputError) as error:
        run(small(rng), inputs)
    assert str(error.value) == message


def test_result_of_another_shape_is_refused(rng):
    network = small(rng)
    network.tensors["s"] = Tensor("s", (1, 4, 4, 6), 1.0, 0)
    with pytest.raises(
        InputError, match=r"layer 'add': result 's' must have the shape \(N, 4, 4, 6\), not \(1, 4, 4, 5\)"
    ):
        run(network, {"x": np.zeros((1, 4, 4, 3), np.int8)})


def test_unknown_operator_is_refused():
    network = Network("n", {"x": Tensor("x", (1, 1, 1, 1), 1.0, 0)}, (Layer("odd", ("x",), "x"),), ("x",), ("x",))
    with pytest.raises(InputError, match="layer 'odd': the golden model has no operator"):
        run(network, {"x": np.zeros((1, 1, 1, 1), np.int8)})


def test_dequantize_and_sqnr():
    tensor = Tensor("t", (1, 1, 1, 4), 0.5, -2)
    values = np.array([-2, 0, 2, -128], np.int8).reshape(1, 1, 1, 4)
    real = dequantize(tensor, values)
    assert real.flatten().tolist() == [0.0, 1.0, 2.0, -63.0]
    assert sqnr(real, tensor, values) == math.inf
    assert sqnr(real * 1.1, tensor, values) == pytest.approx(20 * math.log10(11), abs=1e-4)
    assert sqnr(np.zeros_like(real), tensor, values) == -math.inf
    with pytest.raises(ValueError, match="shape"):
        sqnr(real[0], tensor, values)


def test_sqnr_of_uniform_noise(rng):
    """Rounding noise of one step is step**2 / 12."""
    reference = rng.uniform(-100, 100, (1, 50, 50, 8))
    tensor = Tensor("t", reference.shape, 1.0, 0)
    expected = 10 * math.log10(100**2 / 3 * 12)
    assert sqnr(reference, tensor, np.rint(reference).astype(np.int8)) == pytest.approx(expected, abs=0.2)
