"""Import of ONNX models, whatever form of quantization they have: the handlers of its nodes say what that means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import numpy_helper

from dataflows.errors import InputError
from mapper.graph import FloatGraph
from mapper.import_builder import Builder
from mapper.import_parts import settled
from mapper.import_values import Activation, Constant, Where
from mapper.onnx_model import opset, read_model, title
from mapper.onnx_operators import HANDLERS
from mapper.onnx_registry import ON_STEPS, OURS, PASS_CODES, Call, evaluate
from mapper.onnx_values import Array, Codes, Raw, Value

FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16}
IDS = {onnx.TensorProto.INT64, onnx.TensorProto.INT32}
INTEGERS: dict[int, str] = {onnx.TensorProto.INT8: "int8", onnx.TensorProto.UINT8: "uint8"}
"""Element types of inputs: real values, choices of rows, and integers that stand for real values."""

READING = (LookupError, ValueError, TypeError, AttributeError, RuntimeError, ArithmeticError, AssertionError)
"""What libraries raise when parts of a model do not fit each other."""


def import_onnx(path: Path, data: bytes, input_shape: Sequence[int] | None) -> FloatGraph:
    """The graph of an ONNX file.

    Parameters
    ----------
    path : the file; data in other files are looked for beside it
    data : its contents
    input_shape : shape of the (single) input where the file leaves dimensions open
    """
    try:
        return _Walk(path.stem, read_model(path, data), input_shape).run()
    except InputError:
        raise
    except READING as error:
        raise InputError(f"{path} is an ONNX model that cannot be read ({_brief(error)}); export it again") from error


def _brief(error: Exception) -> str:
    """Kind and first line of an error of a library."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


class _Walk:
    """One pass over the nodes; ``values`` holds what every name stands for."""

    def __init__(self, name: str, model: onnx.ModelProto, input_shape: Sequence[int] | None) -> None:
        self.builder = Builder(name)
        self.graph, self.opset = model.graph, opset(model)
        self.input_shape = input_shape
        self.values: dict[str, Value] = {"": None}

    def run(self) -> FloatGraph:
        """Constants, inputs, nodes, outputs."""
        if self.graph.sparse_initializer:
            raise InputError(f"constant {self.graph.sparse_initializer[0].values.name} is sparse; store it densely")
        for tensor in self.graph.initializer:
            self.values[tensor.name] = Array(tensor.name, _array(tensor))
        inputs = [value for value in self.graph.input if value.name not in self.values]
        read = {name for node in self.graph.node for name in node.input} | {v.name for v in self.graph.output}
        for value in inputs:
            if value.name not in read:
                raise InputError(f"input {value.name} leads to no output of the model; remove it, or mend the graph")
            self._input(value, alone=len(inputs) == 1)
        for node in self.graph.node:
            self._node(node)
        self.builder.where = Where()
        return self.builder.finish([self._output(value.name) for value in self.graph.output])

    def _output(self, name: str) -> Any:
        value = self.values[name]
        if isinstance(value, Codes):
            value = value.value
        return settled(self.builder, value) if isinstance(value, Activation) else value

    def _input(self, value: onnx.ValueInfoProto, alone: bool) -> None:
        name, kind = value.name, value.type.tensor_type
        if not value.type.HasField("tensor_type"):
            raise InputError(f"input {name} is a {value.type.WhichOneof('value')}; inputs must be tensors")
        if kind.elem_type not in FLOATS | IDS | INTEGERS.keys():
            found = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
            raise InputError(
                f"input {name} holds {found}; inputs must be floating point, int8 or uint8 with a scale, or int64 or "
                "int32 for an embedding"
            )
        shape = self._shape(name, kind, alone)
        made = self.builder.input(name, shape, ids=kind.elem_type in IDS)
        integers = INTEGERS.get(kind.elem_type)
        self.values[name] = made if integers is None else Raw(made, integers)

    def _shape(self, name: str, kind: Any, alone: bool) -> tuple[int, ...]:
        """Fixed shape of an input: dimensions left open come from ``input_shape``."""
        given = tuple(self.input_shape) if self.input_shape is not None and alone else None
        how = "give the shape with --input-shape" if alone else "export the model with fixed shapes"
        if not kind.HasField("shape"):
            if given is None:
                raise InputError(f"input {name}: the file does not say its shape; {how}")
            return given
        sizes = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]
        pairs = zip(kind.shape.dim, sizes, strict=True)
        said = ", ".join(dim.dim_param or "?" if size is None else str(size) for dim, size in pairs)
        if given is not None:
            if len(given) != len(sizes) or any(s not in (None, g) for s, g in zip(sizes, given, strict=True)):
                raise InputError(
                    f"input {name} has shape ({said}) in the file, not {given}; leave --input-shape out, or export the "
                    "model with that shape"
                )
            return given
        if None in sizes:
            raise InputError(f"input {name} has the shape ({said}) with dynamic dimensions; {how}")
        return tuple(size for size in sizes if size is not None)

    def _node(self, node: onnx.NodeProto) -> None:
        domain = "" if node.domain in OURS else f"{node.domain}."
        name = f"{domain}{node.op_type}"
        self.builder.where = Where(_path(node), name, leaf=True)
        inputs = [self.values[source] for source in node.input]
        attributes = {a.name: _decoded(onnx.helper.get_attribute_value(a)) for a in node.attribute}
        call = Call(self.builder, name, inputs, attributes, self.opset, len(node.output))
        try:
            results = self._results(node, call)
        except InputError:
            raise
        except READING as error:
            raise self.builder.error(f"this node cannot be imported ({_brief(error)}); check the model") from error
        for output, result in zip(node.output, results, strict=False):
            if output:
                self.values[output] = Array(output, result) if hasattr(result, "__array_interface__") else result

    def _results(self, node: onnx.NodeProto, call: Call) -> Sequence[Value]:
        """What a node makes."""
        there = [value for value in call.inputs if value is not None]
        known = node.domain in OURS and onnx.defs.has(node.op_type)
        if known and all(isinstance(value, Array | Constant) for value in there):
            kept = any(isinstance(value, Constant) and value.steps is not None for value in there)
            if node.op_type != "DequantizeLinear" and not (kept and node.op_type in ON_STEPS):
                plain = [v if isinstance(v, Array) else Array(v.name, v.data.numpy()) for v in there]
                return evaluate(node, plain, self.opset)
        handler = HANDLERS.get(call.op)
        if handler is None:
            raise call.unsupported()
        first = call.get(0)
        if isinstance(first, Codes) and node.op_type in PASS_CODES:
            inner = Call(call.builder, call.op, [first.value, *call.inputs[1:]], call.attributes, call.opset)
            return (Codes(handler(inner), first.scale, first.zero, first.type),)
        result = handler(call)
        return result if isinstance(result, tuple) else (result,)


def _array(tensor: onnx.TensorProto) -> Any:
    """Contents of a constant."""
    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError, LookupError) as error:
        raise InputError(
            f"constant {tensor.name} of shape {tuple(tensor.dims)} is damaged ({_brief(error)}); export the model again"
        ) from error


def _decoded(value: Any) -> Any:
    """An attribute's value; text instead of bytes."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return [_decoded(item) for item in value] if isinstance(value, list) else value


def _path(node: onnx.NodeProto) -> str:
    """Name of a node as a path of modules, which is what exporters make it from."""
    parts = [part for part in title(node).replace("::", "/").split("/") if part]
    if len(parts) > 1 and parts[-1] == node.op_type:
        parts.pop()
    return ".".join(parts)
