"""Registers and their fields, and those that many units have alike."""

from __future__ import annotations

from dataclasses import dataclass


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
ADDRESS_BITS = 40
"""Of a byte in a region of DRAM."""
POINTER_BYTES = 2
"""Of a column pointer: the number of the entry with which a column begins."""
BLOCK_BITS = 16
"""Entries of the size table, and words of a compressed block."""
SEMAPHORE_BITS = 8
MARK_BYTES = 16


def base(doc: str) -> Register:
    """First address of a nest."""
    return Register("base", (Field("address", STEP_BITS, doc),))


def levels(names: tuple[str, ...], unit: str, prefix: str = "") -> tuple[Register, ...]:
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


def pack(names: tuple[str, ...], *fields: Field) -> tuple[Register, ...]:
    """Fields in their order, each in the first register that still has room for it: at most one per name."""
    registers: list[list[Field]] = [[]]
    for field in fields:
        if sum(f.bits for f in registers[-1]) + field.bits > VALUE_BITS:
            registers.append([])
        registers[-1].append(field)
    return tuple(Register(name, tuple(held)) for name, held in zip(names, registers, strict=False))
