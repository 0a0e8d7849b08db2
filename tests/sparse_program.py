"""Programs for the sparse engine written by hand: a pruned matrix on chip, times vectors one after the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataflows import isa
from dataflows.config import Config
from dataflows.run_length import Format
from mapper.builder import Builder
from mapper.context import parameters
from mapper.nests import ROWS, SEGMENTS, levels
from mapper.program import Job, Registers, encode
from mapper.scoreboard import Access
from sim.golden import columns as golden
from sim.golden.requantize import scaled, wrap

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
BASES = {region: 0x1_0000 * (1 + region) for region in isa.Region}
MARKS = 0x8_0000
MEMORY = MARKS + 4096


@dataclass
class Case:
    """A matrix (rows, columns), vectors (n, columns), and what becomes of the sums.

    ``cuts`` are the columns at which a job ends; sums of all jobs of a vector add up.
    """

    cfg: Config
    weight: Ints
    vectors: Ints
    zero: int
    cuts: tuple[int, ...]
    bias: Ints
    multiplier: Ints
    shift: Ints

    @staticmethod
    def random(
        cfg: Config, rng: np.random.Generator, weight: Ints, vectors: int, cuts: tuple[int, ...], activity: float = 0.5
    ) -> Case:
        """Vectors over the whole range, of which a share of elements is not at the zero point."""
        rows, columns = weight.shape
        bits = cfg.numbers.act_bits
        low, high = -(1 << bits - 1), (1 << bits - 1) - 1
        zero = int(rng.choice([low, high, 0, rng.integers(low, high + 1)]))
        x = rng.choice([low, high, *rng.integers(low, high + 1, 30)], (vectors, columns))
        x[rng.random(x.shape) >= activity] = zero
        size = 1 << bits + 6
        bias = rng.integers(-size, size, rows)
        case = Case(cfg, weight, x, zero, cuts, bias, bias, bias)
        widest = np.abs(case.sums()).max(initial=1, axis=0) / (high * rng.choice([0.5, 1, 2]))
        exponent = np.maximum(np.ceil(np.log2(np.maximum(widest, 1))), 1).astype(int)
        case.multiplier = rng.integers(1 << 23, 1 << 24, rows)
        case.shift = 24 + exponent
        return case

    @property
    def form(self) -> Format:
        """Widths of the compressed columns."""
        assert self.cfg.sparse is not None
        return Format(self.cfg.sparse.run_bits, self.cfg.sparse.code_bits)

    @property
    def words(self) -> int:
        """Words of lanes that hold the sums of a vector."""
        return -(-len(self.weight) // self.cfg.lanes)

    def sums(self) -> Ints:
        """Accumulators (vectors, rows), bias included."""
        return wrap((self.vectors - self.zero) @ self.weight.T + self.bias, self.cfg.numbers.acc_bits)

    def results(self) -> Ints:
        """What is stored."""
        limit = 1 << self.cfg.numbers.act_bits - 1
        return np.clip(scaled(self.sums(), self.multiplier, self.shift), -limit, limit - 1)


@dataclass
class Compressed:
    """A tile of the matrix as bytes: ``entries`` and ``pointers`` (pes, bytes), whole beats; most entries of a PE."""

    entries: Bytes
    pointers: Bytes
    most: int
    lengths: Ints  # (pes, columns)
    codebook: Bytes


def compress(case: Case) -> list[Compressed]:
    """All tiles, which share one codebook."""
    sparse, cfg = case.cfg.sparse, case.cfg
    assert sparse is not None
    whole = golden.encode(case.weight, case.form, sparse.pes)
    book = whole.codebook.astype(f"<i{cfg.act_bytes}").view(np.uint8)
    tiles = []
    for first, end in zip((0, *case.cuts), (*case.cuts, case.weight.shape[1]), strict=True):
        pointers = whole.pointers[:, first : end + 1]  # runs begin afresh with each column, so tiles can be cut out
        packed = [golden.pack(e[p[0] : p[-1]], case.form) for e, p in zip(whole.entries, pointers, strict=True)]
        pointers = pointers - pointers[:, :1]
        raw = [p.astype("<u2").view(np.uint8) for p in pointers]
        tiles.append(Compressed(_beats(cfg, packed), _beats(cfg, raw), int(pointers.max()), np.diff(pointers), book))
    return tiles


def _beats(cfg: Config, rows: list[Bytes]) -> Bytes:
    """One row per PE, filled up to whole beats of equal number, at least one."""
    size = -(-max(1, *(row.size for row in rows)) // cfg.bus_bytes) * cfg.bus_bytes
    result = np.zeros((len(rows), size), np.uint8)
    for line, row in zip(result, rows, strict=True):
        line[: row.size] = row
    return result


class Program:
    """Commands of a case and the DRAM contents they need."""

    def __init__(self, case: Case):
        self.case, self.cfg = case, case.cfg
        self.builder = Builder(case.cfg)
        self.constants = np.zeros(0, np.uint8)
        self.tiles = compress(case)
        self.at: list[tuple[int, int]] = []  # beats of entries and pointers of each tile
        self._constants()
        for number in range(len(case.vectors)):
            self._vector(number)
        self.jobs: list[Job] = self.builder.finish()
        self.words = encode(self.cfg, self.jobs)

    def memory(self, seed: int = 0) -> Bytes:
        """DRAM with program, constants and vectors, noise elsewhere."""
        memory = np.random.default_rng(seed).integers(0, 256, MEMORY, np.uint8)
        vectors = self.case.vectors.astype(f"<i{self.cfg.act_bytes}").view(np.uint8)
        for region, raw in (
            (isa.Region.PROGRAM, self.words.astype("<u8").view(np.uint8)),
            (isa.Region.CONSTANT, self.constants),
            (isa.Region.INPUT, vectors.reshape(-1)),
        ):
            assert raw.size <= 0x1_0000
            memory[BASES[region] :][: raw.size] = raw
        return memory

    def results(self, memory: Bytes) -> Ints:
        """What the program has stored, (vectors, rows)."""
        shape = len(self.case.vectors), len(self.case.weight)
        start, size = BASES[isa.Region.OUTPUT], shape[0] * shape[1] * self.cfg.act_bytes
        return memory[start : start + size].view(f"<i{self.cfg.act_bytes}").reshape(shape).astype(np.int64)

    def load(self, target: isa.Target, address: int, raw: Bytes, pitch: int = 0) -> None:
        """Load rows of constants, each ``pitch`` bytes behind the one before."""
        offset = -(-self.constants.size // 64) * 64
        self.constants = np.concatenate([np.resize(self.constants, offset), raw.reshape(-1)])
        rows, size = raw.shape
        self._load(isa.Region.CONSTANT, offset, target, address, rows, size, pitch)

    def _load(
        self, region: isa.Region, offset: int, target: isa.Target, address: int, rows: int, size: int, pitch: int
    ) -> None:
        registers: Registers = {
            "source": {"address": offset, "region": region},
            "row": {"bytes": size},
            **levels(ROWS, [(rows, size)]),
            **isa.spread(
                self.cfg, isa.Unit.LOAD, isa.SEGMENT_REGISTERS, address=address, target=target, fill=0, bytes=size
            ),
            **levels(SEGMENTS, [(rows, pitch)]),
        }
        accesses = [Access(target.name.lower(), address, address + pitch * (rows - 1) + size, write=True)]
        self.builder.add(isa.Unit.LOAD, registers, accesses, layer=0, note=f"load {target.name}")

    def _constants(self) -> None:
        cfg, case = self.cfg, self.case
        self.load(isa.Target.CODEBOOK, cfg.codebook_pitch, self.tiles[0].codebook[None])
        entry = pointer = 0
        for tile in self.tiles:
            self.at.append((entry // cfg.bus_bytes, pointer // cfg.bus_bytes))
            self.load(isa.Target.ENTRIES, entry, tile.entries, cfg.sparse_weight_pitch)
            self.load(isa.Target.POINTERS, pointer, tile.pointers, cfg.sparse_pointer_pitch)
            entry, pointer = entry + tile.entries.shape[1], pointer + tile.pointers.shape[1]
        assert cfg.sparse is not None and entry <= cfg.sparse.weight_bytes and pointer <= cfg.sparse.pointer_bytes
        for block in range(case.words):
            part = slice(block * cfg.lanes, (block + 1) * cfg.lanes)
            raw = parameters(cfg, case.bias[part], case.multiplier[part], case.shift[part])
            self.load(isa.Target.PARAM, block * cfg.param_entry_bytes, raw[None])

    def _vector(self, number: int) -> None:
        cfg, case = self.cfg, self.case
        columns, size = case.weight.shape[1], case.weight.shape[1] * cfg.act_bytes
        space = -(-(size + cfg.input_elements * cfg.act_bytes) // cfg.bus_bytes) * cfg.bus_bytes
        address = number % 2 * space
        self._load(isa.Region.INPUT, number * size, isa.Target.INPUT, address, 1, size, 0)
        for index, (first, end) in enumerate(zip((0, *case.cuts), (*case.cuts, columns), strict=True)):
            self._tile(index, end - first, address + first * cfg.act_bytes, final=end == columns)
        self._sums(number)

    def _tile(self, index: int, columns: int, address: int, *, final: bool) -> None:
        """INPUT and SPARSE jobs of one tile."""
        cfg, case, tile = self.cfg, self.case, self.tiles[index]
        word, (entry, pointer) = cfg.input_elements * cfg.act_bytes, self.at[index]
        assert cfg.sparse is not None
        words = -(-columns // cfg.input_elements)
        nest = levels(cfg.dataflow.input_nest.levels, [(words, word)])
        read = Access("input", address, address + columns * cfg.act_bytes)
        registers: Registers = {"base": {"address": address}, "mode": {"sparse": 1}, **nest}
        self.builder.add(isa.Unit.INPUT, registers, [read], layer=0, note="vector")
        full, extra = divmod(len(case.weight), cfg.sparse.pes)
        registers = {
            "columns": {"count": columns, "pointers": pointer},
            "weights": {"word": entry, "entries": tile.most},
            "rows": {"full": full, "extra": extra},
            "mode": {"zero": case.zero, "codebook": 1, "drain": case.words if final else 0},
        }
        accesses = [Access("entries", 0, 1 << 30), Access("pointers", 0, 1 << 30), Access("codebook", 0, 1 << 30)]
        self.builder.add(isa.Unit.SPARSE, registers, accesses, layer=0, note="product")

    def _sums(self, number: int) -> None:
        """ACC, VECTOR and STORE jobs of a vector."""
        cfg, case, bank = self.cfg, self.case, number % 2
        rows, words = len(case.weight), case.words
        limit, base = 1 << cfg.numbers.act_bits - 1, bank * cfg.acc_bank_words
        last = number == len(case.vectors) - 1
        nest = levels(("word", "block", "pass", "group"), [(words, 1)])
        acc = Access("acc", bank, bank + 1, write=True)
        registers: Registers = {"base": {"address": base}, "mode": {"sparse": 1}, **nest}
        self.builder.add(isa.Unit.ACC, registers, [acc], layer=0, note="sums")
        registers = {
            "mode": {},
            "param": {"entry": 0, "blocks": words, "tail": rows - (words - 1) * cfg.lanes},
            "requantize": {"zero": 0, "low": -limit, "high": limit - 1},
            "acc_base": {"address": base},
            **levels(("block", "x", "y", "image"), [(words, 1)], "acc_"),
        }
        accesses = [Access("acc", bank, bank + 1), Access("param", 0, words * cfg.param_entry_bytes)]
        self.builder.add(isa.Unit.VECTOR, registers, accesses, layer=0, note="requantize")
        size = rows * cfg.act_bytes
        target = {"address": number * size, "region": isa.Region.OUTPUT}
        registers = {"target": target, "row": {"bytes": size}, **levels(ROWS, [])}
        self.builder.add(isa.Unit.STORE, registers, [], layer=number, note="store", mark=last)
