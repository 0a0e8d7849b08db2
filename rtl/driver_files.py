"""The C driver as it is written beside the Verilog: sources as they are, and the header of what is generated."""

from pathlib import Path

from dataflows import isa

SOURCES = Path(__file__).parent / "driver"

_ENUMS = (isa.Region, isa.Unit, isa.Error)


def driver_files() -> dict[str, str]:
    """Contents of every file of the driver by its name; the same for all configurations."""
    copied = {path.name: path.read_text(encoding="utf-8") for path in sorted(SOURCES.glob("*.[ch]"))}
    return copied | {"stationary_registers.h": registers_header()}


def registers_header() -> str:
    """Host registers and the numbers that a host meets, of every configuration alike."""
    guard = "STATIONARY_REGISTERS_H"
    lines = ["/* Host registers of every accelerator. Generated; do not edit. */"]
    lines += [f"#ifndef {guard}", f"#define {guard}", "\n/* Byte addresses */"]
    for register in isa.HOST_REGISTERS:
        comment = f"/* {register.access}: {register.doc} */"
        lines.append(f"#define STATIONARY_REG_{register.name} 0x{register.address:03x}u {comment}")
    for enum in _ENUMS:
        lines.append(f"\n/* {(enum.__doc__ or '').splitlines()[0]} */")
        lines += [f"#define STATIONARY_{enum.__name__.upper()}_{member.name} {member.value}u" for member in enum]
    lines.append(f"\n#define STATIONARY_REGIONS {len(isa.Region)}u")
    lines.append(f"#define STATIONARY_MARK_BYTES {isa.MARK_BYTES}u /* of a record: cycle, then tag, 8 bytes each */")
    lines.append(f"#define STATIONARY_ERRORS(X) {' '.join(f'X({error.name})' for error in isa.Error)}")
    return "\n".join([*lines, f"\n#endif /* {guard} */", ""])
