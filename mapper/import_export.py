"""Import of ``torch.export`` archives, read as what they are: JSON and raw tensors.

``torch.export.load`` falls back to unrestricted unpickling and loads compiled libraries found in the archive;
nothing of that is needed to read a graph, so the archive is read directly.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pickle import UnpicklingError
from typing import Any

import torch

from dataflows.errors import InputError
from mapper.graph import FloatGraph
from mapper.import_builder import Builder
from mapper.import_operators import apply
from mapper.import_parts import settled
from mapper.import_pt2e import SPACE
from mapper.import_scalars import SCALARS
from mapper.import_values import Activation, Constant, Where

Members = dict[str, bytes]

DTYPES = {
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16,
    7: torch.float32, 8: torch.float64, 12: torch.bool, 13: torch.bfloat16,
}  # fmt: skip
"""Numbers of the archive's schema for element types."""

IDS = torch.int64, torch.int32
"""Types of inputs that choose rows of tables."""

COMPOSED = ".container.", ".transformer.", ".MultiheadAttention"
"""PyTorch's own modules that consist of several operators."""

NO_EFFECT = frozenset({"_assert_tensor_metadata", "_assert_scalar", "sym_constrain_range_for_size", "_guards_fn"})


def import_export(name: str, members: Members, input_shape: Sequence[int] | None) -> FloatGraph:
    """The graph of an archive.

    Parameters
    ----------
    members : dict from path inside the archive (without its root folder) to contents
    input_shape : shape of the input where the archive leaves dimensions open
    """
    text = members.get("models/model.json", members.get("serialized_exported_program.json"))
    if text is None:
        models = ", ".join(sorted(m for m in members if m.startswith("models/"))) or "none"
        raise InputError(f"the export archive must hold one program named 'model', found {models}")
    program = json.loads(text)
    return _Walk(name, program["graph_module"], _tensors(members), input_shape).run()


class _Walk:
    """One pass over the nodes; ``values`` holds what every name stands for."""

    def __init__(
        self, name: str, module: dict[str, Any], tensors: dict[str, torch.Tensor], input_shape: Sequence[int] | None
    ) -> None:
        self.builder = Builder(name)
        self.graph, self.signature = module["graph"], module["signature"]
        self.tensors = tensors
        self.input_shape = input_shape
        self.values: dict[str, Any] = {}

    def run(self) -> FloatGraph:
        """Inputs, nodes, outputs."""
        specs = [next(iter(spec.items())) for spec in self.signature["input_specs"]]
        inputs = [spec["arg"] for kind, spec in specs if kind == "user_input"]
        for kind, spec in specs:
            if kind == "user_input":
                self._input(spec["arg"], alone=len(inputs) == 1)
            else:
                self._constant(kind, spec)
        for node in self.graph["nodes"]:
            self._node(node)
        outputs = [next(iter(spec.items())) for spec in self.signature["output_specs"]]
        found = [self._argument(spec["arg"]) for kind, spec in outputs if kind == "user_output"]
        return self.builder.finish([settled(self.builder, x) if isinstance(x, Activation) else x for x in found])

    def _input(self, argument: dict[str, Any], alone: bool) -> None:
        kind, content = next(iter(argument.items()))
        if kind != "as_tensor":
            raise InputError(f"the model takes an input that is not a tensor ({kind.removeprefix('as_')})")
        name = content["name"]
        meta = self.graph["tensor_values"][name]
        dtype = DTYPES.get(meta["dtype"])
        if dtype is None or not (dtype.is_floating_point or dtype in IDS):
            raise InputError(
                f"input {name} holds {str(dtype).removeprefix('torch.')}; inputs must be floating point, or int64 or "
                "int32 for an embedding (a mask must be a constant of the model: register_buffer)"
            )
        shape = [size.get("as_int") for size in meta["sizes"]]
        self.values[name] = self.builder.input(name, self._resolve(name, shape, alone), ids=dtype in IDS)

    def _resolve(self, name: str, shape: list[int | None], alone: bool) -> tuple[int, ...]:
        """Fixed shape of an input: dimensions left open come from ``input_shape``."""
        given = tuple(self.input_shape) if self.input_shape is not None and alone else None
        open_dims = [i for i, size in enumerate(shape) if size is None]
        if open_dims and given is None:
            listed = " and ".join(map(str, open_dims))
            raise InputError(
                f"input {name}: dimension {listed} is dynamic; give the shape with --input-shape, "
                "or export without dynamic_shapes"
            )
        if given is None:
            return tuple(size for size in shape if size is not None)
        if len(given) != len(shape) or any(s not in (None, g) for s, g in zip(shape, given, strict=True)):
            said = tuple("?" if s is None else s for s in shape)
            raise InputError(
                f"input {name} has shape ({', '.join(map(str, said))}) in the file, not {given}; "
                "leave --input-shape out, or export the model with that shape"
            )
        return given

    def _constant(self, kind: str, spec: dict[str, Any]) -> None:
        if kind not in ("parameter", "buffer", "tensor_constant"):
            raise InputError(f"the model takes an input of kind {kind!r}; only tensors are supported")
        name = spec[f"{kind}_name"]
        if name not in self.tensors:
            raise InputError(f"the export archive lacks the data of {kind} {name}; export the model again")
        self.values[spec["arg"]["name"]] = Constant(name, self.tensors[name])

    def _node(self, node: dict[str, Any]) -> None:
        target = node["target"].removeprefix("torch.ops.").split(".")
        operator = target[1] if len(target) > 1 else target[0]
        if target[0] == SPACE:
            operator = f"{SPACE}.{operator}"
        self.builder.where = _where(node.get("metadata") or {})
        if operator in NO_EFFECT:
            return
        if target[0] not in ("aten", "_operator", "math", "prims", SPACE):
            title = ".".join(target[:2])
            raise self.builder.error(f"operator {title} is not supported; only PyTorch's own operators are")
        arguments = {i["name"]: self._argument(i["arg"]) for i in node["inputs"]}
        scalars = all(isinstance(v, int | float) for v in arguments.values())
        if scalars and operator in SCALARS:
            result = SCALARS[operator](*arguments.values())
        else:
            result = apply(self.builder, operator, arguments)
        names = [name for output in node["outputs"] for name in _names(output)]
        results = result if isinstance(result, tuple) else (result,)
        self.values.update(zip(names, results, strict=False))

    def _argument(self, argument: dict[str, Any]) -> Any:
        """What an argument stands for: a value, a number, a string, a list of those, or None."""
        kind, content = next(iter(argument.items()))
        match kind:
            case "as_tensor":
                return self._value(content["name"])
            case "as_tensors":
                return [self._value(item["name"]) for item in content]
            case "as_name":
                return self._value(content)
            case "as_none":
                return None
            case "as_sym_int" | "as_sym_float" | "as_sym_bool" | "as_optional_tensor":
                return self._argument(content)
            case "as_sym_ints" | "as_optional_tensors" | "as_nested_tensors":
                return [self._argument(item) for item in content]
            case "as_scalar_type":
                return DTYPES.get(content)
            case "as_float":
                return float(content)
            case "as_floats":
                return [float(item) for item in content]
        return content

    def _value(self, name: str) -> Any:
        if name not in self.values:
            raise self.builder.error(f"the result {name} of an operator is used that the import does not compute")
        return self.values[name]


