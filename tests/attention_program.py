"""Programs for the row engine written by hand: one head of attention, its result looked up, and normalized."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataflows import isa
from dataflows.config import TABLE_ENTRIES, Config
from mapper.builder import Builder
from mapper.context import parameters
from mapper.nests import ROWS, SEGMENTS, levels
from mapper.program import Job, Registers, encode
from mapper.scoreboard import Access
from sim.golden import norms, softmax
from sim.golden.requantize import round_shift, scaled

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
BASES = {region: 0x1_0000 * (1 + region) for region in isa.Region}
MARKS = 0x8_0000
MEMORY = MARKS + 4096
VALUES, LOOKED_UP, NORMALIZED = 0, 0x4000, 0x8000
"""Offsets of the three results in their region."""


@dataclass
class Case:
    """Queries (Lq, D), keys and values (Lk, D), and everything that the registers of the jobs say."""

    cfg: Config
    queries: Ints
    keys: Ints
    values: Ints
    causal: bool
    valid: int
    centered: bool
    score_scale: tuple[int, int]
    value_scale: tuple[int, int]
    zeros: tuple[int, int, int]  # of attention's result, of the norm's elements and of its result
    table: Ints  # by the code's bits without sign
    slot: int
    entry: int  # of the first row scale
    gain: Ints
    bias: Ints
    shift: int
    epsilon: int
    block: int  # first block of gains

    @staticmethod
    def random(cfg: Config, rng: np.random.Generator, queries: int, keys: int, channels: int) -> Case:
        """Codes over the whole range; scores of which some saturate, values of which some are clamped."""
        assert cfg.attention
        codes = [rng.integers(-128, 128, (length, channels)) for length in (queries, keys, keys)]
        for part in codes:
            part[rng.random(part.shape) < 0.1] = rng.choice([-128, 127])
        spread = float(np.abs(codes[0] @ codes[1].T).max(initial=1))
        exponent = int(np.floor(np.log2(spread / rng.choice([300, 3000, 40000]))))
        causal = bool(rng.integers(2))
        blocks = -(-channels // cfg.lanes)
        return Case(
            cfg, *codes, causal, int(rng.choice([0, 1, keys, rng.integers(0, keys + 1)])), bool(rng.integers(2)),
            (int(rng.integers(1 << 23, 1 << 24)), 24 + exponent),
            (int(rng.integers(1 << 23, 1 << 24)), int(rng.integers(22, 26))),
            (int(rng.integers(-128, 128)), int(rng.integers(-128, 128)), int(rng.choice([-128, 127, 5]))),
            rng.integers(-128, 128, TABLE_ENTRIES), int(rng.integers(cfg.attention.tables)),
            int(rng.integers(cfg.attention.scales - queries + 1)),
            rng.choice([-(2**15) + 1, 2**15 - 1, *rng.integers(-(2**13), 2**13, 6)], channels),
            rng.choice([2**31 - 1, *rng.integers(-(2**22), 2**22, 9)], channels), int(rng.integers(16, 20)),
            int(rng.integers(0, 1 << int(rng.integers(1, 42)))), int(rng.integers(cfg.gain_blocks - blocks + 1)),
        )  # fmt: skip

    def results(self) -> tuple[Ints, Ints, Ints]:
        """Attention's result, the same looked up, and its norm."""
        scores = np.clip(scaled(self.queries @ self.keys.T, *map(np.asarray, self.score_scale)), -(2**15), 2**15 - 1)
        length = len(self.keys)
        seen = np.arange(length) < self.valid + np.arange(len(scores))[:, None] * self.causal
        codes, sums = softmax.numerators(scores, seen)
        multiplier, shift = softmax.row_scale(sums, *self.value_scale)
        y = np.clip(scaled(codes @ self.values, multiplier[:, None], shift[:, None]) + self.zeros[0], -128, 127)
        deviation, square = norms.statistics(y - self.zeros[1], self.epsilon, centered=self.centered)
        wide = round_shift(norms.normalized(deviation, square) * self.gain + self.bias, self.shift)
        return y, self.table[y & 255], np.clip(wide + self.zeros[2], -100, 100)


