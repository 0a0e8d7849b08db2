"""A layer on the sparse engine as steps: loads, jobs of the engine and what feeds and empties it, drains."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from dataflows import isa
from dataflows.network import Conv
from mapper.context import Context
from mapper.lowering import Lowering
from mapper.nests import levels
from mapper.pipeline import Step
from mapper.scoreboard import Access
from mapper.sparse_loads import SparseLoads
from mapper.sparse_plan import SparseJob, SparsePlan
from mapper.tiles import Grid, Tile
from mapper.vector_jobs import Drain, drain

SUM_LEVELS = ("word", "block", "pass", "group")


class SparseLowering(Lowering[Conv]):
    """Steps of one layer.

    Parameters
    ----------
    layer : Conv
        The layer.
    index : int
        Number under which its jobs are marked.
    plan : SparsePlan
        How it runs.
    """

    def __init__(self, context: Context, layer: Conv, index: int, plan: SparsePlan):
        super().__init__(context, layer, index)
        self.plan = plan
        self.loads = SparseLoads(context, layer, index, plan)
        self.first_bank = context.bank

    @property
    def drains(self) -> int:
        """Accumulator banks used, one after the other."""
        return len(self.plan.groups) * len(self.plan.row_tiles)

    def steps(self) -> Iterator[Step]:
        """All steps in program order."""
        p, number = self.plan, 0
        for g in range(len(p.groups)):
            for r in range(len(p.row_tiles)):
                bank = (self.first_bank + number) % 2
                for c in range(len(p.column_tiles)):
                    needed = (self.loads.codebook(), *self.loads.weights(g, r, c), self.loads.inputs(g, r, c))
                    yield Step(self.index, needed, partial(self._run, g, r, c, bank))
                emit = partial(self._store, g, r, bank, number == self.drains - 1)
                yield Step(self.index, (self.loads.parameters(r, number),), emit)
                number += 1

    # -- engine -----------------------------------------------------------------------------------

    def _run(self, g: int, r: int, c: int, bank: int, at: list[int]) -> None:
        """ACC, INPUT and SPARSE jobs of a tile, vector by vector."""
        for place in range(self.plan.groups[g][1]):
            self._vector(g, r, c, place, bank, at)

    def _vector(self, g: int, r: int, c: int, place: int, bank: int, at: list[int]) -> None:
        """Jobs of one vector, the ``place``-th of its group."""
        cfg, p, builder = self.cfg, self.plan, self.context.builder
        book, entries, pointers, inputs = at
        (first_vector, vectors), (_, rows), (first, count) = p.groups[g], p.row_tiles[r], p.column_tiles[c]
        longest = self.loads.constants[1][r][c][2]
        words = -(-rows // cfg.lanes) if c == len(p.column_tiles) - 1 or not p.adds_in_engine else 0
        note = f"{self.layer.name}: vector {first_vector + place}, rows from {p.row_tiles[r][0]}, columns from {first}"
        if words:
            builder.add(
                isa.Unit.ACC,
                {
                    "base": {"address": bank * cfg.acc_bank_words + place},
                    "mode": {"keep": int(c > 0 and not p.adds_in_engine), "sparse": 1},
                    **levels(SUM_LEVELS, [(words, vectors)]),
                },
                [Access("acc", bank, bank + 1, write=True)], layer=self.index, note=note,
            )  # fmt: skip
        element, size = cfg.act_bytes, count * cfg.act_bytes
        address = inputs + place * size
        chunks = -(-count // cfg.input_elements)
        builder.add(
            isa.Unit.INPUT,
            {
                "base": {"address": address},
                "mode": {"sparse": 1},
                **levels(cfg.dataflow.input_nest.levels, [(chunks, cfg.input_elements * element)]),
            },
            [Access("input", address, address + size)], layer=self.index, note=note,
        )  # fmt: skip
        job = builder.add(
            isa.Unit.SPARSE,
            {
                "columns": {"count": count, "pointers": pointers // cfg.bus_bytes},
                "weights": {"word": entries // cfg.bus_bytes, "entries": longest},
                "rows": {"full": rows // p.sparse.pes, "extra": rows % p.sparse.pes},
                "mode": {"zero": self.source.zero, "codebook": book, "drain": words},
            },
            [
                Access("entries", entries, entries + p.entry_segments[r][c]),
                Access("pointers", pointers, pointers + p.pointer_segment(p.column_tiles[c])),
                Access("codebook", book, book + 1),
            ],
            layer=self.index, note=note,
        )  # fmt: skip
        lengths = p.parts[r].lengths[:, first : first + count]
        builder.sparse[job.index] = SparseJob(self.index, self.source.name, first_vector + place, first, lengths)

    # -- epilogue ---------------------------------------------------------------------------------

    def _store(self, g: int, r: int, bank: int, last: bool, at: list[int]) -> None:
        """VECTOR and STORE jobs of a group's sums."""
        (vector, vectors), (first, count) = self.plan.groups[g], self.plan.row_tiles[r]
        (entry, blocks), loaded = self.loads.entries(r), at[0] // self.cfg.param_entry_bytes
        entries = -(-len(self.layer.weight) // self.cfg.lanes) if self.plan.parameters_stay else blocks
        drain(
            self.context,
            Drain(
                bank=bank, places=Grid(1, 1, 1, vectors, 1, 1), tile=Tile((0, 1), (0, 1), (vector, vector + vectors)),
                first=first, count=count, blocks=blocks, entry=loaded + (entry if self.plan.parameters_stay else 0),
                entries=entries, param_at=at[0], output=self.layer.output,
                view=(1, 1, self.plan.vectors, len(self.layer.weight)), residual=None, index=self.index,
                name=self.layer.name, last=last, zero=self.target.zero, low=self.layer.low, high=self.layer.high,
                addition=None,
            ),
        )  # fmt: skip
