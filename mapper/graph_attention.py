"""Nodes of transformers in the float graph. A sequence of L tokens of C channels is (N, C, 1, L): tokens are pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from mapper.graph import FloatGraph, Floats, Node


@dataclass(frozen=True)
class Attention(Node):
    """Scaled dot-product attention; inputs are queries (N, C, 1, Lq), keys and values (N, C, 1, Lk).

    Attributes
    ----------
    heads : int
        Heads; head h is channels h*D to h*D + D - 1.
    factor : float
        What products of queries and keys are multiplied with.
    causal : bool
        Query i sees keys up to i + Lk - Lq.
    lengths : tuple of int or None
        Keys that count in each of the N samples; None: all. More samples than N begin again with the first.
    """

    op: ClassVar[str] = "attention"
    heads: int = 1
    factor: float = 1.0
    causal: bool = False
    lengths: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Norm(Node):
    """Layer norm, or RMS norm if not ``centered``, over the channels of each pixel; gain and bias (channels,)."""

    op: ClassVar[str] = "norm"
    centered: bool = True
    epsilon: float = 1e-5
    gain: Floats = field(default_factory=lambda: np.ones(1, np.float32))
    bias: Floats = field(default_factory=lambda: np.zeros(1, np.float32))


@dataclass(frozen=True)
class Lookup(Node):
    """A function of single elements, by its name in ``mapper.functions``."""

    op: ClassVar[str] = "lookup"
    function: str = "gelu"


@dataclass(frozen=True)
class Embedding(Node):
    """Rows of ``table`` (entries, C), chosen by the input (N, 1, 1, L), which holds integers."""

    op: ClassVar[str] = "embedding"
    table: Floats = field(default_factory=lambda: np.zeros((1, 1), np.float32))


@dataclass(frozen=True)
class Constant(Node):
    """``value`` (1, C, H, W) for every sample; no inputs."""

    op: ClassVar[str] = "constant"
    value: Floats = field(default_factory=lambda: np.zeros((1, 1, 1, 1), np.float32))


@dataclass(frozen=True)
class Slice(Node):
    """Tokens ``start`` to ``stop - 1`` of a sequence."""

    op: ClassVar[str] = "slice"
    start: int = 0
    stop: int = 1


@dataclass(frozen=True)
class Respace(Node):
    """The same pixels in the same order, in a map of another ``height`` and ``width``."""

    op: ClassVar[str] = "respace"
    height: int = 1
    width: int = 1


def has_lengths(graph: FloatGraph) -> bool:
    """Whether samples of a batch have lengths of their own."""
    return any(isinstance(node, Attention) and node.lengths is not None for node in graph.nodes)


def id_inputs(graph: FloatGraph) -> dict[str, int]:
    """Inputs that hold integers, and how many rows the smallest table that they choose from has."""
    found: dict[str, int] = {}
    for node in graph.nodes:
        if isinstance(node, Embedding):
            found[node.inputs[0]] = min(len(node.table), found.get(node.inputs[0], len(node.table)))
    return found
