"""Tables, embeddings, constants, slices and reshapes to sequences in the golden model."""

import numpy as np
import pytest

from dataflows.attention import Constant, Embedding, Lookup, Slice
from dataflows.errors import InputError
from dataflows.network import Add, Network, Reshape, Tensor
from sim import golden


def run(layer, x, source, target):
    """One layer."""
    net = Network("one", {"x": source, "y": target}, (layer,), ("x",), ("y",))
    return golden.run(net, {"x": x})["y"]


def test_lookup_of_every_code(rng):
    table = rng.integers(-128, 128, 256).astype(np.int8)
    x = np.arange(-128, 128, dtype=np.int8).reshape(1, 1, 64, 4)
    found = run(Lookup("f", ("x",), "y", table=table), x, Tensor("x", x.shape, 0.1, 3), Tensor("y", x.shape, 0.1, -3))
    np.testing.assert_array_equal(found.ravel(), table)


def test_embedding_reads_ids_without_sign(rng):
    table = rng.integers(-128, 128, (40_000, 3)).astype(np.int8)
    ids = np.array([0, 39_999, 32_768, 5], np.uint16).view(np.int16).reshape(2, 1, 2, 1)
    source, target = Tensor("x", ids.shape, 1.0, 0, 16), Tensor("y", (2, 1, 2, 3), 0.1, 0)
    found = run(Embedding("e", ("x",), "y", table=table), ids, source, target)
    np.testing.assert_array_equal(found.reshape(4, 3), table[[0, 39_999, 32_768, 5]])
    with pytest.raises(InputError, match="id 65535 is beyond its table of 40000 entries"):
        run(Embedding("e", ("x",), "y", table=table), np.full(ids.shape, -1, np.int16), source, target)


def test_constant_is_there_for_every_sample(rng):
    value = rng.integers(-128, 128, (1, 1, 3, 2)).astype(np.int8)
    tensors = {n: Tensor(n, (1, 1, 3, 2), 0.5, 0) for n in "xcy"}
    layers = (Constant("c", (), "c", value=value), Add("y", ("x", "c"), "y"))
    x = rng.integers(-60, 60, (4, 1, 3, 2)).astype(np.int8)
    found = golden.run(Network("sum", tensors, layers, ("x",), ("y",)), {"x": x})["y"]
    np.testing.assert_array_equal(found, np.clip(x.astype(int) + value, -128, 127))


def test_slice(rng):
    x = rng.integers(-128, 128, (2, 1, 5, 3)).astype(np.int8)
    source, target = Tensor("x", x.shape, 0.5, 4), Tensor("y", (2, 1, 2, 3), 0.5, 4)
    np.testing.assert_array_equal(run(Slice("s", ("x",), "y", start=3, stop=5), x, source, target), x[:, :, 3:])
    with pytest.raises(InputError, match="tokens 4 to 5 are not all among the 5"):
        run(Slice("s", ("x",), "y", start=4, stop=6), x, source, target)


def test_pixels_become_tokens(rng):
    x = rng.integers(-128, 128, (2, 3, 4, 5)).astype(np.int8)
    source, target = Tensor("x", x.shape, 0.5, 4), Tensor("y", (2, 1, 12, 5), 0.5, 4)
    np.testing.assert_array_equal(run(Reshape("r", ("x",), "y"), x, source, target), x.reshape(2, 1, 12, 5))
