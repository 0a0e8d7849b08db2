"""Runs of a decoder, one behind the other: at which position each begins, and what its caches hold then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dataflows.attention import Append
from dataflows.errors import InputError
from dataflows.network import Codes, Network


@dataclass
class Generation:
    """State between the runs of a network; without caches there is none, and every run is at position 0.

    Attributes
    ----------
    tokens : int
        Tokens of a run, 0 without caches.
    position : int
        Tokens before those of the next run.
    caches : arrays by name
        What the caches hold before the next run.
    """

    network: Network
    tokens: int = 0
    position: int = 0
    caches: dict[str, Codes] = field(default_factory=dict)

    @staticmethod
    def of(
        network: Network, runs: int, position: int = 0, caches: Mapping[str, Codes] | None = None
    ) -> Generation:
        """Before the first of some runs, at a position, with caches as they are given (else empty).

        Raises :class:`InputError` if they do not hold the tokens of all runs.
        """
        tensors = network.tensors
        appends = [layer for layer in network.layers if isinstance(layer, Append)]
        if not appends:
            return Generation(network)
        tokens = tensors[appends[0].inputs[0]].shape[2]
        most = min(tensors[layer.output].shape[2] for layer in appends)
        if position + runs * tokens > most:
            raise InputError(
                f"{runs} runs of {tokens} tokens from position {position} on do not fit the caches, which hold {most}; "
                f"give at most {max(0, most - position) // tokens} samples"
            )
        empty = {name: np.zeros(tensors[name].shape, tensors[name].dtype) for name in network.caches}
        return Generation(network, tokens, position, empty | dict(caches or {}))

    @property
    def before(self) -> dict[str, Any]:
        """Arguments of the golden model for the next run."""
        return {"caches": self.caches, "position": self.position} if self.caches else {}

    def go_on(self, values: dict[str, Codes]) -> None:
        """A run has left these tensors."""
        self.caches = {name: values[name] for name in self.network.caches}
        self.position += self.tokens
