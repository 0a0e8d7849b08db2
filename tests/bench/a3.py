"""A layer of A3's size, 320 keys of 64 channels, one query at a time: all keys; candidates (A3); values of the largest
probabilities only, by threshold (MNNFast) and by rank (SpAtten)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflows import config
from dataflows.attention import Attention, Constant
from dataflows.config import Config
from dataflows.network import Network, Tensor
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.run import execute
from mapper.timing import predict
from sim import golden
from sim.golden import softmax
from sim.golden.attention import shares, stays
from sim.runner import Dram
from tests.bench.figures import FOLDER, Figure, shown

CONFIG = Path("configs/spatten.toml")
KEYS, DEPTH = 320, 64
SETTINGS: dict[str, dict[str, Any]] = {
    "all keys": {},
    **{f"{steps} steps": {"candidates": steps} for steps in (KEYS // 2, KEYS // 4, KEYS // 8)},
    "160 steps, below 5 % of the largest": {"candidates": KEYS // 2, "least": 7},
    "values of at least 1 %": {"value_threshold": 0.01},
    "80 values": {"keep_values": KEYS // 4},
}
"""Fields of the attention layer."""
LATENCY, RATE = 100, 16.0
"""Of the DRAM: cycles, bytes per cycle."""
FEW, MANY = 1, 9
"""Queries of two runs: the difference is what each further one costs."""
JUDGED = 400
"""Queries that errors are taken from."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Data:
    """Queries and memory of a layer. Queries resemble one key each (``sought``), or none, with scores that spread by
    a standard deviation of ``spread``."""

    name: str
    sought: bool = False
    spread: float = 1.0

    @cached_property
    def arrays(self) -> tuple[Floats, Floats, Floats]:
        """Queries (JUDGED, DEPTH), keys and values (KEYS, DEPTH)."""
        rng = np.random.default_rng(3)
        keys, values, noise = (rng.normal(size=(count, DEPTH)) for count in (KEYS, KEYS, JUDGED))
        if self.sought:
            return keys[rng.integers(0, KEYS, JUDGED)] + noise, keys, values
        return noise * self.spread, keys, values

    def network(self, samples: int, setting: str) -> Network:
        """Attention alone, of the first queries."""
        queries, keys, values = self.arrays
        scores = queries @ keys.T / np.sqrt(DEPTH)
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        result = shares / shares.sum(axis=1, keepdims=True) @ values
        shapes = {"x": (samples, 1, 1, DEPTH), "k": (samples, 1, KEYS, DEPTH), "v": (samples, 1, KEYS, DEPTH)}
        largest = {"x": queries, "k": keys, "v": values, "y": result}
        scales = {name: float(np.float32(np.abs(some).max() / 127)) for name, some in largest.items()}
        tensors = {name: Tensor(name, shape, scales[name], 0) for name, shape in {**shapes, "y": shapes["x"]}.items()}
        layers = [
            Constant(name, (), name, value=_codes(some, scales[name])[np.newaxis, np.newaxis])
            for name, some in (("k", keys), ("v", values))
        ]
        factor = float(np.float32(1 / np.sqrt(DEPTH)))
        attention = Attention("attention", ("x", "k", "v"), "y", factor=factor, **SETTINGS[setting])
        return Network("a3", tensors, (*layers, attention), ("x",), ("y",))

    def codes(self, network: Network) -> NDArray[np.int8]:
        """The first queries as the network takes them."""
        tensor = network.tensors["x"]
        return _codes(self.arrays[0][: tensor.shape[0]], tensor.scale).reshape(tensor.shape)


SOUGHT = Data("queries that resemble a key", sought=True)
SPREAD = Data("queries that resemble none, scores spread by 3", spread=3.0)


def _codes(values: Floats, scale: float) -> NDArray[np.int8]:
    return np.clip(np.rint(values / scale), -127, 127).astype(np.int8)


def configuration() -> Config:
    """The configuration with room for the layer's columns."""
    values = config.load(CONFIG).model_dump()
    values["attention"] |= {"candidates": KEYS, "candidate_columns": DEPTH}
    return config.parse({**values, "name": "a3"}, "a3")


def run() -> list[Figure]:
    """Cycles, bytes and errors of each setting."""
    return [figure for what in SETTINGS for figure in (*_cost(what), *_errors(what))]


def _cost(what: str) -> list[Figure]:
    """Cycles and DRAM bytes of a query on the RTL, and of each further one."""
    cfg, command = configuration(), shown("-m", "tests.bench", "a3")
    cycles, read, wrong, predicted = [], [], 0, 0
    for count in (FEW, MANY):
        network = SOUGHT.network(count, what)
        program = compile_network(cfg, network, Options(LATENCY, RATE))
        dram, inputs = Dram(latency=LATENCY, bytes_per_cycle=RATE), {"x": SOUGHT.codes(network)}
        result = execute(program, inputs, dram=dram, build_root=FOLDER / "hardware")
        (found,) = result.predictions or [predict(program, LATENCY, RATE)]
        predicted += found.cycles
        cycles.append(result.cycles)
        read.append(result.counters["READ_BEATS"] * cfg.bus_bytes)
        wrong += len(result.mismatches)
    each = MANY - FEW
    products = 2 * KEYS * DEPTH / cfg.multipliers
    return [
        Figure(f"{what}: cycles of one query", cycles[0], "cycles", "none", None, command),
        Figure(f"{what}: cycles of each further one", (cycles[1] - cycles[0]) / each, "cycles",
               "products of all keys / multipliers", products, command),
        Figure(f"{what}: bytes read for one query", read[0], "bytes", "none", None, command),
        Figure(f"{what}: bytes read for each further one", (read[1] - read[0]) / each, "bytes",
               "all keys and values", 2 * KEYS * DEPTH, command),
        Figure(f"{what}: predicted cycles of both runs", predicted, "cycles", "measured", sum(cycles), command),
        Figure(f"{what}: wrong tensors", wrong, "tensors", "goal", 0, command),
    ]  # fmt: skip


def _errors(what: str) -> list[Figure]:
    """How many values a query adds up, what part of all probability they have, and what the result differs by."""
    command, figures = shown("-m", "tests.bench", "a3"), []
    for data in (SOUGHT, SPREAD) if SETTINGS[what] else ():
        network, whole = data.network(JUDGED, what), data.network(JUDGED, "all keys")
        x = {"x": data.codes(network)}
        found, wanted = (golden.run(some, x)["y"].astype(np.float64) for some in (network, whole))
        layer, every = (some.layers[-1] for some in (network, whole))
        assert isinstance(layer, Attention) and isinstance(every, Attention)
        sources = [network.tensors[name] for name in layer.inputs]
        xs = [x["x"], *(np.repeat(some.value, JUDGED, axis=0) for some in network.layers if isinstance(some, Constant))]
        codes, sums = shares(layer, xs, sources, 0)
        if layer.selects_values(KEYS):
            codes = codes * stays(layer, codes, sums)[:, :, np.newaxis]
        p = softmax.probabilities(*shares(every, xs, sources, 0))
        error = np.sqrt(((found - wanted) ** 2).mean() / (wanted**2).mean())
        figures += [
            Figure(f"{what}, {data.name}: values that are added up", (codes > 0).sum() / JUDGED, "values", "all keys",
                   (p > 0).sum() / JUDGED, command),
            Figure(f"{what}, {data.name}: their probability", (p * (codes > 0)).sum() / p.sum(), "1", "all keys", 1.0,
                   command),
            Figure(f"{what}, {data.name}: root mean square error over that of the result", error, "1", "none", None,
                   command),
        ]  # fmt: skip
    return figures
