"""ONNX files: from bytes to a model that can be walked, or one message that says what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import external_data_helper, inliner

from dataflows.errors import InputError
from mapper.onnx_patterns import recognize

FIRST_OPSET, LAST_OPSET = 7, onnx.defs.onnx_opset_version()
"""Versions of ONNX's operators that are read; before the first, broadcasting worked otherwise."""

FIRST_IR, LAST_IR = 3, onnx.IR_VERSION
"""Versions of the file format that are read; before the first, files did not say which operators they use."""

IR_TAG, IR_VERSIONS, SECOND_TAGS = 0x08, range(1, 128), b"\x12\x1a\x22\x28\x32\x3a\x42\x72\xa2\xca"
"""How a file begins that ONNX's own writer has made: the format's version, then any other field of a model."""


def looks_like_onnx(data: bytes) -> bool:
    """Whether a file begins like an ONNX model."""
    return len(data) > 2 and data[0] == IR_TAG and data[1] in IR_VERSIONS and data[2] in SECOND_TAGS


def read_model(path: Path, data: bytes) -> onnx.ModelProto:
    """The model of a file: checked, without functions of its own, nodes in execution order, all data loaded.

    Raises
    ------
    InputError
        For damaged files, versions that are not known, data in other files that are missing, and graphs whose nodes
        read what nothing makes, or what they make themselves.
    """
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        raise InputError(
            f"{path} begins like an ONNX model and is truncated or damaged; copy it again, or export the model again"
        ) from error
    _check_versions(path, model)
    if not model.graph.node and not model.graph.output:
        raise InputError(f"{path} is an ONNX file without a graph; export the model again")
    _load_external(path, model)
    if model.functions:
        model = inliner.inline_local_functions(model)
    _sort(path, model.graph)
    _check_nodes(path, model)
    recognize(model.graph)
    _sort(path, model.graph)
    return model


def opset(model: onnx.ModelProto) -> int:
    """Version of ONNX's own operators that a model uses."""
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), FIRST_OPSET)


def _check_versions(path: Path, model: onnx.ModelProto) -> None:
    if not FIRST_IR <= model.ir_version <= LAST_IR:
        raise InputError(
            f"{path} has version {model.ir_version} of the ONNX file format; {FIRST_IR} to {LAST_IR} can be read; "
            f"{_advice(model.ir_version > LAST_IR)}"
        )
    found = opset(model)
    if not FIRST_OPSET <= found <= LAST_OPSET:
        raise InputError(
            f"{path} uses opset {found} of ONNX's operators; {FIRST_OPSET} to {LAST_OPSET} can be read; "
            f"{_advice(found > LAST_OPSET)}"
        )


def _advice(new: bool) -> str:
    if new:
        return "export the model with an older opset, or install a newer onnx package"
    return "export the model again, or convert it with onnx.version_converter"


def _load_external(path: Path, model: onnx.ModelProto) -> None:
    """Bring in tensors that lie in files beside the model."""
    for tensor in external_data_helper._get_all_tensors(model):
        if not external_data_helper.uses_external_data(tensor):
            continue
        place = external_data_helper.ExternalDataInfo(tensor).location
        if not (path.parent / place).is_file():
            where = f"{path}: {tensor.name} has its data in {place}"
            raise InputError(f"{where}, which is missing; put it beside the model")
        try:
            external_data_helper.load_external_data_for_tensor(tensor, str(path.parent))
        except (OSError, ValueError, onnx.checker.ValidationError) as error:
            raise InputError(f"{path}: the data of {tensor.name} in {place} cannot be read: {_first(error)}") from error
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def _first(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _check_nodes(path: Path, model: onnx.ModelProto) -> None:
    """Refuse nodes without what their operators need; operators that ONNX does not know are met later."""
    context = onnx.checker.DEFAULT_CONTEXT
    context.ir_version = model.ir_version
    context.opset_imports = {entry.domain: entry.version for entry in model.opset_import}
    for node in model.graph.node:
        if node.domain in ("", "ai.onnx") and onnx.defs.has(node.op_type):
            try:
                onnx.checker.check_node(node, context)
            except onnx.checker.ValidationError as error:
                place = f"{path}: node {title(node)} ({node.op_type})"
                raise InputError(f"{place} is not valid: {_first(error)}") from error


def constants(graph: onnx.GraphProto) -> Iterator[str]:
    """Names of tensors that the file holds."""
    yield from (tensor.name for tensor in graph.initializer)
    yield from (tensor.values.name for tensor in graph.sparse_initializer)


def title(node: onnx.NodeProto) -> str:
    """Name of a node: its own, or that of what it makes."""
    return node.name or next((name for name in node.output if name), node.op_type)


def _sort(path: Path, graph: onnx.GraphProto) -> None:
    """Put the nodes that outputs need, and no others, in execution order."""
    makers: dict[str, onnx.NodeProto] = {}
    for node in graph.node:
        for name in node.output:
            if name and name in makers:
                raise InputError(f"{path}: tensor {name} is made twice, by {title(makers[name])} and {title(node)}")
            makers[name] = node
    known = {*constants(graph), *(value.name for value in graph.input), ""}
    order: list[onnx.NodeProto] = []
    state = Counter[int]()  # by identity of a node: 1 while what it reads is visited, then 2
    for output in graph.output:
        stack = [(output.name, f"output {output.name}")]
        while stack:
            name, reader = stack[-1]
            node = makers.get(name)
            if node is None or state[id(node)] == 2:
                if node is None and name not in known:
                    raise InputError(f"{path}: {reader} reads tensor {name}, which no node, input or constant makes")
                stack.pop()
                continue
            if state[id(node)] == 1:
                state[id(node)] = 2
                order.append(node)
                stack.pop()
                continue
            state[id(node)] = 1
            for source in node.input:
                before = makers.get(source)
                if before is not None and state[id(before)] == 1:
                    raise InputError(
                        f"{path}: the graph has a cycle: {title(node)} reads {source}, which depends on that node"
                    )
                stack.append((source, f"node {title(node)} ({node.op_type})"))
    kept = [onnx.NodeProto() for _ in order]
    for copy, node in zip(kept, order, strict=True):
        copy.CopyFrom(node)
    del graph.node[:]
    graph.node.extend(kept)
