"""Random arrays with ``[multiplier]`` times random networks of mixed precision on the RTL: cases and their runner.

``python -m tests.system.mixed_regression CONFIGURATION [CASE ...]`` runs cases of one configuration.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from dataflows import config
from dataflows.config import Config
from dataflows.network import Conv, Network
from sim.runner import Dram
from tests.mixed_chains import mixed_chain
from tests.mixed_networks import Limits, mixed_input, mixed_network
from tests.system.regression import Outcome, dram, fitting, measure
from tests.system.regression import main as run_cases

MODULE = "tests.system.mixed_regression"

SHORT: tuple[dict[str, int | str], ...] = (
    {"kind": "fusion", "leaf": 2, "rows": 3, "cols": 8, "data_bits": 64},
    {"kind": "serial", "lanes": 16, "rows": 5, "cols": 4, "data_bits": 128},
    {"kind": "binary", "lanes": 24, "rows": 4, "cols": 8, "data_bits": 64},
    {"kind": "serial_input", "lanes": 8, "rows": 4, "cols": 4, "data_bits": 64},
    {"kind": "ternary", "lanes": 16, "rows": 3, "cols": 4, "data_bits": 128},
    {"kind": "table", "lanes": 8, "rows": 6, "cols": 8, "data_bits": 64},
    {"kind": "fusion", "leaf": 4, "rows": 8, "cols": 2, "data_bits": 128},
    {"kind": "serial_weight", "lanes": 8, "rows": 1, "cols": 4, "data_bits": 64},
)
"""What is fixed of the first configurations; everything else, and all others, are drawn."""

KINDS = ("fusion", "serial", "binary", "serial_input", "ternary", "table", "serial_weight")
MOST_PRODUCTS = 384
"""Of a row of PEs in a step: longer weight words take long to build."""

MOST_CYCLES = 12_000
"""An estimate of array cycles beyond which a network is drawn again."""


def _shape(seed: int, rng: np.random.Generator) -> dict[str, int | str]:
    """Kind, size of the array and of the bus."""
    fixed = SHORT[seed] if seed < len(SHORT) else {}
    kind = str(fixed.get("kind", KINDS[seed % len(KINDS)]))
    drawn: dict[str, int | str] = {
        "kind": kind,
        "rows": int(rng.integers(1, 13)),
        "cols": 8 * int(rng.integers(1, 3)) if kind == "binary" else 4 * int(rng.integers(1, 5)),
        "data_bits": int(rng.choice([64, 128, 256])),
    }
    if kind == "fusion":
        drawn["leaf"] = int(rng.choice([2, 4]))
    else:
        drawn["lanes"] = 8 * int(rng.integers(1, 1 + min(8, MOST_PRODUCTS // 8 // int(drawn["cols"]))))
    if kind in ("serial", "serial_input", "serial_weight", "table") and rng.random() < 0.4:
        drawn["bits"] = int(rng.integers(2, 9))
    return drawn | fixed


def configuration(seed: int) -> Config:
    """Configuration number ``seed``: little to ample memory."""
    rng = np.random.default_rng([seed, 51])
    shape = _shape(seed, rng)
    cols = int(shape["cols"])
    unit = {key: shape[key] for key in ("kind", "leaf", "lanes", "bits") if key in shape}
    memories = ("input_bytes", "weight_bytes", "operand_bytes", "param_bytes")
    values = {
        "name": f"mixed{seed}",
        "array": {
            "rows": shape["rows"], "cols": cols,
            "dataflow": "weight_stationary" if shape["kind"] == "fusion" else "output_stationary",
        },
        "multiplier": unit,
        "memory": {**dict.fromkeys(memories, 1 << 22), "acc_bytes": 8 * cols},
        "bus": {"data_bits": shape["data_bits"]},
        "control": {"queue_words": int(rng.choice([16, 64]))},
        **({"vector": {"window_words": int(rng.choice([6, 24, 96]))}} if rng.random() < 0.5 else {}),
    }  # fmt: skip
    ample = config.parse(values, f"random configuration {seed}")
    size = float(rng.choice([1, 3, 8]))

    def memory(least: int, granule: int) -> int:
        return -(-int(least * size * rng.uniform(1, 2)) // granule) * granule

    words = [ample.reduction(a, w).weight_bytes for a in ample.operand_bits for w in ample.operand_bits]
    values["memory"] = {
        "input_bytes": memory(max(2048, 4 * ample.input_word_bytes), 2 * ample.input_word_bytes),
        "weight_bytes": memory(1024 + 8 * max(words), 2 * ample.weight_word_bytes),
        "operand_bytes": memory(1024, 2 * ample.operand_word_bytes),
        "param_bytes": memory(4 * ample.param_entry_bytes, ample.param_entry_bytes),
        "acc_bytes": memory(max(16, 2 * ample.array.rows) * 8 * cols, 8 * cols),
    }
    return config.parse(values, f"random configuration {seed}")


def work(cfg: Config, network: Network) -> int:
    """Cycles of an array that is used as well as can be."""
    cycles = 0.0
    for layer in network.layers:
        if isinstance(layer, Conv):
            source = network.tensors[layer.inputs[0]]
            step = cfg.law.products(source.bits, layer.weight_bits) / cfg.law.cycles(source.bits, layer.weight_bits)
            cycles += network.macs(layer) / (cfg.multipliers * step)
    return int(cycles)


def candidates(cfg: Config, seeds: np.random.Generator) -> Iterator[Network]:
    """Networks that an array of this size works through in a short time."""
    limits = Limits.of(cfg)
    shallow = replace(limits, channels=24, size=10)
    while True:
        seed = int(seeds.integers(1 << 30))
        network = mixed_chain(seed, shallow) if seeds.random() < 0.3 else mixed_network(seed, limits)
        if work(cfg, network) <= MOST_CYCLES:
            yield network


def draw(number: int, case: int) -> tuple[Config, Dram, Iterator[Network], int]:
    """Configuration, memory, candidates for the network and number of batches of a case."""
    rng = np.random.default_rng([number, case, 52])
    cfg = configuration(number)
    return cfg, dram(cfg, rng), candidates(cfg, rng), int(rng.choice([1, 1, 2]))


def run_case(number: int, case: int) -> Outcome:
    """Compile, predict and run one case."""
    started = time.perf_counter()
    cfg, memory, networks, batches = draw(number, case)
    program, refused = fitting(cfg, case, memory, networks)
    inputs = np.concatenate([mixed_input(program.network, case + i) for i in range(batches)])
    outcome = measure(number, case, program, inputs, memory)
    return replace(outcome, refused=refused, module=MODULE, seconds=time.perf_counter() - started)


if __name__ == "__main__":
    sys.exit(run_cases(run_case, MODULE, __doc__))
