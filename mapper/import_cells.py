"""Operators: cells of recurrent networks, and recurrent layers unrolled over their sequences.

Gates are linear layers of the input and of the state, added and looked up; what they gate is multiplied. The layers of
the input take the whole sequence at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mapper.graph import Add, Affine, Concat, Conv, Floats
from mapper.graph_attention import Lookup
from mapper.graph_operators import Multiply
from mapper.import_builder import Builder
from mapper.import_parts import ordered, tokens
from mapper.import_registry import activation, floats, operator
from mapper.import_values import Activation, Constant

State = Activation | None
"""A graph tensor (N, H, 1, 1); None: zeros."""


@dataclass(frozen=True)
class Cell:
    """Weights of a cell: ``kind`` is "lstm" or "gru", ``title`` what its nodes are called.

    ``w_ih`` (gates * H, inputs), ``w_hh`` (gates * H, H), ``b_ih`` and ``b_hh`` (gates * H,).
    """

    builder: Builder
    kind: str
    title: str
    w_ih: Floats
    w_hh: Floats
    b_ih: Floats
    b_hh: Floats

    @classmethod
    def of(cls, builder: Builder, kind: str, title: str, parameters: Sequence[Any]) -> Cell:
        """From the parameters of PyTorch's operator; biases may be missing."""
        w_ih, w_hh, *biases = (None if p is None else floats(builder, p, kind) for p in parameters)
        assert w_ih is not None and w_hh is not None
        zero = np.zeros(len(w_ih), np.float32)
        b_ih, b_hh = ([zero if b is None else b for b in biases] + [zero, zero])[:2]
        if w_hh.shape[1] * (4 if kind == "lstm" else 3) != len(w_hh):
            raise builder.error(f"{kind} with projections (proj_size) is not supported")
        return cls(builder, kind, title, w_ih, w_hh, b_ih, b_hh)

    @property
    def size(self) -> int:
        """H."""
        return int(self.w_hh.shape[1])

    def inputs(self, x: Activation) -> list[Activation]:
        """What the input gives to every gate, (N, H, 1, L) of (N, inputs, 1, L)."""
        n, _, h, w = self.builder.shape(x)
        found = []
        for k, name in enumerate("ifgo" if self.kind == "lstm" else "rzn"):
            rows = slice(k * self.size, (k + 1) * self.size)
            bias = self.b_ih[rows] + (self.b_hh[rows] if name != "n" else 0)
            found.append(self._linear(f"x.{name}", x, self.w_ih[rows], bias, (n, self.size, h, w)))
        return found

    def step(self, at: str, xs: list[Activation], h: State, c: State) -> tuple[Activation, State]:
        """Hidden state and cell state after a step; ``xs`` is what the input gives to the gates of it."""
        return self._lstm(at, xs, h, c) if self.kind == "lstm" else (self._gru(at, xs, h), None)

    def _lstm(self, at: str, xs: list[Activation], h: State, c: State) -> tuple[Activation, State]:
        functions = ("sigmoid", "sigmoid", "tanh", "sigmoid")
        i, f, g, o = (
            self._look(f"{at}.{'ifgo'[k]}", self._sum(at, "ifgo"[k], x, self._state(at, k, "ifgo"[k], h)), function)
            for k, (x, function) in enumerate(zip(xs, functions, strict=True))
        )
        new = self._times(f"{at}.ig", i, g)
        if c is not None:
            new = self._join(Add, f"{at}.c", self._times(f"{at}.fc", f, c), new)
        return self._times(f"{at}.h", o, self._look(f"{at}.tanh", new, "tanh")), new

    def _gru(self, at: str, xs: list[Activation], h: State) -> Activation:
        r, z = (
            self._look(f"{at}.{'rz'[k]}", self._sum(at, "rz"[k], xs[k], self._state(at, k, "rz"[k], h)), "sigmoid")
            for k in range(2)
        )
        shift = self.b_hh[2 * self.size :]
        if h is None:
            kept = self._node(Affine, f"{at}.rn", [r], scale=shift, shift=np.zeros_like(shift)) if shift.any() else None
        else:
            state = self._linear(f"{at}.hn", h, self.w_hh[2 * self.size :], shift, self.builder.shape(h))
            kept = self._times(f"{at}.rn", r, state)
        n = self._look(f"{at}.n", self._sum(at, "n", xs[2], kept), "tanh")
        new = self._times(f"{at}.zn", self._look(f"{at}.1-z", z, "one_minus"), n)
        return new if h is None else self._join(Add, f"{at}.h", self._times(f"{at}.zh", z, h), new)

    def _state(self, at: str, k: int, name: str, h: State) -> Activation | None:
        """What the state gives to gate ``k``."""
        rows = slice(k * self.size, (k + 1) * self.size)
        if h is None:
            return None
        shape = self.builder.shape(h)
        return self._linear(f"{at}.h{name}", h, self.w_hh[rows], np.zeros(self.size, np.float32), shape)

    def _sum(self, at: str, name: str, x: Activation, state: Activation | None) -> Activation:
        return x if state is None else self._join(Add, f"{at}.{name}.sum", x, state)

    def _times(self, title: str, a: Activation, b: Activation) -> Activation:
        return self._join(Multiply, title, a, b)

    def _join(self, make: type[Add | Multiply], title: str, a: Activation, b: Activation) -> Activation:
        return self._node(make, title, [a, b])

    def _look(self, title: str, x: Activation, function: str) -> Activation:
        return self._node(Lookup, title, [x], function=function)

    def _node(self, make: type[Any], title: str, inputs: list[Activation], **fields: Any) -> Activation:
        return self.builder.add(make, inputs, self.builder.shape(inputs[0]), f"{self.title}.{title}", **fields)

    def _linear(
        self, title: str, x: Activation, weight: Floats, bias: Floats, shape: tuple[int, ...]
    ) -> Activation:
        values = np.ascontiguousarray(weight[:, :, None, None])
        return self.builder.add(Conv, [x], shape, f"{self.title}.{title}", weight=values, bias=bias.copy())


