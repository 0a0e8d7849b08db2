"""Layers of transformers (``docs/numerics.md``, section 9). A sequence is N x 1 x L x C: tokens are pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dataflows.network import Layer, Tensor

GAIN_FRACTION = 12
"""Fraction bits of what a norm multiplies with its gain."""

MAX_NORM_SHIFT = 37
"""Largest shift behind a norm."""


@dataclass(frozen=True)
class Attention(Layer):
    """Scaled dot-product attention; inputs are the names of queries, keys and values, and of the list of keys, if any.

    Attributes
    ----------
    heads : int
        Heads; head h is channels h*D to h*D + D - 1.
    factor : float
        float32 value that products of queries and keys are multiplied with.
    causal : bool
        Query i sees keys up to i + Lk - Lq.
    lengths : tuple of int or None
        Keys that count in each sample of a batch; None: all.
    keep_values : int or None
        Keys of each head whose values are added up (section 10); None: all.
    value_threshold : float
        float32 probability below which, in all rows, the value of a key is left out (section 10); 0: none is.
    candidates : int
        Steps of the search for keys that are scored (section 13); 0: all are.
    least : int
        Numerators below it become 0 (section 13).
    """

    op: ClassVar[str] = "attention"
    heads: int = 1
    factor: float = 1.0
    causal: bool = False
    lengths: tuple[int, ...] | None = None
    cached: bool = False
    threshold: float = 0.0
    keep_values: int | None = None
    value_threshold: float = 0.0
    candidates: int = 0
    least: int = 0

    @property
    def approximate(self) -> str | None:
        """The first of its fields that leaves out single keys or values (sections 10 and 13)."""
        asked = {
            "keep_values": self.keep_values is not None, "value_threshold": self.value_threshold,
            "candidates": self.candidates, "least": self.least,
        }  # fmt: skip
        return next((name for name, is_set in asked.items() if is_set), None)

    @property
    def listed(self) -> str | None:
        """The list of the keys that it attends to; None: to all."""
        return self.inputs[3] if len(self.inputs) > 3 else None

    def keys(self, tensors: Mapping[str, Tensor]) -> int:
        """Keys of a row; of candidates the most that there can be, one per step."""
        count = tensors[self.listed or self.inputs[1]].shape[2]
        return min(count, self.candidates) if self.candidates else count

    def selects_values(self, keys: int) -> bool:
        """Whether values of some of so many keys may be left out, by the probabilities of a whole head."""
        return bool(self.value_threshold) or (self.keep_values or keys) < keys

    def macs(self, tensors: Mapping[str, Tensor]) -> int:
        """Queries times keys and probabilities times values, whatever the mask; without those left out by rank."""
        n, _, queries, channels = tensors[self.inputs[0]].shape
        keys = self.keys(tensors)
        return n * queries * (keys + (self.keep_values or keys)) * channels


@dataclass(frozen=True)
class Norm(Layer):
    """Layer norm, or RMS norm if not ``centered``, over the channels of each token.

    Attributes
    ----------
    gain, bias : float32 arrays (channels,)
    epsilon : float
        float32 value that is added to the variance.
    """

    op: ClassVar[str] = "norm"
    centered: bool = True
    epsilon: float = 1e-5
    gain: NDArray[np.float32] = field(default_factory=lambda: np.ones(1, np.float32))
    bias: NDArray[np.float32] = field(default_factory=lambda: np.zeros(1, np.float32))


@dataclass(frozen=True)
class Lookup(Layer):
    """A function of single codes: ``table[q + 128]``.

    Attributes
    ----------
    function : str
        Its name, for tables and reports.
    table : int8 array (256,)
    """

    op: ClassVar[str] = "lookup"
    function: str = "table"
    table: NDArray[np.int8] = field(default_factory=lambda: np.arange(-128, 128, dtype=np.int8))


@dataclass(frozen=True)
class Embedding(Layer):
    """Rows of a table, chosen by the codes of the input (N x 1 x L x 1, 16 bits, read without sign).

    Attributes
    ----------
    table : int8 array (entries, channels)
    """

    op: ClassVar[str] = "embedding"
    table: NDArray[np.int8] = field(default_factory=lambda: np.zeros((1, 1), np.int8))


@dataclass(frozen=True)
class Constant(Layer):
    """A value of the model, the same for every sample; no inputs.

    Attributes
    ----------
    value : int8 array (1, H, W, C)
    """

    op: ClassVar[str] = "constant"
    value: NDArray[np.int8] = field(default_factory=lambda: np.zeros((1, 1, 1, 1), np.int8))


@dataclass(frozen=True)
class Slice(Layer):
    """Tokens ``start`` to ``stop - 1`` of a sequence."""

    op: ClassVar[str] = "slice"
    start: int = 0
    stop: int = 1


@dataclass(frozen=True)
class Append(Layer):
    """A cache (1 x 1 x Lmax x C) with the tokens from ``position`` on replaced by those of the input."""

    op: ClassVar[str] = "append"


@dataclass(frozen=True)
class Positional(Layer):
    """Tokens from ``position`` on of a value of the model; no inputs.

    Attributes
    ----------
    value : int8 array (1, 1, Lmax, C)
    """

    op: ClassVar[str] = "positional"
    value: NDArray[np.int8] = field(default_factory=lambda: np.zeros((1, 1, 1, 1), np.int8))
