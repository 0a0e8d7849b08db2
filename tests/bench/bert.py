"""An encoder shaped like BERT-Base, random weights, 128 tokens: cycles of the RTL with softmax, norms, transfers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from dataflows import config
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.run import execute
from mapper.timing import predict
from sim.runner import Dram
from tests.attention_networks import encoder_network, random_input
from tests.bench.figures import FOLDER, Figure, shown

CONFIG = Path("configs/ws16_attention.toml")
LAYERS, HIDDEN, HEADS, LENGTH, INNER = 12, 768, 12, 128, 3072
LATENCY, RATE = 100, 16.0
"""Of the DRAM: cycles, bytes per cycle."""

GOAL_CYCLES = 46_000_000
ACCELFORGE_CYCLES = 43_680_000
"""AccelForge's idealised mapping of the same products."""
SCALE_SIM_CYCLES = 45_300_000
"""SCALE-Sim, output-stationary."""


def run() -> list[Figure]:
    """Cycles in all and by kind of layer, DRAM bytes, mismatches."""
    cfg, command = config.load(CONFIG), shown("-m", "tests.bench", "bert")
    network = encoder_network(LAYERS, HIDDEN, HEADS, LENGTH, INNER)
    program = compile_network(cfg, network, Options(LATENCY, RATE))
    dram = Dram(latency=LATENCY, bytes_per_cycle=RATE)
    result = execute(program, {"x": random_input(network, 1)}, dram=dram, build_root=FOLDER / "hardware")
    ideal = sum(network.macs(layer) for layer in network.layers) / cfg.multipliers
    spent, least = Counter[str](), Counter[str]()
    for entry in program.schedule:
        spent[entry.final.op if entry.engine == "rows" else entry.layer.op] += result.layer_cycles[entry.index]
        least[entry.layer.op] += network.macs(entry.layer) // cfg.multipliers
    predicted = predict(program, LATENCY, RATE).cycles
    beats = result.counters["READ_BEATS"] + result.counters["WRITE_BEATS"]
    return [
        Figure("cycles", result.cycles, "cycles", "goal", GOAL_CYCLES, command),
        Figure("cycles of the products", result.cycles, "cycles", "products / multipliers", ideal, command),
        Figure("cycles and AccelForge", result.cycles, "cycles", "its ideal mapping", ACCELFORGE_CYCLES, command),
        Figure("cycles and SCALE-Sim", result.cycles, "cycles", "output-stationary", SCALE_SIM_CYCLES, command),
        Figure("predicted cycles", predicted, "cycles", "measured", result.cycles, command),
        *(
            Figure(f"cycles of {op} layers", cycles, "cycles", "products / multipliers", least[op] or None, command)
            for op, cycles in sorted(spent.items())
        ),
        Figure("DRAM", beats * cfg.bus_bytes, "bytes", "none", None, command),
        Figure("wrong tensors", len(result.mismatches), "tensors", "goal", 0, command),
        Figure("simulation", result.seconds, "s", "none", None, command),
    ]
