"""Jobs of attention behind its loads: products of two activations, softmax, and the drains between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from dataflows import isa
from mapper.builder import Builder
from mapper.conv_jobs import SUM_LEVELS
from mapper.nests import levels
from mapper.scoreboard import Access


@dataclass(frozen=True)
class Product:
    """Rows of the input buffer times blocks of words of the weight buffer.

    Attributes
    ----------
    rows, pitch : int
        Rows, and bytes from one to the next.
    words, blocks : int
        Reduction words of the job, and blocks of output channels; weights of a block follow those of the one before.
    input_at, weight_at : int
        Byte addresses of the first word of each.
    input_bytes : int
        Of all rows, which begin at ``input_from``.
    bank, place : int
        Accumulator bank, and the first word in it; blocks are ``rows`` words apart.
    keep : bool
        Adds to what is there.
    """

    rows: int
    pitch: int
    words: int
    blocks: int
    input_from: int
    input_at: int
    input_bytes: int
    weight_at: int
    bank: int
    place: int
    keep: bool
    note: str

    def emit(self, builder: Builder, layer: int) -> None:
        """ACC, WEIGHT and INPUT jobs."""
        cfg, flow, tiles = builder.cfg, builder.cfg.dataflow, self.words * self.blocks
        rows, lanes = cfg.array.rows, cfg.lanes
        builder.add(
            isa.Unit.ACC,
            {
                "base": {"address": self.bank * cfg.acc_bank_words + self.place}, "mode": {"keep": int(self.keep)},
                **levels(SUM_LEVELS, [(self.rows, 1), (1, 0), (self.words, 0), (self.blocks, self.rows)]),
            },
            [Access("acc", self.bank, self.bank + 1, write=True)], layer=layer, note=self.note,
        )  # fmt: skip
        builder.add(
            isa.Unit.WEIGHT,
            {
                "base": {"address": self.weight_at},
                **levels(flow.weight_nest.levels, [(rows, lanes), (tiles, rows * lanes)]),
            },
            [Access("weight", self.weight_at, self.weight_at + tiles * rows * lanes)], layer=layer, note=self.note,
        )  # fmt: skip
        loops = [(self.rows, self.pitch), (1, 0), (1, 0), (self.words, rows), (self.blocks, 0)]
        builder.add(
            isa.Unit.INPUT,
            {"base": {"address": self.input_at}, **levels(flow.input_nest.levels, loops)},
            [Access("input", self.input_from, self.input_from + self.input_bytes)], layer=layer, note=self.note,
        )  # fmt: skip


@dataclass(frozen=True)
class Counted:
    """Rows ``first`` to ``end - 1``: ``valid`` keys count in the first; in each of the others as many, or one more."""

    first: int
    end: int
    valid: int
    causal: bool


def counted(first: int, end: int, keys: int, behind: int | None) -> Iterator[Counted]:
    """Which of ``keys`` keys count for queries ``first`` to ``end - 1``.

    ``behind`` is the number of keys before the one of the first query of all (negative if there are fewer keys than
    queries) where the layer is causal; None: all count.
    """
    if behind is None:
        yield Counted(first, end, keys, causal=False)
        return
    growing = min(max(first, -behind), end)
    full = min(max(growing, keys - behind), end)
    if first < growing:
        yield Counted(first, growing, 0, causal=False)
    if growing < full:
        yield Counted(growing, full, growing + behind + 1, causal=True)
    if full < end:
        yield Counted(full, end, keys, causal=False)


@dataclass(frozen=True)
class Softmax:
    """Registers that all softmax jobs of a layer share: words of a row, its last lanes, the values' scale.

    ``positioned``: the position of the run is added to the keys that count; ``column``: elements come one per word;
    ``least``: numerators below it become 0; ``observe``: probabilities are added to the columns of the head, or these
    keep the ``largest``.
    """

    blocks: int
    tail: int
    multiplier: int
    shift: int
    positioned: bool = False
    column: bool = False
    least: int = 0
    observe: bool = False
    largest: bool = False

    def of_column(self) -> Softmax:
        """The same where elements come one per word."""
        return replace(self, column=True)

    def emit(
        self, builder: Builder, rows: Counted, entry: int, layer: int, note: str, importance: Mapping[str, int],
        sure: int | None = None,
    ) -> None:  # fmt: skip
        """A ROWS job; ``entry`` is the row scale of its first row, ``importance`` that register, where there is one.

        With ``sure`` it decides: whether any sum is above that.
        """
        count = rows.end - rows.first
        mode = {
            "kind": isa.Rows.SOFTMAX, "blocks": self.blocks, "tail": self.tail, "causal": int(rows.causal),
            "positioned": int(self.positioned), "column": int(self.column),
            "decide": int(sure is not None),
        }  # fmt: skip
        builder.add(
            isa.Unit.ROWS,
            {
                "mode": mode, "count": {"rows": count, "valid": rows.valid},
                "scale": {"multiplier": self.multiplier, "shift": self.shift, "entry": entry},
                **({"importance": dict(importance)} if importance else {}),
                **({"values": self._values(rows)} if self.least or self.observe else {}),
                **({} if sure is None else {"epsilon": {"value": sure}}),
            },
            [Access("scale", entry, entry + count, write=True)], layer=layer, note=note,
        )  # fmt: skip

    def _values(self, rows: Counted) -> dict[str, int]:
        """What of the columns of a head: its first row begins them."""
        fresh = int(rows.first == 0)
        observe = {"observe": 1, "fresh": fresh, "largest": int(self.largest)} if self.observe else {"observe": 0}
        return observe | {"least": self.least}
