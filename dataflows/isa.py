"""The command encoding and every register map, declared once.

RTL decoders, program writer, disassembler, C header and ``registers.md`` are derived from
:func:`units`, :data:`HOST_REGISTERS` and the bit positions here.

A program is a sequence of 64-bit little-endian words in DRAM:

========  =======================================================================
opcode    meaning of the remaining bits
========  =======================================================================
HASH      [55:0] configuration hash; must be the first word, and must match
SET       [59:56] unit, [55:48] register, [47:0] value of that shadow register
WAIT      [59:56] unit, [55:48] semaphore, [15:0] count: the unit waits until the
          semaphore holds that count, and takes it
START     [59:56] unit, [15:0] semaphores to take one token from, [31:16] semaphores
          to give one token to when done, [47:32] tag, [48] mark, [49] predicated, [50] last
END       the decoder waits until every unit is idle, then raises "done"
========  =======================================================================

START snapshots all shadow registers of the unit.  With ``mark`` (store unit only) the completion of
the job writes a record of 16 bytes, (cycle counter as u64, tag as u64), to the mark table.
Bits not named are zero; [63:60] is the opcode.  A *predicated* START (only with ``[attention]``) is executed if the
oldest decision of the row engine that the unit has not used up says so; else it takes and gives its tokens, the latter
when the jobs before it are done.  With ``last`` the decision is used up.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from dataflows.vocabulary import Dataflow, Kind

if TYPE_CHECKING:
    from dataflows.config import Config


class Op(IntEnum):
    """Opcodes, bits [63:60]. Zero is illegal, so that a cleared memory is not a program."""

    HASH = 1
    SET = 2
    WAIT = 3
    START = 4
    END = 5


class Unit(IntEnum):
    """Units that take commands, bits [59:56]."""

    LOAD = 0
    INPUT = 1
    WEIGHT = 2
    ACC = 3
    VECTOR = 4
    STORE = 5
    SPARSE = 6  # only where the configuration has the engine
    ROWS = 7  # only with [attention]


class Target(IntEnum):
    """Memory a LOAD job writes."""

    INPUT = 0
    WEIGHT = 1
    OPERAND = 2
    PARAM = 3
    ENTRIES = 4  # of the sparse engine, as the next two: whole beats at multiples of a beat only
    POINTERS = 5
    CODEBOOK = 6
    TABLE = 7  # activation tables of the vector unit, only with [attention], as the next two
    GAIN = 8  # of norms
    INDEX = 9  # lists of rows for LOAD jobs


class Region(IntEnum):
    """Relocatable DRAM regions: job addresses are offsets to a base register."""

    PROGRAM = 0
    CONSTANT = 1
    INPUT = 2
    ACTIVATION = 3
    OUTPUT = 4


class Reduce(IntEnum):
    """What the vector unit does with the operand words of one output word."""

    NONE = 0
    SUM = 1
    MAX = 2
    WINDOW = 3  # weighted 3x3 windows; only where the configuration has them


class Rows(IntEnum):
    """What the row engine does with the elements of a row (``docs/numerics.md``, section 9)."""

    SOFTMAX = 0  # numerators; sums go to the row scales of the vector unit
    LAYER_NORM = 1
    RMS_NORM = 2
    SELECT_TOKENS = 3  # no row: lists of what is most important (section 10), only with attention.pruning
    SELECT_HEADS = 4


class Nibbles(IntEnum):
    """Halves of 8-bit codes (``docs/numerics.md``, section 12)."""

    NONE = 0  # whole codes
    HIGH = 1  # upper halves; as an element 16 times the signed half
    LOW = 2  # lower halves; as an element 0 to 15


class Activity(IntEnum):
    """What a unit does in a cycle; counted per unit."""

    IDLE = 0
    WAIT = 1  # a command waits for a semaphore
    BUSY = 2
    STALL = 3  # a running job cannot move: its source is empty or its sink is full


class Error(IntEnum):
    """Reason of the error state, ``ERROR`` register."""

    NONE = 0
    READ_RESPONSE = 1
    WRITE_RESPONSE = 2
    ILLEGAL_COMMAND = 3
    HASH_MISMATCH = 4
    TIMEOUT = 5
    PROGRAM_END = 6  # the program ran out of words without END
    SPARSE_RUN = 7  # a run of zeros leads out of its column; info: PE [31:16], column [15:0]
    SPARSE_POINTER = 8  # a column ends before it begins, or behind the entries; info likewise


@dataclass(frozen=True)
class Field:
    """Bits of a register, packed from bit 0 upwards in declaration order."""

    name: str
    bits: int
    doc: str
    signed: bool = False


@dataclass(frozen=True)
class Register:
    """One shadow register of a unit: at most 48 bits."""

    name: str
    fields: tuple[Field, ...]

    def __post_init__(self) -> None:
        if sum(f.bits for f in self.fields) > VALUE_BITS:
            raise ValueError(f"register {self.name} is wider than {VALUE_BITS} bits")


VALUE_BITS = 48
COUNT_BITS = 16
STEP_BITS = 32
POINTER_BYTES = 2
"""Of a column pointer: the number of the entry with which a column begins."""
BLOCK_BITS = 16
"""Entries of the size table, and words of a compressed block."""
SEMAPHORE_BITS = 8
MARK_BYTES = 16


def _base(doc: str) -> Register:
    return Register("base", (Field("address", STEP_BITS, doc),))


def _levels(names: tuple[str, ...], unit: str, prefix: str = "") -> tuple[Register, ...]:
    """One register per loop level, innermost first.

    The generator visits ``count`` values of each level. ``step`` is what is *added to the address* when
    this level advances and all inner levels return to their start: stride minus the way the inner levels went.
    """
    return tuple(
        Register(
            f"{prefix}{name}",
            (
                Field("count", COUNT_BITS, f"iterations of the {name} loop, at least 1"),
                Field("step", STEP_BITS, f"address change in {unit} when it advances", signed=True),
            ),
        )
        for name in names
    )


def _pack(names: tuple[str, ...], *fields: Field) -> tuple[Register, ...]:
    """Fields in their order, each in the first register that still has room for it: at most one per name."""
    registers: list[list[Field]] = [[]]
    for field in fields:
        if sum(f.bits for f in registers[-1]) + field.bits > VALUE_BITS:
            registers.append([])
        registers[-1].append(field)
    return tuple(Register(name, tuple(held)) for name, held in zip(names, registers, strict=False))


SEGMENT_REGISTERS = ("destination", "segment")
"""Registers of LOAD that share the fields of a destination: ``fill_value`` is in the one that has room for it."""

SUM_REGISTERS = ("addend", "sum", "sum_range")
"""Registers of VECTOR that share the fields of a sum; the third exists only where they do not fit into two."""


def spread(cfg: Config, unit: Unit, names: tuple[str, ...], **values: int) -> dict[str, dict[str, int]]:
    """Values of fields by register, for registers that share fields; every value must belong to one of them."""
    spread: dict[str, dict[str, int]] = {}
    for field, value in values.items():
        spread.setdefault(_register_of(cfg, unit, names, field), {})[field] = value
    return spread


@lru_cache
def _register_of(cfg: Config, unit: Unit, names: tuple[str, ...], field: str) -> str:
    """Name of the register, one of ``names``, that holds a field."""
    return next(r.name for r in units(cfg)[unit] if r.name in names and field in (f.name for f in r.fields))


_WINDOW = Register(
    "window",
    (
        Field("stride_x", 2, "columns from one output word to the next, at least 1"),
        Field("stride_y", 2, "rows likewise"),
        Field("skip", 2, "rows before the first row with outputs: 2 where an image begins"),
        Field("max", 1, "the maximum of the products instead of their sum"),
    ),
)


_TURN = Register(
    "turn",
    (
        Field("first", 16, "first pixel of an accumulator word that becomes an output word"),
        Field("count", 16, "pixels that do, at least 1"),
    ),
)


_SPARSE = (
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


def _sparse(cfg: Config) -> tuple[Register, ...]:
    """Registers of a SPARSE job: a matrix of compressed columns times one vector."""
    mode = Register(
        "mode",
        (
            Field("zero", cfg.numbers.act_bits, "zero point of the activations", signed=True),
            Field("codebook", 8, "number of the codebook"),
            Field("drain", COUNT_BITS, "words of lanes sums handed to ACC afterwards; 0: the next job adds to them"),
        ),
    )
    return (*_SPARSE, mode)


_ROWS = (
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


_IMPORTANCE = (
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
            Field("count", 16, "tokens or heads to select from, at least 1 (SELECT)"),
            Field("keep", 16, "how many stay, at least 1"),
            Field("place", 16, "index, in LOAD's lists, of the first of keep places; keep numbers follow"),
        ),
    ),
)
"""Registers of the row engine with ``attention.pruning``."""


_HEAD_IMPORTANCE = Register(
    "importance",
    (
        Field("observe", 1, "magnitudes of the output words are added to the importance of a head"),
        Field("fresh", 1, "they overwrite it"),
        Field("head", 6, "number of the head among those that are left"),
        Field("factor", 12, "what their sum is multiplied with"),
    ),
)


_FROM_SPARSE = Field("sparse", 1, "the words are those of the sparse engine, not of the array")


_OF_ROWS = (
    Field("rows", 1, "output words go to the row engine"),
    Field("wide", 1, "these are 16-bit results of the first requantization, without zero point and clamps"),
    Field("by_row", 1, "multiplier and shift are those of the pixel's row scale, without bias; param.entry: the first"),
    Field("table", 1, "codes of output words are looked up in a table"),
    Field("slot", 4, "number of that table"),
    Field("nibbles", 2, "Nibbles: of each code only this half leaves, two in a byte; lanes and param.tail are even"),
)
"""Fields of the mode of VECTOR jobs that transformers need."""


_FROM_ROWS = Register(
    "mode",
    (
        Field("rows", 1, "the words are those of the row engine"),
        Field("pitch", 24, "bytes that target.address moves on per token of the position"),
    ),
)


_GATHER = Register(
    "gather",
    (
        Field("indexed", 1, "row_c goes by a list: iteration i is at source.address + index[first + i] * row_c.step"),
        Field("first", 16, "first index"),
        Field("positioned", 1, "the index of iteration i is position + i, no list is read; with indexed"),
        Field("nibbles", 2, "Nibbles: each byte becomes two elements, the lower bits first"),
    ),
)


def _precision(cfg: Config, *more: Field) -> tuple[Register, ...]:
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


_TAIL = Field(
    "tail", 16, "inputs that count in the last word of the innermost level of reduction words, at least 1; "
    "those behind it are read as bits of 1, that is +1"
)  # fmt: skip


def _formats(cfg: Config) -> tuple[Register, ...]:
    """How operands lie in memory: a register of VECTOR jobs where they can be narrower than a byte."""
    if cfg.multiplier is None:
        return ()
    names = (("source", "operand words"), ("addend", "operand words that are added"), ("result", "output words"))
    return (
        Register("formats", tuple(Field(name, 2, f"binary logarithm of the bits of {what}") for name, what in names)),
    )


def _codec(cfg: Config) -> tuple[Register, ...]:
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


def _geometry(flow: Dataflow) -> tuple[Register, ...]:
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


def units(cfg: Config) -> dict[Unit, tuple[Register, ...]]:
    """Shadow registers of every unit that the configuration has; a register's number is its position."""
    source = Register("source", (Field("address", 40, "offset in the region, bytes"), Field("region", 3, "Region")))
    rows = ("row_a", "row_b", "row_c")
    element = cfg.numbers.act_bits
    from_sparse = (_FROM_SPARSE,) if cfg.sparse else ()
    target_bits = max(targets(cfg)).bit_length()
    to_sparse = Field("sparse", 1, "the words go to the sparse engine, not to the array")
    maps = {
        Unit.LOAD: (
            source,
            Register("row", (Field("bytes", 24, "contiguous DRAM bytes per row"),)),
            *_levels(rows, "DRAM bytes, between row starts"),
            *_pack(
                SEGMENT_REGISTERS,
                Field("address", STEP_BITS, "byte address in the target"),
                Field("target", target_bits, "Target"),
                Field("fill", 1, "write fill_value instead of DRAM data; source and rows are ignored"),
                Field("fill_value", element, "element written when fill is set, again and again"),
                Field("bytes", 24, "contiguous bytes per segment in the target"),
            ),
            *_levels(("segment_a", "segment_b", "segment_c"), "target bytes, between segment starts"),
            *((_GATHER,) if cfg.attention else ()),
            *_codec(cfg),
        ),
        Unit.INPUT: (
            _base("byte address in the input buffer"),
            *_levels(cfg.dataflow.input_nest.levels, "bytes"),
            *((Register("mode", (to_sparse,)),) if cfg.sparse else ()),
            *_precision(cfg, *((_TAIL,) if cfg.operand_bits == (1,) else ())),
            *_geometry(cfg.dataflow),
        ),
        Unit.WEIGHT: (
            _base("byte address in the weight buffer; all words of a job begin at multiples of weight_granule"),
            *_levels(cfg.dataflow.weight_nest.levels, "bytes"),
            *_precision(cfg),
        ),
        Unit.ACC: (
            _base("word address in the accumulator buffer; bank 1 starts at acc_bank_words"),
            Register(
                "mode",
                (Field("keep", 1, "add to what is there from the first pass on, do not overwrite"), *from_sparse),
            ),
            *_levels(("word", "block", "pass", "group"), "accumulator words"),
        ),
        Unit.VECTOR: (
            Register(
                "mode",
                (
                    Field("from_operand", 1, "source: operand buffer instead of accumulators"),
                    Field("reduce", 2, "Reduce, over the two innermost operand levels"),
                    Field("add", 1, "add an operand word to the requantized word"),
                    Field("broadcast", 1, "one parameter entry for all blocks instead of one per block"),
                    Field("keep", 1, "output words go to the operand buffer instead of STORE"),
                    *(_OF_ROWS if cfg.attention else ()),
                ),
            ),
            Register(
                "param",
                (
                    Field("entry", 16, "first parameter entry"),
                    Field("blocks", 16, "blocks of lanes per pixel: output words before the entry repeats"),
                    Field("tail", 16, "valid lanes of the last block"),
                ),
            ),
            Register(
                "requantize",
                (
                    Field("zero", element, "zero point of the result", signed=True),
                    Field("low", element, "lower clamp", signed=True),
                    Field("high", element, "upper clamp", signed=True),
                ),
            ),
            *_pack(
                SUM_REGISTERS,
                Field("multiplier_a", 24, "M of the requantized word"),
                Field("shift", 6, "S of both"),
                Field("zero_a", element, "zero point of the requantized word", signed=True),
                Field("zero_b", element, "zero point of the operand word", signed=True),
                Field("multiplier_b", 24, "M of the operand word"),
                Field("zero", element, "zero point of the sum", signed=True),
                Field("low", element, "lower clamp", signed=True),
                Field("high", element, "upper clamp", signed=True),
            ),
            Register("acc_base", (Field("address", STEP_BITS, "word address in the accumulator buffer"),)),
            *_levels(("block", "x", "y", "image"), "accumulator words", prefix="acc_"),
            Register("operand_base", (Field("address", STEP_BITS, "byte address in the operand buffer"),)),
            *_levels(("tap_a", "tap_b", "block", "x", "y", "image"), "operand bytes", prefix="operand_"),
            Register("result_base", (Field("address", STEP_BITS, "byte address of kept words in the operand buffer"),)),
            *_levels(("block", "x", "y"), "operand bytes, of kept words", prefix="result_"),
            *((_WINDOW,) if cfg.vector else ()),
            *((_HEAD_IMPORTANCE,) if cfg.pruning else ()),
            *_formats(cfg),
            *((_TURN,) if cfg.dataflow.output_turned_late else ()),
        ),
        Unit.STORE: (
            Register("target", source.fields),
            Register("row", (Field("bytes", 24, "contiguous DRAM bytes per row"),)),
            *_levels(rows, "DRAM bytes, between row starts"),
            *((_FROM_ROWS,) if cfg.attention else ()),
            *_codec(cfg),
        ),
    }
    maps |= {Unit.SPARSE: _sparse(cfg)} if cfg.sparse else {}
    row_engine = (*_ROWS, *_IMPORTANCE) if cfg.pruning else _ROWS
    return maps | ({Unit.ROWS: row_engine} if cfg.attention else {})


