"""What attention layers add to the importance of tokens and heads, while a network runs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dataflows.attention import Attention
from dataflows.errors import InputError
from dataflows.network import Codes, Layer, Network
from dataflows.pruning import Select
from sim.golden.attention import column_sums, columns, heads, shares, stays
from sim.golden.candidates import candidates
from sim.golden.pruning import head_magnitudes, importance, places, select, unsigned
from sim.golden.requantize import Ints


class Importance:
    """Sums of the layers that selections look at, and what selections have added up.

    Parameters
    ----------
    network : Network
    position : int
        Tokens before those of the run.
    """

    def __init__(self, network: Network, position: int = 0):
        self.network, self.position = network, position
        selections = [layer for layer in network.layers if isinstance(layer, Select)]
        self._wanted = {(name, layer.heads) for layer in selections for name in layer.observed}
        self._sums: dict[tuple[str, bool], Ints] = {}
        self._totals: dict[str, Ints] = {}

    def observe(self, layer: Layer, values: Mapping[str, Codes]) -> None:
        """Add up what an attention layer, which has just run, says."""
        if not isinstance(layer, Attention):
            return
        result, tensors = layer.output, self.network.tensors
        if (result, False) in self._wanted:
            sources = [tensors[name] for name in layer.inputs]
            xs = [values[name] for name in layer.inputs]
            self._sums[result, False] = column_sums(layer, xs, sources, self.position)
        if (result, True) in self._wanted:
            self._sums[result, True] = head_magnitudes(values[result], layer.heads, tensors[result].zero)

    def select(self, layer: Select, values: Mapping[str, Codes]) -> Codes:
        """The list of a selection, (N, 1, keep, 1)."""
        missing = [name for name in layer.observed if (name, layer.heads) not in self._sums]
        if missing or not layer.observed:
            raise InputError(f"layer {layer.name!r}: it must select by results of attention layers, not {layer.inputs}")
        before = carried = None
        if layer.before is not None:
            if layer.before not in self._totals:
                raise InputError(f"layer {layer.name!r}: {layer.before!r} is not the list of a selection")
            before = unsigned(values[layer.before])
            earlier = self._selection(layer.before)
            if earlier.heads != layer.heads:
                raise InputError(f"layer {layer.name!r}: tokens and heads do not carry each other's importance")
            then = unsigned(values[earlier.before]) if earlier.before else None
            carried = np.take_along_axis(self._totals[layer.before], places(before, then), axis=1)
        total = importance(layer, [self._sums[name, layer.heads] for name in layer.observed], carried)
        self._totals[layer.output] = total
        return select(layer, total, before)

    def _selection(self, name: str) -> Select:
        """The layer that makes a list."""
        return next(x for x in self.network.layers if isinstance(x, Select) and x.output == name)

    def total(self, select: Select) -> Ints:
        """What a selection that has been made chose from, (N, n)."""
        return self._totals[select.output]


def selected_from(network: Network, values: Mapping[str, Codes], position: int = 0) -> dict[str, list[Ints]]:
    """What the selections of a run that gives ``values`` choose from, (n,) each, layer by layer, sample and head.

    They are those of ``"tokens"``, ``"heads"`` and ``"values"``.
    """
    found: dict[str, list[Ints]] = {}
    importance = Importance(network, position)
    for layer in network.layers:
        importance.observe(layer, values)
        if isinstance(layer, Select):
            importance.select(layer, values)
            found.setdefault("heads" if layer.heads else "tokens", []).extend(importance.total(layer))
        elif isinstance(layer, Attention) and layer.selects_values(layer.keys(network.tensors)):
            xs, sources = [values[name] for name in layer.inputs], [network.tensors[name] for name in layer.inputs]
            seen = columns(layer, *shares(layer, xs, sources, position))
            found.setdefault("values", []).extend(seen.reshape(-1, seen.shape[2]))
    return found


def values_kept(network: Network, values: Mapping[str, Codes], position: int = 0) -> dict[str, Ints]:
    """How many values of each head (N, heads) are added up in a run that gives ``values``, by attention layer.

    Layers that leave out none are not among them.
    """
    found: dict[str, Ints] = {}
    for layer in network.layers:
        if isinstance(layer, Attention) and layer.selects_values(layer.keys(network.tensors)):
            xs, sources = [values[name] for name in layer.inputs], [network.tensors[name] for name in layer.inputs]
            found[layer.name] = stays(layer, *shares(layer, xs, sources, position)).sum(axis=2)
    return found


def candidates_found(network: Network, values: Mapping[str, Codes]) -> dict[str, Ints]:
    """How many candidates each query (N, heads, Lq) has in a run that gives ``values``, by attention layer.

    Layers that score all keys are not among them.
    """
    found: dict[str, Ints] = {}
    for layer in network.layers:
        if isinstance(layer, Attention) and layer.candidates:
            queries, keys = (heads(values[name], layer.heads).astype(np.int64) for name in layer.inputs[:2])
            found[layer.name] = candidates(queries, keys, layer.candidates).sum(axis=3)
    return found
