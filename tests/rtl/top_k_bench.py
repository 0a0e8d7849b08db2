"""Engines that take lists of values and give some of them with their indices: jobs through a Verilated model."""

import ctypes
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from amaranth import Shape
from amaranth.lib import data, wiring

from rtl.emit import component_verilog
from sim.build import Kind, build, harness


class Engine:
    """A Verilated engine with the streams of :class:`rtl.top_k.TopK`.

    Parameters
    ----------
    component : Component
        With attributes ``parallel``, ``length`` and ``shape`` (of a value) beside its streams.
    name : str
        Of its module.
    folder : Path
        Of its Verilog.
    netlist : Path, optional
        Verilog to simulate in its place, of the same ports; :meth:`activity` counts its switching wires.
    """

    def __init__(self, component: wiring.Component, name: str, folder: Path, netlist: Path | None = None):
        self.name, self.folder = name, folder
        self.parallel, self.length, self.shape = component.parallel, component.length, component.shape
        self.job, self.input, self.output = (
            data.Layout.cast(component.signature.members[port].signature.members["payload"].shape)
            for port in ("job", "i", "o")
        )
        path = netlist or folder / f"{name}.v"
        if not netlist:
            path.write_text(component_verilog(component, name), encoding="utf-8")
        kind = harness(Path(__file__).with_name("top_k_harness.cpp"))
        self._trace = folder / f"{name}.saif"
        self._library = ctypes.CDLL(str(build(path, name, _traced(kind) if netlist else kind)))
        self._library.run.restype = ctypes.c_int64

    def run(self, jobs, limit: int = 100_000, stall: int = 0):
        """Run jobs (values, k).

        Returns
        -------
        results : list of (values, indices)
        times : integers, (jobs, 3)
            Cycles of the transfers of each job, its last word of input, and its last word of output.

        Raises
        ------
        TimeoutError
            If a job takes more than ``limit`` cycles, or gives more words than it should.
        """
        counts = np.array([-(-len(values) // self.parallel) for values, _ in jobs], np.uint32)
        half = self.job.size // 2
        payloads = np.array([len(values) | k << half for values, k in jobs], np.uint32)
        taken = np.concatenate([np.resize(values, count * self.parallel)
                                for (values, _), count in zip(jobs, counts, strict=True)])  # fmt: skip
        words = _pack(taken.reshape(-1, self.parallel), self.shape.width)
        room = int(counts.sum()) + len(jobs)
        out = np.zeros((room, _port_bytes(self.output.size)), np.uint8)
        times = np.zeros((len(jobs), 3), np.uint64)
        given = self._library.run(
            *(ctypes.c_void_p(array.ctypes.data) for array in (payloads, counts)), ctypes.c_uint64(len(jobs)),
            *(ctypes.c_void_p(array.ctypes.data) for array in (words, out)), ctypes.c_uint64(room),
            ctypes.c_uint(self.output["last"].offset), ctypes.c_void_p(times.ctypes.data), ctypes.c_uint64(limit),
            ctypes.c_uint32(stall), ctypes.c_char_p(str(self._trace).encode()),
        )  # fmt: skip
        if given < 0:
            raise TimeoutError(f"no result after {limit} cycles, or too many words")
        return self._results(out[:given]), times.astype(np.int64)

    def activity(self, jobs) -> int:
        """How often wires of the netlist change their value while jobs run, settled values only."""
        self.run(jobs)
        return sum(map(int, re.findall(r"\(TC (\d+)\)", self._trace.read_text(encoding="utf-8"))))

    def _results(self, words):
        bits = np.unpackbits(words, axis=1, bitorder="little")
        values, indices = (self._elements(bits, name) for name in ("values", "indices"))
        count, last = (self._elements(bits, name)[:, 0] for name in ("count", "last"))
        ends = np.flatnonzero(last) + 1
        some = np.arange(self.parallel) < count[:, np.newaxis]
        return [(values[a:b][some[a:b]], indices[a:b][some[a:b]]) for a, b in zip([0, *ends], ends, strict=False)]

    def _elements(self, bits, name):
        """A field of all words as integers: (words, elements)."""
        field = self.output[name]
        shape = field.shape
        each = Shape.cast(shape.elem_shape if isinstance(shape, data.ArrayLayout) else shape)
        width = each.width
        here = bits[:, field.offset : field.offset + field.width].reshape(len(bits), -1, width).astype(np.int64)
        found = (here << np.arange(width)).sum(axis=2)
        return found - (here[:, :, -1] << width) if each.signed else found


def _traced(kind: Kind) -> Kind:
    """A kind of build that records switching activity."""
    defines = tuple(re.sub(r"(VM_TRACE|VM_TRACE_SAIF)=0", r"\1=1", define) for define in kind.defines)
    runtime = (*kind.runtime, "verilated_saif_c.cpp")
    return replace(kind, verilate=(*kind.verilate, "--trace-saif"), defines=defines, runtime=runtime)


def _port_bytes(bits: int) -> int:
    """Bytes of a port in Verilator's memory."""
    return next((size for size in (1, 2, 4, 8) if bits <= 8 * size), -(-bits // 32) * 4)


def _pack(elements, bits: int):
    """Words of elements (words, parallel) as they lie in a port."""
    flat = (elements.astype(np.int64)[:, :, np.newaxis] >> np.arange(bits) & 1).astype(np.uint8)
    packed = np.packbits(flat.reshape(len(elements), -1), axis=1, bitorder="little")
    words = np.zeros((len(elements), _port_bytes(elements.shape[1] * bits)), np.uint8)
    words[:, : packed.shape[1]] = packed
    return words
