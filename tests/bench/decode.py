"""A token of a decoder of GPT-2 small's shape, all twelve layers, random weights: whole keys, halves, fewer and fewer.

Cycles and bytes are those of the timing model, which are the RTL's (topic gpt2, ``tests/system/test_generation.py``);
what is decided and chosen is the golden model's.
"""

from __future__ import annotations

from dataflows import config
from dataflows.attention import Attention
from dataflows.network import Network
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.leave_out import leave_out
from mapper.timing import predict
from sim import golden
from tests.attention_networks import random_input
from tests.bench.bert import LATENCY, RATE
from tests.bench.figures import Figure, shown
from tests.bench.gpt2 import CONTEXT, HEADS, HIDDEN, INNER, THRESHOLD
from tests.bench.pruning import CONFIG
from tests.decoder_networks import decoder_network, with_tokens

LAYERS = 12
SHARPNESS = 4.0

KEPT = {"all keys": 1.0, "keys by 1.9": 0.87, "keys by 3.8": 0.684}
"""Share of its keys that each layer hands to the next: over twelve layers 1.9 and 3.8 times fewer are read."""


def cascade(network: Network, share: float) -> Network:
    """The decoder with fewer and fewer keys from layer to layer."""
    names = [layer.name for layer in network.layers if isinstance(layer, Attention)]
    return leave_out(network, {name: share ** (1 + place) for place, name in enumerate(names)} if share < 1 else {})


def run() -> list[Figure]:
    """Bytes of keys and values, of the whole step, and cycles."""
    cfg, command, figures = config.load(CONFIG), shown("-m", "tests.bench", "decode"), []
    base: tuple[float, ...] = ()
    for threshold in (0.0, THRESHOLD):
        whole = decoder_network(
            LAYERS, HIDDEN, HEADS, CONTEXT, INNER, sharpness=SHARPNESS, threshold=threshold
        )
        before = golden.run(whole, {"x": random_input(whole, 1)})
        for name, share in KEPT.items():
            network = cascade(with_tokens(whole, 1), share)
            caches = {cache: before[cache] for cache in whole.caches}
            values = golden.run(network, {"x": random_input(network, 2)}, caches, CONTEXT - 1)
            program = compile_network(cfg, network, Options(LATENCY, RATE))
            found = predict(
                program, LATENCY, RATE, values, position=CONTEXT - 1,
                decisions=golden.decisions(network, values, CONTEXT - 1),
            )  # fmt: skip
            layers = [entry.index for entry in program.schedule if entry.layer.op == "attention"]
            ends = [0, *(found.layer_end[entry.index] for entry in program.schedule)]
            cycles = sum(ends[place + 1] - ends[place] for place, entry in enumerate(program.schedule)
                         if entry.index in layers)  # fmt: skip
            moved = sum(found.dram_read_bytes.values()) + sum(found.dram_write_bytes.values()) + program.words.nbytes
            numbers = sum(found.dram_read_bytes[index] for index in layers), moved, cycles, found.cycles
            base = base or numbers
            title = f"{name}{', halves' if threshold else ''}"
            for what, value, first, unit in zip(
                ("DRAM read by attention", "DRAM", "cycles of attention", "cycles"), numbers, base,
                ("bytes", "bytes", "cycles", "cycles"), strict=True,
            ):  # fmt: skip
                figures.append(Figure(f"{title}: {what}", value, unit, "all keys, whole", first, command))
    return figures
