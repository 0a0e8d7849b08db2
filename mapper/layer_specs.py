"""Options that hold for all layers or for some: ``0.1``, ``fc1=0.1,fc2=0.25``, or ``0.5,fc1=0.1``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from dataflows.errors import InputError

Value = TypeVar("Value")

LISTED = 24
"""Layers that a message names at most."""


@dataclass(frozen=True)
class LayerSpec(Generic[Value]):
    """A value per layer.

    Attributes
    ----------
    default : value of layers that are not named; None: they have none
    layers : values by layer name
    text : as it was written, for messages and to write it again
    """

    default: Value | None = None
    layers: Mapping[str, Value] = field(default_factory=dict)
    text: str = ""

    @property
    def values(self) -> list[Value]:
        """All values that some layer may get."""
        return [*self.layers.values(), *([] if self.default is None else [self.default])]

    def resolve(self, names: Sequence[str], option: str, usual: Collection[str] | None = None) -> dict[str, Value]:
        """The value of every layer that has one.

        Parameters
        ----------
        names : layers that the option can be given for
        option : its name, for messages
        usual : layers that the default is for (all of them)

        Raises
        ------
        InputError
            When a layer is named that is not among ``names``.
        """
        for name in self.layers:
            if name not in names:
                there = ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "")
                raise InputError(f"{option}: there is no such layer as {name!r}; there are {there or 'none'}")
        result = {} if self.default is None else {n: self.default for n in names if usual is None or n in usual}
        return {**result, **self.layers}


def parse(text: str, value: Callable[[str], Value]) -> LayerSpec[Value]:
    """Read a specification; ``value`` reads one value.

    Raises
    ------
    argparse.ArgumentTypeError
        For empty parts and layers named twice; and what ``value`` raises.
    """
    default: Value | None = None
    layers: dict[str, Value] = {}
    for part in text.split(","):
        name, equals, content = part.strip().rpartition("=")
        if not content or (equals and not name):
            raise argparse.ArgumentTypeError(f"must be a value, or LAYER=value,LAYER=value,..., not {text!r}")
        if name in layers or (not equals and default is not None):
            raise argparse.ArgumentTypeError(f"{text!r} gives {name or 'all layers'} two values")
        if equals:
            layers[name] = value(content)
        else:
            default = value(content)
    return LayerSpec(default, layers, text)


def parser(value: Callable[[str], Value]) -> Callable[[str], LayerSpec[Value]]:
    """:func:`parse` as the ``type`` of an option."""
    return lambda text: parse(text, value)


def pattern(text: str) -> tuple[int, int]:
    """``N:M``: at most N of M weights stay."""
    most, colon, group = text.partition(":")
    if not (colon and most.isdecimal() and group.isdecimal() and 0 < int(most) <= int(group)):
        raise argparse.ArgumentTypeError(f"must be N:M, N of M weights with 0 < N <= M, e.g. 2:4, not {text!r}")
    return int(most), int(group)
