"""ONNX files that cannot be imported are refused with one message that says what, where and how to mend it."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dataflows.errors import InputError
from mapper.calibrate import observe
from mapper.loading import import_model
from mapper.quantize import quantize
from mapper.samples import random_samples
from tests.mapper.onnx_models import NETWORKS, Maker
from tests.mapper.test_onnx_quantized import quantized_file


def refused(model: onnx.ModelProto | bytes, message: str, tmp_path, *args) -> None:
    data = model if isinstance(model, bytes) else model.SerializeToString()
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        import_model(tmp_path / "m.onnx", *args)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 2500


def small(**change) -> onnx.ModelProto:
    m = Maker((1, 3, 6, 6))
    return m.model(m.conv("x", 3, 4), **change)


@pytest.mark.parametrize("version", [1, 2, 99])
def test_versions_of_the_format(version, tmp_path):
    model = small()
    model.ir_version = version
    advice = "install a newer onnx package" if version == 99 else r"convert it with onnx\.version_converter"
    refused(model, rf"has version {version} of the ONNX file format; 3 to \d+ can be read; .*{advice}", tmp_path)


@pytest.mark.parametrize("opset", [1, 6, 999])
def test_versions_of_operators(opset, tmp_path):
    model = small()
    model.opset_import[0].version = opset
    advice = "older opset, or install a newer onnx" if opset == 999 else "version_converter"
    refused(model, rf"uses opset {opset} of ONNX's operators; 7 to \d+ can be read; .*{advice}", tmp_path)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_truncated(part, tmp_path):
    data = NETWORKS["mlp"]().SerializeToString()
    refused(data[: int(len(data) * part)], r"m\.onnx begins like an ONNX model and is truncated or damaged", tmp_path)


def mutated(model: onnx.ModelProto, rng: np.random.Generator) -> bytes:
    """The model with a few bytes, or parts of its graph, replaced by others."""
    if rng.random() < 0.5:
        data = bytearray(model.SerializeToString())
        for place in rng.integers(3, len(data), rng.integers(1, 4)):
            data[place] = rng.integers(256)
        return bytes(data)
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    node, tensor = rng.choice(graph.node), rng.choice(graph.initializer)
    match rng.integers(7):
        case 0 if node.input:
            node.input[rng.integers(len(node.input))] = rng.choice(graph.node).output[0]
        case 1 if node.attribute:
            attribute = rng.choice(node.attribute)
            if attribute.ints:
                attribute.ints[0] = rng.integers(-3, 9)
            else:
                node.attribute.remove(attribute)
        case 2 if node.input:
            del node.input[-1]
        case 3:
            node.op_type = rng.choice(graph.node).op_type
        case 4 if tensor.dims:
            tensor.dims[rng.integers(len(tensor.dims))] = rng.integers(5)
        case 5:
            kind = rng.choice(["int32", "float32", "int8", "uint8", "float16", "int64"])
            values = np.nan_to_num(numpy_helper.to_array(tensor).astype(np.float32)).clip(0, 100)
            tensor.CopyFrom(numpy_helper.from_array(values.astype(kind), tensor.name))
        case _:
            size = rng.choice(graph.input[0].type.tensor_type.shape.dim)
            size.dim_value = rng.integers(-1, 6)
    return changed.SerializeToString()


@pytest.mark.parametrize("count", [60, pytest.param(1500, marks=pytest.mark.regress)])
def test_damaged_anywhere(count, tmp_path):
    """Nothing but messages comes of files with wrong parts, or graphs if they still are models."""
    rng = np.random.default_rng(count)
    sources = [quantized_file(name, tmp_path, form) for name in ("resnet", "mlp") for form in ("QDQ", "QOperator")]
    sources += [make() for make in NETWORKS.values()]
    refusals = 0
    for number in range(count):
        (tmp_path / "m.onnx").write_bytes(mutated(sources[number % len(sources)], rng))
        try:
            graph = import_model(tmp_path / "m.onnx")
            quantize(graph, observe(graph, random_samples(graph, count=1)))
        except InputError as error:
            refusals += 1
            assert "\n" not in str(error)
    assert refusals > count // 4


def test_without_graph(tmp_path):
    refused(onnx.ModelProto(ir_version=8, producer_name="x"), "an ONNX file without a graph", tmp_path)


def test_data_that_are_missing(tmp_path):
    model = small()
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    data, weights = (tmp_path / "m.onnx").read_bytes(), (tmp_path / "w.bin").read_bytes()
    (tmp_path / "w.bin").write_bytes(weights[:50])
    refused(data, r"c\d has its data in w\.bin cannot|c\d .*w\.bin", tmp_path)
    (tmp_path / "w.bin").unlink()
    refused(data, r"c\d has its data in w\.bin, which is missing; put it beside the model", tmp_path)


def test_cycle(tmp_path):
    m = Maker((1, 3, 6, 6))
    m.node("Add", "x", "t2")
    m.node("Relu", "t0")
    model = m.model(m.node("Relu", "t1"))
    refused(model, r"the graph has a cycle: /Relu_t2/Relu reads t1, which depends on that node|has a cycle", tmp_path)


def test_what_nothing_makes(tmp_path):
    m = Maker((1, 3, 6, 6))
    refused(m.model(m.node("Add", "x", "y")), r"node /Add_t0/Add \(Add\) reads tensor y, which no node", tmp_path)
    refused(m.model("z"), "output z reads tensor z, which no node, input or constant makes", tmp_path)


def test_made_twice(tmp_path):
    model = small()
    model.graph.node.append(helper.make_node("Relu", ["x"], [model.graph.output[0].name], name="again"))
    refused(model, "tensor t0 is made twice, by /Conv_t0/Conv and again", tmp_path)


def test_input_that_leads_nowhere(tmp_path):
    model = small()
    model.graph.input.append(helper.make_tensor_value_info("lost", TensorProto.FLOAT, [1, 2]))
    refused(model, "input lost leads to no output of the model; remove it", tmp_path)


def test_output_of_constants(tmp_path):
    m = Maker((1, 3))
    model = m.model("x", m.node("Neg", m.weights(2, 3)))
    refused(model, "output 1 .* is not a tensor computed from its inputs", tmp_path)


def test_no_elements(tmp_path):
    m = Maker((1, 3, 0, 6))
    refused(m.model(m.conv("x", 3, 4)), r"input x has the empty shape \(1, 3, 0, 6\)", tmp_path)


def test_shapes(tmp_path):
    m = Maker(("N", 3, "rows", 6))
    model = m.model(m.conv("x", 3, 4))
    refused(model, r"input x has the shape \(N, 3, rows, 6\) with dynamic dimensions; give .* --input-shape", tmp_path)
    refused(model, r"input x has shape \(N, 3, rows, 6\) in the file, not \(1, 3, 6, 7\)", tmp_path, (1, 3, 6, 7))
    refused(model, r"not \(1, 3\)", tmp_path, (1, 3))
    model.graph.input[0].type.tensor_type.ClearField("shape")
    refused(model, "input x: the file does not say its shape; give the shape with --input-shape", tmp_path)


def test_types_of_inputs(tmp_path):
    refused(small(kind=TensorProto.STRING), "input x holds string; inputs must be floating point", tmp_path)
    m = Maker((1, 3, 6, 6))
    refused(m.model(m.conv("x", 3, 4), kind=TensorProto.INT64), r"integers", tmp_path)


def test_unknown_operators(tmp_path):
    m = Maker((1, 3, 6, 6))
    refused(
        m.model(m.node("Relu", m.node("LRN", "x", size=3))),
        r"LRN_t0 \(LRN\): operator LRN is not supported; supported are .*Conv, .*QLinearConv", tmp_path,
    )  # fmt: skip
    m = Maker((1, 3, 6, 6))
    model = m.model(m.node("Swirl", "x", domain="org.example"), domains=("org.example",))
    refused(model, r"Swirl_t0 \(org\.example\.Swirl\): operator org\.example\.Swirl is not supported", tmp_path)


def test_invalid_nodes(tmp_path):
    m = Maker((1, 3, 6, 6))
    refused(m.model(m.node("Concat", "x", "x")), r"node /Concat_t0/Concat \(Concat\) is not valid: .*axis", tmp_path)
    m = Maker((1, 3, 6, 6))
    refused(m.model(m.node("Conv", "x", m.weights(4, 2, 3, 3))), r"weights .* do not fit an input", tmp_path)
    m = Maker((1, 3, 6, 6))
    refused(m.model(m.node("MaxPool", "x", kernel_shape=[9, 9])), "the window .* is larger than|no window", tmp_path)


def test_dynamic_quantization(tmp_path):
    m = Maker((1, 3, 6, 6))
    q = m.node("DynamicQuantizeLinear", "x", outputs=3)
    refused(
        m.model(m.node("DequantizeLinear", q, f"{q}_1", f"{q}_2")),
        r"DynamicQuantizeLinear is dynamic quantization, .*quantize_static", tmp_path,
    )  # fmt: skip


def test_scales(tmp_path):
    for scale, message in ((0.0, "the scale 0; scales must be positive"), (np.inf, "the scale inf")):
        m = Maker((1, 3, 6, 6))
        q = m.node("QuantizeLinear", "x", m.constant(np.float32(scale)), m.constant(np.int8(3)))
        refused(m.model(m.node("DequantizeLinear", q, "c0", "c1")), message, tmp_path)
    m = Maker((1, 3, 6, 6))
    q = m.node("QuantizeLinear", "x", m.constant(np.float32(0.5)), m.constant(np.int8(3)))
    model = m.model(m.node("DequantizeLinear", q, m.constant(np.float32(0.25)), "c1"))
    refused(model, "reads with scale 0.25 and zero point 3 what was quantized with 0.5 and 3", tmp_path)
    m = Maker((1, 3, 6, 6))
    scales = m.constant(np.float32([1, 2, 3]))
    q = m.node("QuantizeLinear", "x", scales, m.constant(np.int8([0, 0, 0])), axis=1)
    refused(m.model(m.node("DequantizeLinear", q, scales, "c1", axis=1)), "one scale per tensor, not with 3", tmp_path)


def test_quantized_models_with_wrong_parts(tmp_path):
    model = quantized_file("mlp", tmp_path, "QOperator")
    node = next(node for node in model.graph.node if node.op_type == "QGemm")
    node.input[0] = "x"
    refused(model, r"QGemm needs a quantized tensor as input 0; put QuantizeLinear before it", tmp_path)

