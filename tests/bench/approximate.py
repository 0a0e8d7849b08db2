"""Attention that leaves out values, by rank and below a probability (MNNFast), and small numerators, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dataflows import config
from dataflows.attention import Attention
from dataflows.network import Codes, Network
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.leave_out_values import leave_out_values
from mapper.run import execute
from mapper.timing import predict
from sim import golden
from sim.golden.attention import heads
from sim.runner import Dram
from tests.attention_blocks import Blocks
from tests.attention_networks import random_input
from tests.bench.bert import LATENCY, RATE
from tests.bench.figures import FOLDER, Figure, shown
from tests.bench.pruning import CONFIG
from tests.decoder_networks import with_tokens

SHARPNESS = 4.0
"""Spread of the scores, as exponents of e: attention to few tokens."""

RATIO, THRESHOLD, LEAST = 0.5, 0.1, 0.1


@dataclass(frozen=True)
class Case:
    """An attention layer behind its three linear layers; with ``cached`` the last query alone."""

    name: str
    hidden: int
    heads: int
    length: int
    cached: bool = False

    def network(self) -> tuple[Network, dict[str, Codes]]:
        """It, and what its caches hold before: the scale of its result just holds the largest one."""
        rng = np.random.default_rng([self.length, 41])
        blocks = Blocks(1, rng.integers(-128, 128, (1, 1, self.length, self.hidden)).astype(np.int8))
        blocks.self_attention(
            "x", self.heads, self.hidden, most=self.length * self.cached, sharpness=SHARPNESS
        )
        whole = blocks.network(self.name)
        before = golden.run(whole, {"x": random_input(whole, 1)})
        (result,) = whole.outputs
        largest = float(np.abs(reference(whole, before)).max())
        scaled = replace(whole.tensors[result], scale=float(np.float32(largest / 127)), zero=0)
        whole = replace(whole, tensors={**whole.tensors, result: scaled})
        if not self.cached:
            return whole, {}
        return with_tokens(whole, 1), {name: before[name] for name in whole.caches}


CASES = (
    Case("a small layer, 64 tokens", 128, 2, 64),
    Case("BERT-Base, 128 tokens", 768, 12, 128),
    Case("four heads of BERT-Base, 384 tokens", 256, 4, 384),
    Case("GPT-2 small, a token behind 1,023", 768, 12, 1024, cached=True),
)

SETTINGS: dict[str, tuple[float, float, float]] = {
    "whole": (0, 0, 0),
    f"{RATIO:g} of the values": (RATIO, 0, 0),
    f"values from {THRESHOLD:g}": (0, THRESHOLD, 0),
    f"post-scoring {LEAST:g}": (0, 0, LEAST),
}
"""Ratio of values, threshold of probabilities, share of the largest; 0: none."""


def reference(network: Network, values: dict[str, Codes]) -> NDArray[np.float64]:
    """The attention layer in float64, on the codes that it gets; of a cached one the last queries."""
    layer = next(layer for layer in network.layers if isinstance(layer, Attention))
    q, k, v = (
        heads(values[name], layer.heads) * network.tensors[name].scale for name in layer.inputs
    )
    scores = q @ k.swapaxes(2, 3) * layer.factor
    rows, columns = scores.shape[2:]
    if layer.cached:
        scores = np.where(np.arange(columns) <= np.arange(rows)[:, None] + columns - rows, scores, -np.inf)
    shares = np.exp(scores - scores.max(axis=3, keepdims=True))
    joined: NDArray[np.float64] = (shares / shares.sum(axis=3, keepdims=True) @ v).swapaxes(1, 2)
    return joined.reshape(values[layer.inputs[0]].shape)


def run() -> list[Figure]:
    """Cycles, bytes and errors of every case and setting."""
    return [figure for case in CASES for figure in _case(case)]


def _case(case: Case) -> Iterator[Figure]:
    """All settings of a case."""
    whole, caches = case.network()
    (name,) = (layer.name for layer in whole.layers if isinstance(layer, Attention))
    base: dict[str, float] = {}
    for setting, chosen in SETTINGS.items():
        network = leave_out_values(whole, *({name: value} if value else {} for value in chosen))
        found = _measure(network, caches, case.length - 1 if case.cached else 0)
        for what, value in found.items():
            unit = "dB" if "SQNR" in what else "bytes" if "DRAM" in what else "cycles" if "cycles" in what else "1"
            other, held = ("predicted", found["predicted cycles"]) if what == "cycles" else ("whole", base.get(what))
            yield Figure(
                f"{case.name}, {setting}: {what}", value, unit, other, held, shown("-m", "tests.bench", "approximate")
            )
        base = base or found


def _measure(network: Network, caches: dict[str, Codes], position: int) -> dict[str, float]:
    """A run on the RTL."""
    cfg, x = config.load(CONFIG), random_input(network, 2)
    program = compile_network(cfg, network, Options(LATENCY, RATE))
    result = execute(
        program, {"x": x}, dram=Dram(latency=LATENCY, bytes_per_cycle=RATE), build_root=FOLDER / "hardware",
        position=position, caches=caches or None,
    )  # fmt: skip
    values = golden.run(network, {"x": x}, caches or None, position)
    (entry,) = (entry for entry in program.schedule if isinstance(entry.layer, Attention))
    every = np.array(entry.layer.keys(network.tensors))
    kept = golden.values_kept(network, values, position).get(entry.layer.name, every)
    prediction = result.predictions[0] if result.predictions else predict(program, LATENCY, RATE, position=position)
    moved = prediction.dram_read_bytes[entry.index] + prediction.dram_write_bytes[entry.index]
    return {
        "cycles": result.cycles,
        "predicted cycles": prediction.cycles,
        "cycles of attention": result.layer_cycles[entry.index],
        "DRAM of attention": moved,
        "DRAM": (result.counters["READ_BEATS"] + result.counters["WRITE_BEATS"]) * cfg.bus_bytes,
        "values of a head": float(kept.mean()),
        "SQNR against float64": golden.sqnr(
            reference(network, values), network.tensors[entry.output], values[entry.output]
        ),
        "wrong tensors": len(result.mismatches),
    }
