"""Functional model of the row engine, row scales, tables and lists: plain integers, from the register documentation.

It shares nothing with the golden model. In program order a ROWS job finds its words already sent by VECTOR, and a STORE
job with ``mode.rows`` its bytes already there.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from math import isqrt

import numpy as np

from dataflows import isa
from dataflows.config import Config
from tests.candidates_model import CandidatesModel
from tests.pruning_model import PruningModel


def nearest(value: int, shift: int) -> int:
    """``value / 2**shift``, ties to even."""
    whole, rest = divmod(value, 1 << shift)
    return whole + (2 * rest > 1 << shift or (2 * rest == 1 << shift and whole % 2 == 1))


def _powers() -> list[int]:
    """Numerators of all distances to the largest score at which they are not zero."""
    fractions = [int((Decimal(127 * 256) * Decimal(2) ** (-Decimal(x) / 256)).to_integral_value()) for x in range(256)]
    codes = [(fractions[d % 256] // 2 ** (d // 256) + 128) // 256 for d in range(4096)]
    return codes[: codes.index(0)]


POWERS = _powers()


def softmax(
    row: list[int], valid: int, multiplier: int, shift: int, least: int = 0
) -> tuple[list[int], tuple[int, int]]:
    """Numerators of a row, and its row scale."""
    top = max(row[:valid], default=0)
    codes = [POWERS[top - s] if i < valid and top - s < len(POWERS) else 0 for i, s in enumerate(row)]
    codes = [code if code >= least else 0 for code in codes]
    total = sum(codes)
    if total == 0:
        return codes, (0, shift)
    bits = total.bit_length()
    return codes, (multiplier * ((2 ** (bits + 23) - 1) // total) >> 24, shift + bits - 1)


def norm(row: list[int], gains: list[tuple[int, int]], job: dict, *, centered: bool) -> list[int]:
    """Codes of a row; gains are pairs of B and G."""
    g = job["gain"]
    values = [e - g["zero_x"] for e in row]
    count, total = len(values), sum(values) if centered else 0
    square = max(count * sum(u * u for u in values) - total * total + job["epsilon"]["value"], 1)
    e = (square.bit_length() + 1) // 2
    inverse = (2**45 - 1) // isqrt(square * 4 ** (22 - e)) >> 8
    normal = [(count * u - total) * inverse >> e + 3 for u in values]
    wide = [nearest(n * gain + bias, job["scale"]["shift"]) for n, (bias, gain) in zip(normal, gains, strict=True)]
    return [min(max(v + g["zero"], g["low"]), g["high"]) for v in wide]


def halves_loaded(data: np.ndarray, half: int) -> np.ndarray:
    """Elements (as bytes) that LOAD makes of bytes with two halves of codes each."""
    if half == isa.Nibbles.NONE:
        return data
    pairs = np.stack([data & 15, data >> 4], axis=-1).ravel()
    return pairs << 4 if half == isa.Nibbles.HIGH else pairs


def halves_stored(codes: np.ndarray, half: int) -> np.ndarray:
    """Bytes with two halves of codes each; what is left of the last byte is 0."""
    part = (codes.astype(np.int64) & 255) >> (4 if half == isa.Nibbles.HIGH else 0) & 15
    even = np.pad(part, (0, part.size % 2))
    return (even[::2] | even[1::2] << 4).astype(np.uint8)


class RowsModel:
    """State of the row engine and of the memories around it.

    Attributes
    ----------
    words : elements that VECTOR has sent, in words of lanes, and no job has taken
    out : bytes for STORE
    scales : (multiplier, shift) by entry of the row scales
    memory : tables, gains and lists as bytes, by target
    decisions : those that each unit has not used up, the oldest first
    """

    def __init__(self, cfg: Config, rng: np.random.Generator, position: int = 0):
        assert cfg.attention
        self.cfg, self.position = cfg, position
        self.pruning = PruningModel(cfg, rng)
        self.decisions: dict[isa.Unit, deque[bool]] = {unit: deque() for unit in isa.units(cfg)}
        self.words: deque[list[int]] = deque()
        self.out: deque[int] = deque()
        self.scales = [(int(rng.integers(1 << 24)), int(rng.integers(64))) for _ in range(cfg.attention.scales)]
        sizes = {
            isa.Target.TABLE: 256 * cfg.attention.tables,
            isa.Target.GAIN: cfg.gain_blocks * cfg.gain_entry_bytes,
            isa.Target.INDEX: 2 * cfg.attention.indices,
        }
        self.memory = {target: rng.integers(0, 256, size, np.uint8) for target, size in sizes.items()}
        self.candidates = CandidatesModel(cfg, rng) if cfg.candidates else None
        if self.candidates:
            self.memory[isa.Target.COLUMNS] = self.candidates.memory

    def job(self, job: dict) -> None:
        """ROWS: rows that VECTOR has sent become bytes for STORE, and row scales."""
        cfg, mode, count, scale = self.cfg, job["mode"], job["count"], job["scale"]
        if mode["kind"] in (isa.Rows.SELECT_TOKENS, isa.Rows.SELECT_HEADS):
            self.pruning.select(job, self.memory[isa.Target.INDEX])
            return
        if mode["kind"] == isa.Rows.SELECT_VALUES:
            self.pruning.select_values(job, self.memory[isa.Target.INDEX])
            return
        length = (mode["blocks"] - 1) * cfg.lanes + mode["tail"]
        assert 1 <= mode["tail"] <= cfg.lanes and 1 <= mode["blocks"] <= cfg.row_blocks, "rows that do not fit"
        if mode["kind"] == isa.Rows.SEARCH:
            self.candidates.search(job, self.row(length, column=False), self.memory[isa.Target.INDEX])
            return
        assert count["rows"] >= 1, "a job without rows"
        if mode["kind"] == isa.Rows.PACK:
            for _ in range(count["rows"]):
                self.out.extend(self.pruning.packed(self.row(length, column=False), job["values"]["count"]))
            return
        if mode["kind"] == isa.Rows.SOFTMAX:
            assert scale["shift"] <= 45 and scale["entry"] + count["rows"] <= len(self.scales), "row scales"
        else:
            assert mode["kind"] in (isa.Rows.LAYER_NORM, isa.Rows.RMS_NORM), "no such rows"
            assert scale["shift"] <= 37, "shift of a norm"
            gains = self.gains(job["gain"]["block"], length)
        sums = []
        for number in range(count["rows"]):
            row = self.row(length, column=bool(mode["column"]))
            if mode["kind"] == isa.Rows.SOFTMAX:
                first = count["valid"]
                if job.get("values", {}).get("found"):
                    first = self.candidates.found[job["values"]["slot"]]
                valid = first + (number if mode["causal"] else 0)
                valid += self.position if mode["positioned"] else 0
                least = job.get("values", {}).get("least", 0)
                codes, pair = softmax(row, valid, scale["multiplier"], scale["shift"], least)
                self.scales[scale["entry"] + number] = pair
                sums.append(sum(codes))
                if job.get("importance", {}).get("observe"):
                    self.pruning.observe_row(codes, fresh=bool(job["importance"]["fresh"]) and number == 0)
                if job.get("values", {}).get("observe"):
                    self.pruning.observe_columns(job["values"], codes, first=number == 0)
            else:
                codes = norm(row, gains, job, centered=mode["kind"] == isa.Rows.LAYER_NORM)
            self.out.extend(code & 255 for code in codes)
        if mode["decide"]:
            assert sums, "norms decide nothing"
            for waiting in self.decisions.values():
                waiting.append(max(sums) > job["epsilon"]["value"])

    def row(self, length: int, *, column: bool) -> list[int]:
        """The next row of VECTOR's words; of a ``column`` each word is one element, in lane 0."""
        words = length if column else -(-length // self.cfg.lanes)
        assert len(self.words) >= words, "the row engine would wait for ever for words of VECTOR"
        taken = [self.words.popleft() for _ in range(words)]
        return [word[0] for word in taken] if column else [e for word in taken for e in word][:length]

    def decision(self, unit: isa.Unit, *, used_up: bool) -> bool:
        """The oldest decision of a unit."""
        assert self.decisions[unit], f"{unit.name} would wait for ever for a decision"
        return self.decisions[unit].popleft() if used_up else self.decisions[unit][0]

    def gains(self, block: int, length: int) -> list[tuple[int, int]]:
        """B and G of ``length`` channels from a block on."""
        found = []
        for channel in range(length):
            place, lane = divmod(channel, self.cfg.lanes)
            start = (block + place) * self.cfg.gain_entry_bytes + 8 * lane
            raw = self.memory[isa.Target.GAIN][start : start + 6].tobytes()
            assert len(raw) == 6, "gains beyond their memory"
            found.append(
                (int.from_bytes(raw[:4], "little", signed=True), int.from_bytes(raw[4:], "little", signed=True))
            )
        return found

    def by_row(self, block: np.ndarray, param: dict) -> tuple[np.ndarray, np.ndarray]:
        """Multiplier and shift (words, 1) of words; a pixel is ``param.blocks`` of them."""
        assert not len(block) % param["blocks"], "part of a pixel"
        pixels = len(block) // param["blocks"]
        assert param["entry"] + pixels <= len(self.scales), "row scales beyond their memory"
        pairs = np.array(self.scales[param["entry"] :][:pixels], dtype=object).reshape(pixels, 2)
        return tuple(np.repeat(pairs[:, column], param["blocks"])[:, None] for column in (0, 1))

    def looked_up(self, codes: np.ndarray, slot: int) -> np.ndarray:
        """Codes by a table."""
        assert slot < self.cfg.attention.tables, "no such table"
        table = self.memory[isa.Target.TABLE][256 * slot :][:256].view(np.int8)
        return table[codes.astype(np.int64) & 255].astype(np.int64)

    def length(self, job: dict) -> int | None:
        """Of the list of a LOAD job that is limited by it."""
        if not job["gather"]["indexed"] or not job["gather"].get("counted"):
            return None
        length = int(self.memory[isa.Target.INDEX].view("<u2")[job["gather"]["first"]])
        assert length >= 1, "a list without elements"
        return length

    def starts(self, base: int, job: dict) -> np.ndarray:
        """Addresses of the rows of a LOAD job whose ``row_c`` goes by a list."""
        listed = self.memory[isa.Target.INDEX].view("<u2")
        first, level, count = job["gather"]["first"], job["row_c"], job["row_c"]["count"]
        if (length := self.length(job)) is not None:
            first, count = first + 1, min(count, length)
        assert job["gather"]["positioned"] or first + count <= listed.size, "a list beyond its memory"
        addresses = []
        here = range(self.position, self.position + count)
        for index in here if job["gather"]["positioned"] else listed[first : first + count].tolist():
            address = base + index * level["step"]
            for _ in range(job["row_b"]["count"]):
                for _ in range(job["row_a"]["count"]):
                    addresses.append(address)
                    address += job["row_a"]["step"]
                address += job["row_b"]["step"] - job["row_a"]["step"]
        return np.array(addresses)

    def finished(self) -> None:
        """Nothing may be left on the way."""
        assert not self.words and not self.out, "words left in the row engine"
        assert not any(self.decisions.values()), "decisions that nobody has used up"