class Program:
    """Commands of a case and the DRAM contents they need."""

    def __init__(self, case: Case):
        self.case, self.cfg = case, case.cfg
        self.builder = Builder(case.cfg)
        self.constants = np.zeros(0, np.uint8)
        self._constants()
        lanes, (queries, channels) = self.cfg.lanes, case.queries.shape
        keys = len(case.keys)
        self._load(isa.Region.INPUT, 0, isa.Target.INPUT, 0, queries * channels)
        self._product(case.keys.T, 0, queries, 0)
        words = -(-keys // lanes)
        mode = {"broadcast": 1, "rows": 1, "wide": 1}
        self._vector(0, words, keys, mode, 0, [Access("param", 0, 1)])
        scale = dict(zip(("multiplier", "shift"), case.value_scale, strict=True)) | {"entry": case.entry}
        scales = Access("scales", case.entry, case.entry + queries)
        self._rows(isa.Rows.SOFTMAX, keys, {"scale": scale}, [Access("scales", *self._span(scales), write=True)])
        self._store(isa.Region.ACTIVATION, 0, queries * keys, rows=1)
        self._load(isa.Region.ACTIVATION, 0, isa.Target.INPUT, 0x1000, queries * keys)
        self._product(case.values, 0x1000, queries, 1)
        self._vector(1, -(-channels // lanes), channels, {"by_row": 1}, case.entry, [scales])
        self._store(isa.Region.OUTPUT, VALUES, queries * channels)
        mode = {"by_row": 1, "table": 1, "slot": case.slot}
        self._vector(1, -(-channels // lanes), channels, mode, case.entry, [scales, Access("table", 0, 1)])
        self._store(isa.Region.OUTPUT, LOOKED_UP, queries * channels)
        self._load(isa.Region.OUTPUT, VALUES, isa.Target.OPERAND, 0, queries * channels)
        self._vector(None, -(-channels // lanes), channels, {"from_operand": 1, "broadcast": 1, "rows": 1}, 1, [])
        self._norm(channels)
        self._store(isa.Region.OUTPUT, NORMALIZED, queries * channels, rows=1, mark=True)
        self.jobs: list[Job] = self.builder.finish()
        self.words = encode(self.cfg, self.jobs)

    @staticmethod
    def _span(access: Access) -> tuple[int, int]:
        return access.start, access.end

    def memory(self, seed: int = 0) -> Bytes:
        """DRAM with program, constants and queries, noise elsewhere."""
        memory = np.random.default_rng(seed).integers(0, 256, MEMORY, np.uint8)
        for region, raw in (
            (isa.Region.PROGRAM, self.words.astype("<u8").view(np.uint8)),
            (isa.Region.CONSTANT, self.constants),
            (isa.Region.INPUT, self.case.queries.astype(np.int8).view(np.uint8).reshape(-1)),
        ):
            assert raw.size <= 0x1_0000
            memory[BASES[region] :][: raw.size] = raw
        return memory

    def results(self, memory: Bytes) -> list[Ints]:
        """What the program has stored."""
        shape, start = self.case.queries.shape, BASES[isa.Region.OUTPUT]
        size = shape[0] * shape[1]
        places = (VALUES, LOOKED_UP, NORMALIZED)
        return [memory[start + p : start + p + size].view(np.int8).reshape(shape).astype(np.int64) for p in places]

    # -- loads and stores ----------------------------------------------------------------------

    def _constant(self, target: isa.Target, address: int, raw: Bytes) -> None:
        """Load constants, whole beats."""
        raw = np.concatenate([raw, np.zeros(-raw.size % self.cfg.bus_bytes, np.uint8)])
        offset = -(-self.constants.size // 64) * 64
        self.constants = np.concatenate([np.resize(self.constants, offset), raw])
        self._load(isa.Region.CONSTANT, offset, target, address, raw.size)

    def _load(self, region: isa.Region, offset: int, target: isa.Target, address: int, size: int) -> None:
        fields = {"address": address, "target": target, "fill": 0, "bytes": size}
        registers: Registers = {
            "source": {"address": offset, "region": region}, "row": {"bytes": size}, **levels(ROWS, []),
            **isa.spread(self.cfg, isa.Unit.LOAD, isa.SEGMENT_REGISTERS, **fields), **levels(SEGMENTS, []),
        }  # fmt: skip
        accesses = [Access(target.name.lower(), address, address + size, write=True)]
        accesses.append(Access(f"dram {region.name}", offset, offset + size))
        self.builder.add(isa.Unit.LOAD, registers, accesses, layer=0, note=f"load {target.name}")

    def _store(self, region: isa.Region, offset: int, size: int, *, rows: int = 0, mark: bool = False) -> None:
        registers: Registers = {
            "target": {"address": offset, "region": region}, "row": {"bytes": size}, **levels(ROWS, []),
            "mode": {"rows": rows},
        }  # fmt: skip
        accesses = [Access(f"dram {region.name}", offset, offset + size, write=True)]
        self.builder.add(isa.Unit.STORE, registers, accesses, layer=0, note="store", mark=mark)

    def _constants(self) -> None:
        cfg, case = self.cfg, self.case
        nothing, one = np.zeros(cfg.lanes, np.int64), np.ones(cfg.lanes, np.int64)
        multiplier, shift = case.score_scale
        self._constant(isa.Target.PARAM, 0, parameters(cfg, nothing, one * multiplier, one * shift))
        self._constant(isa.Target.PARAM, cfg.param_entry_bytes, parameters(cfg, nothing, one, nothing))
        self._constant(isa.Target.TABLE, TABLE_ENTRIES * case.slot, case.table.astype(np.int8).view(np.uint8))
        blocks = -(-len(case.gain) // cfg.lanes)
        raw = np.zeros((blocks, cfg.gain_entry_bytes // 8, 8), np.uint8)
        for values, size, at in ((case.bias, 4, 0), (case.gain, 2, 4)):
            fields = np.zeros(blocks * cfg.lanes, np.int64)
            fields[: len(values)] = values
            raw[:, : cfg.lanes, at : at + size] = fields.view(np.uint8).reshape(blocks, cfg.lanes, 8)[..., :size]
        self._constant(isa.Target.GAIN, cfg.gain_entry_bytes * case.block, raw.reshape(-1))

    # -- jobs ----------------------------------------------------------------------------------

    def _product(self, matrix: Ints, at: int, pixels: int, bank: int) -> None:
        """Inputs (pixels, reduction) at an address of the input buffer times a matrix (reduction, outputs)."""
        cfg, (reduction, outputs) = self.cfg, matrix.shape
        chunks, blocks = -(-reduction // cfg.array.rows), -(-outputs // cfg.lanes)
        padded = np.zeros((chunks * cfg.array.rows, blocks * cfg.lanes), np.int64)
        padded[:reduction, :outputs] = matrix
        size, base = cfg.array.rows * cfg.weight_word_bytes, bank * 0x800
        tiles = padded.reshape(chunks, cfg.array.rows, blocks, cfg.lanes).swapaxes(1, 2)
        words = np.zeros((*tiles.shape[:3], cfg.weight_word_bytes), np.uint8)
        words[..., : cfg.lanes] = tiles.astype(np.int8).view(np.uint8)
        self._constant(isa.Target.WEIGHT, base, words.reshape(-1))
        flow = cfg.dataflow
        for block in range(blocks):
            for chunk in range(chunks):
                place, weight = bank * cfg.acc_bank_words + block, base + (chunk * blocks + block) * size
                names = ("word", "block", "pass", "group")
                registers: Registers = {
                    "base": {"address": place}, "mode": {"keep": int(chunk > 0)}, **levels(names, [(pixels, blocks)])
                }
                accesses = [Access("acc", bank, bank + 1, write=True)]
                self.builder.add(isa.Unit.ACC, registers, accesses, layer=0, note="sums")
                nest = levels(flow.weight_nest.levels, [(cfg.array.rows, cfg.weight_word_bytes)])
                accesses = [Access("weight", weight, weight + size)]
                self.builder.add(
                    isa.Unit.WEIGHT, {"base": {"address": weight}, **nest}, accesses, layer=0, note="matrix"
                )
                nest = levels(flow.input_nest.levels, [(pixels, reduction)])
                accesses = [Access("input", at, at + pixels * reduction)]
                address = at + chunk * cfg.array.rows
                self.builder.add(
                    isa.Unit.INPUT, {"base": {"address": address}, **nest}, accesses, layer=0, note="inputs"
                )

    def _vector(
        self, bank: int | None, blocks: int, length: int, mode: dict[str, int], entry: int, reads: list[Access]
    ) -> None:
        """Words of all pixels of an accumulator bank, or of the operand buffer."""
        cfg, pixels = self.cfg, len(self.case.queries)
        names = ("block", "x", "y", "image")
        registers: Registers = {
            "mode": mode,
            "param": {"entry": entry, "blocks": blocks, "tail": length - (blocks - 1) * cfg.lanes},
            "requantize": {"zero": self.case.zeros[0] if mode.get("by_row") else 0, "low": -128, "high": 127},
        }
        if bank is None:
            loops = [(1, 0), (1, 0), (blocks, cfg.lanes), (pixels, length)]
            registers |= {"operand_base": {"address": 0}, **levels(("tap_a", "tap_b", *names), loops, "operand_")}
            source = Access("operand", 0, pixels * length)
        else:
            base = {"acc_base": {"address": bank * cfg.acc_bank_words}}
            registers |= base | levels(names, [(blocks, 1), (pixels, blocks)], "acc_")
            source = Access("acc", bank, bank + 1)
        self.builder.add(isa.Unit.VECTOR, registers, [source, *reads], layer=0, note="words")

    def _rows(self, kind: isa.Rows, length: int, more: Registers, accesses: list[Access]) -> None:
        case, blocks = self.case, -(-length // self.cfg.lanes)
        mode = {"kind": kind, "blocks": blocks, "tail": length - (blocks - 1) * self.cfg.lanes}
        registers: Registers = {
            "mode": mode | {"causal": int(case.causal and kind is isa.Rows.SOFTMAX)},
            "count": {"rows": len(case.queries), "valid": case.valid}, **more,
        }  # fmt: skip
        self.builder.add(isa.Unit.ROWS, registers, accesses, layer=0, note=kind.name)

    def _norm(self, channels: int) -> None:
        case = self.case
        gain = {"block": case.block, "zero_x": case.zeros[1], "zero": case.zeros[2], "low": -100, "high": 100}
        registers: Registers = {
            "scale": {"shift": case.shift}, "epsilon": {"value": case.epsilon}, "gain": gain,
        }  # fmt: skip
        kind = isa.Rows.LAYER_NORM if case.centered else isa.Rows.RMS_NORM
        self._rows(kind, channels, registers, [Access("gain", 0, 1 << 30)])
