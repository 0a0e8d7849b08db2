"""Operators: recurrent layers over sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mapper.import_builder import Builder
from mapper.import_cells import Cell, State, joined, unrolled
from mapper.import_layout import sequence
from mapper.import_parts import ordered, rows
from mapper.import_registry import activation, operator
from mapper.import_values import Activation, Constant
from mapper.import_views import viewed


@operator("lstm")
def lstm(
    builder: Builder, x: Any, hx: Any, params: Sequence[Any], has_biases: bool, num_layers: int, dropout: float,
    train: bool, bidirectional: bool, batch_first: bool,
) -> tuple[Activation, Activation, Activation]:  # fmt: skip
    """LSTM over sequences: all hidden states, the last hidden and the last cell states."""
    layers = _Layers(builder, "lstm", params, has_biases, num_layers, bidirectional, dropout if train else 0.0)
    return layers.run(x, hx, batch_first)


@operator("gru")
def gru(
    builder: Builder, x: Any, hx: Any, params: Sequence[Any], has_biases: bool, num_layers: int, dropout: float,
    train: bool, bidirectional: bool, batch_first: bool,
) -> tuple[Activation, Activation]:  # fmt: skip
    """GRU over sequences: all hidden states and the last ones."""
    layers = _Layers(builder, "gru", params, has_biases, num_layers, bidirectional, dropout if train else 0.0)
    return layers.run(x, [hx], batch_first)[:2]


class _Layers:
    """Layers of cells, one or two directions each."""

    def __init__(
        self, builder: Builder, kind: str, params: Sequence[Any], has_biases: bool, num_layers: int,
        bidirectional: bool, dropout: float,
    ) -> None:  # fmt: skip
        if dropout:
            raise builder.error(f"{kind} has dropout; call model.eval() before exporting")
        self.builder, self.kind, self.layers = builder, kind, num_layers
        self.title = builder.where.path or kind
        self.directions = 2 if bidirectional else 1
        self.each = 4 if has_biases else 2
        self.params = params
        if len(params) != self.each * num_layers * self.directions:
            raise builder.error(f"{kind} with projections (proj_size) is not supported")

    def run(self, x: Any, states: Sequence[Any], batch_first: bool) -> tuple[Activation, Activation, Activation]:
        """All hidden states, the last hidden states, the last cell states (LSTM)."""
        x = self._sequence(activation(self.builder, x, self.kind), batch_first)
        hidden: list[Activation] = []
        cells: list[Activation] = []
        for layer in range(self.layers):
            ways = []
            for way in range(self.directions):
                number = layer * self.directions + way
                title = f"{self.title}.{layer}{'r' if way else ''}" if self.layers * self.directions > 1 else self.title
                parameters = self.params[self.each * number : self.each * (number + 1)]
                cell = Cell.of(self.builder, self.kind, title, parameters)
                start: list[State] = [self._state(value, number) for value in states]
                found, c = unrolled(cell, x, start[0], start[-1] if len(start) > 1 else None, backward=bool(way))
                ways.append(joined(self.builder, f"{title}.all", found, 3))
                hidden.append(found[0] if way else found[-1])
                cells += [c] if c is not None else []
            x = joined(self.builder, f"{self.title}.{layer}.both", ways, 1)
        held = self.builder.shape(x)
        result = sequence(Activation(x.name, held))
        if not batch_first:
            result = viewed(self.builder, result, lambda places: places.transpose(0, 1))
        return result, self._last(hidden), self._last(cells or hidden)

    def _sequence(self, x: Activation, batch_first: bool) -> Activation:
        """The input as (N, C, 1, L)."""
        if len(x.shape) != 3:
            raise self.builder.error(f"{self.kind} is supported on sequences of 3 dimensions, not on shape {x.shape}")
        if not batch_first:
            x = viewed(self.builder, x, lambda places: places.transpose(0, 1))
        tensor, where = rows(self.builder, x, self.kind)
        if not torch.equal(where, torch.arange(where.numel()).reshape(where.shape)):
            raise self.builder.error(
                f"{self.kind} needs samples in the first dimension of the model's input; give it batch_first=True"
            )
        return tensor

    def _state(self, value: Any, number: int) -> State:
        """State ``number`` of (layers * directions, N, H)."""
        if isinstance(value, Constant):
            if value.data.any():
                raise self.builder.error(
                    f"{self.kind}: a state that is a constant must be zeros; make it an input of the model"
                )
            return None
        one = viewed(self.builder, value, lambda places: places[number])
        return ordered(self.builder, one, f"a state of {self.kind}", 2)

    def _last(self, states: list[Activation]) -> Activation:
        """States (layers * directions, N, H)."""
        whole = joined(self.builder, f"{self.title}.last", states, 3)
        n, size, _, count = self.builder.shape(whole)
        places = torch.arange(n * size * count).reshape(n, size, count).permute(2, 0, 1)
        return Activation(whole.name, tuple(places.shape), index=places)