def _names(output: dict[str, Any]) -> list[str]:
    kind, content = next(iter(output.items()))
    if kind == "as_tensors":
        return [item["name"] for item in content]
    if kind == "as_sym_int":
        return [content.get("as_name", "")]
    return [content["name"]] if isinstance(content, dict) and "name" in content else [""]


def _where(metadata: dict[str, str]) -> Where:
    """Module path and innermost source line outside PyTorch."""
    path, leaf = "", False
    stack = metadata.get("nn_module_stack", "").split(";")
    if stack[-1]:
        fields = stack[-1].split(",", 2)
        path = fields[1].split("@")[0] if len(fields) > 1 else ""
        kind = fields[2] if len(fields) > 2 else ""
        leaf = bool(path) and kind.startswith("torch.nn.modules.") and not any(part in kind for part in COMPOSED)
    frames = [line for line in metadata.get("stack_trace", "").splitlines() if line.strip().startswith("File ")]
    own = [line for line in frames if "/torch/" not in line.replace("\\", "/")]
    line = ""
    if own:
        file, number, *_ = own[-1].strip().removeprefix("File ").split(", ")
        line = f"{file.strip(chr(34)).replace(chr(92), '/').rsplit('/', 1)[-1]} {number}"
    return Where(path, line, leaf)


def _tensors(members: Members) -> dict[str, torch.Tensor]:
    """Parameters, buffers and constants by name, in the layout of any PyTorch since 2.5."""
    found: dict[str, torch.Tensor] = {}
    for folder in ("weights", "constants"):
        config = members.get(f"data/{folder}/model_{folder}_config.json")
        if config is not None:
            for name, payload in json.loads(config)["config"].items():
                if payload["use_pickle"]:
                    raise InputError(f"{name} is stored as a Python object; only plain tensors are supported")
                found[name] = _tensor(members[f"data/{folder}/{payload['path_name']}"], payload["tensor_meta"])
    for path in (
        "data/weights/model.pt", "data/constants/model.pt", "serialized_state_dict.pt", "serialized_constants.pt",
    ):  # fmt: skip
        if members.get(path):
            found |= _load_tensors(path, members[path])
    return found


def _load_tensors(path: str, data: bytes) -> dict[str, torch.Tensor]:
    """Tensors of an older archive, which pickles dictionaries of them; anything else in the pickle is refused."""
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise InputError(f"{path} in the export archive holds pickled Python objects besides tensors") from error
    return {name: value for name, value in content.items() if isinstance(value, torch.Tensor)}


def _tensor(data: bytes, meta: dict[str, Any]) -> torch.Tensor:
    """A tensor from the bytes of its storage and its strides."""
    dtype, size = DTYPES[meta["dtype"]], [s["as_int"] for s in meta["sizes"]]
    if not data:
        return torch.zeros(size, dtype=dtype)
    stride, offset = [s["as_int"] for s in meta["strides"]], meta["storage_offset"]["as_int"]
    return torch.frombuffer(bytearray(data), dtype=dtype).as_strided(size, stride, offset)
