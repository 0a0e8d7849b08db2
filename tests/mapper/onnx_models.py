"""Small ONNX models, and what ONNX Runtime makes of them: quantized files, results of every quantized tensor."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

Array = NDArray[Any]


class Maker:
    """Collects nodes and constants of a model with one input ``x``."""

    def __init__(self, shape: tuple[Any, ...], seed: int = 0, opset: int = 17) -> None:
        self.shape, self.opset = shape, opset
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}

    def node(self, op: str, *inputs: str, domain: str = "", outputs: int = 1, **attributes: Any) -> str:
        """Append a node; the name of its (first) result."""
        name = f"t{len(self.nodes)}"
        names = [name, *(f"{name}_{i}" for i in range(1, outputs))]
        self.nodes.append(helper.make_node(op, inputs, names, name=f"/{op}_{name}/{op}", domain=domain, **attributes))
        return name

    def constant(self, value: Any) -> str:
        """Append a constant."""
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(value)
        return name

    def weights(self, *shape: int) -> str:
        """Random weights of a layer."""
        fan = np.prod(shape[1:]) if len(shape) > 2 else shape[-1]
        return self.constant((self.rng.standard_normal(shape) * np.sqrt(2 / fan)).astype(np.float32))

    def conv(self, x: str, cin: int, cout: int, kernel: int = 3, stride: int = 1, groups: int = 1, **more: Any) -> str:
        """A convolution with bias."""
        weight, bias = self.weights(cout, cin // groups, kernel, kernel), self.constant(self._bias(cout))
        more = {"pads": [kernel // 2] * 4, **more}
        return self.node(
            "Conv", x, weight, bias, kernel_shape=[kernel] * 2, strides=[stride] * 2, group=groups, **more
        )

    def gemm(self, x: str, cin: int, cout: int) -> str:
        """A linear layer."""
        return self.node("Gemm", x, self.weights(cout, cin), self.constant(self._bias(cout)), transB=1)

    def _bias(self, count: int) -> Array:
        return (self.rng.standard_normal(count) * 0.2).astype(np.float32)

    def model(self, *outputs: str, kind: int = TensorProto.FLOAT, domains: tuple[str, ...] = ()) -> onnx.ModelProto:
        """The model."""
        graph = helper.make_graph(
            self.nodes, "g", [helper.make_tensor_value_info("x", kind, self.shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )  # fmt: skip
        opsets = [helper.make_opsetid("", self.opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
        return onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=opsets, ir_version=8))


def resnet() -> onnx.ModelProto:
    """Residual blocks with and without a convolution beside them, maxima, a mean, a linear layer."""
    m = Maker((1, 3, 20, 20))
    x = m.node("Relu", m.conv("x", 3, 12))
    x = m.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    y = m.conv(m.node("Relu", m.conv(x, 12, 12)), 12, 12)
    x = m.node("Relu", m.node("Add", y, x))
    y = m.conv(m.node("Relu", m.conv(x, 12, 20, stride=2)), 20, 20)
    x = m.node("Relu", m.node("Add", y, m.conv(x, 12, 20, 1, 2)))
    x = m.node("Flatten", m.node("GlobalAveragePool", x))
    return m.model(m.gemm(x, 20, 10))


def mobilenet() -> onnx.ModelProto:
    """Depthwise layers, ReLU6, an inverted residual without activation at its end, padding on two sides only."""
    m = Maker((1, 3, 18, 16), seed=1)

    def relu6(x: str) -> str:
        return m.node("Clip", x, m.constant(np.float32(0)), m.constant(np.float32(6)))

    x = relu6(m.conv("x", 3, 16, stride=2, pads=[0, 0, 1, 1]))
    y = relu6(m.conv(relu6(m.conv(x, 16, 24, 1)), 24, 24, groups=24))
    x = m.node("Add", m.conv(y, 24, 16, 1), x)
    x = m.conv(relu6(m.conv(x, 16, 32, 5, 2, groups=16)), 32, 12, 1)
    return m.model(m.gemm(m.node("Flatten", x), 12 * 5 * 4, 7))


def inception() -> onnx.ModelProto:
    """Branches that are concatenated, average pooling with borders, no bias, a grouped layer.

    Windows have odd numbers of elements: with equal scales, means of even numbers are ties, which noise decides there.
    """
    m = Maker((1, 8, 11, 13), seed=2)
    a = m.node("Relu", m.conv("x", 8, 6, 1))
    b = m.node("Relu", m.conv("x", 8, 10, 3, groups=2))
    c = m.node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    x = m.node("Concat", a, b, c, axis=1)
    x = m.node("Conv", x, m.weights(9, 24, 3, 3), kernel_shape=[3, 3], dilations=[2, 1], auto_pad="VALID")
    return m.model(m.node("AveragePool", x, kernel_shape=[3, 5], strides=[2, 2]))


def mlp() -> onnx.ModelProto:
    """Linear layers, as Gemm, and as MatMul with its bias added after."""
    m = Maker((1, 40), seed=3)
    x = m.node("Relu", m.gemm("x", 40, 64))
    x = m.node("MatMul", x, m.weights(64, 33))
    x = m.node("Relu", m.node("Add", x, m.constant(m._bias(33))))
    return m.model(m.gemm(x, 33, 10))


def attention(causal: bool = True) -> onnx.ModelProto:
    """Attention of two heads, as exporters write it, with its projections and an addition."""
    m = Maker((1, 5, 8))

    def heads(turned: bool) -> str:
        x = m.node("Reshape", m.node("MatMul", "x", m.weights(8, 8)), m.constant([1, 5, 2, 4]))
        return m.node("Transpose", x, perm=[0, 2, 3, 1] if turned else [0, 2, 1, 3])

    q, k, v = heads(False), heads(True), heads(False)
    scores = m.node("Mul", m.node("MatMul", q, k), m.constant(np.float32(0.5)))
    mask = np.triu(np.full((1, 1, 5, 5), -np.inf, np.float32), 1)
    scores = m.node("Add", scores, m.constant(mask)) if causal else scores
    weights = m.node("Softmax", scores, axis=-1)
    x = m.node("Transpose", m.node("MatMul", weights, v), perm=[0, 2, 1, 3])
    x = m.node("MatMul", m.node("Reshape", x, m.constant([1, 5, 8])), m.weights(8, 8))
    return m.model(m.node("Add", x, "x"))


NETWORKS = {make.__name__: make for make in (resnet, mobilenet, inception, mlp)}


class _Samples(CalibrationDataReader):
    def __init__(self, data: Array) -> None:
        self.left = iter(data)

    def get_next(self) -> dict[str, Array] | None:
        found = next(self.left, None)
        return None if found is None else {"x": found[None]}


def samples(model: onnx.ModelProto, count: int, seed: int = 5) -> Array:
    """Random inputs (samples, ...)."""
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
    return np.random.default_rng(seed).standard_normal((count, *shape)).astype(np.float32)


def quantized(
    model: onnx.ModelProto, path: Path, form: str = "QDQ", channels: bool = True, activations: str = "QUInt8",
    symmetric: bool = False, **more: Any,
) -> onnx.ModelProto:  # fmt: skip
    """Quantize a model with ONNX Runtime's static quantizer, into a file."""
    options = {"ActivationSymmetric": symmetric, **more}
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        onnx.save(model, path.with_suffix(".float.onnx"))
        quantize_static(
            path.with_suffix(".float.onnx"), path, _Samples(samples(model, 8, seed=0)), quant_format=QuantFormat[form],
            per_channel=channels, activation_type=QuantType[activations], weight_type=QuantType.QInt8,
            extra_options=options,
        )  # fmt: skip
    finally:
        logging.disable(before)
    return onnx.load(path)


