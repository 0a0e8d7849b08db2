"""Options that leave out values and small probabilities."""

import pytest

from dataflows.attention import Attention
from dataflows.errors import InputError
from mapper.compression_options import LEAVING_OUT
from mapper.leave_out import leave_out
from mapper.leave_out_values import leave_out_values
from mapper.options import parse
from tests.attention_networks import encoder_network


def attentions(network):
    return [layer for layer in network.layers if isinstance(layer, Attention)]


def test_shares_of_the_keys_that_are_left():
    network = encoder_network(2, 12, 2, 9, 8)
    first, second = (layer.name for layer in attentions(network))
    cut = leave_out_values(leave_out(network, {first: 0.5}), {first: 0.5, second: 0.5}, {}, {second: 0.3})
    assert [(x.keep_values, x.value_threshold, x.least) for x in attentions(cut)] == [(5, 0, 0), (3, 0, 39)]
    tiny = leave_out_values(network, {second: 0.01}, {first: 0.1}, {first: 1.0})
    assert [(x.keep_values, round(x.value_threshold, 3), x.least) for x in attentions(tiny)] == [
        (None, 0.1, 127), (1, 0, 0)
    ]  # fmt: skip
    assert leave_out_values(network, {}, {}, {}) == network


def test_contradiction():
    network = encoder_network(1, 12, 2, 9, 8)
    (layer,) = attentions(network)
    with pytest.raises(InputError, match="--keep-values contradicts --value-threshold; leave one of both out"):
        leave_out_values(network, {layer.name: 0.5}, {layer.name: 0.5}, {})


@pytest.mark.parametrize("text", ["0", "-0.5", "1.5", "half", "attention1=0"])
@pytest.mark.parametrize(
    ("option", "wanted"),
    [("--keep-values", "a ratio"), ("--value-threshold", "a probability"), ("--post-scoring", "a ratio")],
)
def test_bad_values(option, wanted, text):
    with pytest.raises(InputError, match=f"{option}: must be {wanted} above 0 and at most 1"):
        parse(["model.pt2", option, text])


def test_by_layer_and_again():
    words = [word for name in LEAVING_OUT for word in (f"--{name.replace('_', '-')}", "0.5,b=0.25")]
    arguments = parse(["model.pt2", *words])
    again = arguments.reproduce(arguments.configs[0], "a")
    for name in LEAVING_OUT:
        assert getattr(arguments, name).resolve(["a", "b"], name) == {"a": 0.5, "b": 0.25}
        assert f"--{name.replace('_', '-')} 0.5,b=0.25" in again
