"""Five layers of the published table on the sparse engine with 64 PEs and queues of 8, one vector after the other.

*Resident*: a batch of three vectors less a batch of two, the same but for the last vector. What a further vector costs
whose weights are on chip already: engine cycles are those in which unit SPARSE is busy, read-out of the vector before
included as far as it is not hidden; whole cycles are those of the accelerator, DRAM to DRAM.
*Streamed*: one vector, from the first command to the last byte stored, weights from DRAM.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataflows import config
from dataflows.config import Config
from mapper.columns import encode
from mapper.sparse_cycles import engine_cycles
from tests.bench.eie_layers import GENERATORS, TABLE, Ints, Layer, Measured, matrix, measured, vectors
from tests.bench.figures import Figure, shown

COMMAND = shown("-m", "tests.bench", "eie")
CONFIG = "configs/eie64.toml"


@dataclass(frozen=True)
class Later:
    """A vector whose weights are on chip: cycles of the engine and of the accelerator, and what theory says."""

    engine: int
    whole: int
    entries: int
    theoretical: float
    model: int

    @property
    def ratio(self) -> float:
        """Engine cycles over (non-zeros + padding of the columns that are walked) / PEs."""
        return self.engine / self.theoretical


def difference(more: Measured, fewer: Measured, counter: str) -> int:
    """What the longer run counted beyond the shorter one."""
    return more.run.counters[counter] - fewer.run.counters[counter]


def later(cfg: Config, weight: Ints, x: Ints, name: str = "layer") -> tuple[Later, Measured]:
    """The third of three vectors; also the run of all three."""
    two, three = (measured(cfg, weight, x[:count], "sparse", name) for count in (2, 3))
    active = x[2].ravel() != -128
    lengths = encode(weight, cfg).lengths
    entries = int(lengths[:, active].sum())
    queue, word = (cfg.sparse.queue if cfg.sparse else 0), cfg.input_elements
    found = Later(
        engine=difference(three, two, "SPARSE_BUSY"),
        whole=three.run.cycles - two.run.cycles,
        entries=entries,
        theoretical=entries / len(lengths),
        model=engine_cycles(lengths, active, queue=queue, word=word),
    )
    return found, three


def layer(cfg: Config, of: Layer, generator: str) -> list[Figure]:
    """Figures of one layer."""
    rng = np.random.default_rng([7, of.inputs, of.outputs])
    weight = matrix(rng, generator, of.outputs, of.inputs, of.weights)
    x = vectors(rng, 3, of.inputs, of.activations)
    resident, _ = later(cfg, weight, x, of.name)
    one = measured(cfg, weight, x[:1], "sparse", of.name)
    name, us = f"{of.name} ({generator})", cfg.clock_mhz
    return [
        Figure(f"{name}: actual / theoretical", resident.ratio, "1", "published", of.ratio, COMMAND),
        Figure(f"{name}: the same, against the largest that rounds to the table", resident.ratio, "1", "published",
               of.most, COMMAND),
        Figure(f"{name}: theoretical", resident.theoretical / us, "us", "published", of.theoretical, COMMAND),
        Figure(f"{name}: actual", resident.engine / us, "us", "published", of.actual, COMMAND),
        Figure(f"{name}: engine cycles", resident.engine, "cycles", "theoretical", resident.theoretical, COMMAND),
        Figure(f"{name}: engine cycles of the exact model", resident.model, "cycles", "RTL", resident.engine, COMMAND),
        Figure(f"{name}: whole cycles", resident.whole, "cycles", "engine", resident.engine, COMMAND),
        Figure(f"{name}: streamed", one.run.cycles, "cycles", "predicted", one.predicted, COMMAND),
        Figure(f"{name}: streamed", one.run.cycles / us, "us", "resident", resident.whole / us, COMMAND),
        Figure(f"{name}: bytes on the bus", one.dram_bytes, "bytes", "dense weights", weight.size, COMMAND),
    ]  # fmt: skip


def run() -> list[Figure]:
    """All layers with both kinds of sparsity."""
    cfg = config.load(CONFIG)
    return [figure for of in TABLE for generator in GENERATORS for figure in layer(cfg, of, generator)]
