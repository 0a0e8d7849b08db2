"""The encoder of :mod:`tests.bench.bert`, half of its tokens and a quarter of its heads left out behind layer one."""

from __future__ import annotations

from pathlib import Path

from dataflows import config
from dataflows.attention import Attention
from dataflows.network import Network
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.leave_out import leave_out
from mapper.run import execute
from mapper.timing import predict
from sim.runner import Dram
from tests.attention_networks import encoder_network, random_input
from tests.bench.bert import HEADS, HIDDEN, INNER, LATENCY, LAYERS, LENGTH, RATE
from tests.bench.figures import FOLDER, Figure, shown

CONFIG = Path("configs/spatten.toml")
TOKENS, KEPT_HEADS = 0.5, 0.75


def pruned(network: Network) -> Network:
    """Both ratios from the first attention layer on."""
    first = next(layer.name for layer in network.layers if isinstance(layer, Attention))
    return leave_out(network, {first: TOKENS}, {first: KEPT_HEADS})


def run() -> list[Figure]:
    """Cycles and DRAM bytes with and without pruning, against what the products ask for."""
    cfg, command = config.load(CONFIG), shown("-m", "tests.bench", "pruning")
    whole = encoder_network(LAYERS, HIDDEN, HEADS, LENGTH, INNER)
    network, options = pruned(whole), Options(LATENCY, RATE)
    program = compile_network(cfg, network, options)
    dram = Dram(latency=LATENCY, bytes_per_cycle=RATE)
    result = execute(program, {"x": random_input(network, 1)}, dram=dram, build_root=FOLDER / "hardware")
    predicted = predict(compile_network(cfg, whole, options), LATENCY, RATE)
    ideal = sum(network.macs(layer) for layer in network.layers) / cfg.multipliers
    products = sum(whole.macs(layer) for layer in whole.layers) / cfg.multipliers
    moved = sum(predicted.dram_read_bytes.values()) + sum(predicted.dram_write_bytes.values())
    beats = result.counters["READ_BEATS"] + result.counters["WRITE_BEATS"]
    return [
        Figure("cycles", result.cycles, "cycles", "products / multipliers", ideal, command),
        Figure("cycles of the whole encoder, predicted", predicted.cycles, "cycles", "products / multipliers", products,
               command),
        Figure("cycles that are left", result.cycles / predicted.cycles, "1", "products", ideal / products, command),
        Figure("DRAM", beats * cfg.bus_bytes, "bytes", "the whole encoder, without commands", moved, command),
        Figure("wrong tensors", len(result.mismatches), "tensors", "goal", 0, command),
    ]  # fmt: skip
