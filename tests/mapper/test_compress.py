"""Pruning and clustering of float graphs: what stays, what becomes equal, what is refused."""

import time
from argparse import ArgumentTypeError

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflows.errors import InputError
from mapper import layer_specs
from mapper.cluster import cluster
from mapper.graph import Conv, Flatten, FloatGraph
from mapper.layer_specs import LayerSpec
from mapper.prune import PruneSpec, changed, prune
from mapper.prune_masks import by_channel, by_magnitude, by_pattern
from mapper.weight_sharing import distinct, is_shared, share


def graph(rng: np.random.Generator) -> FloatGraph:
    """A convolution, a scaling of channels, a flatten, two linear layers."""

    def layer(name, source, *shape, groups=1):
        weight = rng.standard_normal(shape).astype(np.float32)
        bias = rng.standard_normal(shape[0]).astype(np.float32)
        return Conv(name, (source,), name, weight=weight, bias=bias, groups=groups)

    nodes = (
        layer("conv", "x", 6, 3, 3, 3), layer("scale", "conv", 6, 1, 1, 1, groups=6),
        Flatten("flat", ("scale",), "flat"), layer("fc1", "flat", 20, 24, 1, 1), layer("fc2", "fc1", 5, 20, 1, 1),
    )  # fmt: skip
    shapes = {"x": (1, 3, 4, 4), "conv": (1, 6, 2, 2), "scale": (1, 6, 2, 2), "flat": (1, 24, 1, 1)}
    return FloatGraph("net", ("x",), ("fc2",), {**shapes, "fc1": (1, 20, 1, 1), "fc2": (1, 5, 1, 1)}, {}, nodes)


def weights(found: FloatGraph) -> dict[str, np.ndarray]:
    return {node.name: node.weight for node in found.nodes if isinstance(node, Conv)}


def spec(text: str, value=float) -> LayerSpec:
    return layer_specs.parse(text, value)


@given(
    st.lists(st.sampled_from([0.0, 1.0, -1.0, 0.5, -0.25, 3.0]) | st.floats(-4, 4, width=16), min_size=1, max_size=40),
    st.floats(0.001, 1),
)
@settings(max_examples=200, deadline=None)
def test_magnitude_keeps_the_largest_and_of_equals_the_first(values, density):
    weight = np.array(values, np.float32).reshape(1, -1)
    mask = by_magnitude(weight, density)[0]
    order = sorted(range(len(values)), key=lambda i: (-abs(values[i]), i))
    wanted = {i for i in order[: max(1, round(density * len(values)))] if values[i]}
    assert set(np.flatnonzero(mask)) == wanted


@pytest.mark.parametrize("most, group", [(1, 1), (2, 4), (1, 4), (3, 7), (4, 4), (2, 64)])
@pytest.mark.parametrize("shape", [(3, 12, 1, 1), (2, 13, 3, 2), (1, 1, 1, 1), (4, 1, 3, 3)])
def test_patterns_hold_in_every_group(rng, most, group, shape):
    weight = rng.integers(-3, 4, shape).astype(np.float32)
    mask = by_pattern(weight, most, group)
    assert not mask[weight == 0].any()
    for start in range(0, shape[1], group):
        part, left = np.abs(weight[:, start : start + group]), mask[:, start : start + group]
        count = left.sum(1)
        np.testing.assert_array_equal(count, np.minimum(most, (part > 0).sum(1)))
        smallest = np.where(left, part, np.inf).min(1)
        largest = np.where(left, -np.inf, part).max(1)
        assert (smallest >= largest).all()
    ones = by_pattern(np.ones(shape, np.float32), most, group)
    np.testing.assert_array_equal(ones, np.broadcast_to((np.arange(shape[1]) % group < most)[:, None, None], shape))


def test_channels_of_the_smallest_norm_go(rng):
    weight = rng.standard_normal((7, 4, 3, 3)).astype(np.float32)
    weight *= np.array([3, 1, 5, 2, 5, 4, 0], np.float32)[:, None, None, None]
    weight[4] = weight[2]
    kept = by_channel(weight, 2 / 7).reshape(7, -1)
    assert kept.all(1).tolist() == [False, False, True, False, True, False, False]
    assert by_channel(weight, 1 / 7).any((1, 2, 3)).tolist() == [False, False, True, False, False, False, False]
    assert not by_channel(np.zeros((2, 3, 1, 1), np.float32), 0.5).any()


def test_one_density_is_for_every_layer_with_weights(rng):
    before = graph(rng)
    after = prune(before, PruneSpec(spec("0.25")))
    found = weights(after)
    assert {name: np.count_nonzero(w) for name, w in found.items()} == {"conv": 40, "scale": 6, "fc1": 120, "fc2": 25}
    assert changed(before, after) == {"conv", "fc1", "fc2"}
    for name, weight in found.items():
        kept = weight != 0
        np.testing.assert_array_equal(weight[kept], weights(before)[name][kept])
        assert weight.dtype == np.float32
    assert prune(after, PruneSpec(spec("0.25"))) == after or not changed(after, prune(after, PruneSpec(spec("0.25"))))


