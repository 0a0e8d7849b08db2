"""Agreement with ONNX Runtime's quantized operators, to the bit where scales are powers of two."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from dataflows.network import Add, AvgPool, Concat, Conv, Tensor, Window
from tests.sim.golden_layers import apply, random_codes


def infer(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Run nodes of int8 tensors in ONNX Runtime, NHWC outside, NCHW inside."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.INT8, None) for name in inputs],
        [helper.make_tensor_value_info("y", TensorProto.INT8, None)],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # the nodes as they are
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    result = session.run(None, {name: np.ascontiguousarray(x.transpose(0, 3, 1, 2)) for name, x in inputs.items()})[0]
    return np.asarray(result).transpose(0, 2, 3, 1)


def parameters(prefix: str, scale: float, zero: int) -> dict[str, np.ndarray]:
    return {f"{prefix}_scale": np.float32(scale), f"{prefix}_zero": np.int8(zero)}


@pytest.mark.parametrize(
    ("groups", "stride", "dilation", "padding"),
    [
        (1, (1, 1), (1, 1), (1, 1, 1, 1)),
        (1, (2, 1), (1, 2), (0, 2, 1, 0)),
        (3, (1, 2), (2, 1), (2, 1, 0, 1)),
        (6, (1, 1), (1, 1), (1, 1, 1, 1)),
    ],
)
@pytest.mark.parametrize("zeros", [(0, 0), (-128, 127), (127, -128), (5, -11)])
def test_conv(rng, groups, stride, dilation, padding, zeros):
    x, weight = random_codes(rng, (2, 9, 8, 6)), random_codes(rng, (12, 6 // groups, 3, 3))
    weight = np.maximum(weight, -127)  # symmetric weights, as quantization makes them
    weight_scale = (2.0 ** rng.integers(-9, -5, 12)).astype(np.float32)
    bias = rng.integers(-3000, 3000, 12).astype(np.int32)
    window = Window((3, 3), stride, padding, dilation)
    layer = Conv("l", ("x",), "y", weight=weight, weight_scale=weight_scale, bias=bias, window=window, groups=groups)
    got = apply(layer, [Tensor("x", x.shape, 0.125, zeros[0]), Tensor("y", (), 0.5, zeros[1])], [x], 12)
    names = ["x", "x_scale", "x_zero", "w", "w_scale", "w_zero", "y_scale", "y_zero", "bias"]
    node = helper.make_node("QLinearConv", names, ["y"], pads=padding, strides=stride, dilations=dilation, group=groups)
    constants = {
        **parameters("x", 0.125, zeros[0]),
        **parameters("y", 0.5, zeros[1]),
        "w": weight,
        "w_scale": weight_scale,
        "w_zero": np.zeros(12, np.int8),
        "bias": bias,
    }
    np.testing.assert_array_equal(got, infer([node], constants, {"x": x}))
    assert len(np.unique(got)) > 10


ADD_SHAPE = (1, 8, 8, 16)


@pytest.mark.parametrize(
    ("a", "b", "y"),
    [
        ((1.0, 0), (1.0, 0), (2.0, 0)),
        ((0.25, -128), (0.5, 127), (1.0, 3)),
        ((4.0, 7), (0.125, -9), (2.0, -1)),
    ],
)
def test_add_as_onnx_defines_it(rng, a, b, y):
    """Dequantize, add, quantize: exact in float32 with these scales."""
    xs = {"a": random_codes(rng, ADD_SHAPE), "b": random_codes(rng, ADD_SHAPE)}
    tensors = [Tensor("a", ADD_SHAPE, *a), Tensor("b", ADD_SHAPE, *b), Tensor("y", (), *y)]
    got = apply(Add("l", ("a", "b"), "y"), tensors, list(xs.values()), 16)
    nodes = [
        helper.make_node("DequantizeLinear", ["a", "a_scale", "a_zero"], ["real_a"]),
        helper.make_node("DequantizeLinear", ["b", "b_scale", "b_zero"], ["real_b"]),
        helper.make_node("Add", ["real_a", "real_b"], ["real_y"]),
        helper.make_node("QuantizeLinear", ["real_y", "y_scale", "y_zero"], ["y"]),
    ]
    constants = {**parameters("a", *a), **parameters("b", *b), **parameters("y", *y)}
    np.testing.assert_array_equal(got, infer(nodes, constants, xs))


@pytest.mark.parametrize(
    ("a", "b", "y"),
    [
        ((1.0, 0), (1.0, 0), (2.0, 0)),
        ((0.25, -128), (0.5, 127), (1.0, 4)),
        ((4.0, 7), (0.125, -9), (2.0, -2)),
    ],
)
def test_add_fused(rng, a, b, y):
    """ONNX Runtime's fused operator adds the zero point before it rounds: ties agree only where that is even."""
    xs = {"a": random_codes(rng, ADD_SHAPE), "b": random_codes(rng, ADD_SHAPE)}
    tensors = [Tensor("a", ADD_SHAPE, *a), Tensor("b", ADD_SHAPE, *b), Tensor("y", (), *y)]
    got = apply(Add("l", ("a", "b"), "y"), tensors, list(xs.values()), 16)
    names = ["a", "a_scale", "a_zero", "b", "b_scale", "b_zero", "y_scale", "y_zero"]
    node = helper.make_node("QLinearAdd", names, ["y"], domain="com.microsoft")
    constants = {**parameters("a", *a), **parameters("b", *b), **parameters("y", *y)}
    np.testing.assert_array_equal(got, infer([node], constants, xs))


@pytest.mark.parametrize(("x", "y"), [((1.0, 0), (1.0, 0)), ((0.5, -128), (0.25, 100)), ((2.0, 31), (4.0, -7))])
def test_average_pool(rng, x, y):
    value = random_codes(rng, (1, 8, 6, 16))
    window = Window((2, 4), (2, 2))
    layer = AvgPool("l", ("x",), "y", window=window, divisors=np.full(window.output_size(8, 6), 8, np.int32))
    got = apply(layer, [Tensor("x", value.shape, *x), Tensor("y", (), *y)], [value], 16)
    node = helper.make_node(
        "QLinearAveragePool",
        ["x", "x_scale", "x_zero", "y_scale", "y_zero"],
        ["y"],
        domain="com.microsoft",
        kernel_shape=window.kernel,
        strides=window.stride,
    )
    np.testing.assert_array_equal(got, infer([node], {**parameters("x", *x), **parameters("y", *y)}, {"x": value}))


def test_concat(rng):
    values = {"a": random_codes(rng, (1, 5, 5, 3)), "b": random_codes(rng, (1, 5, 5, 4))}
    scales = {"a": (0.5, 3), "b": (4.0, -100), "y": (2.0, 9)}
    tensors = [
        Tensor("a", values["a"].shape, *scales["a"]),
        Tensor("b", values["b"].shape, *scales["b"]),
        Tensor("y", (), *scales["y"]),
    ]
    got = apply(Concat("l", ("a", "b"), "y"), tensors, list(values.values()), 7)
    names = ["y_scale", "y_zero", "a", "a_scale", "a_zero", "b", "b_scale", "b_zero"]
    node = helper.make_node("QLinearConcat", names, ["y"], domain="com.microsoft", axis=1)
    constants = {
        name: value
        for prefix, (scale, zero) in scales.items()
        for name, value in parameters(prefix, scale, zero).items()
    }
    np.testing.assert_array_equal(got, infer([node], constants, values))
