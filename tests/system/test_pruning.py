"""Networks that leave out tokens, on the RTL: every tensor against the golden model."""

from pathlib import Path

import numpy as np
import pytest

from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.run import execute
from sim.runner import Dram
from tests.attention_configs import small_attention
from tests.attention_networks import random_input
from tests.pruned_transformers import head_list, pruned_encoder

CFG = small_attention(4, 8).model_copy(update={"name": "pruning4x8"})
CFG = CFG.model_copy(update={"attention": CFG.attention.model_copy(update={"pruning": True})})


@pytest.mark.parametrize(
    ("tokens", "heads", "size", "keep", "keep_heads"),
    [
        (19, 2, 5, (13, 13, 4), (2, 2, 2)),
        (7, 1, 4, (1,), (1,)),
        (40, 4, 2, (33, 20), (4, 4)),
        (17, 4, 8, (17, 9, 9), (3, 1, 1)),
        (5, 3, 16, (5, 4), (2, 2)),
    ],
)
def test_cascades(tokens, heads, size, keep, keep_heads):
    rng = np.random.default_rng(tokens)
    network = pruned_encoder(tokens, tokens, heads, size, keep, keep_heads)
    inputs = np.concatenate([random_input(network, seed) for seed in range(2)])
    stall = float(rng.choice([0, 0.2]))
    dram = Dram(latency=int(rng.integers(1, 60)), read_stall=stall, write_stall=stall, seed=tokens)
    program = compile_network(CFG, network, Options())
    run = execute(program, {"x": inputs}, dram=dram, build_root=Path("build/test/rtl"), seed=tokens)
    assert not run.mismatches


@pytest.mark.regress
@pytest.mark.parametrize("seed", range(30))
def test_random_cascades(seed):
    rng = np.random.default_rng([seed, 7])
    layers, heads = int(rng.integers(1, 4)), int(rng.integers(1, 5))
    fewer = rng.random() < 0.5
    size = int(rng.choice([8, 16]) if fewer else rng.integers(1, 64 // heads // 2))
    size = min(size, 64 // heads // 8 * 8) if fewer else size
    tokens = int(rng.integers(1, 50))
    keep = sorted(rng.integers(1, tokens + 1, layers).tolist(), reverse=True)
    keep_heads = sorted(rng.integers(1, heads + 1, layers).tolist(), reverse=True) if fewer else [heads] * layers
    test_cascades(tokens, heads, size, tuple(keep), tuple(keep_heads))


def test_heads():
    """The importance of heads, by a list that is read as one of tokens."""
    network = head_list(3, 9, 5, 4, 3)
    inputs = np.concatenate([random_input(network, seed) for seed in range(3)])
    program = compile_network(CFG, network, Options())
    run = execute(program, {"x": inputs}, dram=Dram(latency=9), build_root=Path("build/test/rtl"))
    assert not run.mismatches
