"""Import of TorchScript archives, traced or scripted, by walking the code of every module.

Numbers, lists and conditions are evaluated on the way (all shapes are known), calls of submodules and functions
are followed, and tensor operators become nodes.  No operator of the file is executed on data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dataflows.errors import InputError
from mapper.graph import FloatGraph
from mapper.import_builder import Builder
from mapper.import_operators import apply
from mapper.import_parts import settled
from mapper.import_scalars import SCALARS
from mapper.import_values import Activation, Constant, Where

MAX_STEPS = 1_000_000
"""Instructions walked before a model is taken for one that never ends."""


def import_torchscript(name: str, data: bytes, traced: bool, input_shape: Sequence[int] | None) -> FloatGraph:
    """The graph of an archive.

    Parameters
    ----------
    data : contents of the file
    traced : whether the archive holds the inputs it was traced with, whose shapes then are the default
    input_shape : shape of the (single) input
    """
    unit = torch._C.CompilationUnit()
    try:
        read: Callable[..., Any] = torch._C.import_ir_module_from_buffer
        root = read(unit, data, torch.device("cpu"), {}, traced)
        body = root._get_method("forward").graph
    except (RuntimeError, UnicodeDecodeError) as error:  # PyTorch's own message may be cut within a character
        first = str(error).strip().splitlines()[0]
        raise InputError(f"{name}: the TorchScript archive cannot be read: {first}") from error
    builder = Builder(name)
    _, *parameters = body.inputs()
    arguments: list[Any] = [_Module(root, "")]
    for value in parameters:
        title = value.debugName().split(".")[0]
        arguments.append(builder.input(title, _input_shape(title, value, len(parameters), input_shape)))
    try:
        results = _Walk(builder, unit).call(body, arguments)
    except InputError:
        raise
    except (LookupError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise builder.error(f"this TorchScript code cannot be followed ({error}); use torch.export") from error
    return builder.finish([settled(builder, x) if isinstance(x, Activation) else x for x in _flat(results)])


def _input_shape(title: str, value: Any, count: int, given: Sequence[int] | None) -> tuple[int, ...]:
    if value.type().kind() != "TensorType":
        raise InputError(f"input {title} is of type {value.type()}; only tensors are supported")
    if given is not None and count == 1:
        return tuple(given)
    sizes = value.type().sizes()
    if sizes is None:
        how = "give it with --input-shape" if count == 1 else "export the model with torch.export instead"
        raise InputError(f"input {title}: the file does not say its shape; {how}")
    return tuple(sizes)


def _flat(values: Any) -> Iterator[Any]:
    """Tensors of a result that may be nested tuples, lists or dictionaries."""
    for value in values.values() if isinstance(values, dict) else values:
        if isinstance(value, tuple | list | dict):
            yield from _flat(value)
        else:
            yield value


@dataclass(frozen=True)
class _Module:
    """A module of the archive and its path from the root."""

    module: Any
    path: str

    @property
    def leaf(self) -> bool:
        kind = self.module._type().qualified_name()
        return bool(self.path) and ".torch.nn.modules." in kind and ".container." not in kind

    def attribute(self, name: str) -> Any:
        """Submodule, parameter, buffer or plain value."""
        path = f"{self.path}.{name}" if self.path else name
        value = self.module.getattr(name)
        if isinstance(value, torch._C.ScriptModule):
            return _Module(value, path)
        return Constant(path, value) if isinstance(value, torch.Tensor) else value


class _Walk:
    """Interprets method bodies; ``values`` of one body by the debug name of each value."""

    def __init__(self, builder: Builder, unit: Any) -> None:
        self.builder = builder
        self.unit = unit
        self.steps = 0

    def call(self, graph: Any, arguments: list[Any]) -> list[Any]:
        """Results of a method or function body."""
        names = [value.debugName() for value in graph.inputs()]
        values = dict(zip(names, arguments, strict=True))
        self._block(graph, values)
        return [values[value.debugName()] for value in graph.outputs()]

    def _block(self, block: Any, values: dict[str, Any]) -> None:
        for node in block.nodes():
            self.steps += 1
            if self.steps > MAX_STEPS:
                raise InputError(f"model {self.builder.name} runs for more than {MAX_STEPS} instructions")
            inputs = [values[value.debugName()] for value in node.inputs()]
            results = self._node(node, inputs, values)
            for value, result in zip(node.outputs(), results, strict=True):
                values[value.debugName()] = result

    def _node(self, node: Any, inputs: list[Any], values: dict[str, Any]) -> Sequence[Any]:
        space, name = node.kind().split("::")
        if space == "aten":
            return self._operator(node, name, inputs)
        if space != "prim":
            raise self.builder.error(f"operator {node.kind()} is not supported; only PyTorch's own operators are")
        match name:
            case "Constant":
                return [_constant(node)]
            case "GetAttr":
                return [inputs[0].attribute(node.s("name"))]
            case "CallMethod":
                return self._method(inputs[0], node.s("name"), inputs)
            case "CallFunction":
                callee = str(next(iter(node.inputs())).type())
                return self.call(self.unit.find_function(callee).graph, inputs[1:])
            case "If":
                branch = list(node.blocks())[0 if self._known(inputs[0], "a condition") else 1]
                self._block(branch, values)
                return [values[value.debugName()] for value in branch.outputs()]
            case "Loop":
                return self._loop(node, inputs, values)
            case "RaiseException":
                raise self.builder.error(f"the model raises an error for this input shape: {inputs[0]}")
        return self._primitive(node, name, inputs)

    def _primitive(self, node: Any, name: str, inputs: list[Any]) -> Sequence[Any]:
        match name:
            case "ListConstruct":
                return [inputs]
            case "TupleConstruct":
                return [tuple(inputs)]
            case "DictConstruct":
                return [dict(zip(inputs[::2], inputs[1::2], strict=True))]
            case "ListUnpack" | "TupleUnpack":
                return list(inputs[0])
            case "TupleIndex":
                return [inputs[0][inputs[1]]]
            case "NumToTensor" | "unchecked_cast" | "data" | "unchecked_unwrap_optional":
                return [inputs[0]]
            case "Uninitialized" | "Print":
                return [None] * node.outputsSize()
            case "min" | "max":
                return [{"min": min, "max": max}[name](inputs if len(inputs) > 1 else inputs[0])]
            case "device":
                return ["cpu"]
            case "dtype":
                return [torch.float32 if isinstance(inputs[0], Activation) else inputs[0].data.dtype]
        raise self.builder.error(f"TorchScript instruction prim::{name} is not supported")

    def _method(self, owner: Any, name: str, inputs: list[Any]) -> list[Any]:
        if not isinstance(owner, _Module):
            raise self.builder.error(f"method {name} of an object that is not a module is not supported")
        before = self.builder.where
        self.builder.where = Where(owner.path, "", owner.leaf)
        results = self.call(owner.module._get_method(name).graph, inputs)
        self.builder.where = before
        return results

    def _loop(self, node: Any, inputs: list[Any], values: dict[str, Any]) -> list[Any]:
        limit, going, *carried = inputs
        (body,) = node.blocks()
        index_name, *names = [value.debugName() for value in body.inputs()]
        count = 0
        while self._known(going, "a loop's condition") and count < limit:
            values |= dict(zip(names, carried, strict=True)) | {index_name: count}
            self._block(body, values)
            going, *carried = [values[value.debugName()] for value in body.outputs()]
            count += 1
        return carried

    def _known(self, value: Any, what: str) -> bool:
        if isinstance(value, Activation | Constant):
            raise self.builder.error(f"{what} depends on the contents of a tensor; only fixed control flow is possible")
        return bool(value)

    def _operator(self, node: Any, name: str, inputs: list[Any]) -> Sequence[Any]:
        if not _has_tensor(inputs):
            if name in _PYTHON:
                return [_PYTHON[name](*inputs)]
            if name in SCALARS:
                return [SCALARS[name](*inputs[:2])]
        if name in ("__is__", "__isnot__", "append", "__getitem__", "len"):
            return [_PYTHON[name](*inputs)]
        schema = torch._C.parse_schema(node.schema())
        arguments = {a.name: value for a, value in zip(schema.arguments, inputs, strict=True)}
        place = self.builder.where
        self.builder.where = Where(place.path, place.line or _line(node), place.leaf)
        result = apply(self.builder, name, arguments)
        self.builder.where = place
        if isinstance(result, tuple) and len(schema.returns) == 1:  # a list of parts
            return [list(result)]
        return result if isinstance(result, tuple) else [result]


def _append(items: list[Any], item: Any) -> list[Any]:
    items.append(item)
    return items


_PYTHON: dict[str, Callable[..., Any]] = {
    "__is__": lambda a, b: a is b, "__isnot__": lambda a, b: a is not b, "__not__": lambda a: not a,
    "__and__": lambda a, b: a and b, "__or__": lambda a, b: a or b, "len": len, "__getitem__": lambda a, i: a[i],
    "append": _append, "format": lambda text, *_: text, "__contains__": lambda a, b: b in a,
    "slice": lambda a, start, end, step: a[start:end:step], "list": list,
}  # fmt: skip
"""Operators on Python values and lists."""


def _has_tensor(inputs: list[Any]) -> bool:
    flat = [v for value in inputs for v in (value if isinstance(value, list) else [value])]
    return any(isinstance(v, Activation | Constant) for v in flat)


def _constant(node: Any) -> Any:
    """Value of a constant; functions are looked up by type when they are called."""
    output = node.output()
    if output.type().kind() == "FunctionType":
        return None
    value = output.toIValue()
    return Constant(output.debugName(), value) if isinstance(value, torch.Tensor) else value


def _line(node: Any) -> str:
    """Source file and line, where the archive knows them."""
    text = str(node).split(" # ")
    if len(text) < 2 or "/torch/" in text[-1]:
        return ""
    file, *position = text[-1].strip().rsplit("/", 1)[-1].split(":")
    return f"{file} line {position[0]}" if position and file else ""
