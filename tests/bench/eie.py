"""Five layers of the published table on the sparse engine with 64 PEs and queues of 8, one vector after the other.

*Resident*: the last two of four vectors, whose weights are on chip from the first ones, each vector's columns in as few
jobs as possible: half of what a batch of four counts beyond a batch of its first two. Engine cycles are those in which
unit SPARSE has a job, at work or stalled; a vector's read-out runs beside the walk of the next, as far as it is hidden.
Entries are those that the engine counts, padding included; a column without entries costs a PE a cycle that theory does
not know.
*Streamed*: the first vector alone, from the first command to the last byte stored, weights from DRAM.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataflows import config
from dataflows.config import Config
from mapper.sparse_cycles import engine_cycles
from mapper.sparse_plan import SparseJob
from tests.bench.eie_layers import GENERATORS, TABLE, ZERO, Ints, Layer, Measured, matrix, measured, vectors
from tests.bench.figures import Figure, shown

COMMAND = shown("-m", "tests.bench", "eie")
CONFIG = "configs/eie64.toml"


@dataclass(frozen=True)
class Later:
    """A vector whose weights are on chip: cycles of engine, accelerator and exact model, entries, jobs."""

    engine: float
    whole: float
    entries: float
    pes: int
    jobs: int
    model: float

    @property
    def theoretical(self) -> float:
        """Cycles if all PEs walked an entry in every cycle."""
        return self.entries / self.pes

    @property
    def ratio(self) -> float:
        """Engine cycles over theoretical ones."""
        return self.engine / self.theoretical


def engine_time(of: Measured) -> int:
    """Cycles in which unit SPARSE has a job."""
    return of.run.counters["SPARSE_BUSY"] + of.run.counters["SPARSE_STALL"]


def later(cfg: Config, weight: Ints, x: Ints, name: str = "layer") -> Later:
    """The last two of four vectors. Raises :class:`BenchError` if the weights do not fit on chip."""
    two, four = (measured(cfg, weight, x[:count], "sparse", name, resident=True) for count in (2, 4))
    last = [job for job in four.program.sparse.values() if job.sample >= 2]
    return Later(
        engine=(engine_time(four) - engine_time(two)) / 2,
        whole=(four.run.cycles - two.run.cycles) / 2,
        entries=(four.run.counters["SPARSE_ENTRIES"] - two.run.counters["SPARSE_ENTRIES"]) / 2,
        pes=cfg.sparse_multipliers,
        jobs=len(last) // 2,
        model=sum(walked(cfg, job, x) for job in last) / 2,
    )


def walked(cfg: Config, job: SparseJob, x: Ints) -> int:
    """Cycles of one job alone by the exact model."""
    last = job.first_column + job.lengths.shape[1]
    active = x[job.sample].ravel()[job.first_column : last] != ZERO
    return engine_cycles(job.lengths, active, queue=cfg.sparse.queue if cfg.sparse else 0, word=cfg.input_elements)


def layer(cfg: Config, of: Layer, generator: str) -> list[Figure]:
    """Figures of one layer."""
    rng = np.random.default_rng([7, of.inputs, of.outputs])
    weight = matrix(rng, generator, of.outputs, of.inputs, of.weights)
    x = vectors(rng, 4, of.inputs, of.activations)
    resident, one = later(cfg, weight, x, of.name), measured(cfg, weight, x[:1], "sparse", of.name)
    name, us = f"{of.name} ({generator})", cfg.clock_mhz
    return [
        Figure(f"{name}: actual / theoretical", resident.ratio, "1", "published", of.ratio, COMMAND),
        Figure(f"{name}: the same", resident.ratio, "1", "the most that rounds to the table", of.most, COMMAND),
        Figure(f"{name}: theoretical", resident.theoretical / us, "us", "published", of.theoretical, COMMAND),
        Figure(f"{name}: actual", resident.engine / us, "us", "published", of.actual, COMMAND),
        Figure(f"{name}: engine cycles", resident.engine, "cycles", "theoretical", resident.theoretical, COMMAND),
        Figure(f"{name}: the same", resident.engine, "cycles", "exact model, jobs alone", resident.model, COMMAND),
        Figure(f"{name}: whole cycles", resident.whole, "cycles", "engine", resident.engine, COMMAND),
        Figure(f"{name}: jobs of a vector", resident.jobs, "jobs", "none", None, COMMAND),
        Figure(f"{name}: streamed", one.run.cycles, "cycles", "predicted", one.predicted, COMMAND),
        Figure(f"{name}: streamed", one.run.cycles / us, "us", "resident", resident.whole / us, COMMAND),
        Figure(f"{name}: bytes on the bus", one.dram_bytes, "bytes", "dense weights", weight.size, COMMAND),
    ]


def run() -> list[Figure]:
    """All layers with both kinds of sparsity."""
    cfg = config.load(CONFIG)
    return [figure for of in TABLE for generator in GENERATORS for figure in layer(cfg, of, generator)]