def test_named_densities_leave_others_alone(rng):
    before = graph(rng)
    after = prune(before, PruneSpec(spec("fc1=0.1,scale=0.5")))
    assert changed(before, after) == {"fc1", "scale"}
    assert np.count_nonzero(weights(after)["fc1"]) == 48
    after = prune(before, PruneSpec(spec("0.5, fc1=1")))
    assert changed(before, after) == {"conv", "fc2"}


def test_channels_take_their_biases_along_and_outputs_keep_theirs(rng):
    before = graph(rng)
    after = prune(before, PruneSpec(channels=spec("0.5")))
    assert changed(before, after) == {"conv", "fc1"}
    conv = after.nodes[0]
    alive = conv.weight.any((1, 2, 3))
    assert alive.sum() == 3
    np.testing.assert_array_equal(conv.bias, np.where(alive, before.nodes[0].bias, 0))
    named = prune(before, PruneSpec(channels=spec("fc2=0.4")))
    assert weights(named)["fc2"].any((1, 2, 3)).sum() == 2


def test_steps_follow_each_other(rng):
    after = prune(graph(rng), PruneSpec(spec("fc1=0.2"), spec("fc1=2:4", layer_specs.pattern), spec("fc1=0.5")))
    weight = weights(after)["fc1"].reshape(20, 24)
    assert (np.count_nonzero(weight.reshape(20, 6, 4), axis=2) <= 2).all()
    assert np.count_nonzero(weight.any(1)) <= 10
    assert np.count_nonzero(weight) == 96


@pytest.mark.parametrize("clusters", [2, 3, 16, 256])
@pytest.mark.parametrize("count", [1, 2, 15, 16, 300, 100_000])
def test_weights_share_values(rng, clusters, count):
    """Zeros stay, weights take their nearest value, each value is the mean of its weights."""
    weight = rng.standard_normal((1, count)).astype(np.float32)
    weight[0, rng.random(count) < 0.3] = 0
    weight[0, -1] = 1.25
    shared = share(weight, clusters)
    result = shared.weight
    assert shared.codes.dtype == np.uint8 and result.dtype == np.float32
    np.testing.assert_array_equal(result == 0, weight == 0)
    nonzero = weight[weight != 0]
    assert len(np.unique(result[result != 0])) <= clusters - 1
    if len(np.unique(nonzero)) < clusters:
        np.testing.assert_array_equal(result, weight)
    assert shared.values[0] == 0 and (np.diff(shared.values[1:]) > 0).all()
    for value in shared.values[1:]:
        assert weight[result == value].astype(np.float64).mean() == pytest.approx(value, rel=1e-5, abs=1e-6)
    # Order is kept, so clusters are intervals; and they are better than those at equal distances were.
    order = np.argsort(nonzero, kind="stable")
    assert (np.diff(result[weight != 0][order]) >= 0).all()
    grid = np.linspace(nonzero.min(), nonzero.max(), clusters - 1)
    first = grid[np.searchsorted((grid[1:] + grid[:-1]) / 2, nonzero)]
    assert np.square(result - weight).sum() <= np.square(first - nonzero).sum() * 1.001 + 1e-9


def test_few_points_are_as_good_as_all_of_them(rng):
    """The histogram costs next to nothing: mean square error within 1 % of k-means over all weights."""
    from sklearn.cluster import KMeans

    weight = rng.standard_normal(300_000).astype(np.float32)
    weight = weight[np.abs(weight) > 1.5][None]
    start = np.linspace(weight.min(), weight.max(), 15)[:, None]
    points = weight.reshape(-1, 1).astype(np.float64)
    whole = KMeans(15, init=start, n_init=1, max_iter=100, tol=0).fit(points)
    ours = np.square(share(weight, 16).weight - weight.astype(np.float64)).sum()
    assert ours <= 1.01 * whole.inertia_


def test_large_layers_take_seconds(rng):
    weight = rng.standard_normal((4096, 2304)).astype(np.float32)
    began = time.monotonic()
    weight = np.where(by_magnitude(weight, 0.09), weight, 0)
    for clusters in (16, 256):
        assert len(np.unique(share(weight, clusters).weight)) == clusters
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_other_float_types(rng, kind):
    weight = rng.standard_normal((30, 40)).astype(kind)
    mask = by_magnitude(weight, 0.1)
    assert mask.sum() == 120
    result = share(np.where(mask, weight, 0), 16).weight
    assert len(np.unique(result)) == 16 and result.dtype == np.float32
    np.testing.assert_array_equal(result != 0, mask)


