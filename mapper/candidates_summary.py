"""How many candidates the queries of a layer have: as its options say, and as the data of a run has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflows.attention import Attention
from dataflows.network import Layer, Network

if TYPE_CHECKING:
    from mapper.run import Run


@dataclass(frozen=True)
class CandidatesSummary:
    """An attention layer that scores candidates only; the key ``candidates`` of a layer in ``--json``.

    Attributes
    ----------
    keys, steps : int
        Keys of the layer, and steps of a search.
    found : float or None
        Candidates of a query and head, on average; None: only a run knows.
    fewest, most : int or None
        The same of a single query.
    """

    keys: int
    steps: int
    found: float | None
    fewest: int | None
    most: int | None

    @property
    def text(self) -> str:
        """For tables and reports."""
        if self.found is None:
            return f"up to {min(self.keys, self.steps):,} of {self.keys:,}"
        spread = f" ({self.fewest:,} to {self.most:,})" if self.fewest != self.most else ""
        return f"{self.found:,.4g} of {self.keys:,}{spread}"


def candidates_summary(network: Network, layer: Layer, run: Run | None) -> CandidatesSummary | None:
    """The summary of a layer; None if it scores all keys."""
    if not isinstance(layer, Attention) or not layer.candidates:
        return None
    keys, counts = network.tensors[layer.inputs[1]].shape[2], run.candidates.get(layer.name) if run else None
    if not counts:
        return CandidatesSummary(keys, layer.candidates, None, None, None)
    return CandidatesSummary(keys, layer.candidates, sum(counts) / len(counts), min(counts), max(counts))
