"""Values of options: one message each for what they may not be."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from mapper.conv_plan import ENGINES


def number(
    kind: Callable[[str], float], wanted: str, allowed: Callable[[float], bool]
) -> Callable[[str], float]:
    """Parser of one number, with one message for everything it may not be."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not allowed(value):
            raise argparse.ArgumentTypeError(f"must be {wanted}, not {text!r}")
        return value

    return parse


def path_to(text: str) -> Path:
    """A place to write to; nothing is what an unset variable of a shell leaves."""
    if not text:
        raise argparse.ArgumentTypeError("must be a path, not empty")
    return Path(text)


def factory(text: str) -> str:
    """Where to find a class or function: ``package.module:factory``."""
    place, _, name = text.partition(":")
    if not all(part.isidentifier() for part in (*place.split("."), *name.split("."))):
        raise argparse.ArgumentTypeError(f"must be package.module:factory, not {text!r}")
    return text


def shape(text: str) -> tuple[int, ...]:
    """Sizes of an input, ``N,C,H,W``, ``N,L,C`` or ``N,features``."""
    try:
        sizes = tuple(int(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        sizes = ()
    if not 2 <= len(sizes) <= 4 or min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"must be N,C,H,W or N,L,C or N,features in positive integers, not {text!r}")
    return sizes


def engine(text: str) -> dict[str, str] | str:
    """One engine for all layers, or engines by layer."""
    if text in ENGINES:
        return text
    choices: dict[str, str] = {}
    for part in text.split(","):
        name, equals, choice = part.rpartition("=")
        if not equals or not name or choice not in ENGINES:
            wanted = f"{', '.join(ENGINES)}, or LAYER=ENGINE,... with one of these"
            raise argparse.ArgumentTypeError(f"must be {wanted}, not {text!r}")
        choices[name] = choice
    return choices
