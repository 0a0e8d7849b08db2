"""Fully connected layers with pruned, weight-shared weights, as EIE was measured on them, and runs of single layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflows.config import Config
from dataflows.network import Conv, Network, Tensor
from mapper.compile import Program, compile_network
from mapper.conv_plan import Options
from mapper.run import Run, execute
from mapper.sparse_cost import buffers
from mapper.sparse_plan import SparsePlan
from mapper.sparse_search import fits_at_once, pointable, sparse_plan
from mapper.timing import predict
from sim.runner import Dram
from tests.bench.figures import BenchError
from tests.sparsity import clustered, independent, weights

BUILD = Path("build/hardware")
LATENCY = 100
VALUES = 15
"""Different weights beside zero: codes of four bits."""

ZERO = -128
"""Zero point of activations, as behind a ReLU."""

Ints = NDArray[np.integer[Any]]
GENERATORS: dict[str, Callable[..., NDArray[np.bool_]]] = {"independent": independent, "clustered": clustered}


@dataclass(frozen=True)
class Layer:
    """A layer of the table: sizes, densities of weights and activations, published times in us at 800 MHz."""

    name: str
    inputs: int
    outputs: int
    weights: float
    activations: float
    theoretical: float
    actual: float

    @property
    def ratio(self) -> float:
        """Published actual over theoretical time."""
        return self.actual / self.theoretical

    @property
    def most(self) -> float:
        """The largest ratio that the table, rounded to 0.1 us, allows."""
        return (self.actual + 0.05) / (self.theoretical - 0.05)


TABLE = (
    Layer("Alex-6", 9216, 4096, 0.09, 0.351, 28.1, 30.3),
    Layer("Alex-7", 4096, 4096, 0.09, 0.353, 11.7, 12.2),
    Layer("VGG-7", 4096, 4096, 0.04, 0.375, 7.9, 8.7),
    Layer("VGG-8", 4096, 1000, 0.23, 0.411, 7.3, 8.4),
    Layer("NT-Wd", 600, 8791, 0.11, 1.0, 13.0, 13.9),
)
"""Five layers of AlexNet, VGG-16 and NeuralTalk (Han et al., ISCA 2016), densities rounded to 1 %."""


def matrix(rng: np.random.Generator, generator: str, outputs: int, inputs: int, density: float) -> Ints:
    """8-bit weights (outputs, inputs) of at most 15 values beside zero, the most negative one included."""
    return weights(rng, GENERATORS[generator](rng, (outputs, inputs), density), VALUES).astype(np.int8)


def vectors(rng: np.random.Generator, count: int, inputs: int, density: float) -> Ints:
    """Activations (count, 1, 1, inputs) over the whole range; the zero point beside ``density`` of them."""
    values = rng.integers(-127, 128, (count, 1, 1, inputs))
    return np.where(rng.random(values.shape) < density, values, ZERO).astype(np.int8)


def linear(name: str, weight: Ints, batch: int) -> Network:
    """A linear layer and ReLU on ``batch`` vectors, whose results use their range."""
    outputs, inputs = weight.shape
    x = Tensor("x", (batch, 1, 1, inputs), 0.05, ZERO)
    y = Tensor("y", (batch, 1, 1, outputs), 0.05, ZERO)
    reach = 40 * np.sqrt(max(np.count_nonzero(weight) / outputs, 1)) * 75
    scale = np.full(outputs, 60 / reach, np.float32)
    bias = np.random.default_rng(1).integers(-int(reach), int(reach) + 1, outputs).astype(np.int32)
    kernel = weight[:, :, None, None]
    conv = Conv(name, ("x",), "y", low=-128, high=127, weight=kernel, weight_scale=scale, bias=bias)
    return Network(name, {"x": x, "y": y}, (conv,), ("x",), ("y",))


@dataclass(frozen=True)
class Measured:
    """One program on the RTL."""

    program: Program
    run: Run
    predicted: int

    @property
    def dram_bytes(self) -> int:
        """Bytes on the bus, both ways."""
        return self.run.dram["read_bytes"] + self.run.dram["write_bytes"]


def one_by_one(cfg: Config, network: Network) -> SparsePlan:
    """The plan of a layer that works on all columns of a vector before it goes on to the next, weights on chip.

    Raises :class:`BenchError` if they do not fit.
    """
    layer, x = network.layers[0], network.tensors["x"]
    if not isinstance(layer, Conv):
        raise BenchError(f"{layer.name} has no weights")
    found = sparse_plan(cfg, layer, x, Options(LATENCY, cfg.bus_bytes))
    for tiles in range(1, 9):
        width = -(-found.columns // (tiles * cfg.input_elements)) * cfg.input_elements
        plan = replace(found, group=1, width=width, resident=True, inputs_stay=False)
        if pointable(plan) and buffers(plan) and fits_at_once(plan):
            return plan
    raise BenchError(f"{layer.name}: its weights do not fit {cfg.name} at once")


def measured(
    cfg: Config, weight: Ints, x: Ints, engine: str, name: str = "layer", *, resident: bool = False
) -> Measured:
    """Run all vectors as one batch, ``resident`` ones one by one on weights that stay on chip.

    Raises :class:`BenchError` if values differ from the golden model's.
    """
    network = linear(name, weight, len(x))
    options = Options(LATENCY, cfg.bus_bytes, engine=engine)
    plans = {name: one_by_one(cfg, network)} if resident else {}
    program = compile_network(cfg, network, options, plans=plans)
    inputs = {"x": x}
    run = execute(program, inputs, dram=Dram(LATENCY), build_root=BUILD)
    if run.mismatches:
        raise BenchError(f"{name} on {cfg.name}: the RTL disagrees with the golden model: {run.mismatches[0]}")
    return Measured(program, run, predict(program, LATENCY, cfg.bus_bytes, activations=inputs).cycles)
