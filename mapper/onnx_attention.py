"""ONNX operators: norms over channels, softmax, functions by table."""

from __future__ import annotations

from typing import Any

from mapper.onnx_registry import MICROSOFT, Call, onnx_operator


@onnx_operator("Softmax")
def softmax(call: Call) -> Any:
    """Softmax, of products of queries and keys."""
    return call.run("softmax", self=call.value(0), dim=int(call.attribute("axis", -1 if call.opset >= 13 else 1)))


@onnx_operator("LayerNormalization")
def layer_norm(call: Call) -> Any:
    """Layer norm over the channels of tokens."""
    return _norm(call, "layer_norm", bias=call.value(2))


@onnx_operator("RMSNormalization", "SimplifiedLayerNormalization")
def rms_norm(call: Call) -> Any:
    """RMS norm over the channels of tokens."""
    return _norm(call, "rms_norm")


def _norm(call: Call, target: str, **more: Any) -> Any:
    there, axis = call.shape(0), int(call.attribute("axis", -1))
    epsilon = float(call.attribute("epsilon", 1e-5))
    return call.run(
        target, input=call.value(0), normalized_shape=list(there[axis % len(there) :]), weight=call.value(1),
        eps=epsilon, **more,
    )  # fmt: skip


@onnx_operator("Gelu")
def gelu(call: Call) -> Any:
    """GELU, exact or by tanh."""
    return call.run("gelu", self=call.value(0), approximate=str(call.attribute("approximate", "none")))


@onnx_operator("Gelu", domain=MICROSOFT)
def runtime_gelu(call: Call) -> Any:
    """GELU, exact."""
    return call.run("gelu", self=call.value(0))


@onnx_operator("FastGelu", domain=MICROSOFT)
def fast_gelu(call: Call) -> Any:
    """GELU by tanh."""
    return call.run("gelu", self=call.value(0), approximate="tanh")


@onnx_operator("QuickGelu", domain=MICROSOFT)
def quick_gelu(call: Call) -> Any:
    """``x * sigmoid(alpha * x)``, which is SiLU for alpha 1."""
    if call.attribute("alpha", 1.702) != 1:
        raise call.error("QuickGelu is supported with alpha 1 (SiLU) only")
    return call.run("silu", self=call.value(0))
