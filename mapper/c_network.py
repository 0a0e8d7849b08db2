"""A program as C sources for the driver: description of the network, and its program and constants as linked data."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dataflows import isa
from mapper.compile import Program

FILES = ("program.bin", "memory.bin")
"""What the assembler file includes: program and constants, as they lie in DRAM."""


def c_files(program: Program) -> dict[str, str]:
    """Contents of ``<name>_network.h``, ``.c`` and ``.S`` by file name; ``rtl/driver/stationary.h`` has the types.

    None where layers run on the host: the driver runs one program.
    """
    if program.runs:
        return {}
    name = c_name(program.network.name)
    return {
        f"{name}_network.h": _header(program, name),
        f"{name}_network.c": _source(program, name),
        f"{name}_network.S": _data(name),
    }


def c_name(name: str) -> str:
    """A model's name as an identifier of C."""
    plain = re.sub(r"[^0-9A-Za-z_]", "_", name)
    return plain if re.match(r"[A-Za-z]", plain) else f"m{plain}"


def _header(program: Program, name: str) -> str:
    """Declaration of the network, and where its tensors stand in it."""
    network, upper = program.network, name.upper()
    lines = [
        f"/* {name} for {program.cfg.name} ({program.cfg.hash}). Generated; do not edit. */",
        f"#ifndef {upper}_NETWORK_H",
        f"#define {upper}_NETWORK_H",
        '\n#include "stationary.h"',
        f"\nextern const struct stationary_network {name}_network;\n",
    ]
    for kind, tensors in (("INPUT", network.inputs), ("OUTPUT", network.outputs)):
        for place, tensor in enumerate(tensors):
            shape = " x ".join(map(str, network.tensors[tensor].shape))
            lines.append(f"#define {upper}_{kind}_{c_name(tensor).upper()} {place}u /* {shape} */")
    return "\n".join([*lines, "\n#endif", ""])


def _source(program: Program, name: str) -> str:
    """Definition of the network."""
    network = program.network
    orders = [t for t in network.outputs if t in network.output_order]
    lines = [f'#include "{name}_network.h"', f"\nextern const unsigned char {name}_program[], {name}_constants[];"]
    for tensor in orders:
        values = network.output_order[tensor].tolist()
        lines.append(f"\nstatic const uint32_t order_{network.outputs.index(tensor)}[{len(values)}] = {{")
        lines += [f"    {', '.join(f'{v}u' for v in values[i : i + 16])}," for i in range(0, len(values), 16)]
        lines.append("};")
    for kind, tensors in (("inputs", network.inputs), ("outputs", network.outputs)):
        lines.append(f"\nstatic const struct stationary_tensor {kind}[{len(tensors)}] = {{")
        for place, tensor in enumerate(tensors):
            order = f"order_{place}" if kind == "outputs" and tensor in orders else "0"
            lines += _tensor(program, tensor, order)
        lines.append("};")
    sizes = ", ".join(f"{program.region_bytes.get(region, 0)}u" for region in isa.Region)
    lines += [
        f"\nconst struct stationary_network {name}_network = {{",
        f'    .name = "{name}",',
        f"    .hash = UINT64_C(0x{program.cfg.hash}),",
        f"    .program_words = {len(program.words)}u,",
        f"    .layers = {len(program.schedule)}u,",
        f"    .bytes = {{{sizes}}},",
        f"    .inputs = {len(network.inputs)}u,",
        f"    .outputs = {len(network.outputs)}u,",
        "    .input = inputs,",
        "    .output = outputs,",
        f"    .program = {name}_program,",
        f"    .constants = {name}_constants,",
        "};\n",
    ]
    return "\n".join(lines)


def _tensor(program: Program, name: str, order: str) -> Iterator[str]:
    """Initializer of one tensor."""
    tensor, place = program.network.tensors[name], program.places[name]
    yield "    {"
    yield f'        .name = "{c_name(name)}",'
    yield f"        .region = STATIONARY_REGION_{place.region.name},"
    yield f"        .offset = {place.offset}u, .bytes = {tensor.bytes}u,"
    yield f"        .shape = {{{', '.join(f'{extent}u' for extent in tensor.shape)}}},"
    yield f"        .bits = {tensor.bits}u, .pitch = {tensor.pitch}u,"
    yield f"        .scale = {float(tensor.scale)!r}f, .zero = {int(tensor.zero)},"
    yield f"        .order = {order},"
    yield "    },"


def _data(name: str) -> str:
    """Program and constants as read-only data, for GNU as and what understands it."""
    lines = ["    .section .rodata"]
    for symbol, file in zip((f"{name}_program", f"{name}_constants"), FILES, strict=True):
        lines += ["    .balign 64", f"    .global {symbol}", f"{symbol}:", f'    .incbin "{file}"']
    return "\n".join([*lines, '    .section .note.GNU-stack, "", %progbits', ""])
