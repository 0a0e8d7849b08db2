"""One small network as a program, for tests of the accelerator's buses and errors: every unit works in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dataflows import isa
from dataflows.config import Config, load, parse
from dataflows.network import Add, Codes, Layer, MaxPool, Network, Tensor, Window
from mapper.compile import Program, compile_network
from mapper.conv_plan import Options
from mapper.run import Image
from rtl.emit import emit
from sim import golden
from tests.random_layers import activation, convolution, random_input

ROOT = Path(__file__).parents[2]
WATCHDOG_CYCLES = 2048
CONTROL = {"watchdog_cycles": WATCHDOG_CYCLES, "semaphores": 12, "queue_words": 16}
BUS = {"max_read_burst": 16, "max_write_burst": 4, "reads_in_flight": 4, "writes_in_flight": 3}

Bytes = NDArray[np.uint8]


@cache
def configuration() -> Config:
    """A tiny accelerator, impatient, and with so little of everything in control and bus that the limits are met."""
    values = load(ROOT / "configs" / "tiny.toml").model_dump()
    values["name"] = "system_small"
    values["control"] |= CONTROL
    values["bus"] |= BUS
    return parse(values, "tests/system/small.py")


def verilog(cfg: Config) -> Path:
    """The emitted accelerator, shared by all tests."""
    return emit(cfg, ROOT / "build" / "test" / cfg.name) / f"{cfg.name}.v"


def network() -> Network:
    """Convolutions joined by an addition, one with padding, then pooling; channels divide nothing."""
    rng = np.random.default_rng(3)
    x = activation(rng, "x", (1, 6, 5, 7))
    conv, a = convolution(rng, "conv", x, 9, 1, Window((3, 3), padding=(1, 1, 1, 1)))
    side, b = convolution(rng, "side", x, 9, 1, Window())
    total = activation(rng, "total", a.shape)
    out = Tensor("out", (1, 3, 2, 9), total.scale, total.zero)
    layers: tuple[Layer, ...] = (
        conv,
        side,
        Add("add", (a.name, b.name), total.name, total.zero, 127),
        MaxPool("pool", (total.name,), out.name, window=Window((2, 2), (2, 2))),
    )
    # the sum is handed out, too: so it leaves the chip although it is pooled
    return Network("small", {t.name: t for t in (x, a, b, total, out)}, layers, (x.name,), (total.name, out.name))


@dataclass(frozen=True)
class Small:
    """A program with its DRAM: ``before`` a run, and what the golden model says is in it ``after``.

    The regions lie in an order and at places of their own, random bytes are everywhere between them.
    """

    program: Program
    image: Image
    before: Bytes
    after: Bytes

    def place(self, tensor: str) -> range:
        """Addresses of a tensor."""
        place = self.program.places[tensor]
        start = self.image.bases[place.region] + place.offset
        return range(start, start + self.program.network.tensors[tensor].bytes)

    def region(self, region: isa.Region) -> range:
        """Addresses of a region."""
        start = self.image.bases[region]
        return range(start, start + self.program.region_bytes[region])

    @property
    def mark_table(self) -> range:
        """Addresses of the mark table when all layers have ended."""
        return range(self.image.marks, self.image.marks + isa.MARK_BYTES * len(self.program.schedule))

    @property
    def writable(self) -> Bytes:
        """True for each byte of the memory that a run may write."""
        allowed = np.zeros(self.before.size, bool)
        for where in (*(self.place(entry.output) for entry in self.program.schedule), self.mark_table):
            allowed[where.start : where.stop] = True
        return allowed

    @property
    def loaded_constants(self) -> range:
        """Addresses of the longest row of constants that the program loads."""
        registers = max(
            (job.registers for job in self.program.jobs if job.unit is isa.Unit.LOAD and "source" in job.registers),
            key=lambda r: (r["source"]["region"] == isa.Region.CONSTANT) * r["row"]["bytes"],
        )
        start = self.image.bases[isa.Region.CONSTANT] + registers["source"]["address"]
        return range(start, start + registers["row"]["bytes"])

    def check_untouched(self, memory: Bytes, before: Bytes | None = None) -> None:
        """Assert that no byte outside of what the program writes differs from ``before`` (default: the good one)."""
        wrong = np.flatnonzero((memory != (self.before if before is None else before)) & ~self.writable)
        assert not wrong.size, f"{wrong.size} bytes outside of the results changed, the first at {wrong[0]:#x}"

    def check_done(self, memory: Bytes, cycles: int) -> None:
        """Assert that all of the memory is as it must be after a run that took ``cycles``."""
        self.check_untouched(memory)
        table = self.mark_table
        different = memory != self.after
        different[table.start : table.stop] = False
        for entry in self.program.schedule:
            where = self.place(entry.output)
            wrong = np.flatnonzero(different[where.start : where.stop])
            assert not wrong.size, f"{wrong.size} wrong bytes in {entry.output}, the first at offset {wrong[0]}"
        assert not different.any(), "bytes of the memory differ from the golden model's"
        marks = memory[table.start : table.stop].copy().view("<u8").reshape(-1, 2)
        assert marks[:, 1].tolist() == [entry.index for entry in self.program.schedule]
        times = [0, *marks[:, 0].tolist(), cycles]
        assert times == sorted(set(times)), f"marks are no rising times within {cycles} cycles: {times[1:-1]}"


def small(seed: int = 0, cfg: Config | None = None) -> Small:
    """The network's program with an input of its own for every seed."""
    program = _program(cfg or configuration())
    return prepare(program, random_input(program.network, seed), seed)


def prepare(program: Program, x: Codes, seed: int) -> Small:
    """A program whose input ``x`` is given; ``seed`` is that of all other bytes."""
    image = Image.of(program)
    before = image.memory(seed)
    image.write(before, "x", x)
    after = before.copy()
    tensors = golden.run(program.network, {"x": x})
    for entry in program.schedule:
        image.write(after, entry.output, tensors[entry.output])
        # The opposite bits before the run: a byte that is not written is a wrong byte.
        image.write(before, entry.output, ~tensors[entry.output])
    return Small(program, image, before, after)


@cache
def _program(cfg: Config) -> Program:
    return compile_network(cfg, network(), Options(bytes_per_cycle=cfg.bus_bytes))
