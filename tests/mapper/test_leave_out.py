"""Ratios of tokens become selections and gathers."""

import numpy as np
import pytest

from dataflows.attention import Attention
from dataflows.errors import InputError
from dataflows.pruning import Gather, HeadConv, Select
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.leave_out import leave_out
from mapper.options import parse
from sim import golden
from tests.attention_blocks import Blocks
from tests.attention_networks import encoder_network, random_input
from tests.mapper.test_programs import check_program
from tests.mapper.test_pruning_programs import CFGS


def attentions(network):
    return [layer.name for layer in network.layers if layer.op == "attention"]


def test_cascade_of_an_encoder():
    """Three layers, 12 of 16 tokens behind the first, 5 behind the third; the last layer is computed on these."""
    network = encoder_network(3, 12, 2, 16, 8)
    first, _, third = attentions(network)
    cut = leave_out(network, {first: 0.75, third: 0.3})
    selections = [layer for layer in cut.layers if isinstance(layer, Select)]
    assert [(s.keep, len(s.observed), s.carried) for s in selections] == [(12, 1, False), (5, 2, True)]
    assert [len(layer.inputs) for layer in cut.layers if isinstance(layer, Gather)] == [2, 2, 3, 3]
    assert cut.tensors[cut.outputs[0]].shape == (1, 1, 5, 12)
    x = random_input(network, 3)
    values = golden.run(cut, {"x": x})
    assert values[cut.outputs[0]].shape == (1, 1, 5, 12)
    for cfg in CFGS:
        check_program(compile_network(cfg, cut, Options()), x)


def test_heads_and_tokens():
    """Two of four heads from the second layer on, one from the third; few tokens."""
    network = encoder_network(3, 64, 4, 12, 16)
    first, second, _ = attentions(network)
    cut = leave_out(network, {first: 0.5}, {first: 0.5, second: 0.25})
    assert [x.side for x in cut.layers if isinstance(x, HeadConv)] == ["out", "out", "out", "in"] * 2
    assert [x.heads for x in cut.layers if isinstance(x, Attention)] == [4, 2, 1]
    x = random_input(network, 3)
    assert golden.run(cut, {"x": x})[cut.outputs[0]].shape == (1, 1, 6, 64)
    check_program(compile_network(CFGS[0], cut, Options()), x)


def test_all_heads_at_first():
    """Heads that matter are found: one that only repeats its zero point is left out."""
    network = encoder_network(2, 32, 2, 6, 8)
    first, _ = attentions(network)
    values = next(x for x in network.layers if x.output == next(y for y in network.layers if y.name == first).inputs[2])
    values.weight[:16] = 0
    values.bias[:16] = 0
    cut = leave_out(network, {}, {first: 0.5})
    (select,) = (x for x in cut.layers if isinstance(x, Select))
    assert golden.run(cut, {"x": random_input(network, 3)})[select.output].ravel().tolist() == [1]


def test_nothing_is_left_out():
    network = encoder_network(1, 8, 1, 6, 8)
    same = leave_out(network, {attentions(network)[0]: 1.0})
    assert same == leave_out(network, {}) and same.layers == network.layers


def test_what_is_left_is_a_network_of_its_own():
    """Encoder, norm before attention, mean over tokens; all samples of a batch in the golden model."""
    x = np.random.default_rng(2).integers(-128, 128, (3, 1, 9, 8)).astype(np.int8)
    blocks = Blocks(2, x)
    blocks.linear(blocks.mean(blocks.encoder("x", 2, 12, before=True, lengths=(9, 4, 6))), 5)
    network = blocks.network("mean")
    cut = leave_out(network, {attentions(network)[0]: 0.5})
    values = golden.run(cut, {"x": x})
    (select,) = (layer for layer in cut.layers if isinstance(layer, Select))
    assert select.keep == 5 and values[cut.outputs[0]].shape == (3, 1, 1, 5)
    assert (values[select.output][1, 0, :4, 0] == np.arange(4)).all(), "padding is the least important"


def test_refused():
    network = encoder_network(2, 8, 1, 10, 8)
    first, second = attentions(network)
    with pytest.raises(InputError, match=r"0\.9 of 10 tokens are 9, but only 5 are left; ratios must not rise"):
        leave_out(network, {first: 0.5, second: 0.9})
    with pytest.raises(InputError, match=r"0\.9 of 1 heads are 1|ratios must not rise \(--keep-heads\)"):
        leave_out(encoder_network(2, 8, 4, 10, 8), {}, {first: 0.5, second: 0.9})
    x = np.random.default_rng(1).integers(-128, 128, (1, 1, 6, 8)).astype(np.int8)
    blocks = Blocks(1, x)
    q = blocks.linear("x", 8, symmetric=True)
    blocks.attention(q, q, q, 2)
    blocks.attention(blocks.linear("x", 8, symmetric=True), q, q, 2)
    shared = blocks.network("shared")
    with pytest.raises(InputError, match="linear layers of its own"):
        leave_out(shared, {}, {attentions(shared)[0]: 0.5})
    blocks = Blocks(1, x)
    blocks.slice(blocks.encoder("x", 2, 12), 0, 1)
    with pytest.raises(InputError, match="takes tokens by their place"):
        leave_out(blocks.network("class"), {attentions(blocks.network("class"))[0]: 0.5})


@pytest.mark.parametrize("text", ["0", "-0.5", "1.5", "half", "attention1=0"])
def test_ratios(text):
    with pytest.raises(InputError, match=r"--keep-tokens: must be a ratio above 0 and at most 1"):
        parse(["model.pt2", "--keep-tokens", text])


def test_ratios_by_layer():
    arguments = parse(["model.pt2", "--keep-tokens", "0.5,b=0.25"])
    assert arguments.keep_tokens.resolve(["a", "b"], "--keep-tokens") == {"a": 0.5, "b": 0.25}
    assert "--keep-tokens 0.5,b=0.25" in arguments.reproduce(arguments.configs[0], "a")
