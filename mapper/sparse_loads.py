"""What layers on the sparse engine need on chip: codebook, tiles of entries and pointers, activations, parameters."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dataflows import isa
from dataflows.network import Conv
from mapper import loads
from mapper.columns import pack, pack_codebook
from mapper.context import Context
from mapper.lowering import Lowering
from mapper.nests import SEGMENTS, levels
from mapper.pipeline import Load
from mapper.requantization import Requantization
from mapper.scoreboard import Access
from mapper.sparse_plan import Range, SparsePlan

TILES_AHEAD = 4
"""Steps that a tile is loaded ahead, at most."""


class SparseLoads(Lowering[Conv]):
    """Loads of one layer; groups of vectors, tiles of rows and of columns by their numbers ``g``, ``r``, ``c``."""

    def __init__(self, context: Context, layer: Conv, index: int, plan: SparsePlan):
        super().__init__(context, layer, index)
        self.plan = plan

    # -- weights ----------------------------------------------------------------------------------

    @cached_property
    def constants(self) -> tuple[int, list[list[tuple[int, int, int]]]]:
        """Constant-region offsets: codebook; entries and pointers of every tile, with the entries of the longest PE."""
        add = self.context.constants.add
        book = add(pack_codebook(self.plan.parts[0].codebook, self.cfg))
        tiles = []
        for part in self.plan.parts:
            packed = [pack(part, first, count, self.cfg) for first, count in self.plan.column_tiles]
            tiles.append([(add(tile.entries), add(tile.pointers), tile.longest) for tile in packed])
        return book, tiles

    def codebook(self) -> Load:
        """The codebook, for the whole layer."""

        def emit(number: int) -> None:
            address, size = number * self.cfg.codebook_pitch, self.plan.codebook_segment
            access = [Access("codebook", number, number + 1, write=True)]
            self._load(isa.Target.CODEBOOK, address, self.constants[0], size, (1, 0), access, "codebook")

        return Load((self.index, "codebook"), "codebook", 1, emit)

    def weights(self, g: int, r: int, c: int) -> tuple[Load, Load]:
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
                offset = self.constants[1][r][c][which]
                self._load(target, address, offset, size, (p.sparse.pes, pitch), access, f"{name} {note}")

            return Load((self.index, name, *key), name, size, emit, reserve=reserve[which], ahead=TILES_AHEAD)

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

    def inputs(self, g: int, r: int, c: int) -> Load:
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

        return Load(key, "input", layout.size, emit, layer_bound=True, reserve=reserve, ahead=TILES_AHEAD)

    # -- parameters -------------------------------------------------------------------------------------

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

    def entries(self, r: int) -> Range:
        """Parameter entries of a tile of rows."""
        first, count = self.plan.row_tiles[r]
        return first // self.cfg.lanes, -(-count // self.cfg.lanes)

    def parameters(self, r: int, number: int) -> Load:
        """Entries of the whole layer, or of one tile of rows."""
        (first, count), key = self.entries(r), (self.index, "param", number)
        if self.plan.parameters_stay:
            first, count, key = 0, -(-len(self.layer.weight) // self.cfg.lanes), (self.index, "param", 0)
        offset = self._parameter_offset + first * self.cfg.param_entry_bytes
        return loads.parameter_load(self.context, key, offset, count, self.index)