def test_the_same_bits_every_time(rng):
    weight = rng.standard_normal((300, 300)).astype(np.float32)
    first = share(weight, 256)
    for _ in range(3):
        np.testing.assert_array_equal(share(weight, 256).values, first.values)


def test_outliers_and_extremes():
    """One huge weight, equal weights, tiny weights."""
    weight = np.concatenate([np.linspace(-1, 1, 70_001), [1e6]]).astype(np.float32)
    assert len(np.unique(share(weight[None], 16).weight)) <= 17
    assert share(np.full((3, 4), 0.5), 2).values.tolist() == [0, 0.5]
    assert share(np.zeros((3, 4)), 16).values.tolist() == [0]
    small = np.array([[1e-38, 2e-38, -3e-38, 0]], np.float32)
    assert np.count_nonzero(share(small, 3).weight) == 3


def test_clusters_by_layer(rng):
    before = prune(graph(rng), PruneSpec(spec("fc1=0.5,fc2=0.5")))
    after = cluster(before, spec("8,fc2=4", int))
    assert [len(np.unique(w)) for w in weights(after).values()] == [7, 6, 8, 4]
    for name in ("fc1", "fc2"):
        np.testing.assert_array_equal(weights(after)[name] == 0, weights(before)[name] == 0)
    assert changed(before, after) == {"conv", "fc1", "fc2"}
    again = cluster(after, spec("8", int))
    assert not changed(after, again)


def test_distinct_and_shared(rng):
    weight = rng.choice(np.array([-2, 0, 0.5, 3], np.float32), (40, 50))
    assert distinct(weight, 3).tolist() == [-2, 0.5, 3]
    assert distinct(weight, 2) is None
    assert is_shared(weight)
    assert not is_shared(rng.standard_normal((3, 5)).astype(np.float32))  # few values because it is small
    assert not is_shared(rng.standard_normal((300, 5)).astype(np.float32))
    large = rng.choice(np.linspace(-1, 1, 255, dtype=np.float32), (300, 300))
    assert is_shared(large)
    large[7, 7], large[8, 8] = 1.5, 1.75
    assert not is_shared(large)


@pytest.mark.parametrize(
    "found, message",
    [
        (PruneSpec(spec("fc3=0.1")), "--prune: there is no such layer as 'fc3'; there are conv, scale, fc1, fc2"),
        (PruneSpec(channels=spec("flat=0.1")), "--prune-channels: there is no such layer as 'flat'"),
        (PruneSpec(spec("fc1=0")), "layer fc1: the density must be above 0 and at most 1, not 0.0"),
        (PruneSpec(channels=spec("1.5")), "layer conv: the density must be above 0 and at most 1, not 1.5"),
    ],
)
def test_bad_specifications(rng, found, message):
    with pytest.raises(InputError) as error:
        prune(graph(rng), found)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("clusters", [1, 257])
def test_bad_numbers_of_clusters(rng, clusters):
    with pytest.raises(InputError, match=f"layer fc1: clusters must be 2 to 256, zero among them, not {clusters}"):
        cluster(graph(rng), spec(f"fc1={clusters}", int))


def test_weights_that_are_not_finite(rng):
    bad = graph(rng)
    weights(bad)["fc1"][3, 4:6, 0, 0] = np.nan, -np.inf
    for compress in (lambda: prune(bad, PruneSpec(spec("0.5"))), lambda: cluster(bad, spec("16", int))):
        with pytest.raises(InputError, match="layer fc1: 2 of 480 weights are NaN or infinite"):
            compress()


@pytest.mark.parametrize(
    "text, default, layers",
    [
        ("0.5", 0.5, {}), ("a=0.5,b.c=0.25", None, {"a": 0.5, "b.c": 0.25}), ("1, a=0.5 ", 1, {"a": 0.5}),
        ("a=b=0.5", None, {"a=b": 0.5}),
    ],
)  # fmt: skip
def test_specifications(text, default, layers):
    found = layer_specs.parse(text, float)
    assert (found.default, dict(found.layers), found.text) == (default, layers, text)


@pytest.mark.parametrize("text", ["", "a=", "=0.5", "a=0.5,", "a=1,a=0.5", "0.5,0.25", ",0.5"])
def test_specifications_that_make_no_sense(text):
    with pytest.raises(ArgumentTypeError, match=r"must be a value, or LAYER=|two values"):
        layer_specs.parse(text, float)


@pytest.mark.parametrize("text", ["0:4", "5:4", "2", "2:", ":4", "a:b", "-1:4", "2:4:8"])
def test_patterns_that_make_no_sense(text):
    with pytest.raises(ArgumentTypeError, match=r"must be N:M, N of M weights with 0 < N <= M, e\.g\. 2:4, not"):
        layer_specs.pattern(text)
