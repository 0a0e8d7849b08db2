"""One small pruned network as a program, for tests of buses and errors: engine and array work in turn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from dataflows import isa
from dataflows.config import Config, load, parse
from dataflows.network import Conv, Network
from mapper.compile import Program, compile_network
from mapper.conv_plan import Options
from mapper.program import Job
from tests.isa_model import nest
from tests.pruned_networks import Limits, linear
from tests.random_layers import activation
from tests.sparsity import empty_columns, independent, weights
from tests.system.small import BUS, CONTROL, ROOT, Small, prepare

ROWS = ("row_a", "row_b", "row_c")
SEGMENTS = ("segment_a", "segment_b", "segment_c")


@cache
def configuration() -> Config:
    """``configs/eie4.toml``, impatient, and with so little of everything in control and bus that the limits are met."""
    values = load(ROOT / "configs" / "eie4.toml").model_dump()
    values["name"] = "system_sparse"
    values["control"] |= CONTROL
    values["bus"] |= BUS
    return parse(values, "tests/system/pruned.py")


def network() -> Network:
    """Two pruned layers on the engine with a dense one for the array between them; sizes divide nothing."""
    rng = np.random.default_rng(4)
    limits = Limits(values=15, pes=4)
    x = activation(rng, "x", (2, 1, 1, 37))
    first, a = linear(rng, "first", x, 30, limits)
    mask = empty_columns(rng, independent(rng, (30, 37), 0.3), 4)
    first = replace(first, weight=weights(rng, mask, 15).astype(np.int8)[:, :, None, None], low=a.zero)
    second, b = linear(rng, "second", a, 13, limits, shared=False)
    third, out = linear(rng, "third", b, 9, limits)
    third = replace(third, weight=weights(rng, independent(rng, (9, 13), 0.5), 7).astype(np.int8)[:, :, None, None])
    return Network("pruned", {t.name: t for t in (x, a, b, out)}, (first, second, third), ("x",), ("third_out",))


@cache
def program() -> Program:
    """The network's program."""
    cfg = configuration()
    options = Options(bytes_per_cycle=cfg.bus_bytes, engine={"first": "sparse", "third": "sparse"})
    made = compile_network(cfg, network(), options)
    engines = [entry.engine for entry in made.schedule]
    assert engines == ["sparse", "array", "sparse"], f"layers run on {engines}"
    return made


def pruned(seed: int = 0) -> Small:
    """The program with an input of its own for every seed; a third of it is zero points."""
    made, rng = program(), np.random.default_rng([seed, 51])
    tensor = made.network.tensors["x"]
    x = rng.integers(-128, 128, tensor.shape).astype(np.int8)
    x[rng.random(x.shape) < 1 / 3] = tensor.zero
    return prepare(made, x, seed)


@dataclass(frozen=True)
class Stream:
    """The compressed columns of a program's first job of the engine, as they lie in DRAM.

    Attributes
    ----------
    job : Job
        The SPARSE job.
    pointers : int array (pes, columns + 1)
    lives : bool array (columns,)
        Columns whose activation is not the zero point.
    """

    case: Small
    job: Job
    pointers: np.ndarray
    lives: np.ndarray

    @classmethod
    def of(cls, case: Small) -> Stream:
        """That of the first layer's first vector, in one tile."""
        made = case.program
        job = next(job for job in made.jobs if job.unit is isa.Unit.SPARSE)
        columns = job.registers["columns"]["count"]
        layer = made.network.layers[0]
        assert isinstance(layer, Conv) and columns == layer.weight.shape[1]
        place, source = case.place("x"), made.network.tensors["x"]
        x = case.before[place.start : place.start + columns].view(np.int8)
        stream = cls(case, job, np.zeros((made.cfg.sparse.pes, columns + 1), int), x != source.zero)
        for pe in range(made.cfg.sparse.pes):
            raw = [stream.pointer_at(pe, column) for column in range(columns + 1)]
            stream.pointers[pe] = [int.from_bytes(case.before[at : at + 2].tobytes(), "little") for at in raw]
        return stream

    @property
    def entries(self) -> int:
        """Entries of the job, as its commands say."""
        return self.job.registers["weights"]["entries"]

    def _at(self, target: isa.Target, address: int) -> int:
        """DRAM address of what is loaded to an address of a target before the job runs."""
        for job in self.case.program.jobs[: self.case.program.jobs.index(self.job)]:
            r = job.registers
            if job.unit is isa.Unit.LOAD and r["destination"]["target"] == target and not r["destination"].get("fill"):
                starts, _ = nest(r["destination"]["address"], [dict(r[n]) for n in SEGMENTS])
                to = (starts[:, None] + np.arange(r["segment"]["bytes"])).ravel()
                rows, _ = nest(r["source"]["address"], [dict(r[n]) for n in ROWS])
                source = (rows[:, None] + np.arange(r["row"]["bytes"])).ravel()
                if len(found := np.flatnonzero(to == address)):
                    return int(source[found[0]]) + self.case.image.bases[isa.Region(r["source"]["region"])]
        raise AssertionError(f"nothing is loaded to {target.name} {address}")

    def pointer_at(self, pe: int, column: int) -> int:
        """DRAM address of a pointer."""
        cfg = self.case.program.cfg
        first = self.job.registers["columns"]["pointers"] * cfg.bus_bytes
        return self._at(isa.Target.POINTERS, pe * cfg.sparse_pointer_pitch + first + isa.POINTER_BYTES * column)

    def entry_at(self, pe: int, entry: int) -> int:
        """DRAM address of an entry."""
        cfg = self.case.program.cfg
        first = self.job.registers["weights"]["word"] * cfg.bus_bytes
        return self._at(isa.Target.ENTRIES, pe * cfg.sparse_weight_pitch + first + cfg.entry_bytes * entry)

    def places(self, pe: int) -> int:
        """Rows of a PE."""
        rows = self.job.registers["rows"]
        return rows["full"] + (pe < rows["extra"])
