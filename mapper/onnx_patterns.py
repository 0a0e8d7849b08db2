"""Functions that exporters take apart, put together before import: GELU by erf or tanh, norms by means and roots."""

from __future__ import annotations

from collections.abc import Iterator
from math import isclose, pi, sqrt

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

MAX_FACTORS = 4
"""Products behind an erf that are followed."""


class _Graph:
    """Who makes and who reads what."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.makers = {name: node for node in graph.node for name in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.outputs = {value.name for value in graph.output}
        self.constants = {tensor.name: tensor for tensor in graph.initializer}

    def made(self, name: str, *operators: str) -> onnx.NodeProto | None:
        """The node that makes a tensor, if it is one of these operators of ONNX's own."""
        node = self.makers.get(name)
        return node if node is not None and node.op_type in operators and not node.domain else None

    def array(self, name: str) -> NDArray[np.generic] | None:
        """A constant."""
        if name in self.constants:
            return numpy_helper.to_array(self.constants[name])
        node = self.made(name, "Constant")
        if node is None or node.attribute[0].name != "value":
            return None
        return numpy_helper.to_array(node.attribute[0].t)

    def number(self, name: str) -> float | None:
        """A constant of one element."""
        found = self.array(name)
        return None if found is None or found.size != 1 else float(found.astype(np.float64).reshape(()))

    def split(self, node: onnx.NodeProto) -> tuple[str, float] | None:
        """The operand of a sum, product or quotient with a number, and the number."""
        for x, other in ((0, 1), (1, 0)):
            value = self.number(node.input[other])
            if value is not None and (x == 0 or node.op_type != "Div"):
                return node.input[x], value
        return None

    def only_reader(self, name: str, *operators: str) -> onnx.NodeProto | None:
        """The one node that reads a tensor, if it is one of these operators."""
        found = self.readers.get(name, [])
        fits = len(found) == 1 and name not in self.outputs and found[0].op_type in operators and not found[0].domain
        return found[0] if fits else None


def recognize(graph: onnx.GraphProto) -> None:
    """Replace what is recognized; what made it stays, and leads to no output."""
    known = _Graph(graph)
    replaced = {node.output[0]: node for node in (*_gelus(graph, known), *_norms(graph, known))}
    for place, node in enumerate(graph.node):
        if node.output and node.output[0] in replaced:
            graph.node[place].CopyFrom(replaced[node.output[0]])


def _gelus(graph: onnx.GraphProto, known: _Graph) -> Iterator[onnx.NodeProto]:
    """``x * (1 + f) / 2`` in any order of the factors, ``f`` being an erf or a tanh of what GELU has there."""
    for node in graph.node:
        if node.op_type not in ("Erf", "Tanh") or node.domain:
            continue
        x = _scaled(known, node.input[0]) if node.op_type == "Erf" else _cubic(known, node.input[0])
        last = known.only_reader(node.output[0], "Add")
        if x is None or last is None or (known.split(last) or ("", 0.0))[1] != 1:
            continue
        found = _halved(known, last, x)
        if found is not None:
            kind = "Gelu" if node.op_type == "Erf" else "FastGelu"
            yield helper.make_node(kind, [x], [found.output[0]], name=found.name, domain="com.microsoft")


def _scaled(known: _Graph, name: str) -> str | None:
    """The x of ``x / sqrt(2)``."""
    node = known.made(name, "Div", "Mul")
    x, value = (known.split(node) if node is not None else None) or ("", 0.0)
    if node is None or not isclose(value, sqrt(2.0 if node.op_type == "Div" else 0.5), rel_tol=1e-4):
        return None
    return x


def _cubic(known: _Graph, name: str) -> str | None:
    """The x of ``sqrt(2 / pi) * (x + 0.044715 * x ** 3)``."""
    node = known.made(name, "Mul")
    inner, factor = (known.split(node) if node is not None else None) or ("", 0.0)
    total = known.made(inner, "Add")
    if total is None or not isclose(factor, sqrt(2 / pi), rel_tol=1e-4):
        return None
    for place in (0, 1):
        x, other = str(total.input[place]), str(total.input[1 - place])
        term = known.made(other, "Mul")
        cube, small = (known.split(term) if term is not None else None) or ("", 0.0)
        if isclose(small, 0.044715, rel_tol=1e-3) and _is_power(known, cube, x, 3):
            return x
    return None


def _is_power(known: _Graph, name: str, x: str, exponent: int) -> bool:
    """Whether a tensor is x to some power, by ``Pow`` or by products."""
    if exponent == 1:
        return name == x
    node = known.made(name, "Pow", "Mul")
    if node is None:
        return False
    if node.op_type == "Pow":
        return node.input[0] == x and known.number(node.input[1]) == exponent
    first, second = node.input
    return (first == x and _is_power(known, second, x, exponent - 1)) or (
        second == x and _is_power(known, first, x, exponent - 1)
    )


def _halved(known: _Graph, last: onnx.NodeProto, x: str) -> onnx.NodeProto | None:
    """The product that is ``last * x / 2``."""
    scale, there = 1.0, False
    for _ in range(MAX_FACTORS):
        product = known.only_reader(last.output[0], "Mul", "Div")
        if product is None:
            return None
        other = product.input[1] if product.input[0] == last.output[0] else product.input[0]
        value, half = known.number(other), known.made(other, "Mul", "Div")
        parts = known.split(half) if half is not None else None
        if value is not None:
            scale *= 1 / value if product.op_type == "Div" else value
        elif product.op_type == "Mul" and not there and (other == x or (parts is not None and parts[0] == x)):
            there = True
            if other != x and parts is not None and half is not None:
                scale *= 1 / parts[1] if half.op_type == "Div" else parts[1]
        else:
            return None
        if there and isclose(scale, 0.5, rel_tol=1e-4):
            return product
        last = product
    return None


def _norms(graph: onnx.GraphProto, known: _Graph) -> Iterator[onnx.NodeProto]:
    """``d / sqrt(mean(d * d) + epsilon)``, with ``d = x - mean(x)`` or x itself, over the last dimension."""
    for node in graph.node:
        if node.op_type != "Div" or node.domain:
            continue
        root = known.made(node.input[1], "Sqrt")
        total = known.made(root.input[0], "Add") if root is not None else None
        variance, epsilon = (known.split(total) if total is not None else None) or ("", 0.0)
        mean = known.made(variance, "ReduceMean")
        d = node.input[0]
        if mean is None or not _last(known, mean) or not _is_power(known, mean.input[0], d, 2):
            continue
        centered = known.made(d, "Sub")
        middle = known.made(centered.input[1], "ReduceMean") if centered is not None else None
        around = middle is not None and _last(known, middle)
        if centered is not None and middle is not None and around and middle.input[0] == centered.input[0]:
            x, operator = centered.input[0], "LayerNormalization"
        else:
            x, operator = d, "SimplifiedLayerNormalization"
        yield helper.make_node(operator, [x, ""], [node.output[0]], name=node.name, axis=-1, epsilon=epsilon)


def _last(known: _Graph, mean: onnx.NodeProto) -> bool:
    """Whether a mean is over the last dimension, which stays as one of 1."""
    attributes = {a.name: helper.get_attribute_value(a) for a in mean.attribute}
    axes = attributes.get("axes")
    if axes is None and len(mean.input) > 1:
        found = known.array(mean.input[1])
        axes = None if found is None else found.reshape(-1).tolist()
    return list(axes or []) == [-1] and attributes.get("keepdims", 1) == 1
