"""What is written beside the Verilog, all derived from the configuration: C header, register maps, lint waivers."""

from collections.abc import Iterator

from dataflows import config, isa
from dataflows.config import Config

_ENUMS = (isa.Op, isa.Unit, isa.Target, isa.Region, isa.Reduce, isa.Rows, isa.Activity, isa.Error)

_PARAMETERS = {
    "ROWS": "PE rows",
    "COLS": "PE columns",
    "LANES": "output channels per accumulator word",
    "INPUT_ELEMENTS": "elements of an input word at the array's edge",
    "WEIGHT_ELEMENTS": "elements of a weight word at the array's edge",
    "ACT_BYTES": "bytes of an element, activation or weight",
    "BUS_BYTES": "bytes per AXI beat",
    "INPUT_BYTES": "input buffer",
    "WEIGHT_BYTES": "weight buffer",
    "OPERAND_BYTES": "operand buffer",
    "ACC_BANK_WORDS": "words of lanes in each of the two accumulator banks",
    "PARAM_ENTRIES": "parameter entries",
    "PARAM_ENTRY_BYTES": "address pitch of parameter entries",
    "PARAM_LANE_BYTES": "address pitch of the lanes in an entry",
    "SEMAPHORES": "counting semaphores",
    "QUEUE_WORDS": "command words each unit's queue holds",
    "MARK_BYTES": "bytes of a record in the mark table",
}


_WINDOW_PARAMETERS = {
    "WINDOW_WORDS": "words of lanes in the longest row that windows slide over",
    "WINDOW_WEIGHTS_ADDRESS": "distance of taps 0 to 7 behind the parameters; tap 8 lies twice as far",
}

_CODEC_PARAMETERS = {
    "RUN_BITS": "width of a run of zeros in compressed blocks",
    "LEVEL_BITS": "width of an element in compressed blocks",
    "BLOCKS": "compressed blocks whose sizes are on chip",
}

_SPARSE_PARAMETERS = {
    "ENTRY_BYTES": "bytes of an entry of a compressed column",
    "SPARSE_WEIGHT_PITCH": "address pitch from one PE's entries to the next one's",
    "SPARSE_POINTER_PITCH": "address pitch from one PE's pointers to the next one's",
    "CODEBOOK_PITCH": "address pitch of codebooks",
}


_ATTENTION_PARAMETERS = {
    "ROW_BLOCKS": "words of lanes in the longest row of the row engine",
    "GAIN_BLOCKS": "blocks of lanes gains of norms",
    "GAIN_ENTRY_BYTES": "address pitch of blocks of gains; per lane 4 bytes of bias, 2 of gain, 2 unused",
    "TABLE_ENTRIES": "bytes of an activation table, by the code's byte without sign",
    "INDEX_BYTES": "bytes of an index in the lists of rows",
}


def parameters(cfg: Config) -> dict[str, tuple[int, str]]:
    """Numbers a driver needs, each with what it means."""
    sources = (cfg, cfg.array, cfg.memory, cfg.control, cfg.vector, cfg.codec, isa, config)
    docs = _PARAMETERS | (_WINDOW_PARAMETERS if cfg.vector else {}) | (_CODEC_PARAMETERS if cfg.codec else {})
    docs |= (_SPARSE_PARAMETERS if cfg.sparse else {}) | (_ATTENTION_PARAMETERS if cfg.attention else {})
    found = {
        name: (next(getattr(s, key) for s in sources for key in (name, name.lower()) if hasattr(s, key)), doc)
        for name, doc in docs.items()
    }
    for title, section in (("SPARSE", cfg.sparse), ("ATTENTION", cfg.attention)):
        for name, field in type(section).model_fields.items() if section else ():
            found[f"{title}_{name.upper()}"] = getattr(section, name), field.description or ""
    return found


def fields(register: isa.Register) -> Iterator[tuple[int, isa.Field]]:
    """Fields of a shadow register with the position of their lowest bit."""
    low = 0
    for field in register.fields:
        yield low, field
        low += field.bits


def c_header(cfg: Config) -> str:
    """Parameters, host registers and the command encoding for a driver in C."""
    prefix = cfg.name.upper()
    guard = f"{prefix}_H"
    heading = f"/* {cfg.name}: accelerator {cfg.hash}. Generated; do not edit. */"
    lines = [heading, f"#ifndef {guard}", f"#define {guard}"]

    def define(name: str, value: str, doc: str = "") -> None:
        lines.append(f"#define {prefix}_{name} {value}" + (f" /* {doc} */" if doc else ""))

    lines.append("\n/* Parameters */")
    define("HASH", f"0x{cfg.hash_value:014x}ULL", "must match the HASH registers")
    for name, (value, doc) in parameters(cfg).items():
        define(name, f"{value}u", doc)
    lines.append("\n/* Host registers: byte addresses */")
    for host in isa.HOST_REGISTERS:
        define(f"REG_{host.name}", f"0x{host.address:03x}u", f"{host.access}: {host.doc}")
    there = {isa.Unit: isa.units(cfg), isa.Target: isa.targets(cfg)}
    for enum in _ENUMS if cfg.attention else (e for e in _ENUMS if e is not isa.Rows):
        lines.append(f"\n/* {(enum.__doc__ or '').splitlines()[0]} */")
        for member in there.get(enum, enum):
            define(f"{enum.__name__.upper()}_{member.name}", f"{member.value}u")
    lines.append("\n/* Shadow registers: number, then lowest bit and width of each field */")
    for unit, registers in isa.units(cfg).items():
        for number, register in enumerate(registers):
            name = f"{unit.name}_{register.name.upper()}"
            define(name, f"{number}u")
            for low, field in fields(register):
                define(f"{name}_{field.name.upper()}_LOW", f"{low}u", field.doc)
                define(f"{name}_{field.name.upper()}_BITS", f"{field.bits}u", "signed" if field.signed else "")
    return "\n".join([*lines, f"\n#endif /* {guard} */", ""])


