"""Words that are no commands."""

from dataflows import isa
from dataflows.config import Config
from dataflows.isa import Op, Unit


def illegal_words(cfg: Config) -> dict[str, int]:
    """Every kind of word that is no command, from the description of the commands."""
    tables = isa.units(cfg)
    words = {f"opcode {op}": op << 60 | 0x123 for op in range(16) if op not in list(Op)}
    for op in (Op.SET, Op.WAIT, Op.START):
        words |= {f"{op.name} unit {unit}": op << 60 | unit << 56 for unit in (len(tables), 15)}
    for unit, registers in tables.items():
        head = Op.SET << 60 | unit << 56
        words[f"SET {unit.name} register {len(registers)}"] = head | len(registers) << 48 | 7
        words[f"SET {unit.name} register 255"] = head | 255 << 48
        for number, register in enumerate(registers):
            bits = sum(field.bits for field in register.fields)
            if bits < isa.VALUE_BITS:
                words[f"SET {unit.name}.{register.name} bit {bits}"] = head | number << 48 | 1 << bits
    for unit in tables:
        wait, start = Op.WAIT << 60 | unit << 56, Op.START << 60 | unit << 56
        words[f"WAIT {unit.name} semaphore"] = wait | cfg.control.semaphores << 48 | 1
        words[f"WAIT {unit.name} semaphore 255"] = wait | 255 << 48 | 1
        words[f"START {unit.name} takes"] = start | 1 << cfg.control.semaphores
        words[f"START {unit.name} gives"] = start | 1 << 16 + 15
        words[f"START {unit.name} reserved"] = start | 1 << (51 if cfg.attention else 49)
        if unit is not Unit.STORE:
            words[f"START {unit.name} mark"] = start | 1 << 48
    words["WAIT count"] = Op.WAIT << 60 | 1 << isa.SEMAPHORE_BITS
    words["WAIT reserved"] = Op.WAIT << 60 | 1 << 16
    words["END operand"] = Op.END << 60 | 1
    words["HASH unit"] = Op.HASH << 60 | 1 << 56
    words["second HASH"] = Op.HASH << 60 | cfg.hash_value
    return words
