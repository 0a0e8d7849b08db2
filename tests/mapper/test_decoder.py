"""Decoders made of causal networks: every step has the bits of a row of the whole."""

from dataclasses import replace

import numpy as np
import pytest

from dataflows.attention import Append, Attention, Constant, Positional
from dataflows.errors import InputError
from dataflows.network import Network
from mapper.decoder import decoder
from mapper.generation import Generation
from sim import golden
from tests.attention_blocks import Blocks


def causal(seed: int, length: int, *, words: int = 30, heads: int = 2, hidden: int = 12, **fields: object) -> Network:
    """Ids, positions, two layers, logits of all tokens."""
    rng = np.random.default_rng([seed, 31])
    ids = rng.integers(0, words, (1, 1, length, 1)).astype(np.uint16).view(np.int16)
    blocks = Blocks(seed, ids, 1.0)
    out = blocks.embedding(words, hidden)
    out = blocks.add(out, blocks.constant(out))
    for before in (True, False):
        out = blocks.encoder(out, heads, 20, before=before, **{"causal": True, **fields})
    blocks.linear(blocks.norm(out), words)
    return blocks.network("causal")


def runs(network: Network, ids: np.ndarray, tokens: int) -> list[dict[str, np.ndarray]]:
    """Tensors of one run after the other."""
    state, found = Generation.of(network, ids.shape[2] // tokens), []
    for first in range(0, ids.shape[2], tokens):
        values = golden.run(network, {network.inputs[0]: ids[:, :, first : first + tokens]}, **state.before)
        state.go_on(values)
        found.append(values)
    return found


@pytest.mark.parametrize(("length", "tokens"), [(1, 1), (7, 1), (12, 4), (9, 9)])
def test_steps_are_rows_of_the_whole(length: int, tokens: int) -> None:
    whole = causal(length, length)
    ids = np.random.default_rng(length).integers(0, 30, (1, 1, length, 1)).astype(np.int16)
    wanted = golden.run(whole, {"x": ids})
    step = decoder(whole, tokens)
    for number, found in enumerate(runs(step, ids, tokens)):
        rows = slice(number * tokens, (number + 1) * tokens)
        for layer in whole.layers:
            part = wanted[layer.output][:, :, rows]
            np.testing.assert_array_equal(found[layer.output], part[:, :, -found[layer.output].shape[2] :])
    (output,) = step.outputs
    assert step.tensors[output].shape == (1, 1, 1, 30)


def test_context_and_kinds() -> None:
    """A shorter context has shorter caches and the same bits; every kind of layer is replaced."""
    whole = causal(3, 10)
    step = decoder(whole, 1, 6)
    assert {step.tensors[name].shape[2] for name in step.caches} == {6}
    assert sum(isinstance(layer, Append) for layer in step.layers) == len(step.caches) == 4
    assert sum(isinstance(layer, Positional) for layer in step.layers) == 1
    assert not any(isinstance(layer, Constant) for layer in step.layers)
    assert all(layer.cached and not layer.causal for layer in step.layers if isinstance(layer, Attention))
    ids = np.arange(10).reshape(1, 1, 10, 1).astype(np.int16)
    wanted = golden.run(whole, {"x": ids})[whole.outputs[0]]
    for row, found in enumerate(runs(step, ids[:, :, :6], 1)):
        np.testing.assert_array_equal(found[step.outputs[0]], wanted[:, :, row : row + 1])


def test_last_token_alone() -> None:
    """A model that gives the last token only: its slice is what a run gives anyway."""
    blocks = Blocks(5, np.random.default_rng(5).integers(-128, 128, (1, 1, 6, 8)).astype(np.int8))
    blocks.linear(blocks.slice(blocks.encoder("x", 2, 8, causal=True), 5, 6), 9)
    whole, x = blocks.network("last"), blocks.values["x"]
    wanted = golden.run(whole, {"x": x})[whole.outputs[0]]
    for tokens in (1, 2):
        step = decoder(whole, tokens)
        np.testing.assert_array_equal(runs(step, x, tokens)[-1][step.outputs[0]], wanted)


def test_keys_that_are_the_values() -> None:
    """One cache serves both."""
    blocks = Blocks(6, np.random.default_rng(6).integers(-128, 128, (1, 1, 5, 8)).astype(np.int8))
    linear = blocks.linear("x", 8, symmetric=True)
    blocks.attention(linear, linear, linear, 2, causal=True)
    whole, x = blocks.network("shared"), blocks.values["x"]
    step = decoder(whole)
    assert len(step.caches) == 1
    wanted = golden.run(whole, {"x": x})[whole.outputs[0]]
    for row, found in enumerate(runs(step, x, 1)):
        np.testing.assert_array_equal(found[step.outputs[0]], wanted[:, :, row : row + 1])


def bad(kind: str) -> Network:
    """A network that cannot generate."""
    blocks = Blocks(7, np.random.default_rng(7).integers(-128, 128, (1, 1, 6, 8)).astype(np.int8))
    match kind:
        case "all":
            blocks.encoder("x", 2, 8)
        case "mean":
            blocks.mean(blocks.encoder("x", 2, 8, causal=True))
        case "slice":
            blocks.slice(blocks.encoder("x", 2, 8, causal=True), 0, 2)
        case "none":
            blocks.linear("x", 8)
    return blocks.network(kind)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("all", "attention3 .attention. sees keys behind its query"),
        ("mean", r"layer mean\d+ \(avg_pool\) mixes tokens"),
        ("slice", r"layer slice\d+ \(slice\) takes tokens 0 to 1 of 6"),
        ("none", "model none has no causal attention"),
    ],
)
def test_what_mixes_tokens_is_refused(kind: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        decoder(bad(kind))


def test_counts_out_of_range() -> None:
    whole = causal(8, 5)
    for tokens, context, message in ((0, None, "1 to 5 tokens"), (6, None, "not 6"), (1, 9, "values for 5 positions")):
        with pytest.raises(InputError, match=message):
            decoder(whole, tokens, context)
    pair = replace(whole.tensors["x"], shape=(2, 1, 5, 1))
    with pytest.raises(InputError, match="one sequence"):
        decoder(replace(whole, tensors=whole.tensors | {"x": pair}))