def registers_markdown(cfg: Config) -> str:
    """Register maps and command encoding as a document."""
    lines = [f"# {cfg.name}", "", f"{cfg.dataflow.title}, {cfg.array.rows} x {cfg.array.cols}. Hash `{cfg.hash}`."]
    lines += ["", "## Parameters", "", "| name | value | meaning |", "|---|---|---|"]
    lines += [f"| {name} | {value} | {doc} |" for name, (value, doc) in parameters(cfg).items()]
    lines += ["", "## Host registers", "", "AXI4-Lite, 32 bits. After a timeout ERROR_INFO has a bit for each"]
    lines += ["semaphore that a unit waits for (from bit 0) and for each unit that waits (from bit 16)."]
    lines += ["", "| address | name | access | meaning |", "|---|---|---|---|"]
    lines += [f"| 0x{r.address:03x} | {r.name} | {r.access} | {r.doc} |" for r in isa.HOST_REGISTERS]
    lines += ["", "### Errors", "", "| value | ERROR |", "|---|---|", *(f"| {e.value} | {e.name} |" for e in isa.Error)]
    lines += ["", "## Commands", "", "64-bit words, little-endian; bits without a meaning are zero.", ""]
    lines += ["| opcode [63:60] | name | other bits |", "|---|---|---|"]
    bits = {
        isa.Op.HASH: "[55:0] configuration hash; first word of every program",
        isa.Op.SET: "[59:56] unit, [55:48] register, [47:0] value",
        isa.Op.WAIT: f"[59:56] unit, [55:48] semaphore, [{isa.SEMAPHORE_BITS - 1}:0] count",
        isa.Op.START: "[59:56] unit, [15:0] semaphores to take, [31:16] semaphores to give, [47:32] tag, [48] mark",
        isa.Op.END: "none",
    }
    lines += [f"| {op.value} | {op.name} | {bits[op]} |" for op in isa.Op]
    for unit, registers in isa.units(cfg).items():
        lines += ["", f"## Unit {unit.value}: {unit.name}", ""]
        lines += ["| register | name | bits | field | meaning |", "|---|---|---|---|---|"]
        for number, register in enumerate(registers):
            for low, field in fields(register):
                kind = " (signed)" if field.signed else ""
                span = f"{low + field.bits - 1}:{low}"
                lines.append(f"| {number} | {register.name} | {span} | {field.name}{kind} | {field.doc} |")
    return "\n".join([*lines, ""])


_WAIVERS = (
    ("DECLFILENAME", None, "one file holds all modules"),
    ("WIDTHEXPAND", None, "Yosys leaves the extension of operands to Verilog, whose rules are the intended ones"),
    ("WIDTHTRUNC", None, "likewise; and it writes a comparison with zero as a logical not of a vector"),
    ("CASEINCOMPLETE", None, "every output of a case statement has a value before it"),
    ("UNUSEDSIGNAL", "Bits of signal are not used: *", "results are computed at full width, and structs pass whole"),
    ("UNUSEDSIGNAL", "Signal is not used: '$*", "a value that Yosys names and then writes in place"),
    ("UNUSEDSIGNAL", "Signal is not used: 's_axil_a?prot'", "AXI4-Lite has the port; all accesses are treated alike"),
    ("UNUSEDSIGNAL", "Signal is not used: 'level'", "most users of a queue need no level"),
    ("UNUSEDSIGNAL", "Signal is not used: 'i__ready'", "a user that counts credits knows that its queue is ready"),
    ("UNUSEDSIGNAL", "Signal is not used: 'o__valid'", "and one that counts entries that it has one"),
)


def lint_waivers(name: str) -> str:
    """Verilator configuration: what ``-Wall`` reports about Yosys's style of Verilog, and why it is right.

    ``name`` is that of the Verilog file without its ending.
    """
    lines = ["`verilator_config"]
    for rule, match, reason in _WAIVERS:
        lines.append(f"// {reason}")
        lines.append(f'lint_off -rule {rule} -file "*{name}.v"' + (f' -match "{match}"' if match else ""))
    return "\n".join([*lines, ""])
