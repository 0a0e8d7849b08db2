"""Registers and fields of what only some configurations have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflows.registers import BLOCK_BITS, COUNT_BITS, Field, Register
from dataflows.vocabulary import Dataflow, Kind

if TYPE_CHECKING:
    from dataflows.config import Config

WINDOW = Register(
    "window",
    (
        Field("stride_x", 2, "columns from one output word to the next, at least 1"),
        Field("stride_y", 2, "rows likewise"),
        Field("skip", 2, "rows before the first row with outputs: 2 where an image begins"),
        Field("max", 1, "the maximum of the products instead of their sum"),
    ),
)


TURN = Register(
    "turn",
    (
        Field("first", 16, "first pixel of an accumulator word that becomes an output word"),
        Field("count", 16, "pixels that do, at least 1"),
    ),
)


SPARSE = (
    Register(
        "columns",
        (
            Field("count", COUNT_BITS, "columns, at least 1: activations taken from INPUT, in words of input_elements"),
            Field("pointers", 24, "beat of every PE's pointer memory where those of the job begin; count + 1 of them"),
        ),
    ),
    Register(
        "weights",
        (
            Field("word", 24, "beat of every PE's entry memory where those of the job begin: entry 0 of its pointers"),
            Field("entries", 24, "entries of the job that each PE holds; no column may end behind them"),
        ),
    ),
    Register(
        "rows",
        (
            Field("full", COUNT_BITS, "rows of the matrix that every PE has"),
            Field("extra", COUNT_BITS, "PEs, from PE 0 on, that have one more"),
        ),
    ),
)


def sparse(cfg: Config) -> tuple[Register, ...]:
    """Registers of a SPARSE job: a matrix of compressed columns times one vector."""
    mode = Register(
        "mode",
        (
            Field("zero", cfg.numbers.act_bits, "zero point of the activations", signed=True),
            Field("codebook", 8, "number of the codebook"),
            Field("drain", COUNT_BITS, "words of lanes sums handed to ACC afterwards; 0: the next job adds to them"),
        ),
    )
    return (*SPARSE, mode)


ROWS = (
    Register(
        "mode",
        (
            Field("kind", 3, "Rows"),
            Field("blocks", 16, "words of a row: blocks of lanes elements"),
            Field("tail", 16, "valid lanes of the last block"),
            Field("causal", 1, "each row has one element more that counts than the row before (SOFTMAX)"),
            Field("positioned", 1, "the position is added to count.valid (SOFTMAX)"),
            Field("column", 1, "elements of a row come one per word, in lane 0"),
            Field("decide", 1, "send a decision: do what is predicated if any sum is above epsilon.value (SOFTMAX)"),
        ),
    ),
    Register(
        "count",
        (
            Field("rows", 16, "rows, at least 1"),
            Field("valid", 16, "elements of the first row that count (SOFTMAX); those behind them give 0"),
        ),
    ),
    Register(
        "scale",
        (
            Field("multiplier", 24, "M of values' scale / output's scale (SOFTMAX)"),
            Field("shift", 6, "S likewise, at most 45; of the result (norms), at most 37"),
            Field("entry", 16, "entry of the row scales that the first row writes (SOFTMAX)"),
        ),
    ),
    Register("epsilon", (Field("value", 42, "E (norms); largest sum that is sure (SOFTMAX with decide)"),)),
    Register(
        "gain",
        (
            Field("block", 16, "first block of lanes gains in their memory (norms)"),
            Field("zero_x", 8, "zero point of the elements (norms)", signed=True),
            Field("zero", 8, "zero point of the result (norms)", signed=True),
            Field("low", 8, "lower clamp (norms)", signed=True),
            Field("high", 8, "upper clamp (norms)", signed=True),
        ),
    ),
)
"""Registers of a job of the row engine."""


IMPORTANCE = (
    Register(
        "importance",
        (
            Field("observe", 1, "probabilities are added to the importance of tokens (SOFTMAX)"),
            Field("fresh", 1, "the first row overwrites it (SOFTMAX); nothing was selected before (SELECT)"),
        ),
    ),
    Register(
        "select",
        (
            Field("count", 16, "tokens, heads or keys to select from, at least 1 (SELECT, SEARCH)"),
            Field("keep", 16, "how many stay, at least 1; steps, at least 1 (SEARCH)"),
            Field("place", 16, "index, in LOAD's lists, of the first of keep places; keep numbers follow"),
        ),
    ),
)
"""Registers of the row engine with ``attention.pruning``."""


_VALUES = (
    Field("observe", 1, "probabilities are added to the columns of the head (SOFTMAX)"),
    Field("fresh", 1, "the first row overwrites these"),
    Field("largest", 1, "columns hold the largest probability instead of the sum; alike in all rows of a head"),
    Field("by_floor", 1, "what is above floor stays, select.keep is of no meaning (SELECT_VALUES)"),
    Field("floor", 17, "with by_floor: largest column that does not stay, with 16 fraction bits"),
    Field("numbered", 1, "the list has the numbers that the last selection of tokens gave its keys (SELECT_VALUES)"),
    Field("least", 7, "numerators below it become 0 (SOFTMAX)"),
    Field("count", 16, "elements that leave per row, at least 1 and as many as stay (PACK)"),
)
_FOUND = (
    Field("found", 1, "as many elements count as the last search of this slot has found, not count.valid (SOFTMAX)"),
    Field("slot", 1, "where a search keeps how many it has found (SEARCH; SOFTMAX with found)"),
)


def values(cfg: Config) -> Register:
    """The register of the row engine with ``attention.values``."""
    return Register("values", (*_VALUES, *(_FOUND if cfg.candidates else ())))


HEAD_IMPORTANCE = Register(
    "importance",
    (
        Field("observe", 1, "magnitudes of the output words are added to the importance of a head"),
        Field("fresh", 1, "they overwrite it"),
        Field("head", 6, "number of the head among those that are left"),
        Field("factor", 12, "what their sum is multiplied with"),
    ),
)


FROM_SPARSE = Field("sparse", 1, "the words are those of the sparse engine, not of the array")


OF_ROWS = (
    Field("rows", 1, "output words go to the row engine"),
    Field("wide", 1, "these are 16-bit results of the first requantization, without zero point and clamps"),
    Field("by_row", 1, "multiplier and shift are those of the pixel's row scale, without bias; param.entry: the first"),
    Field("table", 1, "codes of output words are looked up in a table"),
    Field("slot", 4, "number of that table"),
    Field("nibbles", 2, "Nibbles: of each code only this half leaves, two in a byte; lanes and param.tail are even"),
)
"""Fields of the mode of VECTOR jobs that transformers need."""


FROM_ROWS = Register(
    "mode",
    (
        Field("rows", 1, "the words are those of the row engine"),
        Field("pitch", 24, "bytes that target.address moves on per token of the position"),
    ),
)


_GATHER = (
    Field("indexed", 1, "row_c goes by a list: iteration i is at source.address + index[first + i] * row_c.step"),
    Field("first", 16, "first index"),
    Field("positioned", 1, "the index of iteration i is position + i, no list is read; with indexed"),
    Field("nibbles", 2, "Nibbles: each byte becomes two elements, the lower bits first"),
)
_COUNTED = Field(
    "counted", 1, "with indexed: index[first] is the list's length, its elements are behind it, and row_c.count and "
    "segment_c.count are at most the length"
)  # fmt: skip


def gather(cfg: Config) -> Register:
    """How LOAD jobs go by lists."""
    return Register("gather", (*_GATHER, *((_COUNTED,) if cfg.values else ())))


def precision(cfg: Config, *more: Field) -> tuple[Register, ...]:
    """Widths of the operands of an array run: registers of its INPUT and WEIGHT jobs where these can differ."""
    if cfg.multiplier is None:
        return ()
    return (
        Register(
            "precision",
            (
                Field("a_bits", 4, "bits of an input; in memory it takes the next power of two"),
                Field("w_bits", 4, "bits of a weight likewise"),
                Field("a_unsigned", 1, "inputs are unsigned"),
                Field("w_unsigned", 1, "weights are unsigned"),
                *more,
            ),
        ),
    )


TAIL = Field(
    "tail", 16, "inputs that count in the last word of the innermost level of reduction words, at least 1; "
    "those behind it are read as bits of 1, that is +1"
)  # fmt: skip


def formats(cfg: Config) -> tuple[Register, ...]:
    """How operands lie in memory: a register of VECTOR jobs where they can be narrower than a byte."""
    if cfg.multiplier is None:
        return ()
    names = (("source", "operand words"), ("addend", "operand words that are added"), ("result", "output words"))
    return (
        Register("formats", tuple(Field(name, 2, f"binary logarithm of the bits of {what}") for name, what in names)),
    )


def codec(cfg: Config) -> tuple[Register, ...]:
    """Compressed rows: registers of LOAD and STORE jobs where the configuration has a codec."""
    if cfg.codec is None:
        return ()
    return (
        Register(
            "codec",
            (
                Field("coded", 1, "each row is a compressed block; row bytes count what it holds uncompressed"),
                Field("block", BLOCK_BITS, "size table entry of the first row; the next row has the next entry"),
                Field("zero", cfg.numbers.act_bits, "element that runs are made of"),
            ),
        ),
    )


def geometry(flow: Dataflow) -> tuple[Register, ...]:
    """What an array needs to know of a layer beside its words: registers of its INPUT jobs."""
    if flow.input.kind is Kind.BUS:
        return (
            Register(
                "step",
                (
                    Field("filters", 8, "p: filters interleaved in a PE, innermost in time"),
                    Field("taps", 8, "words of the window: kernel columns times channels of a PE"),
                    Field("fresh", 8, "words of the window that change from one position to the next"),
                    Field("preload", 8, "groups of fresh words that make the first window of a row"),
                    Field("positions", 16, "output columns of a row"),
                ),
            ),
            Register(
                "sets",
                (
                    Field("kernel_rows", 8, "PE rows of a set"),
                    Field("chained", 8, "sets one below the other that add up (channels)"),
                    Field("units", 8, "chains one below the other"),
                    Field("columns", 8, "output rows of a set: its PE columns"),
                    Field("row_step", 4, "input rows between kernel rows (dilation)"),
                    Field("column_step", 4, "input rows between output rows (stride)"),
                    Field("folded", 1, "units have the same filters and follow each other in output rows"),
                ),
            ),
            Register(
                "bus",
                (
                    Field("rows", 16, "input rows of a group"),
                    Field("across", 8, "sets side by side, each with its own filters"),
                    Field("passes", 16, "passes of the job, each with its own weights"),
                ),
            ),
        )
    if flow.input.kind is Kind.NEIGHBOUR:
        return (
            Register(
                "kernel",
                (
                    Field("rows", 8, "kernel rows"),
                    Field("cols", 8, "kernel columns"),
                    Field("fresh_rows", 8, "kernel rows whose inputs no neighbour has had: stride, at most rows"),
                    Field("fresh_cols", 8, "kernel columns likewise"),
                    Field("channels", 16, "input channels of a sum"),
                ),
            ),
        )
    return ()
