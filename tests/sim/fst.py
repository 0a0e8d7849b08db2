"""Just enough of an FST reader to see which signals a waveform file holds."""

import struct
from pathlib import Path

HIERARCHY_LZ4 = 6


def blocks(path: Path) -> dict[int, bytes]:
    """The last block of each type, without type and length."""
    content, at, found = path.read_bytes(), 0, {}
    while at < len(content):
        (length,) = struct.unpack_from(">Q", content, at + 1)
        found[content[at]] = content[at + 9 : at + 1 + length]
        at += 1 + length
    assert at == len(content), "the last block is cut off"
    return found


def lz4(data: bytes, size: int) -> bytes:
    """Decompress one LZ4 block, whose result must have ``size`` bytes."""
    out, at = bytearray(), 0

    def length(nibble: int) -> int:
        nonlocal at
        total = nibble
        while nibble == 15:
            total += data[at]
            at += 1
            if data[at - 1] != 255:
                break
        return total

    while True:
        token = data[at]
        at += 1
        literals = length(token >> 4)
        out += data[at : at + literals]
        at += literals
        if at == len(data):
            break
        offset = int.from_bytes(data[at : at + 2], "little")
        at += 2
        for _ in range(length(token & 15) + 4):
            out.append(out[-offset])
    assert len(out) == size
    return bytes(out)


def signal_names(path: Path) -> set[str]:
    """Names of all variables, without ranges."""
    block = blocks(path)[HIERARCHY_LZ4]
    text = lz4(block[8:], struct.unpack_from(">Q", block)[0])
    names, at = set(), 0

    def string() -> str:
        nonlocal at
        end = text.index(0, at)
        found, at = text[at:end], end + 1
        return found.decode()

    def varint() -> None:
        nonlocal at
        while text[at] & 128:
            at += 1
        at += 1

    while at < len(text):
        tag = text[at]
        at += 1
        if tag == 254:  # scope: type, name, component
            at += 1
            string(), string()
        elif tag == 252:  # attribute: type, subtype, name, argument
            at += 2
            string(), varint()
        elif tag < 32:  # variable: direction, name, length, alias
            at += 1
            names.add(string().split(" ")[0])
            varint(), varint()
        else:
            assert tag in (253, 255), f"unknown tag {tag}"
    return names
