"""Networks that leave out values, on the RTL: every tensor against the golden model, every layer in its cycles."""

from pathlib import Path

import numpy as np
import pytest

from dataflows.attention import Attention
from dataflows.config import Config
from dataflows.network import Network
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.leave_out import leave_out
from mapper.run import execute
from sim.runner import Dram
from tests.attention_configs import small_attention
from tests.attention_networks import random_input, random_transformer
from tests.decoder_networks import decoder_network, random_decoder, with_tokens
from tests.pruned_transformers import pruned_encoder
from tests.system.test_values_program import CFG
from tests.values_networks import without_values

KINDS = ("attention", "encoder", "two layers", "cache")


def network_of(seed: int, cols: int) -> Network:
    """A transformer, one that leaves out tokens and heads as well, or a decoder."""
    rng = np.random.default_rng([seed, 52])
    if seed % 4 == 1:
        heads = int(rng.integers(1, min(4, 64 // cols + 1)))
        keep = sorted(rng.integers(1, 25, 2).tolist(), reverse=True)
        network = pruned_encoder(seed, 24, heads, cols, tuple(keep), (heads, int(rng.integers(1, heads + 1))))
    elif seed % 4 == 3 and cols % 2 == 0:  # halves of keys share bytes
        network = with_tokens(random_decoder(seed), 1)
    else:
        network = random_transformer(seed, str(rng.choice(KINDS)))
    return without_values(network, seed)


@pytest.mark.parametrize("seed", [*range(8), *(pytest.param(n, marks=pytest.mark.regress) for n in range(8, 60))])
def test_random_networks(seed: int) -> None:
    check(CFG, network_of(seed, CFG.lanes), seed)


@pytest.mark.regress
@pytest.mark.parametrize(("rows", "cols"), [(3, 1), (5, 2), (4, 4), (16, 16), (8, 32)])
def test_other_arrays(rows: int, cols: int) -> None:
    """Words of one element to 32, whose prefix sums have a register."""
    attention = {**CFG.attention.model_dump(), "indices": 256}
    cfg = small_attention(rows, cols, name=f"values{rows}x{cols}", size=4, attention=attention)
    for seed in range(24):
        check(cfg, network_of(seed, cfg.lanes), seed)


@pytest.mark.parametrize("seed", [*range(2), *(pytest.param(n, marks=pytest.mark.regress) for n in range(2, 20))])
def test_listed_keys(seed: int) -> None:
    """Decoders whose layers attend to fewer and fewer keys, whole ones or halves, and read some values of these."""
    rng = np.random.default_rng([seed, 54])
    heads, most = int(rng.integers(1, 4)), int(rng.integers(4, 22))
    hidden = heads * 2 * int(rng.integers(1, 8))
    threshold = float(rng.choice([0.2, 0.5])) if seed % 2 else 0.0
    whole = with_tokens(decoder_network(3, hidden, heads, most, 16, seed=seed, threshold=threshold), 1)
    names = [layer.name for layer in whole.layers if isinstance(layer, Attention)]
    cascade = leave_out(whole, dict(zip(names, sorted(rng.uniform(0.1, 1, 3).tolist())[::-1], strict=True)))
    check(CFG, without_values(cascade, seed), seed, tokens=min(most, 4))


def check(cfg: Config, network: Network, seed: int, tokens: int = 1) -> None:
    """Two samples, or some tokens, of a random network."""
    rng = np.random.default_rng([seed, 53])
    batch = tokens if network.caches else 2
    inputs = {"x": np.concatenate([random_input(network, 10 * seed + n) for n in range(batch)])}
    stall = float(rng.choice([0, 0, 0.3]))
    dram = Dram(latency=int(rng.integers(1, 90)), read_stall=stall, write_stall=stall, seed=seed)
    program = compile_network(cfg, network, Options(dram.latency, cfg.bus_bytes))
    run = execute(program, inputs, dram=dram, build_root=Path("build/test"), seed=seed)
    assert not run.mismatches
    if stall:
        return
    ends = [0, *np.cumsum([run.layer_cycles[entry.index] for entry in program.schedule])]
    predicted = [sum(found.layer_end[entry.index] for found in run.predictions) for entry in program.schedule]
    if run.predictions:
        assert predicted == ends[1:] and sum(found.cycles for found in run.predictions) == run.cycles
