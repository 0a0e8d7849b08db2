"""A program written by hand: one head of attention, of which only the values of some keys are loaded and multiplied."""

from __future__ import annotations

import numpy as np

from dataflows import isa
from mapper.builder import Builder
from mapper.nests import ROWS, SEGMENTS, levels
from mapper.program import Registers, encode
from mapper.scoreboard import Access
from sim.golden import softmax
from sim.golden.requantize import scaled
from sim.golden.top_k import largest
from tests.attention_program import BASES, VALUES, Bytes, Case, Ints, Program

NUMERATORS, PACKED, HEAD_VALUES = 0, 0x2000, 0x4000
"""Offsets among the activations, and of the values among the inputs."""
LIST = 5
"""Index of the list's length."""


class ValuesProgram(Program):
    """The head of a case by rank (``keep``) or by probability (``floor``), numerators below ``least`` left out.

    Keys are turned beforehand; values lie in DRAM key by key. Channels fit a word of the array.
    """

    def __init__(self, case: Case, *, keep: int = 0, floor: int | None = None, least: int = 0):
        self.case, self.cfg, self.keep, self.floor, self.least = case, case.cfg, keep, floor, least
        self.builder = Builder(case.cfg)
        self.constants = np.zeros(0, np.uint8)
        self._constants()
        queries, channels = case.queries.shape
        keys = len(case.keys)
        count = keep if floor is None else keys
        packed = -(-count // self.cfg.array.rows) * self.cfg.array.rows  # what is beyond a row meets no weights
        assert channels <= self.cfg.lanes
        self._load(isa.Region.INPUT, 0, isa.Target.INPUT, 0, queries * channels)
        self._product(case.keys.T, 0, queries, 0)
        mode = {"broadcast": 1, "rows": 1, "wide": 1}
        self._vector(0, -(-keys // self.cfg.lanes), keys, mode, 0, [Access("param", 0, 1)])
        scale = dict(zip(("multiplier", "shift"), case.value_scale, strict=True)) | {"entry": case.entry}
        values = {"observe": 1, "fresh": 1, "largest": int(floor is not None), "least": least}
        scales = Access("scales", case.entry, case.entry + queries)
        writes = Access("scales", case.entry, case.entry + queries, write=True)
        self._rows(isa.Rows.SOFTMAX, keys, {"scale": scale, "values": values}, [writes])
        self._store(isa.Region.ACTIVATION, NUMERATORS, queries * keys, rows=1)
        self._select(keys, keep)
        self._load(isa.Region.ACTIVATION, NUMERATORS, isa.Target.OPERAND, 0, queries * keys)
        mode = {"from_operand": 1, "broadcast": 1, "rows": 1}
        self._vector(None, -(-keys // self.cfg.lanes), keys, mode, 1, [])
        self._rows(isa.Rows.PACK, keys, {"values": {"count": packed}}, [])
        self._store(isa.Region.ACTIVATION, PACKED, queries * packed, rows=1)
        self._load(isa.Region.ACTIVATION, PACKED, isa.Target.INPUT, 0x1000, queries * packed)
        self._chosen(count, channels)
        self._product(np.zeros((packed, channels), np.int64), 0x1000, queries, 1)
        self._vector(1, 1, channels, {"by_row": 1}, case.entry, [scales])
        self._store(isa.Region.OUTPUT, VALUES, queries * channels, mark=True)
        self.jobs = self.builder.finish()
        self.words = encode(self.cfg, self.jobs)

    def memory(self, seed: int = 0) -> Bytes:
        """With the values behind the queries."""
        memory = super().memory(seed)
        raw = self.case.values.astype(np.int8).view(np.uint8).reshape(-1)
        memory[BASES[isa.Region.INPUT] + HEAD_VALUES :][: raw.size] = raw
        return memory

    def columns(self) -> Ints:
        """Sums of probabilities by key, or with a floor the largest."""
        p = softmax.probabilities(*self._numerators())
        columns: Ints = p.sum(axis=0) if self.floor is None else p.max(axis=0)
        return columns

    def wanted(self) -> Ints:
        """The result by the definitions."""
        case, columns = self.case, self.columns()
        codes, sums = self._numerators()
        stays = largest(columns, self.keep) if self.floor is None else columns > self.floor
        multiplier, shift = softmax.row_scale(sums, *case.value_scale)
        y = scaled(codes * stays @ case.values, multiplier[:, None], shift[:, None])
        return np.clip(y + case.zeros[0], -128, 127)

    def _numerators(self) -> tuple[Ints, Ints]:
        case = self.case
        scores = np.clip(scaled(case.queries @ case.keys.T, *map(np.asarray, case.score_scale)), -(2**15), 2**15 - 1)
        seen = np.arange(len(case.keys)) < case.valid + np.arange(len(scores))[:, None] * case.causal
        return softmax.numerators(scores, seen, self.least)

    # -- jobs ----------------------------------------------------------------------------------

    def _constant(self, target: isa.Target, address: int, raw: Bytes) -> None:
        """Values are no constants here."""
        if target is not isa.Target.WEIGHT or address == 0:
            super()._constant(target, address, raw)

    def _select(self, keys: int, keep: int) -> None:
        registers: Registers = {
            "mode": {"kind": isa.Rows.SELECT_VALUES},
            "select": {"count": keys, "keep": keep, "place": LIST},
            "values": {"by_floor": int(self.floor is not None), "floor": self.floor or 0},
        }
        accesses = [Access("index", 2 * LIST, 2 * (LIST + keys + 1), write=True)]
        self.builder.add(isa.Unit.ROWS, registers, accesses, layer=0, note="select values")

    def _chosen(self, count: int, channels: int) -> None:
        """Rows of the values in the list, as weights of one block of columns."""
        word = self.cfg.weight_word_bytes
        fields = {"address": 0x800, "target": isa.Target.WEIGHT, "fill": 0, "bytes": channels}
        registers: Registers = {
            "source": {"address": HEAD_VALUES, "region": isa.Region.INPUT}, "row": {"bytes": channels},
            **levels(ROWS, [(1, 0), (1, 0), (count, channels)]),
            **isa.spread(self.cfg, isa.Unit.LOAD, isa.SEGMENT_REGISTERS, **fields),
            **levels(SEGMENTS, [(1, 0), (1, 0), (count, word)]),
            "gather": {"indexed": 1, "counted": 1, "first": LIST},
        }  # fmt: skip
        accesses = [
            Access("weight", 0x800, 0x800 + count * word + self.cfg.array.rows * word, write=True),
            Access("index", 2 * LIST, 2 * (LIST + count + 1)),
        ]
        self.builder.add(isa.Unit.LOAD, registers, accesses, layer=0, note="values of the list")
