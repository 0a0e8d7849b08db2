"""Decoding with caches gives the bits of one causal run; keys by halves; what does not fit is refused."""

from dataclasses import replace

import numpy as np
import pytest

from dataflows.attention import Append, Attention
from dataflows.errors import InputError
from sim import golden
from sim.golden.attention import largest_sure_sum
from tests.attention_networks import random_input
from tests.decoder_networks import decoder_network, random_decoder, with_tokens
from tests.sim import exact_rows
from tests.sim.test_golden_attention import draw, network


@pytest.mark.parametrize("seed", range(8))
def test_steps_give_what_one_run_gives(seed):
    """A run over some tokens, then one token after the other, each with the caches of the run before."""
    decoder = random_decoder(seed)
    x, (output,) = random_input(decoder, seed), decoder.outputs
    whole, most = golden.run(decoder, {"x": x}), x.shape[2]
    rng = np.random.default_rng(seed)
    caches = {name: rng.integers(-128, 128, decoder.tensors[name].shape).astype(np.int8) for name in decoder.caches}
    position = 0
    while position < most:
        tokens = int(rng.integers(1, most + 1)) if position == 0 else 1
        part = slice(position, position + tokens)
        found = golden.run(with_tokens(decoder, tokens), {"x": x[:, :, part]}, caches, position)
        np.testing.assert_array_equal(found[output], whole[output][:, :, part])
        caches, position = {name: found[name] for name in decoder.caches}, position + tokens
    for name in decoder.caches:
        np.testing.assert_array_equal(caches[name], whole[name])


def test_one_run_is_causal():
    """With all tokens in one run, caches hold what they are given and attention is the causal one."""
    decoder = decoder_network(1, 12, 3, 7, 20)
    aliases = {layer.output: layer.inputs[0] for layer in decoder.layers if isinstance(layer, Append)}
    layers = [
        replace(layer, cached=False, causal=True, inputs=tuple(aliases.get(name, name) for name in layer.inputs))
        if isinstance(layer, Attention) else layer
        for layer in decoder.layers
        if not isinstance(layer, Append)
    ]  # fmt: skip
    causal = replace(decoder, layers=tuple(layers), caches=())
    x, (output,) = random_input(decoder, 3), decoder.outputs
    np.testing.assert_array_equal(golden.run(decoder, {"x": x})[output], golden.run(causal, {"x": x})[output])


@pytest.mark.parametrize("threshold", [1e-6, 0.1, 0.4, 0.5, 1.0])
def test_keys_by_halves(threshold, rng):
    """Samples and heads whose rows are all sure take the upper halves; the others whole keys."""
    plain = network(2, 5, 8, heads=2, samples=6, scales=(0.02, 0.02, 0.03, 0.02))
    (layer,) = plain.layers
    threshold = float(np.float32(threshold))
    x = draw(plain, rng)
    scales = [plain.tensors[name].scale for name in "qkv"]
    whole, _ = exact_rows.attention(layer, *x.values(), scales, plain.tensors["y"])
    upper = x["k"] & -16
    halves, _ = exact_rows.attention(layer, x["q"], upper, x["v"], scales, plain.tensors["y"])
    found = golden.run(replace(plain, layers=(replace(layer, threshold=threshold),)), x)["y"]
    sums = exact_rows.sums(layer, x["q"], upper, scales)  # (samples, heads, queries)
    sure = (127 / np.float64(threshold) >= sums).all(axis=2)
    wanted = np.where(sure.repeat(4, axis=1)[:, None, None], halves, whole)
    np.testing.assert_array_equal(found, wanted)
    if threshold in (0.4, 0.5):  # some are sure, some are not
        assert 0 < sure.sum() < sure.size and (halves != whole).any()


def test_largest_sure_sum():
    layer = Attention("a", ("q", "k", "v"), "y", threshold=float(np.float32(0.1)))  # a little more than 0.1
    assert largest_sure_sum(layer) == 1269
    assert largest_sure_sum(replace(layer, threshold=1.0)) == 127


@pytest.mark.parametrize(
    ("position", "caches", "message"),
    [
        (5, {}, "2 tokens from position 5 on do not fit a cache of 6 tokens"),
        (-1, {}, "2 tokens from position -1 on do not fit"),
        (0, {"other": np.zeros(1)}, "has no caches other, but cache"),
        (0, {"cache3": np.zeros((1, 1, 5, 4), np.int8)}, "cache 'cache3' must be int8 of shape"),
    ],
)
def test_bad_runs_are_refused(position, caches, message):
    decoder = with_tokens(decoder_network(1, 4, 1, 6, 5, before=False), 2)
    with pytest.raises(InputError, match=message):
        golden.run(decoder, {"x": np.zeros((1, 1, 2, 4), np.int8)}, caches, position)


def test_positions_beyond_the_model_are_refused():
    decoder = with_tokens(decoder_network(1, 4, 1, 6, 5, words=9), 2)
    with pytest.raises(InputError, match="tokens 5 to 6 are not all among 6"):
        golden.run(decoder, {"x": np.zeros((1, 1, 2, 1), np.int16)}, position=5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cached": True, "causal": True}, "the position says which keys count"),
        ({"threshold": 1.5}, "the threshold must be a probability"),
        ({"threshold": 0.5}, "heads must have an even number of channels"),
    ],
)
def test_bad_layers_are_refused(fields, message):
    net = network(2, 3, 5, **fields)
    with pytest.raises(InputError, match=message):
        golden.run(net, draw(net, np.random.default_rng(0)))
