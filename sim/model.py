"""The verilated accelerator as a Python object; ``sim/native/harness.cpp`` is the other side."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dataflows.errors import InputError

Bytes = NDArray[np.uint8]


class SimulationError(RuntimeError):
    """The design broke a bus rule or did not answer: a defect in hardware, not in a user's input."""


@dataclass(frozen=True)
class Dram:
    """Behaviour of the memory behind the AXI master; ``sim/native/dram.hpp`` says exactly what each value means.

    Attributes
    ----------
    latency : int
        Cycles from address transfer to first read data, and from last write data to response; at least 1.
    bytes_per_cycle : float or None
        Shared by reads and writes; None is the width of the bus.
    read_stall, write_stall : float
        Probability, below 1, that a ready or valid of the memory is withheld in a cycle.
    seed : int
        Of the stalls.
    fail_reads, fail_writes : range or None
        Byte addresses (step 1) that answer with an error response.
    """

    latency: int = 100
    bytes_per_cycle: float | None = None
    read_stall: float = 0.0
    write_stall: float = 0.0
    seed: int = 0
    fail_reads: range | None = None
    fail_writes: range | None = None

    def __post_init__(self) -> None:
        if self.latency < 1:
            raise InputError(f"DRAM latency must be at least 1 cycle, not {self.latency}")
        if self.bytes_per_cycle is not None and not 1 / 1024 <= self.bytes_per_cycle <= 1 << 20:
            raise InputError(f"DRAM bytes per cycle must be between 1/1024 and 2**20, not {self.bytes_per_cycle}")
        for name in ("read_stall", "write_stall"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"DRAM {name} must be at least 0 and below 1, not {getattr(self, name)}")


class _Config(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_uint64) for name in ("latency", "rate", "scale", "seed")),
        *((name, ctypes.c_double) for name in ("read_stall", "write_stall")),
        *((f"fail_{kind}_{end}", ctypes.c_uint64) for kind in ("read", "write") for end in ("begin", "end")),
        *((name, ctypes.c_uint64) for name in ("max_read_burst", "max_write_burst")),
    )


_COUNTERS = ("cycles", "read_beats", "write_beats", "read_bytes", "write_bytes", "read_bursts", "write_bursts")


class _Counters(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in _COUNTERS)


def _library(path: Path) -> ctypes.CDLL:
    """Load a build and declare its functions."""
    library = ctypes.CDLL(str(path))
    handle, u32, u64, text = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_char_p
    for name, result, arguments in (
        ("create", handle, (u32,)),
        ("destroy", None, (handle,)),
        ("bus_bytes", ctypes.c_uint, ()),
        ("configure", None, (handle, ctypes.POINTER(_Config))),
        ("memory", None, (handle, handle, u64)),
        ("counters", ctypes.POINTER(_Counters), (handle,)),
        ("violation", text, (handle,)),
        ("reset", None, (handle, u64)),
        ("run", ctypes.c_int, (handle, u64)),
        ("write", ctypes.c_int, (handle, u32, u32)),
        ("read", ctypes.c_int, (handle, u32, ctypes.POINTER(u32))),
        ("trace", ctypes.c_int, (handle, text, u64, u64)),
        ("trace_close", None, (handle,)),
    ):
        function = getattr(library, f"sim_{name}")
        function.restype, function.argtypes = result, arguments
    return library


class Model:
    """One instance of a design built by ``sim.build``, out of reset.

    Parameters
    ----------
    library : path
        Build of kind ``library`` or ``trace``.
    seed : int
        Of the random initial contents of all registers and memories.
    """

    def __init__(self, library: Path, seed: int = 0) -> None:
        self._sim = _library(library)
        self._handle: int | None = self._sim.sim_create((seed * 2654435761 + 1) & 0x7FFFFFFF or 1)
        self._memory: Bytes = np.zeros(0, np.uint8)
        self.bus_bytes: int = self._sim.sim_bus_bytes()
        self.configure(Dram())
        self.reset()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Free the instance; further calls are errors."""
        if getattr(self, "_handle", None) is not None:
            self._sim.sim_destroy(self._handle)
            self._handle = None

    def configure(self, dram: Dram, max_read_burst: int = 256, max_write_burst: int = 256) -> None:
        """Set the memory's behaviour and the burst limits (beats) the master is held to."""
        rate = self.bus_bytes if dram.bytes_per_cycle is None else dram.bytes_per_cycle
        exact = Fraction(rate).limit_denominator(1 << 16)
        fails = [(r.start, r.stop) if r else (0, 0) for r in (dram.fail_reads, dram.fail_writes)]
        config = _Config(
            dram.latency, exact.numerator, exact.denominator, dram.seed & (1 << 64) - 1,
            dram.read_stall, dram.write_stall, *fails[0], *fails[1], max_read_burst, max_write_burst,
        )  # fmt: skip
        self._sim.sim_configure(self._handle, config)

    def attach(self, memory: Bytes) -> None:
        """Use an array as DRAM, first byte at address 0; the design reads and writes it in place."""
        if memory.dtype != np.uint8 or not memory.flags.c_contiguous or not memory.flags.writeable:
            raise ValueError(f"memory must be a writeable contiguous array of uint8, not {memory.dtype} {memory.shape}")
        self._memory = memory  # keeps it alive
        self._sim.sim_memory(self._handle, memory.ctypes.data, memory.size)

    def reset(self, cycles: int = 4) -> None:
        """Hold ``rst``; DRAM forgets what was in flight, counters go on."""
        self._sim.sim_reset(self._handle, cycles)

    def run(self, max_cycles: int) -> bool:
        """Run until the interrupt (True) or for ``max_cycles`` (False). Raises :class:`SimulationError`."""
        outcome: int = self._sim.sim_run(self._handle, max_cycles)
        if outcome == 2:
            raise SimulationError(f"AXI protocol violation: {self._sim.sim_violation(self._handle).decode()}")
        return outcome == 1

    def write(self, address: int, value: int) -> None:
        """Write a 32-bit register through the bus. Raises :class:`SimulationError` without an OKAY response."""
        self._check(self._sim.sim_write(self._handle, address, value), "write", address)

    def read(self, address: int) -> int:
        """Read a 32-bit register through the bus. Raises :class:`SimulationError` without an OKAY response."""
        value = ctypes.c_uint32()
        self._check(self._sim.sim_read(self._handle, address, value), "read", address)
        return value.value

    def counters(self) -> dict[str, int]:
        """Totals since creation: cycles; beats, bytes (strobed ones) and bursts, read and written."""
        counters = self._sim.sim_counters(self._handle).contents
        return {name: getattr(counters, name) for name in _COUNTERS}

    def trace(self, path: str | Path, begin: int = 0, end: int = 1 << 62) -> None:
        """Write an FST waveform of cycles ``begin`` (inclusive) to ``end``, counted as in :meth:`counters`."""
        if not self._sim.sim_trace(self._handle, str(path).encode(), begin, end):
            raise InputError(f"{path}: no waveform can be written there")

    def close_trace(self) -> None:
        """Complete the waveform file."""
        self._sim.sim_trace_close(self._handle)

    def _check(self, response: int, kind: str, address: int) -> None:
        if response < 0:
            raise SimulationError(f"no response to the register {kind} at address {address:#x}")
        if response > 0:
            raise SimulationError(f"error response {response} to the register {kind} at address {address:#x}")
