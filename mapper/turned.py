"""VECTOR and STORE jobs of accumulators that hold pixels of one channel: turned, then lanes are channels again."""

from __future__ import annotations

from dataclasses import dataclass

from dataflows import isa
from mapper.context import Context
from mapper.loads import ROWS
from mapper.nests import Loops, levels
from mapper.scoreboard import Access
from mapper.vector_jobs import ACC_LEVELS


@dataclass(frozen=True)
class TurnedDrain:
    """One block of at most ``lanes`` channels of some pixels.

    Attributes
    ----------
    bank, address, step : int
        Accumulator bank, word of the first channel of the first pixels in it, words between channels.
    words : Loops
        (count, stride) in accumulator words of what runs outside of the pixels of a word: at most x, y, image.
    pixels : tuple of int
        (first, count) of the pixels of a word that are wanted.
    channels : int
        Channels of the block.
    entry, param_at, entries : int
        Parameter entry; byte address and number of the entries that were loaded together.
    output : str
        Tensor.
    start : int
        Element of it that the first pixel's first channel becomes.
    pitches : list of int
        Elements of it between pixels of a word, and between iterations of each of ``words``.
    requantize : dict
        Registers.
    index, note, mark
        Of the jobs; ``mark`` for the last of a layer.
    """

    bank: int
    address: int
    step: int
    words: Loops
    pixels: tuple[int, int]
    channels: int
    entry: int
    param_at: int
    entries: int
    output: str
    start: int
    pitches: list[int]
    requantize: dict[str, int]
    index: int
    note: str
    mark: bool


def turned_drain(context: Context, d: TurnedDrain) -> None:
    """A VECTOR job and its STORE job: for each of ``words``, for each pixel, the block's channels."""
    cfg = context.cfg
    first, count = d.pixels
    registers = {
        "mode": {"broadcast": 1},
        "param": {"entry": d.entry, "blocks": 1, "tail": d.channels},
        "requantize": d.requantize,
        "acc_base": {"address": d.bank * cfg.acc_bank_words + d.address},
        **levels(ACC_LEVELS, [(cfg.lanes, d.step), *d.words], "acc_"),
        "turn": {"first": first, "count": count},
    }
    accesses = [
        Access("acc", d.bank, d.bank + 1),
        Access("param", d.param_at, d.param_at + d.entries * cfg.param_entry_bytes),
    ]
    context.builder.add(isa.Unit.VECTOR, registers, accesses, layer=d.index, note=d.note)

    element, run = cfg.act_bytes, d.channels
    counts = [count, *(n for n, _ in d.words)]
    loops = [(n, pitch) for n, pitch in zip(counts, d.pitches, strict=True) if n > 1]
    end = d.start + sum((n - 1) * pitch for n, pitch in loops) + run
    while loops and loops[0][1] == run:  # neighbouring channels: one longer row
        run *= loops[0][0]
        loops = loops[1:]
    context.builder.add(
        isa.Unit.STORE,
        {
            "target": context.source(d.output, d.start * element),
            "row": {"bytes": run * element},
            **levels(ROWS, [(n, pitch * element) for n, pitch in loops]),
        },
        [context.dram(d.output, d.start * element, end * element, write=True)],
        layer=d.index, note=d.note, mark=d.mark,
    )  # fmt: skip