def _state(builder: Builder, value: Any, op: str) -> State:
    """A state (N, H) as the graph has it."""
    if isinstance(value, Constant):
        if value.data.any():
            raise builder.error(f"{op}: a state that is a constant must be zeros; make it an input of the model")
        return None
    return ordered(builder, activation(builder, value, op), f"a state of {op}", 2)


def _title(builder: Builder, op: str) -> str:
    return builder.where.path or op


@operator("lstm_cell")
def lstm_cell(
    builder: Builder, x: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None
) -> tuple[Activation, Activation]:
    """One step of an LSTM."""
    cell = Cell.of(builder, "lstm", _title(builder, "lstm"), [w_ih, w_hh, b_ih, b_hh])
    h, c = (_state(builder, value, "lstm_cell") for value in hx)
    new, state = cell.step("step", cell.inputs(activation(builder, x, "lstm_cell", 2)), h, c)
    assert state is not None
    n = builder.shape(new)[0]
    return Activation(new.name, (n, cell.size)), Activation(state.name, (n, cell.size))


@operator("gru_cell")
def gru_cell(
    builder: Builder, x: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None
) -> Activation:
    """One step of a GRU."""
    cell = Cell.of(builder, "gru", _title(builder, "gru"), [w_ih, w_hh, b_ih, b_hh])
    xs = cell.inputs(activation(builder, x, "gru_cell", 2))
    new, _ = cell.step("step", xs, _state(builder, hx, "gru_cell"), None)
    return Activation(new.name, (builder.shape(new)[0], cell.size))


def unrolled(cell: Cell, x: Activation, h: State, c: State, backward: bool) -> tuple[list[Activation], State]:
    """Hidden states (N, H, 1, 1) of every token of (N, inputs, 1, L), and the last cell state."""
    builder = cell.builder
    length, xs = builder.shape(x)[3], cell.inputs(x)
    found: dict[int, Activation] = {}
    for t in reversed(range(length)) if backward else range(length):
        part = [tokens(builder, each, t, t + 1) for each in xs]
        h, c = cell.step(f"{t}", part, h, c)
        found[t] = h
    return [found[t] for t in range(length)], c


def joined(builder: Builder, title: str, parts: list[Activation], axis: int) -> Activation:
    """Graph tensors one after the other."""
    if len(parts) == 1:
        return parts[0]
    shape = list(builder.shape(parts[0]))
    shape[axis] = sum(builder.shape(part)[axis] for part in parts)
    return builder.add(Concat, parts, tuple(shape), title, axis=axis)
