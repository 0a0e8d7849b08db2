"""Programs that leave out values, executed by the functional model, give the golden model's bits."""

from dataclasses import replace

import numpy as np
import pytest

from dataflows import config
from dataflows.attention import Attention
from dataflows.errors import InputError
from dataflows.network import Network
from mapper.caches import halved
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.leave_out import leave_out
from tests.attention_networks import encoder_network, random_input, random_transformer
from tests.decoder_networks import decoder_network, random_decoder, with_tokens
from tests.mapper.test_attention_programs import SMALL, WS16
from tests.mapper.test_generation_programs import generate
from tests.mapper.test_programs import check_program
from tests.mapper.test_pruning_programs import pruning
from tests.pruned_transformers import pruned_encoder
from tests.values_networks import without_values

CFGS = [pruning(WS16, values=True), pruning(SMALL, indices=192, scales=96, values=True)]


@pytest.mark.parametrize("cfg", CFGS, ids=lambda cfg: cfg.name)
@pytest.mark.parametrize("kind", ["attention", "cache", "encoder", "two layers", "embedding"])
@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.regress) for n in range(1, 6))])
def test_random_transformers(cfg: config.Config, kind: str, seed: int) -> None:
    network = without_values(random_transformer(seed + 50, kind), seed)
    check_program(compile_network(cfg, network, Options()), random_input(network, seed))


@pytest.mark.parametrize(
    ("hidden", "heads", "length"), [(64, 2, 33), (96, 1, 7), (60, 5, 48), (40, 4, 1)], ids=lambda v: str(v)
)
def test_encoder_layers(hidden: int, heads: int, length: int) -> None:
    """Several banks of queries, several parts of a head, values in several chunks."""
    network = encoder_network(1, hidden, heads, length, 2 * hidden, causal=length == 48)
    for fields in ({"keep_values": max(1, length - 3)}, {"value_threshold": 0.03}):
        check_program(compile_network(CFGS[1], _with(network, **fields), Options()), random_input(network, 1))


@pytest.mark.parametrize(("keep", "keep_heads"), [((12, 5), (2, 2)), ((16, 9), (2, 1))])
def test_cascades(keep: tuple[int, ...], keep_heads: tuple[int, ...]) -> None:
    """Together with tokens and heads that are left out."""
    for cfg in CFGS:
        network = pruned_encoder(5, 21, 2, 16, keep, keep_heads)
        for seed in range(2):
            some = without_values(network, seed)
            check_program(compile_network(cfg, some, Options()), random_input(network, seed))


@pytest.mark.parametrize("cfg", CFGS, ids=lambda cfg: cfg.name)
@pytest.mark.parametrize("seed", range(5))
def test_decoders(cfg: config.Config, seed: int) -> None:
    """One query and several over caches, with halves of keys and without, from the first token on."""
    rng = np.random.default_rng(seed)
    whole = random_decoder(seed)
    most = next(whole.tensors[name].shape[2] for name in whole.caches)
    generate(cfg, without_values(with_tokens(whole, 1), seed), seed, [0, *sorted(rng.integers(0, most, 3).tolist())])
    if not halved(whole):
        tokens = int(rng.integers(1, most + 1))
        generate(cfg, without_values(with_tokens(whole, tokens), seed), seed, [0, most - tokens])


@pytest.mark.parametrize("cfg", CFGS, ids=lambda cfg: cfg.name)
@pytest.mark.parametrize("fields", [{"keep_values": 3}, {"value_threshold": 0.05}])
@pytest.mark.parametrize("threshold", [0.0, 0.3])
def test_values_of_listed_keys(cfg: config.Config, fields: dict[str, float], threshold: float) -> None:
    """Fewer and fewer keys, and of these single values."""
    whole = with_tokens(decoder_network(3, 24, 2, 20, 8, threshold=threshold), 1)
    names = [layer.name for layer in whole.layers if isinstance(layer, Attention)]
    network = leave_out(whole, dict(zip(names, (0.7, 0.4, 0.2), strict=True)))
    generate(cfg, _with(network, **fields), 0, [0, 9, 19])


def _refused(cfg: config.Config, network: Network) -> str:
    with pytest.raises(InputError) as error:
        compile_network(cfg, network, Options())
    return str(error.value)


def test_refused() -> None:
    network = encoder_network(1, 64, 2, 33, 64)
    some = _with(network, keep_values=20)
    assert "leaves out values (keep_values), which needs attention.values = true" in _refused(pruning(WS16), some)
    assert "of 33 values 1 to 33 can be kept, not 34" in _refused(CFGS[0], _with(network, keep_values=34))
    assert "66 row scales of test, not 32; raise attention.scales" in _refused(
        pruning(SMALL, indices=192, values=True).model_copy(update={"name": "test"}), some
    )
    few = pruning(SMALL, indices=16, scales=96, values=True)
    assert "lists of 21 indices do not fit the 16 of" in _refused(few, some)
    wide = encoder_network(1, 96, 1, 33, 8)
    assert "need 3456 bytes of the weight buffer, which has 2048" in _refused(CFGS[1], _with(wide, value_threshold=0.1))


def _with(network: Network, **fields: object) -> Network:
    """The network with fields of its attention layers."""
    layers = [replace(x, **fields) if isinstance(x, Attention) else x for x in network.layers]
    return replace(network, layers=tuple(layers))
