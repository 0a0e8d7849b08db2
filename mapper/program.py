"""Programs: commands with named registers, their 64-bit encoding, and the disassembler."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dataflows import isa
from dataflows.config import Config

Registers = Mapping[str, Mapping[str, int]]
"""Register name to field name to value; fields left out are zero."""


@dataclass
class Job:
    """One START with the register values it needs; dependencies become semaphore traffic.

    ``layer`` is the layer's index, ``note`` says what the job does, for people. A ``predicated`` job is executed or
    skipped by the oldest decision of the row engine, which ``last`` uses up.
    """

    unit: isa.Unit
    registers: Registers
    layer: int
    note: str
    mark: bool = False
    predicated: bool = False
    last: bool = False
    index: int = -1
    waits: list[tuple[int, int]] = field(default_factory=list)  # (semaphore, count)
    gives: set[int] = field(default_factory=set)


def pack(register: isa.Register, values: Mapping[str, int]) -> int:
    """Bits of one register. Raises ``ValueError`` for an unknown field or a value that does not fit."""
    word, position, found = 0, 0, 0
    for f in register.fields:
        if f.name in values:
            value, found = int(values[f.name]), found + 1
            low, high = (-(1 << f.bits - 1), (1 << f.bits - 1) - 1) if f.signed else (0, (1 << f.bits) - 1)
            if not low <= value <= high:
                raise ValueError(f"{register.name}.{f.name} must be {low}..{high}, not {value}")
            word |= (value & ((1 << f.bits) - 1)) << position
        position += f.bits
    if found < len(values):
        unknown = set(values) - {f.name for f in register.fields}
        raise ValueError(f"register {register.name} has no field {sorted(unknown)}")
    return word


def unpack(register: isa.Register, word: int) -> dict[str, int]:
    """Inverse of :func:`pack`."""
    values, position = {}, 0
    for f in register.fields:
        value = word >> position & ((1 << f.bits) - 1)
        if f.signed and value >> (f.bits - 1):
            value -= 1 << f.bits
        values[f.name] = value
        position += f.bits
    return values


def encode(cfg: Config, jobs: list[Job]) -> NDArray[np.uint64]:
    """Words of a program: only registers that change are written again."""
    tables = isa.units(cfg)
    shadow: dict[tuple[isa.Unit, int], int] = {}
    words = [isa.Op.HASH << 60 | cfg.hash_value]
    for job in jobs:
        unit = job.unit << 56
        for number, register in enumerate(tables[job.unit]):
            if register.name not in job.registers:
                continue
            value = pack(register, job.registers[register.name])
            if shadow.get((job.unit, number)) != value:
                shadow[job.unit, number] = value
                words.append(isa.Op.SET << 60 | unit | number << 48 | value)
        take = 0
        for semaphore, count in job.waits:
            if count == 1:
                take |= 1 << semaphore
            else:
                words.append(isa.Op.WAIT << 60 | unit | semaphore << 48 | count)
        give = sum(1 << s for s in job.gives)
        flags = job.last << 50 | job.predicated << 49 | job.mark << 48
        words.append(isa.Op.START << 60 | unit | flags | (job.layer & 0xFFFF) << 32 | give << 16 | take)
    words.append(isa.Op.END << 60)
    return np.array(words, dtype=np.uint64)


def _mask(bits: int) -> str:
    """Semaphores of a mask, for people."""
    return ",".join(str(i) for i in range(16) if bits >> i & 1) or "-"


def disassemble(cfg: Config, words: NDArray[np.uint64]) -> Iterator[str]:
    """One line per word, as written to ``program.lst``."""
    tables = isa.units(cfg)
    for address, word in enumerate(int(w) for w in words):
        op, unit_number, selector = word >> 60, word >> 56 & 15, word >> 48 & 255
        text = f"illegal {word:016x}"
        unit = isa.Unit(unit_number) if unit_number in tables else None
        if op == isa.Op.HASH:
            text = f"HASH   {word & (1 << 56) - 1:014x}"
        elif op == isa.Op.END:
            text = "END"
        elif unit is not None and op == isa.Op.SET and selector < len(tables[unit]):
            register = tables[unit][selector]
            fields = " ".join(f"{k}={v}" for k, v in unpack(register, word & (1 << 48) - 1).items())
            text = f"SET    {unit.name}.{register.name} {fields}"
        elif unit is not None and op == isa.Op.WAIT:
            text = f"WAIT   {unit.name} semaphore={selector} count={word & 0xFFFF}"
        elif unit is not None and op == isa.Op.START:
            flags = ("mark", "predicated", "last")
            mark = "".join(f" {name}" for place, name in enumerate(flags, 48) if word >> place & 1)
            take, give, layer = _mask(word & 0xFFFF), _mask(word >> 16 & 0xFFFF), word >> 32 & 0xFFFF
            text = f"START  {unit.name} take={take} give={give} layer={layer}{mark}"
        yield f"{address:6d}  {word:016x}  {text}"
