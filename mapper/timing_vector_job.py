"""Jobs of VECTOR in the timing model: their reads and the words that they leave."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from dataflows import isa
from dataflows.config import Config
from mapper.program import Job
from mapper.timing_bus import iterations

WINDOW_SIDE = 3  # rows and columns of a window
ACC_LEVELS = ("acc_block", "acc_x", "acc_y", "acc_image")
OPERAND_LEVELS = ("operand_block", "operand_x", "operand_y", "operand_image")
TAP_LEVELS = ("operand_tap_a", "operand_tap_b")


def keeps(job: Job) -> bool:
    """Whether a VECTOR job keeps its words in the operand buffer."""
    return bool(job.registers["mode"].get("keep"))


def of_rows(job: Job) -> bool:
    """Whether the words of a VECTOR or STORE job go to the row engine, or come from it."""
    return bool(job.registers.get("mode", {}).get("rows"))


class Words:
    """Output words of a job; a pixel is ``blocks`` of them, all but the last of an activation per lane.

    Attributes
    ----------
    count : int
        Output words.
    entries : int
        Those and what is dropped, that have not left.
    silent : bool
        The last read completes no word; what it leaves behind is dropped, and ends the job.
    window : bool
        Windows slide.
    keeps, rows : bool
        The words go to the operand buffer, or to the row engine, not to STORE.
    turn : range, or None
        Blocks of accumulators are turned: the pixels that are wanted.
    """

    def __init__(self, job: Job, taken: int, cfg: Config):
        self.job, self.taken = job, taken
        r = job.registers
        bits = 1 << r["formats"]["result"] if cfg.multiplier else cfg.numbers.act_bits
        self.blocks, self.word_bytes = r["param"]["blocks"], cfg.lanes * bits // 8
        self.tail_bytes = -(-r["param"]["tail"] * bits // 8)
        if r["mode"].get("nibbles"):
            self.word_bytes, self.tail_bytes = self.word_bytes // 2, -(-self.tail_bytes // 2)
        self.window = r["mode"].get("reduce") == isa.Reduce.WINDOW
        self.keeps, self.rows = keeps(job), of_rows(job)
        self.silent = False
        self.turn: range | None = None
        if self.window:
            reads = list(self._windows())
            self.count = len(reads)
            total = iterations(job, OPERAND_LEVELS)
            self.silent = not reads or reads[-1] != total
            self.reads = iter([b - a for a, b in pairwise([0, *reads, *([total] if self.silent else [])])])
        elif r["mode"].get("from_operand"):
            self.count, taps = iterations(job, OPERAND_LEVELS), iterations(job, TAP_LEVELS)
            self.reads = iter([taps] * self.count)
        else:
            self.count = iterations(job, ACC_LEVELS)
            self.reads = iter([1] * self.count)
        self.entries = self.count + self.silent
        if cfg.dataflow.output_turned_late and not r["mode"].get("from_operand"):
            first, count = r["turn"]["first"], r["turn"]["count"]
            self.turn = range(first, first + count)
            self.count = self.count // cfg.lanes * count
        self.left = self.count  # words that are not out
        self.block = 0

    def _windows(self) -> Iterator[int]:
        """Reads up to that which completes a word, for each word."""
        r = self.job.registers
        window, columns, rows = r["window"], r["operand_x"]["count"], r["operand_y"]["count"]
        for y in range(window["skip"], rows, window["stride_y"]):
            for x in range(WINDOW_SIDE - 1, columns, window["stride_x"]):
                first = (y * columns + x) * self.blocks + 1
                yield from range(first, first + self.blocks)

    def next_bytes(self) -> int:
        """Bytes of the word that leaves next."""
        self.left -= 1
        self.block += 1
        if self.block == self.blocks:
            self.block = 0
            return self.tail_bytes
        return self.word_bytes
