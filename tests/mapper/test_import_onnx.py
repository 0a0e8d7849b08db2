"""ONNX operators: the float graph computes what ONNX Runtime computes."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from mapper import float_reference
from mapper.calibrate import observe
from mapper.graph import FloatGraph
from mapper.loading import import_model
from mapper.quantize import quantize
from mapper.samples import dequantize_output, quantize_input
from sim import golden
from tests.mapper.onnx_models import NETWORKS, Maker, attention, quantized, run, samples

MAP = (1, 6, 9, 8)
CASES: dict[str, tuple[tuple[int, ...], Callable[[Maker], str]]] = {
    "conv one-sided": (MAP, lambda m: m.conv("x", 6, 5, 3, 2, pads=[0, 1, 2, 0])),
    "conv same upper": (MAP, lambda m: m.node("Conv", "x", m.weights(5, 6, 4, 3), auto_pad="SAME_UPPER")),
    "conv same lower": (
        MAP, lambda m: m.node("Conv", "x", m.weights(5, 6, 4, 4), auto_pad="SAME_LOWER", strides=[2, 3])
    ),
    "conv dilated groups": (
        MAP, lambda m: m.node("Conv", "x", m.weights(4, 3, 3, 2), dilations=[2, 3], group=2, pads=[1, 2, 1, 2])
    ),
    "conv depthwise": (MAP, lambda m: m.conv("x", 6, 12, 3, groups=6)),
    "batch norm": (
        MAP, lambda m: m.node(
            "BatchNormalization", m.conv("x", 6, 4),
            *(m.constant(m.rng.uniform(0.5, 2, 4).astype(np.float32)) for _ in range(4)), epsilon=0.01,
        ),
    ),
    "gemm": (
        (1, 7), lambda m: m.node("Gemm", "x", m.weights(7, 5), m.constant(np.float32([0.3])), alpha=0.5, beta=2.0)
    ),
    "matmul bias": ((1, 7), lambda m: m.node("Add", m.constant(m._bias(5)), m.node("MatMul", "x", m.weights(7, 5)))),
    "matmul tokens": ((1, 4, 7), lambda m: m.node("MatMul", "x", m.weights(7, 5))),
    "arithmetic": (
        MAP, lambda m: m.node(
            "Div", m.node("Mul", m.node("Sub", "x", m.constant(np.float32(0.1))), m.constant(m.rng.uniform(
                1, 2, (6, 1, 1)).astype(np.float32))), m.constant(np.float32(3))
        ),
    ),
    "clip": (MAP, lambda m: m.node("Clip", m.conv("x", 6, 4), "", m.constant(np.float32(0.7)))),
    "relu6": (MAP, lambda m: m.node("Clip", "x", m.constant(np.float32(0)), m.constant(np.float32(6)))),
    "max pool ceil": (
        MAP, lambda m: m.node("MaxPool", "x", kernel_shape=[3, 2], strides=[2, 3], ceil_mode=1, pads=[1, 0, 1, 1])
    ),
    "max pool same": (
        MAP, lambda m: m.node("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER")
    ),
    "average pool": (MAP, lambda m: m.node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 0, 1, 2], strides=[2, 1])),
    "average pool borders": (
        MAP, lambda m: m.node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    ),
    "average pool ceil": (MAP, lambda m: m.node("AveragePool", "x", kernel_shape=[2, 3], strides=[2, 2], ceil_mode=1)),
    "global maximum": (MAP, lambda m: m.node("GlobalMaxPool", "x")),
    "mean": (MAP, lambda m: m.node("ReduceMean", "x", axes=[2, 3], keepdims=0)),
    "concat split": (
        MAP, lambda m: m.node("Concat", m.conv("x", 6, 4), m.node("Relu", "x"), m.conv("x", 6, 3, 1), axis=1)
    ),
    "pad": (
        MAP, lambda m: m.node("Conv", m.node("Pad", "x", m.constant([0, 0, 1, 0, 0, 0, 2, 1])), m.weights(4, 6, 3, 3))
    ),
    "flatten": (MAP, lambda m: m.gemm(m.node("Flatten", m.conv("x", 6, 3)), 3 * 72, 5)),
    "reshape": (MAP, lambda m: m.gemm(m.node("Reshape", "x", m.constant([0, -1])), 432, 5)),
    "shape arithmetic": (
        MAP, lambda m: m.gemm(m.node("Reshape", "x", m.node("Concat", m.node("Unsqueeze", m.node(
            "Gather", m.node("Shape", "x"), m.constant(0)), m.constant([0])), m.constant([-1]), axis=0)), 432, 5)
    ),
    "squeeze": (MAP, lambda m: m.gemm(m.node("Squeeze", m.node("GlobalAveragePool", "x"), m.constant([2, 3])), 6, 3)),
    "folded": (
        MAP, lambda m: m.node("Conv", "x", m.node("Transpose", m.node("Mul", m.weights(3, 3, 6, 4), m.constant(
            np.float32(0.5))), perm=[3, 2, 0, 1]))
    ),
    "dropout identity": (MAP, lambda m: m.node("Dropout", m.node("Identity", m.conv("x", 6, 3)))),
    "layer norm": (
        (1, 5, 8), lambda m: m.node("LayerNormalization", "x", m.constant(m.rng.uniform(
            0.5, 2, 8).astype(np.float32)), m.constant(m._bias(8)))
    ),
    "sigmoid tanh": (MAP, lambda m: m.node("Tanh", m.node("Sigmoid", m.conv("x", 6, 4)))),
    "tokens": (
        MAP, lambda m: m.node("MatMul", m.node("Transpose", m.node("Reshape", m.conv("x", 6, 4), m.constant(
            [1, 4, -1])), perm=[0, 2, 1]), m.weights(4, 3))
    ),
}  # fmt: skip


def imported(model: onnx.ModelProto, tmp_path, *args) -> FloatGraph:
    onnx.save(model, tmp_path / "m.any")
    return import_model(tmp_path / "m.any", *args)


def same(model: onnx.ModelProto, tmp_path, x: np.ndarray, *args) -> FloatGraph:
    """Import and compare with ONNX Runtime."""
    graph = imported(model, tmp_path, *args)
    got = float_reference.run(graph, {"x": x})
    for name, expected in zip(graph.outputs, run(model, x), strict=True):
        np.testing.assert_allclose(
            graph.modelled(name, got[name]).reshape(expected.shape), expected, rtol=1e-4, atol=1e-5
        )
    return graph


@pytest.mark.parametrize("case", CASES)
def test_operator(case, tmp_path):
    shape, build = CASES[case]
    maker = Maker(shape)
    model = maker.model(build(maker))
    same(model, tmp_path, samples(model, 3))


@pytest.mark.parametrize("name", NETWORKS)
def test_network(name, tmp_path):
    model = NETWORKS[name]()
    graph = same(model, tmp_path, samples(model, 2))
    assert all("/" not in node.name and node.where for node in graph.nodes)
    assert not any(node.name.endswith("_2") for node in graph.nodes)


def test_old_forms_of_operators(tmp_path):
    """Attributes that became inputs."""
    m = Maker(MAP, opset=9)
    x = m.node("Clip", m.conv("x", 6, 4), min=-0.5, max=0.25)
    x = m.node("Pad", x, pads=[0, 0, 1, 1, 0, 0, 0, 0])
    x = m.node("Unsqueeze", m.node("Squeeze", m.node("GlobalAveragePool", m.conv(x, 4, 5)), axes=[3]), axes=[3])
    model = m.model(x)
    same(model, tmp_path, samples(model, 2))


def test_new_forms_of_operators(tmp_path):
    """Inputs that were attributes, or nothing."""
    m = Maker(MAP, opset=21)
    x = m.node("Pad", "x", m.constant([1, 0, 2, 1]), "", m.constant([3, 2]))
    x = m.node("ReduceMean", m.conv(x, 6, 4), m.constant([-1, -2]), keepdims=1)
    model = m.model(m.gemm(m.node("Flatten", x), 4, 3))
    same(model, tmp_path, samples(model, 2))


def test_attention(tmp_path):
    model = attention()
    graph = same(model, tmp_path, samples(model, 2))
    assert "attention" in [node.op for node in graph.nodes]


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_quantized_attention(form, tmp_path):
    """Scores are not rounded as there, and that is told; results are close."""
    model = quantized(attention(causal=False), tmp_path / "q.onnx", form, True, "QInt8", True)
    graph = imported(model, tmp_path)
    (note,) = graph.notes
    assert note.startswith("scores of attention are not rounded as the model rounds them: ")
    x = samples(model, 4)
    network = quantize(graph, observe(graph, {"x": graph.held("x", x)}))
    found = golden.run(network, {"x": quantize_input(network, "x", graph.held("x", x))})
    (name,) = graph.outputs
    got = graph.modelled(name, dequantize_output(network, name, found[name]))
    expected = run(model, x)[0]
    assert ((got - expected) ** 2).mean() < 1e-3 * (expected**2).mean()


@pytest.mark.parametrize("form", range(4))
def test_gelu_taken_apart(form, tmp_path):
    m = Maker((1, 5, 8))
    half, one, root = (m.constant(np.float32(v)) for v in (0.5, 1, 2**0.5))
    x = m.node("MatMul", "x", m.weights(8, 12))
    inner = m.node("Div", x, root) if form % 2 else m.node("Mul", m.constant(np.float32(0.5**0.5)), x)
    total = m.node("Add", m.node("Erf", inner), one)
    match form:
        case 0:
            y = m.node("Mul", m.node("Mul", x, total), half)
        case 1:
            y = m.node("Mul", m.node("Mul", x, half), total)
        case 2:
            y = m.node("Mul", m.node("Mul", half, total), x)
        case _:
            y = m.node("Div", m.node("Mul", total, x), m.constant(np.float32(2)))
    model = m.model(m.node("MatMul", y, m.weights(12, 4)))
    graph = same(model, tmp_path, samples(model, 2))
    assert [node.op for node in graph.nodes if node.op == "lookup"] == ["lookup"]
    assert len(graph.nodes) == 3


@pytest.mark.parametrize("power", [True, False])
def test_gelu_by_tanh_taken_apart(power, tmp_path):
    m = Maker((1, 5, 8))
    x = m.node("MatMul", "x", m.weights(8, 12))
    cube = m.node("Pow", x, m.constant(np.float32(3))) if power else m.node("Mul", m.node("Mul", x, x), x)
    inner = m.node("Add", x, m.node("Mul", m.constant(np.float32(0.044715)), cube))
    f = m.node("Tanh", m.node("Mul", inner, m.constant(np.float32((2 / np.pi) ** 0.5))))
    total = m.node("Add", f, m.constant(np.float32(1)))
    y = m.node("Mul", m.node("Mul", x, m.constant(np.float32(0.5))), total)
    model = m.model(m.node("MatMul", y, m.weights(12, 4)))
    graph = same(model, tmp_path, samples(model, 2))
    assert [getattr(node, "function", "") for node in graph.nodes] == ["", "gelu_tanh", ""]


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("square", ["Pow", "Mul"])
def test_norm_taken_apart(centered, square, tmp_path):
    m = Maker((1, 5, 8))
    d = m.node("Sub", "x", m.node("ReduceMean", "x", axes=[-1])) if centered else "x"
    power = m.node("Pow", d, m.constant(np.float32(2))) if square == "Pow" else m.node("Mul", d, d)
    root = m.node("Sqrt", m.node("Add", m.node("ReduceMean", power, axes=[-1]), m.constant(np.float32(1e-3))))
    y = m.node("Mul", m.node("Div", d, root), m.constant(m.rng.uniform(0.5, 2, 8).astype(np.float32)))
    model = m.model(m.node("Add", y, m.constant(m._bias(8))))
    graph = same(model, tmp_path, samples(model, 2))
    assert [node.op for node in graph.nodes] == ["norm"]


def test_mobile_and_detection_blocks(tmp_path):
    """Squeeze and excite, hard-swish, SiLU, upsampling, transposed convolution, leaky ReLU, split."""
    m = Maker((1, 8, 6, 6))
    x = m.node("HardSwish", m.conv("x", 8, 16))
    s = m.node("Relu", m.conv(m.node("GlobalAveragePool", x), 16, 4, 1))
    x = m.node("Mul", x, m.node("HardSigmoid", m.conv(s, 4, 16, 1), alpha=1 / 6))
    x = m.conv(x, 16, 12, 1)
    x = m.node("Mul", x, m.node("Sigmoid", x))
    up = m.node("Resize", x, "", m.constant(np.float32([1, 1, 2, 2])), mode="nearest")
    first = m.node("Split", up, axis=1, outputs=2)
    turned = m.node("ConvTranspose", x, m.weights(12, 5, 2, 2), strides=[2, 2], kernel_shape=[2, 2])
    x = m.node("Concat", m.node("LeakyRelu", first, alpha=0.1), f"{first}_1", turned, axis=1)
    model = m.model(m.conv(x, 17, 6, 1))
    same(model, tmp_path, samples(model, 2))


@pytest.mark.parametrize(("kind", "gates"), [("LSTM", 4), ("GRU", 3)])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_recurrent_layers(kind, gates, direction, tmp_path):
    m, ways = Maker((1, 4, 5)), 1 if direction == "forward" else 2
    more = {"linear_before_reset": 1} if kind == "GRU" else {}
    parts = m.weights(ways, gates * 6, 5), m.weights(ways, gates * 6, 6), m.weights(ways, 2 * gates * 6)
    x = m.node("Transpose", "x", perm=[1, 0, 2])
    x = m.node(kind, x, *parts, hidden_size=6, direction=direction, **more)
    x = m.node("Reshape", m.node("Transpose", x, perm=[2, 0, 1, 3]), m.constant([1, 4, -1]))
    model = m.model(m.node("MatMul", x, m.weights(6 * ways, 3)))
    same(model, tmp_path, samples(model, 2))


def test_embedding(tmp_path):
    m = Maker((1, 6))
    model = m.model(m.node("MatMul", m.node("Gather", m.weights(11, 8), "x"), m.weights(8, 3)), kind=TensorProto.INT64)
    graph = imported(model, tmp_path)
    ids = np.array([[1, 0, 10, 4, 4, 2]])
    got = float_reference.run(graph, {"x": ids[:, None, None].astype(np.float32)})[graph.outputs[0]]
    np.testing.assert_allclose(graph.modelled(graph.outputs[0], got), run(model, ids)[0], rtol=1e-5, atol=1e-5)


def test_dynamic_shapes_are_given(tmp_path):
    m = Maker(("batch", 3, None, 10))
    model = m.model(m.conv("x", 3, 4))
    same(model, tmp_path, np.ones((2, 3, 8, 10), np.float32), (1, 3, 8, 10))


def test_data_beside_the_file(tmp_path):
    model = NETWORKS["mlp"]()
    x = samples(model, 2)
    expected = run(model, x)[0]
    path = tmp_path / "big.onnx"
    onnx.save(model, path, save_as_external_data=True, location="big.bin", size_threshold=0)
    graph = import_model(path)
    got = float_reference.run(graph, {"x": x})[graph.outputs[0]]
    np.testing.assert_allclose(got.reshape(expected.shape), expected, rtol=1e-4, atol=1e-5)


def test_functions_of_the_model_are_taken_apart(tmp_path):
    h = onnx.helper
    body = [h.make_node("Relu", ["a"], ["b"]), h.make_node("Add", ["a", "b"], ["c"])]
    function = h.make_function("mine", "Twice", ["a"], ["c"], body, [h.make_opsetid("", 17)])
    m = Maker(MAP)
    model = m.model(m.node("Twice", "x", domain="mine"), domains=("mine",))
    model.functions.append(function)
    same(model, tmp_path, samples(model, 2))


def test_nodes_in_any_order_and_dead_ones(tmp_path):
    model = NETWORKS["resnet"]()
    x = samples(model, 1)
    expected = run(model, x)[0]
    nodes = [*model.graph.node, onnx.helper.make_node("Multinomial", ["x"], ["nobody"])]
    del model.graph.node[:]
    model.graph.node.extend(nodes[::-1])
    graph = imported(model, tmp_path)
    got = float_reference.run(graph, {"x": x})[graph.outputs[0]]
    np.testing.assert_allclose(got.reshape(expected.shape), expected, rtol=1e-4, atol=1e-5)
