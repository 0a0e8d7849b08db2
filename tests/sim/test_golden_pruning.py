"""Pruning in the golden model against loops over single numbers."""

from dataclasses import replace

import numpy as np
import pytest

from dataflows.errors import InputError
from dataflows.network import Network, Tensor
from dataflows.pruning import Gather, HeadConv, Select, factor
from sim import golden
from sim.golden.top_k import largest
from tests.pruned_transformers import PrunedBlocks, pruned_encoder


def chosen(values, keep):
    """Places of the largest, ties to the first, one after the other."""
    left = list(enumerate(int(v) for v in values))
    found = []
    for _ in range(keep):
        best = max(left, key=lambda pair: (pair[1], -pair[0]))
        left.remove(best)
        found.append(best[0])
    return sorted(found)


def probabilities(network, layer, values, sample):
    """``p[h][i][j]`` of a layer by loops."""
    q, k = (values[name][sample, 0].astype(int) for name in layer.inputs[:2])
    scales = [np.float32(network.tensors[name].scale) for name in layer.inputs[:2]]
    f = np.float32(369.32993046757) * (scales[0] * scales[1] * np.float32(layer.factor))
    size = q.shape[1] // layer.heads
    table = [round(127 * 256 * 2 ** (-x / 256)) for x in range(256)]  # no value is a tie
    out = []
    for h in range(layer.heads):
        part = slice(h * size, (h + 1) * size)
        scores = np.clip(np.rint((q[:, part] @ k[:, part].T) * np.float64(f)), -(1 << 15), (1 << 15) - 1).astype(int)
        for row in scores:
            below = (row.max() - row).tolist()
            codes = [(table[x % 256] >> min(x // 256, 31)) + 128 >> 8 for x in below]
            total = sum(codes)
            bits = total.bit_length()
            inverse = ((1 << bits + 23) - 1) // total
            out.append([(c * (inverse >> 8)) >> bits - 1 for c in codes])
    return np.array(out).reshape(layer.heads, len(q), -1)


@pytest.mark.parametrize(("seed", "samples", "sharpness"), [(1, 2, 1.5), (2, 1, 0.01), (3, 2, 6.0)])
def test_cascade(seed, samples, sharpness):
    """Importance is added over heads and layers and survives with its token or head; lists hold first numbers."""
    network = pruned_encoder(seed, 9, 3, 4, (7, 7, 3), (3, 2, 1), samples=samples, sharpness=sharpness)
    x = np.random.default_rng(seed).integers(-128, 128, (samples, 1, 9, 12)).astype(np.int8)
    values = golden.run(network, {"x": x})
    layers = {layer.output: layer for layer in network.layers}
    selections = [layer for layer in network.layers if isinstance(layer, Select)]
    assert [(s.heads, s.keep, s.carried) for s in selections] == [
        (False, 7, False), (True, 2, False), (False, 3, True), (True, 1, True)
    ]  # fmt: skip
    for sample in range(samples):
        importance = {False: dict.fromkeys(range(9), 0), True: dict.fromkeys(range(3), 0)}
        for select in selections:
            sums, present = importance[select.heads], list(importance[select.heads])
            for n, name in enumerate(select.observed):
                layer, y = layers[name], values[name][sample, 0].astype(int) - network.tensors[name].zero
                p = probabilities(network, layer, values, sample)
                for place, number in enumerate(present):
                    size = y.shape[1] // layer.heads
                    magnitude = int(np.abs(y[:, place * size : (place + 1) * size]).sum()) if select.heads else 0
                    sums[number] += magnitude * select.factors[n] if select.heads else int(p[:, :, place].sum())
            stay = [present[place] for place in chosen([sums[number] for number in present], select.keep)]
            assert values[select.output][sample, 0, :, 0].tolist() == stay
            importance[select.heads] = {number: sums[number] for number in stay}


def test_gathers_and_heads():
    """What is computed on the tokens and heads that are left is what would be computed on them alone."""
    network = pruned_encoder(5, 11, 4, 3, (6, 2), (2, 2), samples=2)
    x = np.random.default_rng(5).integers(-128, 128, (2, 1, 11, 12)).astype(np.int8)
    values = golden.run(network, {"x": x})
    gathers = [layer for layer in network.layers if isinstance(layer, Gather)]
    assert len(gathers) == 4 and len(gathers[-1].inputs) == 3
    for layer in gathers:
        source, numbers, *before = (values[name] for name in layer.inputs)
        for sample in range(2):
            names = before[0][sample, 0, :, 0].tolist() if before else list(range(11))
            rows = [source[sample, 0, names.index(n)] for n in numbers[sample, 0, :, 0]]
            np.testing.assert_array_equal(values[layer.output][sample, 0], rows)
    convs = [layer for layer in network.layers if isinstance(layer, HeadConv)]
    assert [layer.side for layer in convs] == ["out", "out", "out", "in"]
    for layer in convs:
        source = network.tensors[layer.inputs[0]]
        result = network.tensors[layer.output]
        for sample in range(2):
            heads = values[layer.inputs[1]][sample, 0, :, 0]
            picked = [3 * int(h) + d for h in heads for d in range(3)]
            xs = values[layer.inputs[0]][sample, 0].astype(int) - source.zero
            weight = layer.conv.weight[:, :, 0, 0].astype(int)
            rows = picked if layer.side == "out" else list(range(12))
            weight = weight[rows] if layer.side == "out" else weight[:, picked]
            scale = np.float32(source.scale) * layer.conv.weight_scale[rows] / np.float32(result.scale)
            wanted = np.rint((xs @ weight.T + layer.conv.bias[rows]) * scale.astype(np.float64)) + result.zero
            np.testing.assert_array_equal(values[layer.output][sample, 0], np.clip(wanted, -128, 127))


def test_values_of_the_largest_columns_are_added():
    rng = np.random.default_rng(7)
    blocks = PrunedBlocks(7, rng.integers(-128, 128, (1, 1, 8, 6)).astype(np.int8))
    name = blocks.pruned_attention("x", 2, keep_values=3)
    network = blocks.network("values")
    layer, values = network.layers[-1], blocks.values
    sums = probabilities(network, layer, values, 0).sum(axis=1)
    v = values[layer.inputs[2]].copy()
    every = replace(layer, keep_values=None)
    for h in range(2):
        dropped = [j for j in range(8) if j not in chosen(sums[h], 3)]
        v[0, 0, dropped, 3 * h : 3 * h + 3] = 0  # a value of 0 adds nothing
    wanted = golden.run_layer(network, every, values | {layer.inputs[2]: v})
    np.testing.assert_array_equal(values[name], wanted)
    assert not np.array_equal(values[name], golden.run_layer(network, every, values))
    np.testing.assert_array_equal(
        golden.run_layer(network, replace(layer, keep_values=8), values), golden.run_layer(network, every, values)
    )
    with pytest.raises(InputError, match="keep_values must be 1 to 8, the number of keys, not 9"):
        golden.run_layer(network, replace(layer, keep_values=9), values)


def test_ties_go_to_the_first():
    assert largest(np.array([[3, 5, 5, 5, 1], [0, 0, 0, 0, 0]]), 2).nonzero()[1].tolist() == [1, 2, 0, 1]


@pytest.mark.parametrize(("scale", "wanted"), [(0.05, 256), (0.1, 512), (1e-9, 1), (100.0, 4095)])
def test_factors(scale, wanted):
    assert factor(scale, 0.05) == wanted


def broken(**changes):
    """A network of one attention and one selection, changed."""
    blocks = PrunedBlocks(3, np.ones((1, 1, 4, 4), np.int8))
    blocks.pruned_attention("x", 2)
    blocks.select(2)
    network = blocks.network("broken")
    layer = replace(network.layers[-1], **changes)
    return replace(network, layers=(*network.layers[:-1], layer))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keep": 5}, "it keeps 5 of 4; possible are 1 to 4"),
        ({"inputs": ("x",)}, "it must select by results of attention layers"),
        ({"inputs": ("attention3", "x"), "carried": True}, "'x' is not the list of a selection"),
        ({"heads": True, "factors": ()}, "heads need 1 factors of 1 to 4095"),
    ],
)
def test_what_cannot_be_selected(changes, message):
    with pytest.raises(InputError, match=message):
        golden.run(broken(**changes), {"x": np.ones((1, 1, 4, 4), np.int8)})


def test_tokens_that_are_not_there():
    tensors = {
        "x": Tensor("x", (1, 1, 3, 2), 1.0, 0), "n": Tensor("n", (1, 1, 1, 1), 1.0, 0, 16),
        "y": Tensor("y", (1, 1, 1, 2), 1.0, 0),
    }  # fmt: skip
    network = Network("gather", tensors, (Gather("g", ("x", "n"), "y"),), ("x", "n"), ("y",))
    x, n = np.arange(6, dtype=np.int8).reshape(1, 1, 3, 2), np.full((1, 1, 1, 1), 2, np.int16)
    assert golden.run(network, {"x": x, "n": n})["y"].tolist() == [[[[4, 5]]]]
    with pytest.raises(InputError, match="token 3 is beyond the 3 of its input"):
        golden.run(network, {"x": x, "n": n + 1})
