"""A token of a decoder of GPT-2 small's shape, all twelve layers, random weights: keys whole, by halves, fewer."""

from __future__ import annotations

from dataflows import config
from dataflows.attention import Attention
from dataflows.network import Network
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.leave_out import leave_out
from mapper.run import execute
from sim import golden
from sim.runner import Dram
from tests.attention_networks import random_input
from tests.bench.bert import LATENCY, RATE
from tests.bench.figures import FOLDER, Figure, shown
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
    """Bytes of keys and values, of the whole step, cycles as measured and as predicted."""
    cfg, command, figures = config.load(CONFIG), shown("-m", "tests.bench", "decode"), []
    base: tuple[float, ...] = ()
    for threshold in (0.0, THRESHOLD):
        shape = LAYERS, HIDDEN, HEADS, CONTEXT, INNER
        whole = decoder_network(*shape, sharpness=SHARPNESS, threshold=threshold)
        before = golden.run(whole, {"x": random_input(whole, 1)})
        caches = {cache: before[cache] for cache in whole.caches}
        for name, share in KEPT.items():
            network = cascade(with_tokens(whole, 1), share)
            program = compile_network(cfg, network, Options(LATENCY, RATE))
            result = execute(
                program, {"x": random_input(network, 2)}, dram=Dram(latency=LATENCY, bytes_per_cycle=RATE),
                build_root=FOLDER / "hardware", position=CONTEXT - 1, caches=caches,
            )  # fmt: skip
            (predicted,) = result.predictions
            layers = [entry.index for entry in program.schedule if entry.layer.op == "attention"]
            others = sum(size for index, size in predicted.dram_read_bytes.items() if index not in layers)
            attention = result.counters["READ_BEATS"] * cfg.bus_bytes - others - program.words.nbytes
            moved = (result.counters["READ_BEATS"] + result.counters["WRITE_BEATS"]) * cfg.bus_bytes
            numbers = attention, moved, sum(result.layer_cycles[index] for index in layers), result.cycles
            base = base or numbers
            title = f"{name}{', halves' if threshold else ''}"
            for what, value, first, unit in zip(
                ("DRAM read by attention", "DRAM", "cycles of attention", "cycles"), numbers, base,
                ("bytes", "bytes", "cycles", "cycles"), strict=True,
            ):  # fmt: skip
                figures.append(Figure(f"{title}: {what}", value, unit, "all keys, whole", first, command))
            figures += [
                Figure(f"{title}: predicted cycles", predicted.cycles, "cycles", "measured", result.cycles, command),
                Figure(f"{title}: wrong tensors", len(result.mismatches), "tensors", "goal", 0, command),
            ]
    return figures
