"""VECTOR and STORE jobs of accumulators that hold pixels of one channel: turned, then lanes are channels again."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from dataflows import isa
from mapper.block_jobs import blocks_of, note_rows, store_run
from mapper.blocks import Range
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
    """A VECTOR job and its STORE job: for each of ``words``, for each pixel, the block's channels.

    A compressed tensor has its rows in order: then each pixel of the words has jobs of its own.
    """
    rows, channels = _rows(context, d), _channels(context, d)
    if rows:
        note_rows(context, d.output, rows, channels, d.index)
    blocks = blocks_of(context, d.output)
    if blocks is None:
        _vector(context, d, d.pixels)
        _store(context, d)
        return
    for number, row in enumerate(rows):
        _vector(context, d, (d.pixels[0] + number, 1))
        mark = d.mark and number == len(rows) - 1
        store_run(context, d.output, blocks, row, channels, d.index, d.note, mark=mark)


def _channels(context: Context, d: TurnedDrain) -> Range:
    """The block's channels in the tensor."""
    first = d.start % context.network.tensors[d.output].shape[3]
    return first, first + d.channels


def _rows(context: Context, d: TurnedDrain) -> list[Range]:
    """What each pixel of the words is over all words: a run of pixels of the tensor; none where it is no run."""
    depth = context.network.tensors[d.output].shape[3]
    apart, steps = d.pitches[0], [pitch for (count, _), pitch in zip(d.words, d.pitches[1:], strict=True) if count > 1]
    length = prod(count for count, _ in d.words)
    if steps not in ([], [depth]) or apart % depth:
        return []
    first = d.start // depth
    starts = [first + n * apart // depth for n in range(d.pixels[1])]
    return [(start, start + length) for start in starts]


def _vector(context: Context, d: TurnedDrain, pixels: tuple[int, int]) -> None:
    """The VECTOR job for some pixels of the words, (first, count)."""
    cfg = context.cfg
    registers = {
        "mode": {"broadcast": 1},
        "param": {"entry": d.entry, "blocks": 1, "tail": d.channels},
        "requantize": d.requantize,
        "acc_base": {"address": d.bank * cfg.acc_bank_words + d.address},
        **levels(ACC_LEVELS, [(cfg.lanes, d.step), *d.words], "acc_"),
        "turn": {"first": pixels[0], "count": pixels[1]},
    }
    accesses = [
        Access("acc", d.bank, d.bank + 1),
        Access("param", d.param_at, d.param_at + d.entries * cfg.param_entry_bytes),
    ]
    context.builder.add(isa.Unit.VECTOR, registers, accesses, layer=d.index, note=d.note)


def _store(context: Context, d: TurnedDrain) -> None:
    """The STORE job."""
    (_, count), element, run = d.pixels, context.cfg.act_bytes, d.channels
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
