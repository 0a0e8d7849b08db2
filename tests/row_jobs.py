"""Random programs around the row engine, for their cycles: loads by lists, tables, rows and their scales.

What they compute means nothing. Each task brings some pixels from DRAM, or from accumulators, through the vector unit,
perhaps through the row engine, and stores them; jobs of all units cut a task's pixels at places of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataflows import isa
from dataflows.config import INDEX_BYTES, TABLE_ENTRIES, Config
from dataflows.network import Network
from mapper.attention_jobs import Product
from mapper.builder import Builder
from mapper.compile import Program
from mapper.nests import ROWS, SEGMENTS, Loops, levels
from mapper.program import Registers, encode
from mapper.scoreboard import Access
from mapper.timing_vector_job import ACC_LEVELS, OPERAND_LEVELS, TAP_LEVELS

KINDS = ("plain", "table", "by_row", "halves", "softmax", "column", "decide", "layer_norm", "rms_norm")
SOFTMAX = ("softmax", "column", "decide")
SOURCES = ("load", "gather", "acc")
CONSTANTS = 1 << 15
LISTED = 1 << 12
"""Constants from here on that lists are made of: indices of at most ``ROWS_LISTED``."""
ROWS_LISTED = 100
MOST_POSITION = 40


@dataclass(frozen=True)
class Shape:
    """Pixels of a task, blocks of lanes in each, valid lanes of the last one."""

    pixels: int
    blocks: int
    tail: int

    def bytes(self, cfg: Config) -> int:
        """Of a pixel."""
        return (self.blocks - 1) * cfg.lanes + self.tail


class RowJobs:
    """A program of ``tasks`` random tasks; the last STORE of each is marked with its number."""

    def __init__(self, cfg: Config, seed: int, tasks: int, kinds: tuple[str, ...] = KINDS):
        assert cfg.attention is not None
        self.cfg, self.attention, self.rng = cfg, cfg.attention, np.random.default_rng([seed, 61])
        self.builder = Builder(cfg)
        self.constants = self.rng.integers(0, 256, CONSTANTS, np.uint8)
        lists = self.rng.integers(0, ROWS_LISTED, (CONSTANTS - LISTED) // INDEX_BYTES).astype("<u2")
        self.constants[LISTED:] = lists.view(np.uint8)
        self.written = 0
        self.decisions: list[bool] = []
        self.position = int(self.rng.choice([0, self.rng.integers(MOST_POSITION)]))
        for number in range(tasks):
            self._task(number, str(self.rng.choice(kinds)), str(self.rng.choice(SOURCES)))
        jobs = self.builder.finish()
        words = encode(cfg, jobs)
        sizes = {isa.Region.CONSTANT: CONSTANTS, isa.Region.OUTPUT: self.written, isa.Region.PROGRAM: words.nbytes}
        network = Network("jobs", {}, (), (), ())
        self.program = Program(cfg, network, words, jobs, self.constants, {}, sizes, ())

    def _task(self, number: int, kind: str, source: str) -> None:
        cfg, rng = self.cfg, self.rng
        rows = kind in (*SOFTMAX, "layer_norm", "rms_norm")
        most = cfg.attention.row_elements // cfg.lanes if cfg.attention else 0
        shape = Shape(int(rng.choice([1, 2, rng.integers(1, 20)])), int(rng.integers(1, most + 1)), 0)
        shape = Shape(shape.pixels, shape.blocks, int(rng.choice([1, cfg.lanes, rng.integers(1, cfg.lanes + 1)])))
        if kind == "halves":
            shape = Shape(shape.pixels, shape.blocks, 2 * -(-shape.tail // 2))
        half = cfg.memory.operand_bytes // 2
        shape = Shape(max(1, min(shape.pixels, half // shape.bytes(cfg))), shape.blocks, shape.tail)
        if kind == "table":
            self._constant(isa.Target.TABLE, TABLE_ENTRIES * int(rng.integers(self.attention.tables)), TABLE_ENTRIES)
        if kind in ("layer_norm", "rms_norm"):
            self._constant(isa.Target.GAIN, 0, shape.blocks * cfg.gain_entry_bytes)
        at = number % 2 * half
        if kind == "column":  # an element per pixel
            source = "acc"
        elif source == "gather":
            self._gather(at, shape)
        elif source == "load":
            size = shape.bytes(cfg)
            start = int(rng.integers(LISTED - shape.pixels * size)) if shape.pixels * size < LISTED else 0
            halves = size % 2 == 0 and bool(rng.random() < 0.5)
            row = size // 2 if halves else size
            more = {"gather": {"nibbles": int(rng.integers(1, 3))}} if halves else {}
            self._load(start, row, [(shape.pixels, row)], isa.Target.OPERAND, at, size, [(shape.pixels, size)], **more)
        for first, count in self._cut(shape.pixels):
            self._vector(kind, shape, first, count, at, from_operand=source != "acc", rows=rows)
        if rows:
            parts = self._cut(shape.pixels)
            for first, count in parts:
                self._rows(kind, shape, count, decide=kind == "decide" and (first, count) == parts[-1])
        cuts, size = self._cut(shape.pixels), shape.bytes(cfg) // (2 if kind == "halves" else 1)
        for first, count in cuts:
            self._store(number, size, first, count, rows=rows, mark=(first, count) == cuts[-1])
        self.written += shape.pixels * size + int(rng.integers(20))
        if kind == "decide":
            self._predicated(number)

    def _predicated(self, number: int) -> None:
        """Jobs of all units that the last decision is for: a product, its softmax, and a load."""
        cfg, before = self.cfg, len(self.builder.jobs)
        shape = Shape(int(self.rng.integers(1, 6)), 1, cfg.lanes)
        self._load(0, 32, [(1, 0)], isa.Target.INPUT, 0, 32, [(1, 0)])
        Product(
            rows=shape.pixels, pitch=cfg.array.rows, words=int(self.rng.integers(1, 3)), blocks=1,
            input_from=0, input_at=0, input_bytes=64, weight_at=0, bank=0, place=0, keep=False, note="product",
        ).emit(self.builder, 0)  # fmt: skip
        self._vector("softmax", shape, 0, shape.pixels, 0, from_operand=False, rows=True)
        self._rows("softmax", shape, shape.pixels, decide=False)
        self._store(number, shape.bytes(cfg), 0, shape.pixels, rows=True, mark=False)
        self.written += shape.pixels * shape.bytes(cfg)
        latest = {job.unit: job.index for job in self.builder.jobs[before:]}
        for job in self.builder.jobs[before:]:
            job.predicated, job.last = True, latest[job.unit] == job.index

    def _cut(self, pixels: int) -> list[tuple[int, int]]:
        """One to three parts: first pixel and count."""
        places = sorted({0, *(int(self.rng.integers(pixels)) for _ in range(self.rng.integers(3)))})
        return [(a, b - a) for a, b in zip(places, [*places[1:], pixels], strict=True)]

    def _load(
        self, source: int, row: int, rows: Loops, target: isa.Target, address: int, segment: int, segments: Loops,
        **more: dict[str, int],
    ) -> None:  # fmt: skip
        """A LOAD job of constants."""
        registers: Registers = {
            "source": {"address": source, "region": isa.Region.CONSTANT}, "row": {"bytes": row}, **levels(ROWS, rows),
            "destination": {"address": address, "target": target}, "segment": {"bytes": segment},
            **levels(SEGMENTS, segments), **more,
        }  # fmt: skip
        size = segment * segments[0][0]
        reads = [Access("index", 0, 1 << 20)] if "row_c" in more else []
        accesses = [Access(target.name.lower(), address, address + size, write=True), *reads]
        self.builder.add(isa.Unit.LOAD, registers, accesses, layer=0, note="load")

    def _constant(self, target: isa.Target, address: int, size: int) -> None:
        start = int(self.rng.integers((CONSTANTS - size) // 64)) * 64
        self._load(start, size, [(1, 0)], target, address, size, [(1, 0)])

    def _gather(self, at: int, shape: Shape) -> None:
        """A list, perhaps longer than needed, and the pixels that it chooses; perhaps in halves."""
        cfg, size = self.cfg, shape.bytes(self.cfg)
        parts = 2 if size % 2 == 0 and self.rng.random() < 0.5 else 1
        unit = cfg.bus_bytes // INDEX_BYTES
        room = self.attention.indices // unit - -(-shape.pixels // unit)
        first = unit * int(self.rng.integers(room + 1))
        length = -(-shape.pixels * INDEX_BYTES // cfg.bus_bytes) * cfg.bus_bytes
        start = LISTED + cfg.bus_bytes * int(self.rng.integers(100))
        positioned = self.rng.random() < 0.3
        if not positioned:
            self._load(start, length, [(1, 0)], isa.Target.INDEX, first * INDEX_BYTES, length, [(1, 0)])
        skipped = int(self.rng.integers(unit)) if shape.pixels > unit else 0
        if shape.pixels + skipped > length // INDEX_BYTES:
            skipped = 0
        rows: Loops = [(parts, size // parts), (1, 0)]
        gather = {"indexed": 1, "first": first + skipped, "positioned": positioned}
        step = {"count": shape.pixels, "step": size + int(self.rng.integers(9))}
        self._load(
            int(self.rng.integers(64)), size // parts, rows, isa.Target.OPERAND, at, size, [(shape.pixels, size)],
            gather=gather, row_c=step,
        )  # fmt: skip

    def _vector(
        self, kind: str, shape: Shape, first: int, count: int, at: int, *, from_operand: bool, rows: bool
    ) -> None:
        size, start = shape.bytes(self.cfg), at + first * shape.bytes(self.cfg)
        entry = int(self.rng.integers(self.attention.scales - shape.pixels)) if kind == "by_row" else 0
        nest: Loops = [(shape.blocks, self.cfg.lanes), (count, size)]
        inside = {"operand_base": {"address": start}, **levels([*TAP_LEVELS, *OPERAND_LEVELS], [(1, 0)] * 2 + nest)}
        blocks, tail = shape.blocks, shape.tail
        if kind == "column":
            blocks, tail, count = 1, 1, count * size
        words = {"acc_base": {"address": 0}, **levels(ACC_LEVELS, [(blocks, 1), (count, blocks)])}
        registers: Registers = {
            "mode": {
                "from_operand": from_operand, "broadcast": 1, "rows": rows, "wide": kind in SOFTMAX,
                "by_row": kind == "by_row", "table": kind == "table", "slot": 0,
                "nibbles": int(self.rng.integers(1, 3)) if kind == "halves" else 0,
            },
            "param": {"entry": entry, "blocks": blocks, "tail": tail},
            "requantize": {"zero": 0, "low": -128, "high": 127},
            **(inside if from_operand else words),
        }
        accesses = [Access("operand", start, start + count * size)] if from_operand else [Access("acc", 0, 1)]
        accesses += [Access("scales", entry, entry + count)] if kind == "by_row" else []
        accesses += [Access("table", 0, 1 << 16)] if kind == "table" else []
        self.builder.add(isa.Unit.VECTOR, registers, accesses, layer=0, note=f"{kind} {count} pixels")

    def _rows(self, kind: str, shape: Shape, count: int, *, decide: bool) -> None:
        softmax, elements = kind in SOFTMAX, shape.bytes(self.cfg)
        number = isa.Rows.SOFTMAX if softmax else isa.Rows[kind.upper()]
        entry = int(self.rng.integers(self.attention.scales - count))
        causal = bool(softmax and self.rng.random() < 0.5)
        execute = bool(self.rng.random() < 0.5)
        if decide:
            self.decisions.append(execute)
        registers: Registers = {
            "mode": {
                "kind": number, "blocks": shape.blocks, "tail": shape.tail, "causal": causal,
                "column": kind == "column", "decide": decide,
            },
            "count": {"rows": count, "valid": int(self.rng.integers(decide, elements + 1)) if softmax else 0},
            "scale": {"multiplier": 1 << 23, "shift": int(self.rng.integers(24, 37)), "entry": entry},
            "epsilon": {"value": int(self.rng.integers(1 << 20)) if not decide else 0 if execute else (1 << 42) - 1},
            "gain": {"block": 0, "zero_x": 0, "zero": 0, "low": -128, "high": 127},
        }
        scales = Access("scales", entry, entry + count, write=True)
        accesses = [scales] if softmax else [Access("gain", 0, 1 << 20)]
        self.builder.add(isa.Unit.ROWS, registers, accesses, layer=0, note=f"{kind} of {count} rows")

    def _store(self, number: int, size: int, first: int, count: int, *, rows: bool, mark: bool) -> None:
        start = self.written + first * size
        pitch = int(self.rng.choice([0, 0, self.rng.integers(1, 9)]))
        registers: Registers = {
            "target": {"address": start, "region": isa.Region.OUTPUT}, "mode": {"rows": rows, "pitch": pitch},
            "row": {"bytes": count * size}, **levels(ROWS, [(1, 0)]),
        }  # fmt: skip
        self.builder.add(isa.Unit.STORE, registers, [], layer=number, note=f"store {count} pixels", mark=mark)

    def memory(self, bases: dict[isa.Region, int], size: int, seed: int = 0) -> NDArray[np.uint8]:
        """DRAM with program and constants, noise elsewhere."""
        memory = np.random.default_rng(seed).integers(0, 256, size, np.uint8)
        words = self.program.words.astype("<u8").view(np.uint8)
        for region, raw in ((isa.Region.PROGRAM, words), (isa.Region.CONSTANT, self.constants)):
            memory[bases[region] :][: raw.size] = raw
        return memory
