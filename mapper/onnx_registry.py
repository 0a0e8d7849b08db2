"""The table of ONNX operators, and the call of one: most are said in PyTorch's operators, which have one importer.

A handler takes a :class:`Call` and returns a value, or a tuple of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from dataflows.errors import InputError
from mapper.import_builder import Builder
from mapper.import_operators import OPERATORS, apply
from mapper.import_registry import CONSTANT_ONLY
from mapper.import_values import Activation, Constant
from mapper.onnx_values import Array, Codes, Raw, Value

Handler = Callable[["Call"], Any]
H = TypeVar("H", bound=Handler)

HANDLERS: dict[str, Handler] = {}
"""By the name of the operator; those of other domains than ONNX's own are ``domain.Name``."""

TARGETS: dict[str, tuple[str, ...]] = {}
"""PyTorch's operators that a handler cannot do without."""

REFUSED: dict[str, str] = {}
"""Operators that are known and cannot be imported, and what they are."""

OURS = ("", "ai.onnx")
"""Names of ONNX's own domain."""

MICROSOFT = "com.microsoft"
"""Domain of ONNX Runtime's own operators."""

PASS_CODES = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity", "MaxPool", "Slice"})
"""Operators that take integers of a tensor as they are and return such."""

ON_STEPS = PASS_CODES - {"MaxPool"}
"""Operators on constants that keep the scales these came with."""


def onnx_operator(*names: str, domain: str = "", needs: Sequence[str] = ()) -> Callable[[H], H]:
    """Register a handler of operators; ``needs``: operators of PyTorch that have to be there."""

    def register(handler: H) -> H:
        for name in names:
            title = f"{domain}.{name}" if domain else name
            HANDLERS[title], TARGETS[title] = handler, tuple(needs)
        return handler

    return register


def supported() -> list[str]:
    """Operators that can be imported."""
    return sorted(name for name in HANDLERS if all(target in OPERATORS for target in TARGETS[name]))


def evaluate(node: onnx.NodeProto, arrays: Sequence[Array], opset: int) -> tuple[NDArray[Any], ...]:
    """Results of a node on constants, by ONNX's reference implementation."""
    given = {name: value.data for name, value in zip([n for n in node.input if n], arrays, strict=True)}
    inputs = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in given]
    outputs = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in node.output if name]
    graph = onnx.helper.make_graph([node], "constants", inputs, outputs)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    return tuple(np.asarray(value) for value in ReferenceEvaluator(model).run(None, given))


@dataclass(frozen=True)
class Call:
    """One node with its inputs, at a place in the graph that is made."""

    builder: Builder
    op: str
    inputs: Sequence[Value]
    attributes: dict[str, Any]
    opset: int
    outputs: int = 1

    def __len__(self) -> int:
        return len(self.inputs)

    def get(self, index: int) -> Value:
        """An input as it is; None where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def value(self, index: int) -> Any:
        """An input for operators of the registry: an activation, a constant or None."""
        found = self.get(index)
        if isinstance(found, Codes | Raw):
            raise self.error(
                f"{self.op} of integers that stand for real values is not supported; put DequantizeLinear before it"
            )
        return found.constant() if isinstance(found, Array) else found

    def shape(self, index: int) -> tuple[int, ...]:
        """Shape of an input."""
        found = self.get(index)
        found = found.value if isinstance(found, Codes | Raw) else found
        return tuple(found.data.shape if isinstance(found, Array | Constant) else found.shape)

    def array(self, index: int, what: str) -> NDArray[Any]:
        """An input that must be a constant; ``what`` it is, for the message."""
        found = self.get(index)
        if isinstance(found, Constant):
            return found.data.numpy()
        if not isinstance(found, Array):
            raise self.error(f"{self.op} is supported with {what} that is a constant of the model, not a computed one")
        return found.data

    def number(self, index: int, what: str) -> float:
        """An input that must be one constant number."""
        values = self.array(index, what)
        if values.size != 1:
            raise self.error(f"{self.op} is supported with one {what}, not with {values.size} of them")
        return float(values.astype(np.float64).reshape(()))

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute, decoded."""
        return self.attributes.get(name, default)

    def ints(self, name: str, index: int | None = None, default: Sequence[int] | None = None) -> list[int] | None:
        """Integers that are an attribute in old versions of the operator, input ``index`` in newer ones."""
        if name in self.attributes:
            found = self.attributes[name]
            return [int(v) for v in found] if isinstance(found, Sequence) else [int(found)]
        if index is not None and self.get(index) is not None:
            return [int(v) for v in np.atleast_1d(self.array(index, name))]
        return None if default is None else list(default)

    def run(self, operator: str, /, **arguments: Any) -> Any:
        """Import an operator of PyTorch's in place of this one."""
        constant = operator in CONSTANT_ONLY and not any(isinstance(v, Activation) for v in arguments.values())
        if operator not in OPERATORS and not constant:
            raise self.unsupported()
        return apply(self.builder, operator, arguments)

    def error(self, message: str) -> InputError:
        """An error at this node."""
        return self.builder.error(message)

    def unsupported(self) -> InputError:
        """The error for operators that have no handler."""
        if self.op in REFUSED:
            return self.error(f"{self.op} is {REFUSED[self.op]}")
        return self.error(f"operator {self.op} is not supported; supported are {', '.join(supported())}")
