"""The fast runner: one accelerator, driven as a host would drive it, on compiled RTL."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dataflows import isa
from dataflows.config import Config
from dataflows.errors import InputError
from sim.build import build
from sim.model import Bytes, Dram, Model, SimulationError

__all__ = ["Dram", "Result", "SimulationError", "Simulator"]

_ADDRESS = {r.name: r.address for r in isa.HOST_REGISTERS}
_SEMAPHORES = tuple(f"SEMAPHORE_{index}_WAIT" for index in range(16))
_BUSY, _ERROR, _RESETTING = 1, 4, 8  # bits of STATUS
_DRAIN_READS = 100_000  # readings of STATUS until a soft reset counts as stuck
_SLICE_SECONDS = 0.2  # between two calls of the progress function


@dataclass(frozen=True)
class Result:
    """What a run left behind.

    Attributes
    ----------
    cycles : int
        The accelerator's own cycle counter, from start to done or error.
    error : isa.Error
        NONE for a run that reached END.
    message : str
        The error in words, with what the error registers say; empty for NONE.
    counters : dict of str to int
        Host registers: cycles per unit and activity, waits per semaphore, AXI beats, gated multiplications; with a
        sparse engine the entries walked, and the cycles in which a full queue stopped its broadcast.
    marks : array (n, 2) of uint64
        The mark table: (cycle counter, tag) per record.
    dram : dict of str to int
        What the memory saw: beats, bytes and bursts, read and written.
    seconds, cycles_per_second : float
        Speed of the simulation.
    """

    cycles: int
    error: isa.Error
    message: str
    counters: dict[str, int]
    marks: NDArray[np.uint64]
    dram: dict[str, int]
    seconds: float
    cycles_per_second: float


class Simulator:
    """An accelerator and its DRAM.

    Parameters
    ----------
    cfg : Config
        What the Verilog was generated from; the hash register must agree.
    verilog_path : path
        The emitted file; its top module is ``cfg.name``.
    dram : Dram
        Behaviour of the memory.
    seed : int
        Of the random initial contents of every register and memory.
    trace : path or None
        Write an FST waveform there; needs a build of its own.
    trace_cycles : range or None
        Cycles to put in it, counted from the start of the first run; None is everything.

    Raises
    ------
    InputError
        When the Verilog belongs to another configuration, or a tool is missing.
    SimulationError
        When the design breaks a bus rule.
    """

    def __init__(
        self,
        cfg: Config,
        verilog_path: str | Path,
        *,
        dram: Dram | None = None,
        seed: int = 0,
        trace: str | Path | None = None,
        trace_cycles: range | None = None,
    ) -> None:
        self.cfg = cfg
        self.model = Model(build(verilog_path, cfg.name, "library" if trace is None else "trace"), seed)
        self.configure(dram or Dram())
        found = self.read("HASH_LOW") | self.read("HASH_HIGH") << 32
        if found != cfg.hash_value:
            raise InputError(
                f"{verilog_path} was generated from a configuration with hash {found:014x}, "
                f"not {cfg.hash} ({cfg.name}); generate it again with: make rtl"
            )
        self._position = 0  # as the last run has left it
        self._trace = trace
        self._trace_cycles = trace_cycles
        self._settle()

    def configure(self, dram: Dram) -> None:
        """Change the behaviour of the memory, between runs."""
        self.model.configure(dram, self.cfg.bus.max_read_burst, self.cfg.bus.max_write_burst)

    def read(self, name: str) -> int:
        """Read a host register by name."""
        return self.model.read(_ADDRESS[name])

    def write(self, name: str, value: int) -> None:
        """Write a host register by name."""
        self.model.write(_ADDRESS[name], value)

    def reset(self) -> None:
        """Hold the reset input; everything in flight is lost."""
        self.model.reset()
        self._position = 0
        self._settle()

    def _settle(self) -> None:
        """Let the sparse engine clear its sums, so that the cycles of a first run are those of any other."""
        if self.cfg.sparse:
            self.model.run(self.cfg.sparse.accumulators)

    def soft_reset(self) -> None:
        """Leave any state, the error state too, by the host's soft reset; waits until the bus is drained."""
        self.write("CONTROL", 2)
        for _ in range(_DRAIN_READS):
            if not self.read("STATUS") & (_BUSY | _RESETTING):
                self._settle()
                return
        raise SimulationError(f"the soft reset did not end: STATUS is {self.read('STATUS'):#x}")

    def run(
        self,
        program_words: int,
        bases: Mapping[isa.Region, int],
        memory: Bytes,
        timeout_cycles: int,
        *,
        mark_address: int = 0,
        progress: Callable[[int], None] | None = None,
        position: int = 0,
    ) -> Result:
        """Run one program to its end or error; an error left by the run before is cleared first.

        Parameters
        ----------
        program_words : int
            Length of the program, which lies in ``memory`` at ``bases[Region.PROGRAM]``.
        bases : mapping of Region to int
            Byte addresses of the regions; absent ones are 0.
        memory : array of uint8
            DRAM from address 0 on, changed in place.
        timeout_cycles : int
            Cycles after which a run without interrupt is given up.
        mark_address : int
            Where the mark table is written.
        progress : callable or None
            Called with the cycles so far several times a second; may raise to stop the run.
        position : int
            Tokens before those of the run, of programs that generate.

        Returns
        -------
        Result

        Raises
        ------
        SimulationError
            When the time is over or the design breaks a bus rule.
        """
        self.model.attach(memory)
        if self.read("STATUS") & _ERROR:
            self.soft_reset()
        self.write("IRQ_CLEAR", 1)
        self.write("IRQ_ENABLE", 1)
        self.write("PROGRAM_WORDS", program_words)
        self._write_wide("MARK", mark_address)
        if position != self._position:
            self.write("POSITION", position)
            self._position = position
        for region in isa.Region:
            self._write_wide(f"BASE_{region.name}", bases.get(region, 0))
        before = self.model.counters()
        self._open_trace(before["cycles"])
        started = time.perf_counter()
        self.write("CONTROL", 1)
        self._wait(timeout_cycles, progress)
        seconds = time.perf_counter() - started
        after = self.model.counters()
        dram = {name: after[name] - before[name] for name in after}
        error, message = self._error()
        return Result(
            cycles=self._read_wide("CYCLES"),
            error=error,
            message=message,
            counters=self._counters(),
            marks=self._marks(memory, mark_address),
            seconds=seconds,
            cycles_per_second=dram.pop("cycles") / max(seconds, 1e-9),
            dram=dram,
        )

    def close(self) -> None:
        """Complete the waveform, if any, and free the instance."""
        self.model.close_trace()
        self.model.close()

    # -- parts of a run ------------------------------------------------------------------------

    def _wait(self, timeout_cycles: int, progress: Callable[[int], None] | None) -> None:
        """Run in slices, so that progress is shown and an interrupt from the keyboard gets through."""
        done, size = 0, 5000
        while done < timeout_cycles:
            size = min(size, timeout_cycles - done)
            started = time.perf_counter()
            if self.model.run(size):
                return
            done += size
            if progress is not None:
                progress(done)
            elapsed = time.perf_counter() - started
            size = max(1000, int(size * min(4.0, _SLICE_SECONDS / max(elapsed, 1e-6))))
        states = ", ".join(f"{name} {value}" for name in self._activities() if (value := self.read(name)))
        raise SimulationError(
            f"no interrupt after {timeout_cycles} cycles; cycles per unit and activity: {states or 'none'}"
        )

    def _error(self) -> tuple[isa.Error, str]:
        if not self.read("STATUS") & _ERROR:
            return isa.Error.NONE, ""
        value, info = self.read("ERROR"), self.read("ERROR_INFO")
        code, unit = value & 255, value >> 8 & 255
        if code not in list(isa.Error):
            raise SimulationError(f"the error register holds {value:#x}, which is no known error")
        where = f" in unit {isa.Unit(unit).name}" if unit and unit in list(isa.Unit) else ""  # 0 is also "no unit"
        return isa.Error(code), f"{isa.Error(code).name}{where}, ERROR_INFO {info:#010x}"

    def _marks(self, memory: Bytes, address: int) -> NDArray[np.uint64]:
        count = self.read("MARKS")
        table = memory[address : address + isa.MARK_BYTES * count]
        if table.size != isa.MARK_BYTES * count:
            raise SimulationError(f"{count} marks at {address:#x} reach beyond the memory of {memory.size} bytes")
        return table.copy().view("<u8").reshape(count, 2)

    def _counters(self) -> dict[str, int]:
        names = (*self._activities(), *self._semaphores(), "READ_BEATS", "WRITE_BEATS")
        counters = {name: self.read(name) for name in names} | {"GATED": self._read_wide("GATED")}
        if self.cfg.sparse:
            counters |= {"SPARSE_ENTRIES": self._read_wide("SPARSE_ENTRIES"), "SPARSE_FULL": self.read("SPARSE_FULL")}
        return counters

    def _activities(self) -> tuple[str, ...]:
        return tuple(f"{unit.name}_{state}" for unit in isa.units(self.cfg) for state in ("WAIT", "BUSY", "STALL"))

    def _semaphores(self) -> tuple[str, ...]:
        return _SEMAPHORES[: self.cfg.control.semaphores]

    def _open_trace(self, now: int) -> None:
        if self._trace is not None:
            window = self._trace_cycles or range(0, 1 << 62)
            self.model.trace(self._trace, now + window.start, now + window.stop)
            self._trace = None

    def _write_wide(self, name: str, value: int) -> None:
        self.write(f"{name}_LOW", value & 0xFFFFFFFF)
        self.write(f"{name}_HIGH", value >> 32)

    def _read_wide(self, name: str) -> int:
        return self.read(f"{name}_LOW") | self.read(f"{name}_HIGH") << 32