def unit_numbers(cfg: Config) -> int:
    """Width of a mask of units by their numbers; bits of units that the configuration does not have stay 0."""
    return max(units(cfg)) + 1


def targets(cfg: Config) -> tuple[Target, ...]:
    """Memories that LOAD jobs can write in this configuration."""
    sparse = (Target.ENTRIES, Target.POINTERS, Target.CODEBOOK)
    attention = (Target.TABLE, Target.GAIN, Target.INDEX)
    wanted = (*(sparse if cfg.sparse else ()), *(attention if cfg.attention else ()))
    return tuple(t for t in Target if t < Target.ENTRIES or t in wanted)


@dataclass(frozen=True)
class HostRegister:
    """One 32-bit AXI4-Lite register."""

    name: str
    address: int
    access: str  # "rw", "ro"
    doc: str


def _host_registers() -> tuple[HostRegister, ...]:
    rows: list[tuple[str, str, str]] = [
        ("CONTROL", "rw", "write 1 to bit 0: start; bit 1: soft reset (drains the bus first). Reads 0"),
        ("STATUS", "ro", "bit 0 busy, bit 1 done, bit 2 error, bit 3 soft reset in progress"),
        ("ERROR", "ro", "[7:0] Error; [15:8] unit or 0; see ERROR_INFO"),
        ("ERROR_INFO", "ro", "low 32 bits of the command word or address that caused the error"),
        ("IRQ_ENABLE", "rw", "bit 0: interrupt while done or error"),
        ("IRQ_CLEAR", "rw", "write 1 to bit 0: clear done (and the interrupt). Reads 0"),
        ("HASH_LOW", "ro", "configuration hash, bits 31:0"),
        ("HASH_HIGH", "ro", "configuration hash, bits 55:32"),
        ("PROGRAM_WORDS", "rw", "length of the program in 64-bit words"),
        ("MARK_LOW", "rw", "address of the mark table, bits 31:0; records of 16 bytes"),
        ("MARK_HIGH", "rw", "address of the mark table, bits 39:32"),
        ("MARKS", "ro", "records written since start"),
        ("POSITION", "rw", "tokens before those of the run, bits 15:0 (generation)"),
        ("CYCLES_LOW", "ro", "cycles since start, bits 31:0; stops at done or error"),
        ("CYCLES_HIGH", "ro", "cycles since start, bits 63:32"),
    ]
    for region in Region:
        rows.append((f"BASE_{region.name}_LOW", "rw", f"base address of region {region.name.lower()}, bits 31:0"))
        rows.append((f"BASE_{region.name}_HIGH", "rw", f"base address of region {region.name.lower()}, bits 39:32"))
    for unit in Unit:
        for activity in (Activity.WAIT, Activity.BUSY, Activity.STALL):
            doc = f"cycles since start in which {unit.name.lower()} was in state {activity.name}"
            rows.append((f"{unit.name}_{activity.name}", "ro", doc))
    rows.append(("READ_BEATS", "ro", "AXI read beats since start"))
    rows.append(("WRITE_BEATS", "ro", "AXI write beats since start"))
    for index in range(16):
        doc = f"cycles since start in which a unit waited for semaphore {index}"
        rows.append((f"SEMAPHORE_{index}_WAIT", "ro", doc))
    rows.append(("GATED_LOW", "ro", "multiplications not done as the input was zero, bits 31:0 (array.zero_gating)"))
    rows.append(("GATED_HIGH", "ro", "multiplications not done as the input was zero, bits 63:32"))
    rows.append(("SPARSE_ENTRIES_LOW", "ro", "entries that PEs of the sparse engine have walked, bits 31:0"))
    rows.append(("SPARSE_ENTRIES_HIGH", "ro", "entries that PEs of the sparse engine have walked, bits 63:32"))
    rows.append(("SPARSE_FULL", "ro", "cycles in which a full queue kept an activation from all PEs"))
    return tuple(HostRegister(name, 4 * i, access, doc) for i, (name, access, doc) in enumerate(rows))


HOST_REGISTERS = _host_registers()
HOST_ADDRESS_BITS = 9


def geometry(cfg: Config) -> tuple[Register, ...]:
    """Registers of INPUT jobs that go to the array."""
    return _geometry(cfg.dataflow)


def describe(cfg: Config) -> Any:
    """Everything in this module that shapes programs and hardware, as plain data for the hash."""
    return {
        "units": {
            unit.name: [(r.name, [(f.name, f.bits, f.signed) for f in r.fields]) for r in registers]
            for unit, registers in units(cfg).items()
        },
        "host": [(r.name, r.address, r.access) for r in HOST_REGISTERS],
        "enums": {
            e.__name__: {m.name: m.value for m in e}
            for e in (Op, Unit, Target, Region, Reduce, Rows, Nibbles, Error)
        },
    }
