"""Networks that leave out values, on the RTL: every tensor against the golden model, every layer in its cycles."""

from pathlib import Path

import numpy as np
import pytest

from dataflows.network import Network
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.run import execute
from sim.runner import Dram
from tests.attention_networks import random_input, random_transformer
from tests.decoder_networks import random_decoder, with_tokens
from tests.pruned_transformers import pruned_encoder
from tests.system.test_values_program import CFG
from tests.values_networks import without_values

KINDS = ("attention", "encoder", "two layers", "cache")


def network_of(seed: int) -> Network:
    """A transformer, one that leaves out tokens and heads as well, or a decoder."""
    rng = np.random.default_rng([seed, 52])
    if seed % 4 == 1:
        heads = int(rng.integers(1, 4))
        keep = sorted(rng.integers(1, 25, 2).tolist(), reverse=True)
        network = pruned_encoder(seed, 24, heads, 8, tuple(keep), (heads, int(rng.integers(1, heads + 1))))
    elif seed % 4 == 3:
        network = with_tokens(random_decoder(seed), 1)
    else:
        network = random_transformer(seed, str(rng.choice(KINDS)))
    return without_values(network, seed)


@pytest.mark.parametrize("seed", [*range(8), *(pytest.param(n, marks=pytest.mark.regress) for n in range(8, 60))])
def test_random_networks(seed: int) -> None:
    rng = np.random.default_rng([seed, 53])
    network = network_of(seed)
    batch = 1 if network.caches else 2
    inputs = {"x": np.concatenate([random_input(network, 10 * seed + n) for n in range(batch)])}
    stall = float(rng.choice([0, 0, 0.3]))
    dram = Dram(latency=int(rng.integers(1, 90)), read_stall=stall, write_stall=stall, seed=seed)
    program = compile_network(CFG, network, Options(dram.latency, CFG.bus_bytes))
    run = execute(program, inputs, dram=dram, build_root=Path("build/test"), seed=seed)
    assert not run.mismatches
    if stall:
        return
    ends = [0, *np.cumsum([run.layer_cycles[entry.index] for entry in program.schedule])]
    predicted = [sum(found.layer_end[entry.index] for found in run.predictions) for entry in program.schedule]
    if run.predictions:
        assert predicted == ends[1:] and sum(found.cycles for found in run.predictions) == run.cycles
