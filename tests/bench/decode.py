"""A token of a decoder of GPT-2 small's shape, all twelve layers, random weights: keys whole, by halves, fewer; fewer
values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil

from dataflows import config
from dataflows.attention import Attention
from dataflows.network import Codes, Network
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


@dataclass(frozen=True)
class Setting:
    """What is left out.

    Attributes
    ----------
    share : float
        Of its keys, that each layer hands to the next: 0.87 and 0.684 are 1.9 and 3.8 times fewer over twelve layers.
    values : float
        Share of the values of a layer's keys that a head reads.
    halves : bool
        Lower halves of keys are read where no probability reaches the threshold.
    """

    name: str
    share: float = 1.0
    values: float = 1.0
    halves: bool = False

    def of(self, network: Network) -> Network:
        """A decoder of one token that leaves it out."""
        names = [layer.name for layer in network.layers if isinstance(layer, Attention)]
        ratios = {name: self.share ** (1 + place) for place, name in enumerate(names)} if self.share < 1 else {}
        network = leave_out(network, ratios)
        if self.values == 1:
            return network
        layers = tuple(
            replace(layer, keep_values=ceil(self.values * layer.keys(network.tensors)))
            if isinstance(layer, Attention) else layer for layer in network.layers
        )  # fmt: skip
        return replace(network, layers=layers)


SETTINGS = (
    Setting("all"),
    Setting("keys by 1.9", 0.87),
    Setting("keys by 3.8", 0.684),
    Setting("a fifth of values", values=0.2),
    Setting("keys by 3.8, a fifth of values", 0.684, 0.2),
    Setting("halves", halves=True),
    Setting("keys by 1.9, halves", 0.87, halves=True),
    Setting("keys by 3.8, halves", 0.684, halves=True),
    Setting("keys by 3.8, a fifth of values, halves", 0.684, 0.2, halves=True),
)


def run() -> list[Figure]:
    """Bytes of keys and values, of the whole step, cycles as measured and as predicted."""
    figures: list[Figure] = []
    for halves in (False, True):
        shape = LAYERS, HIDDEN, HEADS, CONTEXT, INNER
        whole = decoder_network(*shape, sharpness=SHARPNESS, threshold=THRESHOLD * halves)
        before = golden.run(whole, {"x": random_input(whole, 1)})
        caches = {name: before[name] for name in whole.caches}
        for setting in SETTINGS:
            if setting.halves == halves:
                base = figures[0].value if figures else None
                figures += _figures(setting, setting.of(with_tokens(whole, 1)), caches, base)
    return figures


def _figures(setting: Setting, network: Network, caches: dict[str, Codes], base: float | None) -> Iterator[Figure]:
    """The last token of a context on the RTL; ``base`` is what attention reads without any of it."""
    cfg, command = config.load(CONFIG), shown("-m", "tests.bench", "decode")
    program = compile_network(cfg, network, Options(LATENCY, RATE))
    result = execute(
        program, {"x": random_input(network, 2)}, dram=Dram(latency=LATENCY, bytes_per_cycle=RATE),
        build_root=FOLDER / "hardware", position=CONTEXT - 1, caches=caches,
    )  # fmt: skip
    (predicted,) = result.predictions
    layers = [entry.index for entry in program.schedule if entry.layer.op == "attention"]
    others = sum(size for index, size in predicted.dram_read_bytes.items() if index not in layers)
    read = result.counters["READ_BEATS"] * cfg.bus_bytes
    moved = read + result.counters["WRITE_BEATS"] * cfg.bus_bytes
    attention, cycles = read - others - program.words.nbytes, sum(result.layer_cycles[index] for index in layers)
    for what, value, unit, other, reference in (
        ("DRAM read by attention", attention, "bytes", "all of it", base),
        ("DRAM", moved, "bytes", "read by attention", attention),
        ("cycles of attention", cycles, "cycles", "all", result.cycles),
        ("cycles", result.cycles, "cycles", "predicted", predicted.cycles),
        ("wrong tensors", len(result.mismatches), "tensors", "goal", 0),
    ):
        yield Figure(f"{setting.name}: {what}", value, unit, other, reference, command)
