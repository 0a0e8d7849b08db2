"""Convolutions of the heads that are left: only their weights are loaded, by the list of a selection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dataflows import isa
from dataflows.config import Config
from dataflows.errors import InputError
from dataflows.network import Conv, Network
from dataflows.pruning import HeadConv, Select
from mapper import loads
from mapper.context import Context
from mapper.conv_jobs import Chunk
from mapper.lower_conv import ConvLowering
from mapper.nests import levels
from mapper.pipeline import Load
from mapper.requantization import Requantization
from mapper.scoreboard import Access
from mapper.selections import list_places, lists_from, select_once


class HeadConvLowering(ConvLowering):
    """Steps of a convolution as large as what is left of it.

    Its constants are those of all heads, block after block of output channels, word after word of input channels. A
    head's weights are whole blocks, or whole words of every block; each run of them is a LOAD job whose start comes
    from the list of the heads' numbers.

    Raises
    ------
    InputError
        When heads are no whole blocks or words, or no tiling fits the buffers.
    """

    def __init__(self, context: Context, layer: HeadConv, index: int):
        self.heads = layer
        layers = context.network.layers
        self._selection = next(i for i, x in enumerate(layers) if x.output == layer.inputs[1])
        select = layers[self._selection]
        assert isinstance(select, Select)
        self.select = select
        super().__init__(context, part_of(layer, select.keep), index)
        places, _ = list_places(context.network)
        self._numbers = lists_from(self.cfg, context.network) + places[select.output] + select.keep
        self._blocks, self._words = weight_blocks(self.cfg, layer.conv).shape[:2]
        share = layer.heads if layer.side == "in" else 1
        if self.plan.words * share != self._words * (select.keep if layer.side == "in" else 1):
            raise InputError(
                f"layer {layer.name}: its input channels are cut into slices that are no whole words of "
                f"{self.cfg.array.rows}; give {self.cfg.name} a larger input memory"
            )

    # -- weights ----------------------------------------------------------------------------------

    @cached_property
    def _weight_offset(self) -> int:
        return self.context.constants.add(weight_blocks(self.cfg, self.heads.conv))

    def _weight_load(self, g: int, block: int, c: int, number: int) -> Load:
        return replace(super()._weight_load(g, block, c, number), since=self._selection)

    def _load_weights(self, offset: int, chunk: Chunk, per_word: int, channel: int, address: int) -> None:
        block, row = channel // self.cfg.lanes, self._words * per_word
        for head, first, count, at in self._pieces(block, chunk):
            if self.heads.side == "out":
                base, step = block % self._share(self._blocks) * row + first * per_word, self._share(self._blocks) * row
            else:
                base, step = block * row + first * per_word, self._share(self._words) * per_word
            self._gathered(
                isa.Target.WEIGHT, address + at * per_word, self._weight_offset + base, step, head, count * per_word
            )

    def _share(self, total: int) -> int:
        """A head's part of blocks or words."""
        return total // self.heads.heads

    def _pieces(self, block: int, chunk: Chunk) -> Iterator[tuple[int, int, int, int]]:
        """(place of the head, first word, words, place in the chunk) of the runs of a chunk."""
        if self.heads.side == "out":
            yield block // self._share(self._blocks), chunk.word, chunk.words, 0
            return
        share, word, end = self._share(self._words), chunk.word, chunk.word + chunk.words
        while word < end:
            count = min(end, (word // share + 1) * share) - word
            yield word // share, word % share, count, word - chunk.word
            word += count

    # -- parameters -------------------------------------------------------------------------------

    @cached_property
    def _parameter_offset(self) -> int:
        if self.heads.side == "in":
            return super()._parameter_offset
        requantization = Requantization.of(self.heads.conv, self.source, self.target)
        lanes = self.cfg.lanes
        entries = [requantization.entry(self.cfg, block * lanes, lanes) for block in range(self._blocks)]
        return self.context.constants.add(np.concatenate(entries))

    def _parameter_load(self, g: int, number: int) -> Load:
        load = super()._parameter_load(g, number)
        if self.heads.side == "in":
            return load
        entry, share = self.cfg.param_entry_bytes, self._share(self._blocks)
        first, count = (0, len(self.shape.blocks)) if self.plan.parameters_stay else (
            g * self.plan.blocks, len(self.plan.groups[g])
        )  # fmt: skip

        def emit(address: int) -> None:
            block = first
            while block < first + count:
                some = min(first + count, (block // share + 1) * share) - block
                base = self._parameter_offset + block % share * entry
                at = address + (block - first) * entry
                self._gathered(isa.Target.PARAM, at, base, share * entry, block // share, some * entry)
                block += some

        return replace(load, emit=emit, since=self._selection)

    def _gathered(self, target: isa.Target, address: int, base: int, step: int, head: int, size: int) -> None:
        """A LOAD job of bytes of one head; those of the first head lie at ``base``, heads are ``step`` apart."""
        select_once(self.context, self.select, self.index)
        place = self._numbers + head
        registers = {
            "source": {"address": base, "region": isa.Region.CONSTANT}, "row": {"bytes": size},
            **levels(loads.ROWS, []), "row_c": {"count": 1, "step": step},
            "destination": {"address": address, "target": target}, "segment": {"bytes": size},
            **levels(loads.SEGMENTS, []), "gather": {"indexed": 1, "first": place},
        }  # fmt: skip
        accesses = [Access("index", place, place + 1), loads.written(target, address, size)]
        note = f"{target.name.lower()}s of head {head} of those that are left"
        self.context.builder.add(isa.Unit.LOAD, registers, accesses, layer=self.index, note=note)


def part_of(layer: HeadConv, kept: int) -> Conv:
    """A convolution as large as what is left of a layer; its weights are those of the first heads."""
    conv = layer.conv
    named = replace(conv, name=layer.name, inputs=layer.inputs[:1], output=layer.output, low=layer.low, high=layer.high)
    if layer.side == "in":
        return replace(named, weight=conv.weight[:, : conv.weight.shape[1] // layer.heads * kept])
    some = conv.weight.shape[0] // layer.heads * kept
    return replace(
        named, weight=conv.weight[:some], weight_scale=conv.weight_scale[:some], bias=conv.bias[:some]
    )


def weight_blocks(cfg: Config, conv: Conv) -> NDArray[np.int8]:
    """All weights of a 1 x 1 layer as the array takes them: (blocks, words, rows, lanes), zero where there are none."""
    rows, lanes = cfg.array.rows, cfg.lanes
    weight = conv.weight[:, :, 0, 0].astype(np.int8)
    padded = np.pad(weight, [(0, -weight.shape[0] % lanes), (0, -weight.shape[1] % rows)])
    blocks: NDArray[np.int8] = padded.reshape(len(padded) // lanes, lanes, -1, rows).transpose(0, 2, 3, 1)
    return blocks


def check_heads(cfg: Config, network: Network, layer: HeadConv) -> None:
    """Raise :class:`InputError` if the weights of single heads cannot be loaded."""
    conv = layer.conv
    channels = conv.weight.shape[0 if layer.side == "out" else 1]
    size, granule = channels // layer.heads, cfg.lanes if layer.side == "out" else cfg.array.rows
    if channels % layer.heads or size % granule:
        raise InputError(
            f"layer {layer.name}: heads of {size} channels are no whole multiples of {granule}, the "
            f"{'columns' if layer.side == 'out' else 'rows'} of {cfg.name}, so their weights cannot be loaded alone"
        )
    source = network.tensors[layer.inputs[0]]
    if layer.side == "in" and source.zero:
        raise InputError(f"layer {layer.name}: tensor {source.name} must have zero point 0, not {source.zero}")
