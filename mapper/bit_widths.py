"""The width of every tensor, and with it the precision of every layer with weights.

A layer with weights asks its input for the width that it multiplies. Operators that keep the scale of their input
(maxima, clamps, flattening, padding) pass the wish on, so all tensors that they connect have one width: the widest that
anyone wants. Tensors that nobody asks for, and outputs of the network, have 8 bits. Where channels begin that have to
begin with a byte, the width is the narrowest with which they do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from dataflows.config import Config
from dataflows.errors import InputError
from dataflows.formats import container
from mapper.fake_quantize import early
from mapper.graph import Add, AvgPool, Clamp, Concat, Conv, Flatten, FloatGraph, MaxPool, Node, Pad, Quantized
from mapper.graph_attention import Attention, Embedding, Lookup, Norm, Respace, Slice, id_inputs
from mapper.graph_operators import MOVES, ChannelSlice
from mapper.layer_specs import LayerSpec
from mapper.narrow_weights import arrives_with
from mapper.precision import Precision, Request, counted, resolve, usual
from mapper.window_shape import is_window

TELLING = 8
"""Weights of an output channel, at least, that say something when all of them are multiples of one step."""

KEEPS = MaxPool, Clamp, Flatten, Pad, Respace, Slice, *MOVES
"""Operators whose result has scale and width of their input."""

ROWS = Attention, Norm, Lookup, Embedding
"""Operators whose operands have the width of the configuration."""

ID_BITS = 16
"""Width of integers that choose rows of tables."""


@dataclass(frozen=True)
class Widths:
    """Bits of every tensor, the precision of every layer with weights, and what a reader should know about them.

    ``ternary``: tensors of two bits hold -1, 0 and +1, as the array takes no others.
    """

    tensors: Mapping[str, int]
    layers: Mapping[str, Precision]
    notes: tuple[str, ...] = ()
    ternary: bool = False


def uniform(graph: FloatGraph, bits: int) -> Widths:
    """One width for everything: what accelerators without ``[multiplier]`` take."""
    layers = {node.name: Precision(bits, bits) for node in graph.nodes if isinstance(node, Conv)}
    return Widths({**dict.fromkeys(graph.shapes, bits), **dict.fromkeys(id_inputs(graph), ID_BITS)}, layers)


def widths(graph: FloatGraph, cfg: Config, spec: LayerSpec[Request] | None = None) -> Widths:
    """Widths of a simplified graph on an accelerator.

    Parameters
    ----------
    graph : FloatGraph
        As returned by ``import_model``.
    cfg : Config
        The accelerator: ``cfg.operand_bits`` are the widths it multiplies.
    spec : LayerSpec, optional
        What ``--bits`` says.

    Raises
    ------
    InputError
        For layers that do not exist, widths that the accelerator lacks, one-bit tensors that the model does not make by
        a sign, and channels that cannot fill bytes.
    """
    return _Solver(graph, cfg, spec or LayerSpec()).run()


def groups(graph: FloatGraph) -> dict[str, str]:
    """The tensor that each tensor has its width and scale from, by name; itself where it has its own."""
    root = {name: name for name in graph.inputs}
    for node in graph.nodes:
        root[node.output] = root[node.inputs[0]] if isinstance(node, KEEPS) else node.output
    return root


def layer_names(graph: FloatGraph) -> list[str]:
    """Layers that ``--bits`` can name."""
    return [node.name for node in graph.nodes if isinstance(node, Conv)]


@dataclass
class _Solver:
    graph: FloatGraph
    cfg: Config
    spec: LayerSpec[Request]
    root: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def run(self) -> Widths:
        names = layer_names(self.graph)
        asked = {name: resolve(r, self.cfg) for name, r in self.spec.resolve(names, "--bits").items()}
        arrived = early(self.graph)
        self.asked = {
            node.name: asked.get(node.name) or self._arrived(node, arrived.get(node.inputs[0]))
            for node in self.graph.nodes if isinstance(node, Conv)
        }  # fmt: skip
        self.root = groups(self.graph)
        bits = self._wishes()
        self._align(bits)
        tensors = {name: bits[root] for name, root in self.root.items()} | dict.fromkeys(id_inputs(self.graph), ID_BITS)
        self._check(tensors)
        layers = {n.name: self._precision(n, tensors[n.inputs[0]]) for n in self.graph.nodes if isinstance(n, Conv)}
        ternary = self.cfg.multiplier is not None and self.cfg.multiplier.kind == "ternary"
        return Widths(tensors, layers, tuple(self.notes), ternary)

    def _arrived(self, node: Conv, levels: Quantized | None) -> Precision:
        """Precision of a layer that nothing is said about: the one it was trained with, or the usual one."""
        precision, there = usual(self.cfg), self.cfg.operand_bits
        weight = node.weight.reshape(len(node.weight), -1).astype(np.float64)
        if precision.scheme == "linear" and (node.steps is not None or weight.shape[1] >= TELLING):
            needed = arrives_with(weight, precision.w_bits, node.steps)
            precision = replace(precision, w_bits=next(bits for bits in there if bits >= needed))
        if levels is not None and levels.bits <= there[-1]:
            precision = replace(precision, a_bits=next(bits for bits in there if bits >= levels.bits))
        return precision

    def _wishes(self) -> dict[str, int]:
        """Bits of every group of tensors, by the tensor it begins with: the widest that is wanted."""
        bits: dict[str, int] = {}
        wide = self.cfg.numbers.act_bits

        def want(name: str, width: int) -> None:
            root = self.root[name]
            bits[root] = max(width, bits.get(root, 0))

        for node in self.graph.nodes:
            if isinstance(node, Conv):
                want(node.inputs[0], self.asked[node.name].a_bits)
        for node in self.graph.nodes:
            if isinstance(node, Pad) and self.root[node.output] not in bits:
                want(node.output, usual(self.cfg).a_bits)  # the array makes it
        made = {node.output: node for node in self.graph.nodes}
        for root in bits:
            if root in made and made[root].sign:
                bits[root] = self.cfg.operand_bits[0]  # two values need no more
        for node in self.graph.nodes:
            if isinstance(node, ROWS):
                for name in (*node.inputs, node.output):
                    want(name, wide)
        for name in self.graph.outputs:
            root = self.root[name]
            if not (root in made and made[root].sign) and (root not in bits or wide in self.cfg.operand_bits):
                want(name, wide)
        for root in set(self.root.values()):
            bits.setdefault(root, 1 if root in made and made[root].sign and 1 in self.cfg.containers else wide)
        return bits

    def _align(self, bits: dict[str, int]) -> None:
        """Widen tensors whose channels would begin within a byte where they must not."""
        for name, runs, why in self._places():
            root = self.root[name]
            least = container(bits[root])
            fitting = [c for c in self.cfg.containers if c >= least and not any(n * c % 8 for n in runs)]
            if fitting and fitting[0] > least:
                self.notes.append(f"{root} has {fitting[0]} bits instead of {bits[root]}: {why} must fill bytes")
                bits[root] = fitting[0]

    def _places(self) -> Iterable[tuple[str, list[int], str]]:
        """Tensors with lengths in channels that must be whole bytes, and what they are."""
        for node in self.graph.nodes:
            if not node.inputs:
                continue
            _, channels, height, width = self.graph.shapes[node.inputs[0]]
            if isinstance(node, Concat) and node.axis == 1:
                yield node.output, [self.graph.shapes[name][1] for name in node.inputs[:-1]], f"parts of {node.name}"
            elif isinstance(node, ChannelSlice):
                yield node.output, [node.start, node.stop], f"channels of {node.name}"
            elif isinstance(node, Flatten) and height * width > 1:
                yield node.output, [channels], f"pixels that {node.name} joins"
            elif isinstance(node, Conv) and node.groups > 1 and not self._window(node) and self._signs:
                yield node.inputs[0], [channels // node.groups], f"groups of {node.name}"
                yield node.output, [len(node.weight) // node.groups], f"groups of {node.name}"

    @property
    def _signs(self) -> bool:
        """Whether the array has +1 and -1 only: without a weight of zero it cannot take several groups together."""
        return self.cfg.operand_bits == (1,)

    def _window(self, node: Conv) -> bool:
        """Whether a layer runs in the vector unit, which takes channels one by one and weights of 8 bits."""
        return self.cfg.vector is not None and is_window(node, self.graph.shapes[node.inputs[0]][1])

    def _precision(self, node: Conv, a_bits: int) -> Precision:
        """Widths that a layer ends up with."""
        asked = self.asked[node.name]
        if self._window(node) and node.name not in self.spec.layers:
            return Precision(a_bits, 8)
        if a_bits not in self.cfg.operand_bits and not self._window(node):
            raise InputError(
                f"layer {node.name} reads {node.inputs[0]}, which has {counted(a_bits)}, but {self.cfg.name} "
                f"multiplies inputs of {counted(*self.cfg.operand_bits)} only"
                + "".join(f" ({note})" for note in self.notes[:1])
            )
        return Precision(a_bits, asked.w_bits, asked.scheme)

    def _check(self, tensors: Mapping[str, int]) -> None:
        """One-bit tensors hold signs: of the model, or given to it."""
        for node in self.graph.nodes:
            if tensors[node.output] == 1 and not node.sign and not isinstance(node, KEEPS):
                readers = [n.name for n in self.graph.nodes if isinstance(n, Conv) and self._reads(n, node)]
                raise InputError(
                    f"layer {readers[0] if readers else node.name} would take the result of {node.name} as one bit, "
                    f"but the model has no sign there; train it with torch.sign ({self.cfg.name} takes +1 and -1 only)"
                )
            if node.sign and isinstance(node, Add | AvgPool | Concat):
                raise InputError(f"layer {node.name}: the sign of a result of the vector unit is not supported")

    def _reads(self, reader: Node, node: Node) -> bool:
        return self.root[reader.inputs[0]] == self.root[node.output]
