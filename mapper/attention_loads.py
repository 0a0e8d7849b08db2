"""LOAD jobs of attention: keys turned into weights byte by byte, values as they lie, queries, numerators."""

from __future__ import annotations

from dataclasses import dataclass

from dataflows import isa
from dataflows.network import Tensor
from mapper.attention_plan import AttentionPlan, Span
from mapper.caches import CacheLayout
from mapper.context import Context
from mapper.loads import ROWS, SEGMENTS, fill, written
from mapper.nests import Loops, levels
from mapper.program import Registers
from mapper.scoreboard import Access


@dataclass(frozen=True)
class Source:
    """``count`` channels of tokens of a sequence in DRAM: those of token 0 begin at byte ``first``.

    ``pitch`` is bytes from token to token; of halves ``plane`` is bytes from the upper ones to the lower ones. Where
    tokens go by a list, its first number is index ``listed``. If it is ``counted`` its length is in front of that, and
    no more tokens are loaded.
    """

    context: Context
    tensor: Tensor
    first: int
    count: int
    index: int
    pitch: int
    plane: int = 0
    listed: int | None = None
    counted: bool = False

    @staticmethod
    def of(context: Context, tensor: Tensor, head: int, count: int, index: int) -> Source:
        """Head number ``head`` of ``count`` channels."""
        cache = CacheLayout.of(context.network, tensor.name)
        if cache is None:
            return Source(context, tensor, head * count, count, index, tensor.shape[3])
        if cache.depth == count:
            return Source(context, tensor, cache.start(head), count, index, cache.pitch, cache.plane * cache.halves)
        return Source(context, tensor, head * count, count, index, cache.pitch)  # tokens as they are

    def load(
        self, tokens: Span, target: isa.Target, address: int, segment: int, loops: Loops, note: str, *,
        channels: Span | None = None,
    ) -> None:  # fmt: skip
        """A LOAD job of ``tokens`` (counted over all samples), or of some of their ``channels``, in segments."""
        c0, c1 = channels or (0, self.count)
        depth = c1 - c0
        last = sum((n - 1) * stride for n, stride in loops)
        run, registers, accesses = self.rows(tokens, c0, depth)
        self.context.builder.add(
            isa.Unit.LOAD,
            {
                "row": {"bytes": run}, "destination": {"address": address, "target": target},
                "segment": {"bytes": segment}, **levels(SEGMENTS, loops), **registers,
            },
            [written(target, address, last + segment), *accesses],
            layer=self.index, note=f"{note}: tokens {tokens[0]}..{tokens[1] - 1} of {self.tensor.name}",
        )  # fmt: skip

    def rows(self, tokens: Span, first: int, size: int) -> tuple[int, Registers, list[Access]]:
        """Of ``tokens`` ``size`` bytes each, from byte ``first`` on: bytes of a row, registers, what is read."""
        count, pitch, name = tokens[1] - tokens[0], self.pitch, self.tensor.name
        at = self.first + first
        if self.listed is not None:
            place = self.listed + tokens[0]
            limit = {"counted": 1} if self.counted else {}
            registers = {
                "source": self.context.source(name, at), **levels(ROWS, []), "row_c": {"count": count, "step": pitch},
                "gather": {"indexed": 1, "first": place - self.counted, **limit},
            }  # fmt: skip
            end = at + (self.tensor.shape[2] - 1) * pitch + size
            access = Access("index", place - self.counted, place + count)
            return size, registers, [self.context.dram(name, at, end), access]
        start = tokens[0] * pitch + at
        run, loops = (size, [(count, pitch)]) if size < pitch else (count * size, [])
        registers = {"source": self.context.source(name, start), **levels(ROWS, loops)}
        return run, registers, [self.context.dram(name, start, start + (count - 1) * pitch + size)]

    def clear(self, address: int, segment: int, loops: Loops) -> None:
        """Weights of zero where a word has more rows than there are elements."""
        last = sum((n - 1) * stride for n, stride in loops)
        registers = fill(self.context, self.tensor, 0, isa.Target.WEIGHT, address, segment, loops)
        access = written(isa.Target.WEIGHT, address, last + segment)
        self.context.builder.add(isa.Unit.LOAD, registers, [access], layer=self.index, note="padding of words")


