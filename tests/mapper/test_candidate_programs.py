"""Programs that search candidates, executed by the functional model, give the golden model's bits."""

from dataclasses import replace

import numpy as np
import pytest

from dataflows import config, isa
from dataflows.attention import Attention
from dataflows.errors import InputError
from dataflows.network import Network
from mapper.candidates import candidates
from mapper.compile import compile_network
from mapper.conv_plan import Options
from sim.golden.candidates import greedy_scores
from tests.attention_networks import encoder_network, random_input
from tests.mapper.test_attention_programs import SMALL, WS16
from tests.mapper.test_programs import check_program
from tests.mapper.test_pruning_programs import pruning
from tests.memory_networks import memory_network, random_memory

CFGS = [
    pruning(WS16, values=True, candidates=70, candidate_columns=40),
    pruning(SMALL, indices=128, scales=96, values=True, candidates=30, candidate_columns=24),
]


def test_off_by_default() -> None:
    """Without the size there is neither the target nor a field of it, and values have the registers that they had."""
    without = pruning(WS16, values=True)
    (found, left) = (
        {(r.name, f.name) for registers in isa.units(cfg).values() for r in registers for f in r.fields}
        for cfg in (CFGS[0], without)
    )
    assert found - left == {("values", "found"), ("values", "slot")}
    assert set(isa.targets(CFGS[0])) - set(isa.targets(without)) == {isa.Target.COLUMNS}
    assert without.candidate_column_bytes == 0


@pytest.mark.parametrize("cfg", CFGS, ids=lambda cfg: f"{cfg.array.rows}x{cfg.array.cols}")
@pytest.mark.parametrize("seed", range(16))
def test_random_memories(cfg: config.Config, seed: int) -> None:
    assert cfg.attention
    network = random_memory(seed, cfg.candidates, cfg.attention.candidate_columns)
    check_program(compile_network(cfg, network, Options()), random_input(network, seed))


def test_many_keys() -> None:
    """Numbers of keys beyond a byte, and rows of several words."""
    cfg = pruning(WS16, values=True, candidates=300, candidate_columns=16)
    network = memory_network(1, 3, 300, 1, 16, steps=150)
    check_program(compile_network(cfg, network, Options()), random_input(network, 1))


def test_no_candidates() -> None:
    """Products that are never above 0: the result is the zero point."""
    network = memory_network(1, 2, 9, 1, 4, steps=5)
    network = _changed(network, candidates=5)
    layers = [replace(x, value=-abs(x.value.astype(np.int16)).clip(1, 127).astype(np.int8)) if x.op == "constant" else x
              for x in network.layers]  # fmt: skip
    conv = layers[0]
    layers[0] = replace(conv, bias=np.full_like(conv.bias, 1 << 24))
    network = replace(network, layers=tuple(layers))
    check_program(compile_network(CFGS[0], network, Options()), random_input(network, 1))


@pytest.mark.parametrize("seed", range(20))
def test_predicted_candidates(seed: int) -> None:
    """What predictions take for the candidates is what the golden model finds."""
    rng = np.random.default_rng(seed)
    keys, depth, span = int(rng.integers(1, 30)), int(rng.integers(1, 9)), int(rng.choice([128, 2]))
    k, q = rng.integers(-span, span, (keys, depth)).astype(np.int8), rng.integers(-span, span, depth)
    steps = int(rng.integers(1, keys * depth + 3))
    found = candidates(q, np.argsort(k, axis=0, kind="stable").T, k, steps)
    assert found == np.flatnonzero(greedy_scores(q[np.newaxis], k.astype(np.int64), steps)[0] > 0).tolist()


def _changed(network: Network, **fields: object) -> Network:
    """The network with fields of its attention layers."""
    layers = [replace(x, **fields) if isinstance(x, Attention) else x for x in network.layers]
    return replace(network, layers=tuple(layers))


def _refused(cfg: config.Config, network: Network) -> str:
    with pytest.raises(InputError) as error:
        compile_network(cfg, network, Options())
    return str(error.value)


def test_refused() -> None:
    network = memory_network(1, 1, 20, 1, 8, steps=4)
    assert "cannot search; set attention.candidates to 20" in _refused(pruning(WS16, values=True), network)
    own = _changed(encoder_network(1, 8, 1, 4, 8), candidates=4)
    assert "are computed while it runs; columns of keys are sorted before that" in _refused(CFGS[0], own)
    for fields in ({"causal": True}, {"lengths": (3,)}, {"keep_values": 3}, {"value_threshold": 0.1}):
        found = _refused(CFGS[0], _changed(network, **fields))
        assert f"has {next(iter(fields))} besides; only least goes with candidates" in found
    assert "71 keys of 8 channels do not fit the 70 keys of 40 columns" in _refused(
        CFGS[0], memory_network(1, 1, 71, 1, 8, steps=4)
    )
    assert "9 keys of 41 channels do not fit" in _refused(CFGS[0], memory_network(1, 1, 9, 1, 41, steps=4))
    far = _changed(network, candidates=1 << 16)
    assert "steps of its search must be 1 to 65535, not 65536" in _refused(CFGS[0], far)
    few = pruning(WS16, values=True, candidates=70, indices=16)
    assert "lists of 42 indices do not fit the 16" in _refused(few, _changed(network, candidates=40))
