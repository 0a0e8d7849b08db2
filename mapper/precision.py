"""What ``--bits`` says of a layer, and what that is on one accelerator (``docs/bits.md``)."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Literal, get_args

from dataflows.config import Config
from dataflows.errors import InputError

Scheme = Literal["linear", "ternary", "ttq", "binary"]
"""How weights become integers.

``linear``: the nearest of equally spaced levels; ``ternary``: -1, 0 and +1 times one scale per output channel (TWN);
``ttq``: zero, one positive and one negative value per layer (TTQ); ``binary``: -1 and +1 times one scale per output
channel (XNOR-Net).
"""

LEAST_BITS: dict[Scheme, int] = {"linear": 2, "ternary": 2, "ttq": 4, "binary": 1}
"""Width that the integers of a scheme need; those of ``ttq`` are the better the wider, and 4 bits are enough."""

WIDTHS = (*range(1, 9), 16)
"""Widths that some accelerator takes."""


@dataclass(frozen=True)
class Request:
    """Widths of a layer as they were asked for; None: whatever suits the accelerator."""

    a_bits: int | None = None
    w_bits: int | None = None
    scheme: Scheme = "linear"
    text: str = ""


@dataclass(frozen=True)
class Precision:
    """Widths of a layer: bits of its input and of its weights, and how its weights get them."""

    a_bits: int
    w_bits: int
    scheme: Scheme = "linear"

    def __str__(self) -> str:
        """As ``--bits`` takes it."""
        weights = str(self.w_bits) if self.scheme == "linear" else self.scheme
        return f"{self.a_bits}/{weights}"

    @property
    def request(self) -> Request:
        """What asks for it."""
        return request(str(self))


def request(text: str) -> Request:
    """Read ``8``, ``8/4``, ``8/ternary`` or ``binary``.

    Raises
    ------
    argparse.ArgumentTypeError
        For anything else.
    """
    first, slash, second = text.partition("/")
    if not slash and first in get_args(Scheme)[1:]:
        return Request(scheme=_scheme(first), text=text)
    a_bits = _width(first, text)
    second = second if slash else first
    if second in get_args(Scheme)[1:]:
        return Request(a_bits, None, _scheme(second), text)
    w_bits = _width(second, text)
    return Request(a_bits, w_bits, "binary" if w_bits == 1 else "linear", text)


def _scheme(word: str) -> Scheme:
    found: dict[str, Scheme] = {"ternary": "ternary", "ttq": "ttq", "binary": "binary"}
    return found[word]


def _width(part: str, text: str) -> int:
    if not part.isdecimal() or int(part) not in WIDTHS:
        raise argparse.ArgumentTypeError(
            "must be bits (1 to 8, or 16), INPUTS/WEIGHTS, or ternary, ttq or binary for weights, as in 4, 8/4, "
            f"8/ternary or fc=4/4, not {text!r}"
        )
    return int(part)


def usual(cfg: Config) -> Precision:
    """Precision of layers that nothing is said about: 8 bits where there are any, else the widest."""
    bits = 8 if 8 in cfg.operand_bits else cfg.operand_bits[-1]
    return Precision(bits, bits, "binary" if bits == 1 else "linear")


def resolve(wanted: Request, cfg: Config) -> Precision:
    """The precision asked for, on one accelerator.

    Words leave the width to the accelerator: weights get the narrowest that holds their integers, inputs the usual one.

    Raises
    ------
    InputError
        When it has no multipliers for these widths.
    """
    there = cfg.operand_bits
    a_bits = usual(cfg).a_bits if wanted.a_bits is None else wanted.a_bits
    w_bits = wanted.w_bits
    if w_bits is None:
        enough = [bits for bits in there if bits >= LEAST_BITS[wanted.scheme]]
        w_bits = enough[0] if enough else there[-1]
        if wanted.scheme != "binary" and w_bits == 1:
            raise InputError(f"--bits {wanted.text}: weights of {cfg.name} have 1 bit and are never zero; use binary")
    for what, bits in (("inputs", a_bits), ("weights", w_bits)):
        if bits not in there:
            raise InputError(
                f"--bits {wanted.text}: {cfg.name} takes operands of {counted(*there)}, not "
                f"{what} of {bits}; {_advice(cfg, bits)}"
            )
    return Precision(a_bits, w_bits, wanted.scheme)


def counted(*widths: int) -> str:
    """Widths for people: ``1 bit``, ``2 3 4 bits``."""
    return " ".join(map(str, widths)) + (" bit" if widths == (1,) else " bits")


def _advice(cfg: Config, bits: int) -> str:
    if cfg.multiplier is None and bits in (8, 16):
        return "set numbers.act_bits in its file"
    if cfg.multiplier is None:
        return "configurations with [multiplier], like configs/ws16_fusion.toml, take narrow ones"
    return "multiplier.kind and its widths are set in its file"
