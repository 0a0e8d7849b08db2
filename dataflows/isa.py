"""The command encoding and every register map, declared once.

RTL decoders, program writer, disassembler, C header and ``registers.md`` are derived from
:func:`units`, :data:`HOST_REGISTERS` and the bit positions here. Numbers with names are in :mod:`dataflows.codes`,
registers of optional parts in :mod:`dataflows.optional_registers`; all of it is used under the name of this module.

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
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from dataflows import optional_registers as optional
from dataflows.codes import Activity, Error, Nibbles, Op, Reduce, Region, Rows, Target, Unit
from dataflows.registers import (
    ADDRESS_BITS,
    BLOCK_BITS,
    COUNT_BITS,
    MARK_BYTES,
    POINTER_BYTES,
    SEMAPHORE_BITS,
    STEP_BITS,
    VALUE_BITS,
    Field,
    Register,
    base,
    levels,
    pack,
)

if TYPE_CHECKING:
    from dataflows.config import Config

__all__ = [
    "ADDRESS_BITS", "BLOCK_BITS", "COUNT_BITS", "HOST_ADDRESS_BITS", "HOST_REGISTERS", "MARK_BYTES", "POINTER_BYTES",
    "SEGMENT_REGISTERS", "SEMAPHORE_BITS", "STEP_BITS", "SUM_REGISTERS", "VALUE_BITS", "Activity", "Error", "Field",
    "HostRegister", "Nibbles", "Op", "Reduce", "Region", "Register", "Rows", "Target", "Unit", "describe", "geometry",
    "spread", "targets", "unit_numbers", "units",
]  # fmt: skip

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


def units(cfg: Config) -> dict[Unit, tuple[Register, ...]]:
    """Shadow registers of every unit that the configuration has; a register's number is its position."""
    offset = Field("address", ADDRESS_BITS, "offset in the region, bytes")
    source = Register("source", (offset, Field("region", 3, "Region")))
    rows = ("row_a", "row_b", "row_c")
    element = cfg.numbers.act_bits
    from_sparse = (optional.FROM_SPARSE,) if cfg.sparse else ()
    target_bits = max(targets(cfg)).bit_length()
    to_sparse = Field("sparse", 1, "the words go to the sparse engine, not to the array")
    maps = {
        Unit.LOAD: (
            source,
            Register("row", (Field("bytes", 24, "contiguous DRAM bytes per row"),)),
            *levels(rows, "DRAM bytes, between row starts"),
            *pack(
                SEGMENT_REGISTERS,
                Field("address", STEP_BITS, "byte address in the target"),
                Field("target", target_bits, "Target"),
                Field("fill", 1, "write fill_value instead of DRAM data; source and rows are ignored"),
                Field("fill_value", element, "element written when fill is set, again and again"),
                Field("bytes", 24, "contiguous bytes per segment in the target"),
            ),
            *levels(("segment_a", "segment_b", "segment_c"), "target bytes, between segment starts"),
            *((optional.gather(cfg),) if cfg.attention else ()),
            *optional.codec(cfg),
        ),
        Unit.INPUT: (
            base("byte address in the input buffer"),
            *levels(cfg.dataflow.input_nest.levels, "bytes"),
            *((Register("mode", (to_sparse,)),) if cfg.sparse else ()),
            *optional.precision(cfg, *((optional.TAIL,) if cfg.operand_bits == (1,) else ())),
            *optional.geometry(cfg.dataflow),
        ),
        Unit.WEIGHT: (
            base("byte address in the weight buffer; all words of a job begin at multiples of weight_granule"),
            *levels(cfg.dataflow.weight_nest.levels, "bytes"),
            *optional.precision(cfg),
        ),
        Unit.ACC: (
            base("word address in the accumulator buffer; bank 1 starts at acc_bank_words"),
            Register(
                "mode",
                (Field("keep", 1, "add to what is there from the first pass on, do not overwrite"), *from_sparse),
            ),
            *levels(("word", "block", "pass", "group"), "accumulator words"),
        ),
        Unit.VECTOR: (
            Register(
                "mode",
                (
                    Field("from_operand", 1, "source: operand buffer instead of accumulators"),
                    Field("reduce", 3 if cfg.products else 2, "Reduce, over the two innermost operand levels"),
                    Field("add", 1, "add an operand word to the requantized word"),
                    Field("broadcast", 1, "one parameter entry for all blocks instead of one per block"),
                    Field("keep", 1, "output words go to the operand buffer instead of STORE"),
                    *(optional.OF_ROWS if cfg.attention else ()),
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
            *pack(
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
            *levels(("block", "x", "y", "image"), "accumulator words", prefix="acc_"),
            Register("operand_base", (Field("address", STEP_BITS, "byte address in the operand buffer"),)),
            *levels(("tap_a", "tap_b", "block", "x", "y", "image"), "operand bytes", prefix="operand_"),
            Register("result_base", (Field("address", STEP_BITS, "byte address of kept words in the operand buffer"),)),
            *levels(("block", "x", "y"), "operand bytes, of kept words", prefix="result_"),
            *((optional.WINDOW,) if cfg.vector else ()),
            *((optional.HEAD_IMPORTANCE,) if cfg.pruning else ()),
            *optional.formats(cfg),
            *((optional.TURN,) if cfg.dataflow.output_turned_late else ()),
        ),
        Unit.STORE: (
            Register("target", source.fields),
            Register("row", (Field("bytes", 24, "contiguous DRAM bytes per row"),)),
            *levels(rows, "DRAM bytes, between row starts"),
            *((optional.FROM_ROWS,) if cfg.attention else ()),
            *optional.codec(cfg),
        ),
    }
    maps |= {Unit.SPARSE: optional.sparse(cfg)} if cfg.sparse else {}
    row_engine = (*optional.ROWS, *optional.IMPORTANCE) if cfg.pruning else optional.ROWS
    row_engine = (*row_engine, optional.values(cfg)) if cfg.values else row_engine
    return maps | ({Unit.ROWS: row_engine} if cfg.attention else {})


def unit_numbers(cfg: Config) -> int:
    """Width of a mask of units by their numbers; bits of units that the configuration does not have stay 0."""
    return max(units(cfg)) + 1


def targets(cfg: Config) -> tuple[Target, ...]:
    """Memories that LOAD jobs can write in this configuration."""
    sparse = (Target.ENTRIES, Target.POINTERS, Target.CODEBOOK)
    attention = (Target.TABLE, Target.GAIN, Target.INDEX)
    wanted = (*(sparse if cfg.sparse else ()), *(attention if cfg.attention else ()))
    wanted = (*wanted, Target.COLUMNS) if cfg.candidates else wanted
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
    return optional.geometry(cfg.dataflow)


def describe(cfg: Config) -> Any:
    """Everything in this module that shapes programs and hardware, as plain data for the hash."""
    return {
        "units": {
            unit.name: [(r.name, [(f.name, f.bits, f.signed) for f in r.fields]) for r in registers]
            for unit, registers in units(cfg).items()
        },
        "host": [(r.name, r.address, r.access) for r in HOST_REGISTERS],
        "enums": {
            e.__name__: {m.name: m.value for m in e} for e in (Op, Unit, Target, Region, Reduce, Rows, Nibbles, Error)
        },
    }
