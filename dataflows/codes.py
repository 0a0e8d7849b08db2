"""Numbers that commands, registers and programs know by name."""

from __future__ import annotations

from enum import IntEnum


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
    COLUMNS = 10  # sorted columns of keys, only with attention.candidates: whole beats at multiples of a beat only


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
    PRODUCT = 4  # the first times the last, without their zero points; only with vector.products


class Rows(IntEnum):
    """What the row engine does with the elements of a row (``docs/numerics.md``, section 9)."""

    SOFTMAX = 0  # numerators; sums go to the row scales of the vector unit
    LAYER_NORM = 1
    RMS_NORM = 2
    SELECT_TOKENS = 3  # no row: lists of what is most important (section 10), only with attention.pruning
    SELECT_HEADS = 4
    SELECT_VALUES = 5  # no row: a list of the keys of a head whose values count, only with attention.values
    PACK = 6  # the elements of such keys, one after the other, zeros behind them
    SEARCH = 7  # the row is a query: a list of the keys that are its candidates, only with attention.candidates


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
