"""Files that are nearly right: models and configurations with something changed, and what a command makes of each.

Archives are changed inside (JSON, source text, tensors) and put together again, so that checksums do not catch
everything; texts line by line and word by word; some of each kind byte by byte.
"""

import io
import json
import multiprocessing
import random
import re
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from mapper.cli import FINE, UNUSABLE, main

PATIENCE = 120
"""Seconds for a small model: a command that takes longer hangs."""

NUMBERS = (0, 1, -1, 2, 3, 7, 255, 256, 4096, 1 << 31, -(1 << 31), 1 << 63, 10**30, 0.5, -0.5, 1e-30, 1e30)


def mutated(kind: str, data: bytes, rng: random.Random) -> bytes:
    """A file of a kind ("archive", "text" or "bytes"), changed."""
    if kind == "bytes" or rng.random() < 0.15:
        return _bytes(data, rng)
    return _text(data, rng) if kind == "text" else _archive(data, rng)


def _bytes(data: bytes, rng: random.Random) -> bytes:
    """Cut off, or some bytes others."""
    if rng.random() < 0.4:
        return data[: rng.randrange(len(data))]
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8, 64])):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _archive(data: bytes, rng: random.Random) -> bytes:
    """One member is missing, empty or different."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    interesting = [name for name in members if name.endswith((".json", ".py"))]
    name = rng.choice(interesting if interesting and rng.random() < 0.8 else list(members))
    if rng.random() < 0.05:
        del members[name]
    elif name.endswith(".json") and rng.random() < 0.9:
        members[name] = _json(members[name], rng)
    elif name.endswith(".py"):
        members[name] = _text(members[name], rng)
    elif members[name]:
        members[name] = _bytes(members[name], rng)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def _json(data: bytes, rng: random.Random) -> bytes:
    """Some values are others, or missing."""
    document = json.loads(data)
    for _ in range(rng.choice([1, 1, 2, 5])):
        places = list(_places(document))
        if not places:
            break
        holder, key = rng.choice(places)
        what = rng.random()
        if what < 0.2:
            del holder[key]
        elif what < 0.4:
            other, place = rng.choice(places)
            holder[key] = json.loads(json.dumps(other[place]))  # what stands elsewhere
        else:
            holder[key] = _other(holder[key], rng)
    return json.dumps(document).encode()


def _places(value: object):
    """Every place of a document: what holds it, and its key there."""
    keys = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, held in list(keys):
        yield value, key
        yield from _places(held)


def _other(value: object, rng: random.Random) -> object:
    """Another value of the same type, or of another one."""
    if rng.random() < 0.2:
        return rng.choice([None, True, [], {}, "", "x", *NUMBERS])
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return rng.choice([*NUMBERS, value + 1, -value, 2 * value])
    if isinstance(value, str) and value:
        place = rng.randrange(len(value))
        return value[:place] + rng.choice(["", "_", "é", value[place] * 2]) + value[place + 1 :]
    return None


def _text(data: bytes, rng: random.Random) -> bytes:
    """Lines and words are missing, twice, elsewhere or others."""
    lines = data.decode(errors="replace").splitlines()
    for _ in range(rng.choice([1, 1, 2, 4])):
        if not lines:
            break
        at, what = rng.randrange(len(lines)), rng.random()
        if what < 0.15:
            del lines[at]
        elif what < 0.25:
            lines.insert(rng.randrange(len(lines) + 1), lines[at])
        else:
            lines[at] = _line(lines[at], rng)
    return "\n".join(lines).encode()


def _line(line: str, rng: random.Random) -> str:
    """A number or a word of a line is another one."""
    words = list(re.finditer(r"-?\d+(\.\d+)?|\w+|[^\w\s]", line))
    if not words:
        return rng.choice(["[", "x = ", "\x00", "= 1"])
    word = rng.choice(words)
    text = word.group()
    if re.fullmatch(r"-?\d+(\.\d+)?", text) and rng.random() < 0.8:
        new = str(rng.choice([*NUMBERS, f"{text}0", "nan", "inf", f'"{text}"', f"[{text}]", "true"]))
    else:
        new = str(_other(text, rng))
    return line[: word.start()] + new + line[word.end() :]


def outcome(command: list[str], folder: Path) -> str | None:
    """What is wrong with how a command ends; None: it is fine. ``folder`` is where it writes."""
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_run, args=(command, folder / "log"))
    process.start()
    process.join(PATIENCE)
    if process.is_alive():
        process.kill()
        process.join()
        return f"no end after {PATIENCE} s"
    log = (folder / "log").read_text(errors="replace") if (folder / "log").exists() else ""
    written = (folder / "out").exists()
    if process.exitcode == FINE:
        return None if written else "nothing was written"
    if process.exitcode != UNUSABLE:
        return f"exit status {process.exitcode}: {log[-2000:]}"
    errors = [line for line in log.splitlines() if line.startswith("error: ")]
    if "Traceback" in log or len(errors) != 1:
        return f"not one clear message: {log[-2000:]}"
    return "something was written" if written else None


def _run(command: list[str], log: Path) -> None:
    """The command in a process of its own, what it says in a file."""
    with log.open("w") as sys.stdout:
        sys.stderr = sys.stdout
        status = main(command)
        sys.stdout.flush()
    sys.stdout = sys.__stdout__
    sys.exit(status)


def failures(
    kind: str, data: bytes, command: Callable[[Path], list[str]], count: int, seed: int, folder: Path
) -> list[str]:
    """What is wrong with commands on ``count`` mutations of a file; the files of those stay in ``folder``."""
    found = []
    for number in range(count):
        place = folder / str(number)
        place.mkdir()
        file = place / "file"
        file.write_bytes(mutated(kind, data, random.Random(f"{seed}.{number}")))
        wrong = outcome([*command(file), "--out", str(place / "out")], place)
        if wrong:
            found.append(f"{file}: {wrong}")
    return found