def load_keys(source: Source, plan: AttentionPlan, sample: int, blocks: Span, address: int) -> None:
    """Keys of some blocks as weights: channel d of key j is lane j % lanes of row d of block j // lanes.

    A byte is a segment; the tokens of whole blocks are one job, those of a last one that is not full another.
    """
    lanes, depth = plan.cfg.lanes, plan.depth
    block = plan.key_words * plan.word_bytes
    first, end = blocks[0] * lanes, min(blocks[1] * lanes, plan.keys)
    whole = (end - first) // lanes
    at = sample * plan.keys
    if whole:
        loops: Loops = [(depth, lanes), (lanes, 1), (whole, block)]
        source.load((at + first, at + first + whole * lanes), isa.Target.WEIGHT, address, 1, loops, "keys")
    if first + whole * lanes < end:
        rest = (at + first + whole * lanes, at + end)
        loops = [(depth, lanes), (rest[1] - rest[0], 1)]
        source.load(rest, isa.Target.WEIGHT, address + whole * block, 1, loops, "keys")
    if depth * lanes < block:
        source.clear(address + depth * lanes, block - depth * lanes, [(blocks[1] - blocks[0], block)])


def load_values(source: Source, plan: AttentionPlan, sample: int, words: Span, address: int) -> None:
    """Values of some words of keys: channel d of key j is lane d % lanes of row j of block d // lanes.

    Keys are the outermost level: their count may be that of a list.
    """
    lanes, rows = plan.cfg.lanes, plan.cfg.array.rows
    outermost: Loops = [(1, 0)] if source.counted else []
    block = (words[1] - words[0]) * plan.word_bytes
    first, end = words[0] * rows, min(words[1] * rows, plan.kept)
    tokens = (sample * plan.keys + first, sample * plan.keys + end)
    whole, rest = divmod(plan.depth, lanes)
    if whole:
        loops: Loops = [(whole, block), *outermost, (end - first, lanes)]
        channels = (0, whole * lanes)
        source.load(tokens, isa.Target.WEIGHT, address, lanes, loops, "values", channels=channels)
    if rest:
        channels = (whole * lanes, plan.depth)
        at, loops = address + whole * block, [*2 * outermost, (end - first, lanes)]
        source.load(tokens, isa.Target.WEIGHT, at, rest, loops, "values", channels=channels)
    used = (end - first) * lanes
    if used < block:
        source.clear(address + used, block - used, [(plan.value_blocks, block)])


def load_queries(source: Source, tokens: Span, address: int, note: str = "queries") -> None:
    """Tokens (counted over all samples) side by side in the input buffer."""
    source.load(tokens, isa.Target.INPUT, address, (tokens[1] - tokens[0]) * source.count, [], note)


def load_half(source: Source, tokens: Span, address: int, half: isa.Nibbles) -> None:
    """Halves of tokens of a cache that lies so, as elements side by side."""
    size = (tokens[1] - tokens[0]) * source.count
    run, registers, accesses = source.rows(tokens, source.plane if half is isa.Nibbles.LOW else 0, source.pitch)
    source.context.builder.add(
        isa.Unit.LOAD,
        {
            "row": {"bytes": run}, "destination": {"address": address, "target": isa.Target.INPUT},
            "segment": {"bytes": size}, **levels(SEGMENTS, []), **registers,
            "gather": {**registers.get("gather", {}), "nibbles": half},
        },
        [written(isa.Target.INPUT, address, size), *accesses],
        layer=source.index, note=f"{half.name.lower()} halves of tokens {tokens[0]}..{tokens[1] - 1}",
    )  # fmt: skip


def turn_query(source: Source, plan: AttentionPlan, token: int, address: int) -> None:
    """A query (counted over all samples) as the weights of one column: channel d is lane 0 of row d.

    Other lanes hold anything.
    """
    lanes, depth = plan.cfg.lanes, plan.depth
    source.load((token, token + 1), isa.Target.WEIGHT, address, 1, [(depth, lanes)], "query")
    rest = plan.key_words * plan.word_bytes - depth * lanes
    if rest:
        source.clear(address + depth * lanes, rest, [])


def load_numerators(
    context: Context, target: isa.Target, address: int, scratch: int, size: int, index: int
) -> None:
    """Numerators of a part from DRAM, where the row engine has left them at ``scratch``, to a buffer."""
    source, access = context.scratch(scratch, size)
    context.builder.add(
        isa.Unit.LOAD,
        {
            "source": source, "row": {"bytes": size}, **levels(ROWS, []),
            "destination": {"address": address, "target": target}, "segment": {"bytes": size},
            **levels(SEGMENTS, []),
        },
        [written(target, address, size), access], layer=index, note="numerators",
    )  # fmt: skip
