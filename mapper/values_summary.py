"""What attention layers leave out of their values: as the options say, and as the data of a run has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflows.attention import Attention
from dataflows.network import Layer, Network

if TYPE_CHECKING:
    from mapper.run import Run


@dataclass(frozen=True)
class ValuesSummary:
    """An attention layer that leaves out values or small numerators; the key ``values`` of a layer in ``--json``.

    Attributes
    ----------
    keys : int
        Of a row.
    kept : float or None
        Values of a head that are loaded and multiplied, on average; None: only a run knows.
    fewest, most : int or None
        The same of a single head of a sample.
    threshold : float
        Probability below which, in all queries of a head, a value is left out; 0: it goes by rank.
    least : int
        Numerators below it, of at most 127, are 0; 0: none is.
    """

    keys: int
    kept: float | None
    fewest: int | None
    most: int | None
    threshold: float
    least: int

    @property
    def text(self) -> str:
        """For tables and reports."""
        if self.kept is None:
            return f"up to {self.keys:,} of {self.keys:,}"
        spread = f" ({self.fewest:,} to {self.most:,})" if self.fewest != self.most else ""
        return f"{self.kept:,.4g} of {self.keys:,}{spread}"


def values_summary(network: Network, layer: Layer, run: Run | None) -> ValuesSummary | None:
    """The summary of a layer; None if it leaves out neither."""
    if not isinstance(layer, Attention):
        return None
    keys = layer.keys(network.tensors)
    if not (layer.selects_values(keys) or layer.least):
        return None
    counts = run.values.get(layer.name) if run else None
    if counts is None and not layer.value_threshold:
        counts = [layer.keep_values or keys]
    kept = sum(counts) / len(counts) if counts else None
    fewest, most = (min(counts), max(counts)) if counts else (None, None)
    return ValuesSummary(keys, kept, fewest, most, layer.value_threshold, layer.least)
