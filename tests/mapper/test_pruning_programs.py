"""Programs that leave out tokens, executed by the functional model, give the golden model's bits."""

from dataclasses import replace

import pytest

from dataflows import config
from dataflows.attention import Attention
from dataflows.errors import InputError
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.selections import list_places
from tests.attention_networks import random_input
from tests.mapper.test_attention_programs import SMALL, WS16
from tests.mapper.test_programs import check_program
from tests.pruned_transformers import head_list, pruned_encoder


def pruning(cfg: config.Config, **attention: object) -> config.Config:
    """A configuration that can select."""
    values = cfg.model_dump()
    return config.parse({**values, "attention": {**values["attention"], "pruning": True, **attention}}, "test")


CFGS = [pruning(WS16), pruning(SMALL, indices=192)]


@pytest.mark.parametrize("cfg", CFGS, ids=lambda cfg: cfg.name)
@pytest.mark.parametrize(
    ("tokens", "heads", "size", "keep"),
    [(9, 3, 4, (7, 7, 3)), (24, 2, 8, (12, 5)), (5, 1, 3, (1, 1)), (33, 2, 5, (33, 17)), (16, 4, 4, (15, 14))],
)
def test_cascades(cfg: config.Config, tokens: int, heads: int, size: int, keep: tuple[int, ...]) -> None:
    network = pruned_encoder(tokens, tokens, heads, size, keep, (heads,) * len(keep))
    check_program(compile_network(cfg, network, Options()), random_input(network, tokens))


@pytest.mark.parametrize("seed", range(3))
def test_heads(seed: int) -> None:
    network = head_list(seed, 9, 5, 4, seed + 1)
    for cfg in CFGS:
        check_program(compile_network(cfg, network, Options()), random_input(network, seed))


@pytest.mark.parametrize(
    ("cfg", "tokens", "heads", "size", "keep", "keep_heads"),
    [
        (CFGS[0], 20, 4, 16, (20, 11, 11), (3, 3, 1)),
        (CFGS[0], 9, 3, 32, (5, 4, 4), (3, 1, 1)),
        (CFGS[1], 13, 4, 8, (13, 8, 5), (2, 1, 1)),
        (CFGS[1], 6, 3, 16, (6, 6), (2, 2)),
    ],
)
def test_cascades_of_heads(cfg, tokens, heads, size, keep, keep_heads) -> None:
    """Of later layers only the weights of heads that are left are loaded."""
    network = pruned_encoder(tokens, tokens, heads, size, keep, keep_heads)
    check_program(compile_network(cfg, network, Options()), random_input(network, tokens))


def test_places_of_lists() -> None:
    """Lists share places behind their last users."""
    network = pruned_encoder(1, 12, 2, 4, (9, 8, 5, 2), (2,) * 4)
    places, most = list_places(network)
    assert list(places.values()) == [0, 0, 0, 0] and most == 18


@pytest.mark.parametrize("least", [2, 60, 127])
def test_small_numerators_are_dropped(least: int) -> None:
    """Post-scoring, in selections too; heads that no selection looks at."""
    for cfg in (pruning(WS16, values=True), pruning(SMALL, indices=192, values=True)):
        network = pruned_encoder(least, 21, 2, 8, (12, 5), (2, 2))
        layers = [replace(x, least=least) if isinstance(x, Attention) else x for x in network.layers]
        network = replace(network, layers=tuple(layers))
        check_program(compile_network(cfg, network, Options()), random_input(network, least))


def _refused(cfg: config.Config, network: object) -> str:
    with pytest.raises(InputError) as error:
        compile_network(cfg, network, Options())
    return str(error.value)


def test_refused() -> None:
    network = pruned_encoder(1, 8, 2, 4, (5, 3), (2, 2))
    assert "set attention.pruning = true" in _refused(WS16, network)
    long = pruned_encoder(1, 90, 1, 4, (70,), (1,))
    assert "lists of 140 indices do not fit the 128" in _refused(pruning(SMALL, indices=128), long)
    both = pruned_encoder(1, 8, 2, 4, (5, 3), (2, 2), samples=2)
    assert "the batch must be 1, not 2" in _refused(CFGS[0], both)
    heads = pruned_encoder(1, 8, 2, 4, (5, 3), (1, 1))
    assert "heads of 4 channels are no whole multiples of 16, the columns of" in _refused(CFGS[0], heads)
    values = pruned_encoder(1, 8, 2, 4, (5,), (2,), keep_values=3)
    assert "keep_values" in _refused(CFGS[0], values)
    small = [replace(x, least=5) if isinstance(x, Attention) else x for x in network.layers]
    assert "needs attention.values = true" in _refused(CFGS[0], replace(network, layers=tuple(small)))
    attention = next(i for i, layer in enumerate(network.layers) if layer.op == "attention")
    listed, behind = list(network.layers), network.layers[attention + 1 :]
    listed[attention] = replace(listed[attention], inputs=(*listed[attention].inputs, behind[0].output))
    found = _refused(CFGS[0], replace(network, layers=tuple(listed)))
    assert "keys of caches go by the list of a selection of tokens, for runs of one token" in found
    second = next(i for i, layer in enumerate(network.layers) if layer.op == "select" and layer.carried)
    layers = list(network.layers)
    layers[second] = replace(layers[second], inputs=(layers[second].inputs[0], "x"))
    assert "it must carry on with the selection before it, not x" in _refused(
        CFGS[0], replace(network, layers=tuple(layers))
    )