RESULT = {"QuantizeLinear": 1, "QLinearConv": 6, "QLinearMatMul": 6, "QLinearAdd": 6, "QGemm": 7, "QLinearConcat": 0}
"""Which input of a node is the scale of its result; 3 for others."""


def exposed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the integers of every quantized tensor as outputs, those of views left out, and no others."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.output[:]
    for node in model.graph.node:
        rounds = node.op_type.startswith(("QuantizeLinear", "QLinear", "QGemm"))
        if not rounds or makers.get(node.input[0]) == "Flatten":
            continue
        at = RESULT.get(node.op_type, 3)
        kind = helper.np_dtype_to_tensor_dtype(constants[node.input[at + 1]].dtype)
        result.graph.output.append(helper.make_tensor_value_info(node.output[0], kind, None))
    return result


def run(model: onnx.ModelProto, x: Array, plain: bool = False) -> list[Array]:
    """Outputs of a model for samples, by ONNX Runtime, integers as int8.

    ``plain``: nodes as they are, not replaced by kernels on integers.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if plain:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    runs = zip(*(session.run(None, {"x": sample[None]}) for sample in x), strict=True)
    return [_signed(np.concatenate(values)) for values in runs]


def _signed(values: Array) -> Array:
    return (values.astype(np.int16) - 128).astype(np.int8) if values.dtype == np.uint8 else values


def powers_of_two(model: onnx.ModelProto) -> onnx.ModelProto:
    """A QDQ model with every scale rounded to a power of two, and biases counting products of those."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    constants = {tensor.name: tensor for tensor in result.graph.initializer}
    makers = {name: node for node in result.graph.node for name in node.output}

    def change(name: str, values: Array) -> None:
        constants[name].CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))

    for node in result.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            values = numpy_helper.to_array(constants[node.input[1]])
            change(node.input[1], np.exp2(np.rint(np.log2(values))))
    for node in result.graph.node:
        if node.op_type in ("Conv", "Gemm") and len(node.input) > 2:
            x, weight, bias = (makers[name].input[1] for name in node.input)
            change(bias, numpy_helper.to_array(constants[x]) * numpy_helper.to_array(constants[weight]))
    return result
