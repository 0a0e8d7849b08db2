"""Random arrays with a row engine times random transformers on the RTL: cases from seeds, and their runner.

``python -m tests.system.attention_regression CONFIGURATION [CASE ...]`` runs cases of one configuration.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from dataflows import config
from dataflows.config import Config
from dataflows.formats import ceil_pow2
from dataflows.network import Network
from sim.runner import Dram
from tests.attention_networks import KINDS, random_input, random_transformer
from tests.pruned_transformers import random_pruned
from tests.system.regression import Outcome, dram, fitting, measure
from tests.system.regression import main as run_cases

MODULE = "tests.system.attention_regression"
ROOT = Path(__file__).parents[2]

SHORT = ((16, 16, 128), (4, 8, 64), (9, 5, 64), (3, 16, 256))
"""Rows, columns and bus bits of the first configurations; the first is configs/ws16_attention.toml."""

MOST_CYCLES = 30_000
"""A network that would keep a full array busy for longer is drawn again."""


def configuration(seed: int) -> Config:
    """Configuration number ``seed``: small memories, rows of 32 to 64 elements; some of them select tokens."""
    if seed == 0:
        return config.load(ROOT / "configs" / "ws16_attention.toml")
    rng = np.random.default_rng([seed, 51])
    drawn = int(rng.integers(1, 17)), int(rng.integers(1, 17)), int(rng.choice([64, 128, 256]))
    rows, cols, bits = SHORT[seed] if seed < len(SHORT) else drawn
    word = 2 * ceil_pow2(max(bits // 8, rows, cols))
    entry = 8 * ceil_pow2(max(cols, bits // 64))
    size = int(rng.choice([1, 2, 4]))

    def memory(least: int, granule: int) -> int:
        return -(-int(least * size * rng.uniform(1, 2)) // granule) * granule

    values = {
        "name": f"attention{seed}",
        "array": {"rows": rows, "cols": cols, "dataflow": "weight_stationary"},
        "memory": {
            "input_bytes": memory(max(4096, 4 * word), word),
            "weight_bytes": memory(2048 + 8 * rows * cols, word),
            "acc_bytes": memory(max(64, 4 * cols), 1) * 2 * cols * 4,
            "operand_bytes": memory(2048, word),
            "param_bytes": memory(4 * entry, entry),
        },
        "bus": {"data_bits": bits},
        "control": {"queue_words": int(rng.choice([16, 37, 64])), "semaphores": int(rng.integers(14, 17))},
        "attention": {
            "row_elements": -(-int(rng.integers(32, 65)) // cols) * cols,
            "scales": int(rng.integers(32, 130)),
            "tables": int(rng.integers(1, 4)),
            "indices": int(rng.integers(32, 130)),
            "pruning": seed % 2 == 1 and cols.bit_count() == 1,
        },
        **({"vector": {"window_words": 24}} if rng.random() < 0.4 else {}),
    }
    return config.parse(values, f"random attention configuration {seed}")


def candidates(cfg: Config, case: int, seeds: np.random.Generator) -> Iterator[Network]:
    """Networks of the kind of the case whose rows fit the engine, and that take a short time."""
    most = min(cfg.attention.row_elements, 100)
    kinds = (*KINDS, "pruned") if cfg.attention.pruning else KINDS
    while True:
        seed, kind = int(seeds.integers(1 << 30)), kinds[case % len(kinds)]
        if kind == "pruned":
            network = random_pruned(seed, cfg.lanes, min(most, cfg.attention.indices // 3))
        else:
            network = random_transformer(seed, kind, most_channels=most, most_length=most)
        if sum(network.macs(layer) for layer in network.layers) <= MOST_CYCLES * cfg.multipliers:
            yield network


def draw(number: int, case: int) -> tuple[Config, Dram, Iterator[Network], int]:
    """Configuration, memory, candidates for the network and number of batches of a case."""
    rng = np.random.default_rng([number, case, 52])
    cfg = configuration(number)
    return cfg, dram(cfg, rng), candidates(cfg, case, rng), int(rng.choice([1, 1, 2]))


def run_case(number: int, case: int) -> Outcome:
    """Compile, predict and run one case."""
    started = time.perf_counter()
    cfg, memory, networks, batches = draw(number, case)
    program, refused = fitting(cfg, case, memory, networks)
    inputs = np.concatenate([random_input(program.network, case + i) for i in range(batches)])
    outcome = measure(number, case, program, inputs, memory)
    return replace(outcome, refused=refused, seconds=time.perf_counter() - started, module=MODULE)


if __name__ == "__main__":
    sys.exit(run_cases(run_case, MODULE, __doc__))
