"""A layer of GPT-2 small's shape, random weights: one token behind 1,023 others, with whole keys and by halves."""

from __future__ import annotations

import numpy as np

from dataflows import config
from dataflows.network import Network
from mapper.compile import Program, compile_network
from mapper.conv_plan import Options
from mapper.load_bytes import load_bytes
from mapper.run import Run, execute
from sim import golden
from sim.runner import Dram
from tests.attention_networks import random_input
from tests.bench.bert import CONFIG, LATENCY, RATE
from tests.bench.figures import FOLDER, Figure, shown
from tests.decoder_networks import decoder_network, with_tokens

LAYERS, HIDDEN, HEADS, CONTEXT, INNER = 1, 768, 12, 1024, 3072
"""Its twelve layers are alike."""

THRESHOLD = 0.1
SHARPNESS = (1.5, 4.0)
"""Spread of the scores (natural logarithms): even attention, and attention to few tokens."""


def _step(whole: Network) -> tuple[Program, Run]:
    """The last token of a context, its caches full."""
    cfg, network = config.load(CONFIG), with_tokens(whole, 1)
    before = golden.run(whole, {"x": random_input(whole, 1)})
    program = compile_network(cfg, network, Options(LATENCY, RATE))
    run = execute(
        program, {"x": random_input(network, 2)}, dram=Dram(latency=LATENCY, bytes_per_cycle=RATE),
        build_root=FOLDER / "hardware", position=CONTEXT - 1, caches={name: before[name] for name in whole.caches},
    )  # fmt: skip
    return program, run


def run() -> list[Figure]:
    """Cycles and DRAM bytes of a token, and of its attention."""
    command, figures = shown("-m", "tests.bench", "gpt2"), []
    for sharpness in SHARPNESS:
        read = {}
        for threshold in (0.0, THRESHOLD):
            fields = {"sharpness": sharpness, "threshold": threshold}
            whole = decoder_network(LAYERS, HIDDEN, HEADS, CONTEXT, INNER, **fields)
            program, result = _step(whole)
            layers = [entry.index for entry in program.schedule if entry.layer.op == "attention"]
            bus, loads = program.cfg.bus_bytes, load_bytes(program)
            read[threshold] = result.counters["READ_BEATS"] * bus
            others = sum(sum(found.values()) for index, found in loads.items() if index not in layers)
            attention = read[threshold] - others - program.words.nbytes  # lower halves may be left out
            cycles = sum(result.layer_cycles[index] for index in layers)
            name = f"sharpness {sharpness}, {'halves' if threshold else 'whole keys'}"
            predicted = float(np.sum([prediction.cycles for prediction in result.predictions]))
            figures += [
                Figure(f"{name}: cycles", result.cycles, "cycles", "predicted", predicted, command),
                Figure(f"{name}: cycles of attention", cycles, "cycles", "all", result.cycles, command),
                Figure(f"{name}: DRAM read", read[threshold], "bytes", "whole keys", read[0.0], command),
                Figure(f"{name}: DRAM read by attention", attention, "bytes", "all", read[threshold], command),
                Figure(f"{name}: wrong tensors", len(result.mismatches), "tensors", "goal", 0, command),
            ]
    return figures
