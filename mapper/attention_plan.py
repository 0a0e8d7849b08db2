"""How one attention layer is tiled: queries per accumulator bank, keys and values on chip at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from dataflows.attention import Attention
from dataflows.config import Config
from dataflows.errors import InputError
from dataflows.network import Tensor

WEIGHT_SLOTS = 4
"""Keys or values are loaded in parts of at most this fraction of the weight buffer."""

INPUT_SLOTS = 3
"""Numerators that are loaded together take at most this fraction of the input buffer, if they can."""

IN_FLIGHT = 2
"""Parts whose sums are kept at least: the scores of one are computed while the values of the one before are."""

NUMERATOR_SLOTS = 2
"""Parts whose numerators have room on chip at a time where queries stay."""

Span = tuple[int, int]
"""Half-open range."""


@dataclass(frozen=True)
class Part:
    """Queries ``first`` to ``end - 1`` of one head of a sample: what goes through softmax and values together."""

    sample: int
    head: int
    first: int
    end: int


@dataclass(frozen=True)
class AttentionPlan:
    """One way to run an attention layer.

    Attributes
    ----------
    samples, heads, queries, keys, depth : int
        Geometry; ``depth`` are the channels of a head.
    score_rows : int
        Queries whose scores fill an accumulator bank.
    value_rows : int
        Queries of a part: their numerators are on chip together.
    key_chunk : int
        Blocks of keys that are loaded together.
    value_chunk : int
        Words of keys whose values are loaded together.
    keys_stay : bool
        Keys stay on chip for all banks of a part.
    head_stays : bool
        Keys and values stay on chip for all parts of a head.
    keys_early : bool
        There is room for keys of three parts and values of two.
    queries_stay : bool
        Queries of all heads of a sample stay on chip: they are loaded in one run. Numerators have slots behind them.
    kept : int
        Values of a row that are multiplied, the others are left out; as many as ``keys``: all are.
    whole_heads : bool
        All parts of a head go through softmax before the first of them meets values.
    """

    cfg: Config
    samples: int
    heads: int
    queries: int
    keys: int
    depth: int
    score_rows: int
    value_rows: int
    key_chunk: int
    value_chunk: int
    keys_stay: bool
    head_stays: bool
    keys_early: bool
    queries_stay: bool
    kept: int
    whole_heads: bool = False

    @property
    def key_blocks(self) -> int:
        """Blocks of keys: accumulator words of a query's scores."""
        return ceil(self.keys / self.cfg.lanes)

    @property
    def key_words(self) -> int:
        """Reduction words of a score."""
        return ceil(self.depth / self.cfg.array.rows)

    @property
    def value_blocks(self) -> int:
        """Blocks of a head's channels: accumulator words of a query's result."""
        return ceil(self.depth / self.cfg.lanes)

    @property
    def value_words(self) -> int:
        """Reduction words of a result."""
        return ceil(self.kept / self.cfg.array.rows)

    @property
    def word_bytes(self) -> int:
        """Weight bytes of a reduction word of one block."""
        return self.cfg.array.rows * self.cfg.lanes

    @property
    def scratch_bytes(self) -> int:
        """Numerators of a part in DRAM."""
        return self.value_rows * self.keys

    @property
    def values_stay(self) -> bool:
        """Whether values stay on chip for all parts of a head."""
        several = self.whole_heads and self.value_rows < self.queries
        size = self.value_words * self.value_blocks * self.word_bytes
        return self.head_stays and not (several and size > self.cfg.memory.weight_bytes)

    @property
    def numerator_bytes(self) -> int:
        """Numerators of a part on chip."""
        return self.value_rows * self.kept

    @property
    def scale_slot(self) -> int:
        """Row scales that a part has to itself: slots of one size, so that they never lie across each other."""
        assert self.cfg.attention is not None
        return max(1, self.cfg.attention.scales // IN_FLIGHT)

    @property
    def weights_together(self) -> int:
        """Bytes of keys, and of the values behind them where a head of several parts stays on chip."""
        several = self.head_stays and self.value_rows < self.queries and not self.whole_heads
        blocks = self.key_words * self.key_blocks + (self.value_words * self.value_blocks if several else 0)
        return blocks * self.word_bytes

    def slot(self, number: int) -> int:
        """Where a slot for numerators begins behind the first query that stays."""
        return self.queries * self.heads * self.depth + number * self.numerator_bytes

    @property
    def staying_bytes(self) -> int:
        """Queries of a sample and the slots behind them."""
        return self.slot(NUMERATOR_SLOTS)

    def parts(self) -> list[Part]:
        """All parts in order."""
        return [
            Part(n, h, first, end)
            for n in range(self.samples)
            for h in range(self.heads)
            for first, end in spans(self.queries, self.value_rows)
        ]  # fmt: skip

    def tiles(self, part: Part) -> list[Span]:
        """Queries per accumulator bank, counted in the part."""
        return list(spans(part.end - part.first, self.score_rows))

    def banks(self) -> list[Span]:
        """Queries per accumulator bank of all parts of a head."""
        parts = (part for part in self.parts() if (part.sample, part.head) == (0, 0))
        return [(part.first + first, part.first + end) for part in parts for first, end in self.tiles(part)]

    @property
    def steps_ahead(self) -> int:
        """Steps before the scores of a part at which its keys are loaded: behind numerators of three parts before.

        In order: scores, results of the part before, scores of the next part, results, scores of the one after.
        """
        scores = ceil(self.value_rows / self.score_rows) * (len(self.key_chunks()) + 1)
        return IN_FLIGHT * (scores + len(self.value_chunks()) + 1)

    def key_chunks(self) -> list[Span]:
        """Blocks of keys that are loaded together."""
        return list(spans(self.key_blocks, self.key_chunk))

    def value_chunks(self) -> list[Span]:
        """Words of keys whose values are loaded together."""
        return list(spans(self.value_words, self.value_chunk))

    @property
    def summary(self) -> dict[str, object]:
        """What is worth telling about the plan."""
        return {
            "score_rows": self.score_rows, "value_rows": self.value_rows, "key_chunk": self.key_chunk,
            "value_chunk": self.value_chunk, "keys_stay": self.keys_stay, "head_stays": self.head_stays,
            "keys_early": self.keys_early, "queries_stay": self.queries_stay,
        }  # fmt: skip


def attention_plan(cfg: Config, layer: Attention, queries: Tensor, length: int) -> AttentionPlan:
    """The plan of a layer of ``length`` keys.

    Raises
    ------
    InputError
        Where a memory is too small; it names the key to raise.
    """
    assert cfg.attention is not None
    samples, _, rows, channels = queries.shape
    depth, lanes, memory = channels // layer.heads, cfg.lanes, cfg.memory
    word = cfg.array.rows * lanes
    key_words, key_blocks = ceil(depth / cfg.array.rows), ceil(length / lanes)
    kept, whole_heads = layer.keep_values or length, layer.selects_values(length)
    value_words, value_blocks = ceil(kept / cfg.array.rows), ceil(depth / lanes)
    key_bytes, value_bytes = key_words * key_blocks * word, value_words * value_blocks * word
    needs = {
        "acc_bytes": 2 * max(key_blocks, value_blocks) * cfg.acc_word_bytes,
        "weight_bytes": max(2 * max(key_words, value_blocks) * word, value_bytes if layer.value_threshold else 0),
        "input_bytes": 2 * max(depth, length),
        "operand_bytes": length + lanes if whole_heads else 0,
    }
    for key, need in needs.items():
        if need > getattr(memory, key):
            raise InputError(
                f"layer {layer.name}: {length} keys and heads of {depth} channels need {need} bytes of the "
                f"{key.removesuffix('_bytes')} buffer, which has {getattr(memory, key)}; raise memory.{key} in "
                f"configuration {cfg.name!r} to at least {need}"
            )
    if whole_heads and IN_FLIGHT * rows > cfg.attention.scales:
        raise InputError(
            f"layer {layer.name}: values are left out when all {rows} queries of a head have had their softmax, which "
            f"needs {IN_FLIGHT * rows} row scales of {cfg.name}, not {cfg.attention.scales}; raise attention.scales"
        )
    together = min(
        rows, cfg.acc_bank_words // value_blocks, max(1, cfg.attention.scales // IN_FLIGHT),
        max(1, memory.input_bytes // INPUT_SLOTS // kept),
    )  # fmt: skip
    together = even(rows, together)
    bank = min(together, cfg.acc_bank_words // key_blocks, max(1, memory.input_bytes // INPUT_SLOTS // depth))
    part = memory.weight_bytes // WEIGHT_SLOTS
    return AttentionPlan(
        cfg, samples, layer.heads, rows, length, depth,
        score_rows=even(together, bank), value_rows=together,
        key_chunk=even(key_blocks, max(1, part // (key_words * word))),
        value_chunk=value_words if layer.value_threshold else even(value_words, max(1, part // (value_blocks * word))),
        keys_stay=key_bytes <= memory.weight_bytes,
        head_stays=together == rows or key_bytes + (0 if whole_heads else value_bytes) <= memory.weight_bytes,
        keys_early=together == rows and 3 * key_bytes + 2 * value_bytes <= memory.weight_bytes,
        queries_stay=min(samples, 2) * (rows * channels + NUMERATOR_SLOTS * together * kept) <= memory.input_bytes,
        kept=kept, whole_heads=whole_heads,
    )  # fmt: skip


def even(extent: int, most: int) -> int:
    """Size of pieces of at most ``most``, as equal as they can be."""
    return ceil(extent / ceil(extent / most))


def spans(extent: int, size: int) -> Iterator[Span]:
    """Pieces of at most ``size``."""
    for first in range(0, extent, size):
        yield first, min(first + size, extent)
