"""A layer on the sparse engine as steps: loads of compressed tiles and activations, engine jobs, drains."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from dataflows import isa
from dataflows.network import Conv
from mapper import loads
from mapper.columns import pack, pack_codebook
from mapper.context import Context
from mapper.nests import SEGMENTS, levels
from mapper.pipeline import Load, Step
from mapper.requantization import Requantization
from mapper.scoreboard import Access
from mapper.sparse_plan import Range, SparseJob, SparsePlan
from mapper.tiles import Grid, Tile
from mapper.vector_jobs import Drain, drain

SUM_LEVELS = ("word", "block", "pass", "group")


class SparseLowering:
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
        self.context, self.layer, self.index, self.plan, self.cfg = context, layer, index, plan, context.cfg
        tensors = context.network.tensors
        self.source, self.target = tensors[layer.inputs[0]], tensors[layer.output]
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
                    needed = (self._codebook(), *self._weights(g, r, c), self._inputs(g, r, c))
                    yield Step(self.index, needed, partial(self._run, g, r, c, bank))
                emit = partial(self._store, g, r, bank, number == self.drains - 1)
                yield Step(self.index, (self._parameters(r, number),), emit)
                number += 1

    # -- weights ----------------------------------------------------------------------------------

    @cached_property
    def _constants(self) -> tuple[int, list[list[tuple[int, int, int]]]]:
        """Constant-region offsets: codebook; entries and pointers of every tile, with the entries of the longest PE."""
        add = self.context.constants.add
        book = add(pack_codebook(self.plan.parts[0].codebook, self.cfg))
        tiles = []
        for part in self.plan.parts:
            packed = [pack(part, first, count, self.cfg) for first, count in self.plan.column_tiles]
            tiles.append([(add(tile.entries), add(tile.pointers), tile.longest) for tile in packed])
        return book, tiles

    def _codebook(self) -> Load:
        """The codebook, for the whole layer."""

        def emit(number: int) -> None:
            address, size = number * self.cfg.codebook_pitch, self.plan.codebook_segment
            access = [Access("codebook", number, number + 1, write=True)]
            self._load(isa.Target.CODEBOOK, address, self._constants[0], size, (1, 0), access, "codebook")

        return Load((self.index, "codebook"), "codebook", 1, emit)

    def _weights(self, g: int, r: int, c: int) -> tuple[Load, Load]:
        """Entries and pointers of a tile, to the same place in every PE."""
        p, cfg = self.plan, self.cfg
        first, count = p.column_tiles[c]
        key = (r, c, 0 if p.resident else g)
        stay = p.resident and len(p.groups) > 1 and key == (0, 0, 0)
        reserve = (p.resident_entries, p.resident_pointers) if stay else (0, 0)
        note = f"of rows from {p.row_tiles[r][0]}, columns {first}..{first + count - 1}"

        def load(target: isa.Target, which: int, size: int, pitch: int) -> Load:
            name = target.name.lower()

            def emit(address: int) -> None:
                access = [loads.written(target, address, size)]
                offset = self._constants[1][r][c][which]
                self._load(target, address, offset, size, (p.sparse.pes, pitch), access, f"{name} {note}")

            return Load((self.index, name, *key), name, size, emit, reserve=reserve[which])

        return (
            load(isa.Target.ENTRIES, 0, p.entry_segments[r][c], cfg.sparse_weight_pitch),
            load(isa.Target.POINTERS, 1, p.pointer_segment(p.column_tiles[c]), cfg.sparse_pointer_pitch),
        )

    def _load(
        self, target: isa.Target, address: int, offset: int, size: int, copies: tuple[int, int], accesses: list[Access],
        note: str,
    ) -> None:  # fmt: skip
        """LOAD job of contiguous constants, in (count, pitch) segments of ``size`` bytes."""
        registers = {
            "source": {"address": offset, "region": isa.Region.CONSTANT},
            "row": {"bytes": copies[0] * size},
            **levels(loads.ROWS, []),
            "destination": {"address": address, "target": target},
            "segment": {"bytes": size},
            **levels(SEGMENTS, [copies]),
        }
        self.context.builder.add(isa.Unit.LOAD, registers, accesses, layer=self.index, note=note)

    # -- input ------------------------------------------------------------------------------------

    @property
    def _view(self) -> tuple[int, int, int, int]:
        """The input: vectors side by side."""
        return 1, 1, self.plan.vectors, self.plan.columns

    def _inputs(self, g: int, r: int, c: int) -> Load:
        """A tile's columns of a group's vectors, one vector after the other."""
        p, (vector, vectors), (first, count) = self.plan, self.plan.groups[g], self.plan.column_tiles[c]
        pitch = count * self.cfg.act_bytes
        view = loads.View(self.source.name, self._view)
        area = loads.Area((0, 1), (0, 1), (vector, vector + vectors), (first, first + count))
        layout = loads.Layout(pitch, vectors * pitch, vectors * pitch, vectors * pitch)
        key: Hashable = (self.index, "input", g, c, 0 if p.inputs_stay else r)
        reserve = vectors * p.columns * self.cfg.act_bytes if p.inputs_stay and c == 0 else 0

        def emit(address: int) -> None:
            to = loads.Destination(isa.Target.INPUT, address, layout)
            loads.rectangle(self.context, to, view, area, self.source.zero, self.index)

        return Load(key, "input", layout.size, emit, layer_bound=True, reserve=reserve)

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
        longest = self._constants[1][r][c][2]
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

    @cached_property
    def _parameter_offset(self) -> int:
        """Constant-region offset of the parameter entries, one per ``lanes`` rows."""
        return self.context.constants.add(self._packed_parameters())

    def _packed_parameters(self) -> NDArray[np.uint8]:
        """All entries. The engine takes off the zero point of activations, so biases are as they are."""
        requantization = Requantization.of(self.layer, self.source, self.target, centred=True)
        rows, lanes = len(self.layer.weight), self.cfg.lanes
        return np.concatenate(
            [requantization.entry(self.cfg, first, min(lanes, rows - first)) for first in range(0, rows, lanes)]
        )

    def _entries(self, r: int) -> Range:
        """Parameter entries of a tile of rows."""
        first, count = self.plan.row_tiles[r]
        return first // self.cfg.lanes, -(-count // self.cfg.lanes)

    def _parameters(self, r: int, number: int) -> Load:
        """Entries of the whole layer, or of one tile of rows."""
        (first, count), key = self._entries(r), (self.index, "param", number)
        if self.plan.parameters_stay:
            first, count, key = 0, -(-len(self.layer.weight) // self.cfg.lanes), (self.index, "param", 0)
        offset = self._parameter_offset + first * self.cfg.param_entry_bytes
        return loads.parameter_load(self.context, key, offset, count, self.index)

    def _store(self, g: int, r: int, bank: int, last: bool, at: list[int]) -> None:
        """VECTOR and STORE jobs of a group's sums."""
        (vector, vectors), (first, count) = self.plan.groups[g], self.plan.row_tiles[r]
        (entry, blocks), loaded = self._entries(r), at[0] // self.cfg.param_entry_bytes
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
