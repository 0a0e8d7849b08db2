"""Pixels that are repeated, spread or cut into channels, and joined tokens, as programs."""

import numpy as np
import pytest

from dataflows import config
from dataflows.network import Concat, MaxPool, Network, Tensor, Window
from dataflows.operators import ChannelSlice, Multiply, Spread, Upsample
from mapper.compile import compile_network
from mapper.conv_plan import Options
from sim import golden
from tests.mapper.test_programs import check, execute, small
from tests.random_layers import activation


def single(rng, layer, shape, wanted, bits=8):
    """A network of one layer that keeps its input's scale."""
    source = activation(rng, "x", shape, bits)
    target = Tensor("y", wanted, source.scale, source.zero, bits)
    return Network("one", {"x": source, "y": target}, (layer,), ("x",), ("y",))


SHAPES = [(1, 1, 1, 1), (2, 3, 5, 7), (1, 9, 6, 24), (1, 2, 2, 600), (1, 40, 33, 3)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("lean", "bits"), [(False, 8), (True, 8), (True, 16)])
def test_moves(rng, shape, lean, bits):
    cfg = small("weight_stationary", 3, 5, lean=lean, bits=bits)
    n, h, w, c = shape
    for seed in range(3):
        fy, fx = (int(v) for v in rng.integers(1, 4, 2))
        start = int(rng.integers(0, c))
        stop = int(rng.integers(start + 1, c + 1))
        limits = "y", *((-128, 127) if seed else (-100, 90))
        for layer, wanted in (
            (Upsample("up", ("x",), *limits, factor=(fy, fx)), (n, h * fy, w * fx, c)),
            (Spread("s", ("x",), *limits, stride=(fy, fx)), (n, (h - 1) * fy + 1, (w - 1) * fx + 1, c)),
            (ChannelSlice("c", ("x",), *limits, start=start, stop=stop), (n, h, w, stop - start)),
        ):
            network = single(rng, layer, shape, wanted, bits)
            assert not compile_network(cfg, network, Options(bytes_per_cycle=cfg.bus_bytes)).host
            check(network, cfg, seed)


def test_channels_of_a_vector_are_no_work(rng):
    network = single(rng, ChannelSlice("c", ("x",), "y", start=3, stop=9), (1, 1, 1, 12), (1, 1, 1, 6))
    program = compile_network(small("weight_stationary", 4, 4), network, Options())
    assert not program.schedule
    x = np.arange(12, dtype=np.int8).reshape(1, 1, 1, 12)
    np.testing.assert_array_equal(execute(program, x)["y"].ravel(), x.ravel()[3:9])


@pytest.mark.parametrize("lean", [False, True])
def test_joined_tokens(rng, lean):
    """Tokens of three tensors, one of them a part of another, at scales of their own."""
    cfg = small("weight_stationary", 3, 5, lean=lean)
    for seed, (n, channels, lengths) in enumerate([(1, 5, (1, 4, 2)), (3, 70, (7, 1, 9))]):
        x = activation(rng, "x", (n, 1, lengths[0], channels))
        up = Tensor("u", (n, 1, 3 * lengths[0], channels), x.scale, x.zero)
        target = activation(rng, "y", (n, 1, 4 * lengths[0] + lengths[0], channels))
        layers = (
            Upsample("up", ("x",), "u", factor=(1, 3)), Concat("cat", ("x", "u", "x"), "y", axis=2),
        )  # fmt: skip
        network = Network("tokens", {"x": x, "u": up, "y": target}, layers, ("x",), ("y",))
        assert golden.run(network, {"x": np.zeros(x.shape, np.int8)})["y"].shape == target.shape
        check(network, cfg, seed)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("lean", [False, True])
def test_products(rng, shape, lean):
    """Of equal tensors, of a tensor with itself, and with a pixel that counts for all."""
    base = small("weight_stationary", 3, 5, lean=lean).model_dump()
    base["vector"] = {"window_words": 12, "products": True}
    cfg = config.parse(base, "test")
    n, _, _, c = shape
    for seed in range(3):
        x, target = activation(rng, "x", shape), activation(rng, "y", shape)
        up = Tensor("u", shape, x.scale, x.zero)
        pixel = Tensor("p", (n, 1, 1, c), x.scale, x.zero)
        layers = (
            Upsample("u", ("x",), "u"), MaxPool("p", ("x",), "p", window=Window(stride=shape[1:3])),
            Multiply("y", ("x", ("x", "u", "p")[seed]), "y", -100, 90),
        )  # fmt: skip
        network = Network("product", {"x": x, "u": up, "p": pixel, "y": target}, layers, ("x",), ("y",))
        program = compile_network(cfg, network, Options())
        assert not program.host
        check(network, cfg, seed)


def test_products_that_the_host_makes(rng):
    """A plane that counts for all channels, and an accelerator without products."""
    x, target = activation(rng, "x", (1, 3, 4, 5)), activation(rng, "y", (1, 3, 4, 5))
    plane = Tensor("p", (1, 3, 4, 1), x.scale, x.zero)
    layers = ChannelSlice("p", ("x",), "p", start=2, stop=3), Multiply("y", ("x", "p"), "y")
    network = Network("plane", {"x": x, "p": plane, "y": target}, layers, ("x",), ("y",))
    base = small("weight_stationary", 3, 5).model_dump()
    assert "vector.products" in compile_network(config.parse(base, "test"), network, Options()).host["y"]
    base["vector"] = {"window_words": 12, "products": True}
    assert "the second is a pixel" in compile_network(config.parse(base, "test"), network, Options()).host["y"]
