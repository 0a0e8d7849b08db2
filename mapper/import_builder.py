"""Collects the nodes of a float graph while an importer walks a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from dataflows.errors import InputError
from mapper.graph import FloatGraph, Node, Shape
from mapper.import_values import Activation, Ids, Storage, Where, graph_shape, ids_shape


class Builder:
    """A float graph in the making.

    Attributes
    ----------
    where : Where
        The place in the model that is being imported; the importer moves it along.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.where = Where()
        self._names: set[str] = set()
        self._inputs: list[str] = []
        self._nodes: list[Node] = []
        self._shapes: dict[str, Shape] = {}
        self._ranks: dict[str, int] = {}
        self._makers: dict[str, Node] = {}
        self._made: dict[tuple[Any, ...], Activation] = {}
        self._notes: dict[str, list[str]] = {}

    def input(self, name: str, shape: tuple[int, ...], ids: bool = False) -> Activation:
        """Declare a graph input; ``ids``: it holds integers (N, L)."""
        name = self._unique(name)
        self._shapes[name] = (ids_shape if ids else graph_shape)(shape, f"input {name}")
        self._inputs.append(name)
        self._ranks[name] = len(shape)
        n, c, _, w = self._shapes[name]
        if ids:
            return Ids(name, shape, index=torch.arange(n * w).reshape(n, w))
        if len(shape) == 3:
            return Activation(name, shape, index=torch.arange(n * c * w).reshape(n, c, w).transpose(1, 2))
        return Activation(name, shape)

    def add(
        self, make: type[Node], inputs: list[Activation], shape: tuple[int, ...], title: str = "", **fields: Any
    ) -> Activation:
        """Append a node whose result has ``shape``, (N, C, H, W) or (N, C); its name comes from the current place.

        ``title``: another name, as far as it is not taken.
        """
        name = self._unique(title or self.title(make.op))
        self._shapes[name] = graph_shape(shape, f"the result of {name}")
        sources = tuple(self.read(value).name for value in inputs)
        node = make(name=name, inputs=sources, output=name, where=str(self.where), **fields)
        self._nodes.append(node)
        self._makers[name] = node
        return Activation(name, shape)

    def maker(self, name: str) -> Node | None:
        """The node that makes a tensor; None for inputs."""
        return self._makers.get(name)

    def once(self, key: tuple[Any, ...], make: Callable[[], Activation]) -> Activation:
        """What ``make`` adds, the first time; the same again for the same key."""
        if key not in self._made:
            self._made[key] = make()
        return replace(self._made[key])

    def shape(self, x: Activation) -> Shape:
        """(N, C, H, W) that the graph holds for an activation."""
        return self._shapes[x.name]

    def view(self, x: Activation, shape: tuple[int, ...]) -> Activation:
        """The same elements in the same order under another shape."""
        places = None if x.index is None else x.index.reshape(shape)
        result = replace(self.read(x), shape=shape, index=places)
        x.storage.views += 1
        return result

    def overwrite(self, x: Activation, result: Activation) -> Activation:
        """In-place operator: ``x`` now is ``result``; other views of it may no longer be read."""
        if result.shape != x.shape:
            raise self.error(f"an in-place operator cannot turn shape {x.shape} into {result.shape}")
        if x.storage.views > 1:
            x.storage.changed_by = str(self.where)
        x.name, x.storage, x.index = result.name, Storage(), result.index
        return x

    def read(self, x: Activation) -> Activation:
        """``x``, after checking that no in-place operator has changed it through another view."""
        if x.storage.changed_by:
            raise self.error(
                f"this tensor was changed in place at {x.storage.changed_by} through another view of it; "
                "use an operator that is not in place there"
            )
        return x

    def error(self, message: str) -> InputError:
        """An error at the current place, to be raised by the caller."""
        return InputError(f"{self.where}: {message}")

    def finish(self, outputs: list[Any]) -> FloatGraph:
        """The graph with these activations as outputs."""
        if not outputs:
            raise InputError(f"model {self.name} returns nothing")
        names = []
        for index, value in enumerate(outputs):
            if not isinstance(value, Activation):
                raise InputError(
                    f"output {index} of model {self.name} is not a tensor computed from its inputs; constants, and "
                    "products of queries and keys, cannot be outputs"
                )
            self._ranks.setdefault(self.read(value).name, len(value.shape))
            names.append(value.name)
        unique = tuple(dict.fromkeys(names))
        notes = tuple(f"{text}: {', '.join(dict.fromkeys(where))}" for text, where in self._notes.items())
        nodes = tuple(self._nodes)
        return FloatGraph(self.name, tuple(self._inputs), unique, self._shapes, self._ranks, nodes, notes=notes)

    def note(self, text: str) -> None:
        """Tell the reader something about the current place."""
        self._notes.setdefault(text, []).append(self.where.path)

    def title(self, op: str) -> str:
        """Name of a node at the current place: the module's, or that and what it does."""
        path = self.where.path
        if self.where.leaf:
            return path
        return f"{path}.{op}" if path else op

    def _unique(self, name: str) -> str:
        candidate, count = name, 1
        while candidate in self._names:
            count += 1
            candidate = f"{name}_{count}"
        self._names.add(candidate)
        return candidate
