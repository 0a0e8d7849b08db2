"""Random sparse engines times random pruned networks on the RTL: cases from seeds, and their runner.

``python -m tests.system.sparse_regression CONFIGURATION [CASE ...]`` runs cases of one configuration.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from dataflows import catalogue, config
from dataflows.config import Config
from dataflows.formats import ACC_BITS, ceil_pow2
from dataflows.network import Network
from dataflows.vocabulary import Operand
from mapper.compile import Program
from sim.runner import Dram
from tests.pruned_networks import Limits, pruned_input, pruned_network
from tests.system.regression import Outcome, dram, fitting, measure
from tests.system.regression import main as run_cases

MODULE = "tests.system.sparse_regression"
ROOT = Path(__file__).parents[2]

SHORT: tuple[dict[str, int | str], ...] = (
    {},  # configs/eie4.toml
    {"dataflow": "output_stationary", "rows": 3, "cols": 4, "pes": 8, "queue": 1, "run_bits": 2, "code_bits": 2,
     "data_bits": 64, "act_bits": 8},
    {"dataflow": "no_local_reuse", "rows": 6, "cols": 2, "pes": 16, "queue": 16, "run_bits": 5, "code_bits": 8,
     "data_bits": 128, "act_bits": 16},
    {"dataflow": "input_stationary", "rows": 4, "cols": 3, "pes": 6, "queue": 2, "run_bits": 3, "code_bits": 4,
     "data_bits": 128, "act_bits": 8},
)  # fmt: skip
"""What is fixed of the first configurations; everything else, and all others, are drawn."""

FLOWS = ("weight_stationary", "output_stationary", "input_stationary", "no_local_reuse")
MOST_WORK = 40_000
"""Products of a network, zeros included, that a case may hold per PE."""


def _shape(seed: int, rng: np.random.Generator) -> dict[str, int | str]:
    """Array, engine and widths of a configuration; every other one of all that is allowed, the rest usual."""
    rows, cols = (int(v) for v in rng.integers(1, 7, 2))
    wide = seed % 2 and seed >= len(SHORT)
    fewest = 1 if wide else -(-4 // cols)
    drawn: dict[str, int | str] = {
        "dataflow": FLOWS[(seed + seed // 8) % len(FLOWS)],
        "rows": rows,
        "cols": cols,
        "pes": cols * int(rng.integers(fewest, 16 // cols + 1)),
        "queue": int(rng.choice([1, 2, 3, 4, 8, 13, 16] + [33, 256] * wide)),
        "run_bits": int(rng.integers(1, 9) if wide else rng.integers(2, 6)),
        "code_bits": int(rng.integers(1, 9) if wide else rng.integers(2, 9)),
        "data_bits": int(rng.choice([64, 128] + [256, 512] * wide)),
        "act_bits": int(rng.choice([8, 8, 16])),
    }
    return drawn | (SHORT[seed] if seed < len(SHORT) else {})


def configuration(seed: int) -> Config:
    """Configuration number ``seed``: memories so small that layers need several tiles of rows and columns."""
    if seed == 0:
        return config.load(ROOT / "configs" / "eie4.toml")
    rng = np.random.default_rng([seed, 41])
    shape = _shape(seed, rng)
    flow, rows, cols, beat, width = (shape[key] for key in ("dataflow", "rows", "cols", "data_bits", "act_bits"))
    beat, element = beat // 8, width // 8
    word = {
        operand: 2 * ceil_pow2(max(beat, catalogue.get(flow).elements(operand, rows, cols) * element))
        for operand in (Operand.INPUT, Operand.WEIGHT)
    }
    entry = width * ceil_pow2(max(cols, beat // width))
    operand = 2 * ceil_pow2(max(beat, cols * element))

    def memory(least: int, granule: int, most: int = 4) -> int:
        return -(-int(least * rng.uniform(1, most)) // granule) * granule

    values = {
        "name": f"sparse{seed}",
        "array": {"rows": rows, "cols": cols, "dataflow": flow},
        "sparse": {
            **{key: shape[key] for key in ("pes", "queue", "run_bits", "code_bits")},
            "codebooks": int(rng.integers(1, 5)),
            "weight_bytes": memory(256, beat),
            "pointer_bytes": memory(128, beat),
            "accumulators": int(rng.choice([2, 3, 5, 8, 16])),
        },
        "memory": {
            "input_bytes": memory(2048 * element, word[Operand.INPUT]),
            "weight_bytes": memory(2048 * element, word[Operand.WEIGHT]),
            "acc_bytes": memory(48, 1) * 2 * cols * ACC_BITS[width] // 8,
            "operand_bytes": memory(1024 * element, operand),
            "param_bytes": memory(max(8, shape["pes"] // cols) * entry, entry),
        },
        "bus": {"data_bits": 8 * beat},
        "numbers": {"act_bits": width},
        "control": {"queue_words": int(rng.choice([16, 64]))},
        **({"vector": {"window_words": 24}} if width == 8 and rng.random() < 0.4 else {}),
    }
    return config.parse(values, f"random sparse configuration {seed}")


def candidates(cfg: Config, seeds: np.random.Generator) -> Iterator[Network]:
    """Networks that take a short time on this engine: half hardly larger than its PEs, half up to several tiles."""
    pes = cfg.sparse.pes
    small = Limits((1 << cfg.sparse.code_bits) - 1, pes, 2 * pes, 40, cfg.numbers.act_bits)
    rows, columns = 3 * pes * cfg.sparse.accumulators, cfg.sparse.pointer_bytes
    large = replace(small, rows=min(rows, 400), columns=min(columns, 700))
    while True:
        limits = small if seeds.random() < 0.5 else large
        network = pruned_network(int(seeds.integers(1 << 30)), limits)
        if sum(network.macs(layer) for layer in network.layers) <= MOST_WORK * cfg.sparse.pes:
            yield network


def draw(number: int, case: int) -> tuple[Config, Dram, Iterator[Network], int]:
    """Configuration, memory, candidates for the network and number of batches of a case."""
    rng = np.random.default_rng([number, case, 42])
    cfg = configuration(number)
    return cfg, dram(cfg, rng), candidates(cfg, rng), int(rng.choice([1, 1, 2]))


def compiled(number: int, case: int) -> tuple[Program, Dram, int, int]:
    """The program of a case, its memory, number of batches, and how many networks were refused before it.

    In a quarter of the cases each layer runs where it is faster, in the others wherever it can on the engine.
    """
    cfg, memory, networks, batches = draw(number, case)
    program, refused = fitting(cfg, case, memory, networks, "auto" if case % 4 == 3 else "sparse")
    return program, memory, batches, refused


def run_case(number: int, case: int) -> Outcome:
    """Compile, predict and run one case."""
    started = time.perf_counter()
    program, memory, batches, refused = compiled(number, case)
    inputs = np.concatenate([pruned_input(program.network, case + i) for i in range(batches)])
    outcome = measure(number, case, program, inputs, memory)
    return replace(outcome, refused=refused, seconds=time.perf_counter() - started, module=MODULE)


if __name__ == "__main__":
    sys.exit(run_cases(run_case, MODULE, __doc__))
