"""Runs multipliers of every kind, side by side in one Verilated bench, as functions of whole steps."""

import ctypes
from functools import cache
from pathlib import Path

import numpy as np
from amaranth import Cat, ClockDomain, ClockSignal, DomainRenamer, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dataflows.multipliers import Law
from rtl.binary import BinaryMultiplier, TernaryMultiplier
from rtl.emit import component_verilog
from rtl.fusion import FusionMultiplier
from rtl.multiplier import MODE, FixedMultiplier
from rtl.multiplier_pe import MultiplierPE
from rtl.serial import SerialMultiplier, TemporalMultiplier
from rtl.table import TableMultiplier
from sim.build import build, harness

KINDS = {
    "fixed": FixedMultiplier,
    "fusion": FusionMultiplier,
    "fusion8": lambda: FusionMultiplier(2, False),
    "leaf4": lambda: FusionMultiplier(4),
    "temporal": lambda: TemporalMultiplier(3),
    "bricks": lambda: SerialMultiplier(5, 2, 2),
    "stripes": lambda: SerialMultiplier(8, 1, 8),
    "weights_serial": lambda: SerialMultiplier(3, 8, 1),
    "bismo": lambda: SerialMultiplier(16, 1, 1),
    "table": lambda: TableMultiplier(8),
    "table3": lambda: TableMultiplier(6, 3),
    "binary": lambda: BinaryMultiplier(61),
    "ternary": lambda: TernaryMultiplier(29),
}
"""What the bench holds."""

PES = ("fixed", "fusion", "stripes", "table", "binary")
"""Kinds that it has in a PE, too."""

WORD = 64
"""Bits of an operand word, at most."""

EXTRA = {"place": 4, "mask": 64, "count": 7, "add": 1, "begin": 1, "last": 1, "drain": 1}
"""Inputs of the bench that not all kinds have, or that are for the PEs."""

FIELDS = {"a": WORD, "w": WORD, "mask": WORD, **{name: 8 for name in [*MODE, *EXTRA] if name != "mask"}}
INPUT = data.StructLayout(FIELDS)
"""Input of the bench, one field after the other."""

RECORD = np.dtype({
    "names": list(FIELDS),
    "formats": [f"u{bits // 8}" for bits in FIELDS.values()],
    "offsets": [sum(list(FIELDS.values())[:n]) // 8 for n in range(len(FIELDS))],
    "itemsize": -(-INPUT.size // 32) * 4,
})  # fmt: skip
"""The same in memory."""


class Bench(wiring.Component):
    """Every kind by itself, some in a PE, fed with the same words; a clock for each, so that one runs at a time."""

    def __init__(self):
        self.units = {name: make() for name, make in KINDS.items()}
        self.pes = {name: MultiplierPE(make()) for name, make in KINDS.items() if name in PES}
        sums = data.ArrayLayout(signed(64), 2 * len(KINDS))
        super().__init__({"clocks": In(len(KINDS)), "word": In(INPUT), "sums": Out(sums)})

    def elaborate(self, platform):
        m = Module()
        for number, name in enumerate(KINDS):
            place = Module()
            self._place(place, number, name)
            m.domains += ClockDomain(name)
            m.d.comb += ClockSignal(name).eq(self.clocks[number])
            m.submodules[f"{name}_place"] = DomainRenamer(name)(place)
        return m

    def _place(self, m, number, name):
        m.submodules.unit = unit = self.units[name]
        now = Signal(INPUT, name="word_now")
        m.d.sync += now.eq(self.word)
        m.d.comb += [getattr(unit, field).eq(now[field]) for field in ["a", "w", *MODE, *unit.more]]
        m.d.comb += self.sums[2 * number].eq(unit.o)
        if name in self.pes:
            m.submodules.pe = pe = self.pes[name]
            late = Signal(INPUT, name="word_late")
            m.d.sync += late.eq(now)
            m.d.comb += [getattr(pe, field).eq(late[field]) for field in [*MODE, *unit.more]]
            m.d.comb += [pe.a_i.eq(now.a), pe.w_i.eq(now.w), pe.output_i.eq(now.mask), pe.drain.eq(now.drain)]
            for field in ("add", "begin", "last"):
                line = Signal(unit.latency, name=f"{field}_line")
                m.d.sync += line.eq(Cat(late[field][0], line))
                m.d.comb += getattr(pe, field).eq(line[-1])
            m.d.comb += self.sums[2 * number + 1].eq(pe.output_o)


@cache
def emitted() -> tuple[Bench, str]:
    """The bench and its Verilog."""
    bench = Bench()
    return bench, component_verilog(bench, "multipliers")


@cache
def _library(folder: Path) -> ctypes.CDLL:
    path = folder / "multipliers.v"
    path.write_text(emitted()[1], encoding="utf-8")
    return ctypes.CDLL(str(build(path, "multipliers", harness(Path(__file__).with_name("multiplier_harness.cpp")))))


def law(name: str) -> Law:
    return emitted()[0].units[name].law


def stimulus(name: str, a: np.ndarray, w: np.ndarray, bits: tuple[int, int], signs: tuple[bool, bool]) -> np.ndarray:
    """Records of all cycles of steps, given the operands: (steps, products) each."""
    assert a.shape == w.shape == (len(a), law(name).products(*bits))
    order = list(law(name).order(*bits))
    records = np.zeros((len(a), len(order)), RECORD)
    for number, cycle in enumerate(order):
        now = records[:, number]
        tops = cycle.a_top and signs[0], cycle.w_top and signs[1]
        for operand, values, width, piece, is_signed in zip(
            ("a", "w"), (a, w), law(name).element(*bits), (cycle.a, cycle.w), tops, strict=True
        ):
            elements = (values >> piece * width & 2**width - 1).astype(np.uint64)
            places = np.arange(values.shape[1], dtype=np.uint64) * np.uint64(width)
            now[operand] = np.bitwise_or.reduce(elements << places, axis=1)
            now[f"{operand}_code"] = width.bit_length() - 1
            now[f"{operand}_signed"] = is_signed
        now["first"], now["shift"], now["place"] = cycle.first, cycle.shift, cycle.a + cycle.w
    records["add"][:, -1] = 1
    return records


def simulate(folder: Path, name: str, records: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a kind and its PE put out in each cycle that some records bring something: the sums of those records."""
    unit = emitted()[0].units[name]
    words = np.zeros(records.size + 3 + unit.latency, RECORD)
    words[: records.size] = records.reshape(-1)
    sums = np.zeros((2, len(words)), np.int64)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (words, sums)]
    _library(folder).run(ctypes.c_uint(list(KINDS).index(name)), *pointers, ctypes.c_uint64(len(words)))
    ends = np.arange(1, len(records) + 1) * records.shape[1] + unit.latency
    return sums[0, ends], sums[1, 2 + unit.latency :]
