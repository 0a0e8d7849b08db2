"""Every supported ONNX operator: importing this module fills the table that the import looks at."""

from mapper import (
    onnx_attention,
    onnx_integer,
    onnx_layers,
    onnx_pooling,
    onnx_qonnx,
    onnx_quantize,
    onnx_recurrent,
    onnx_shapes,
)
from mapper.onnx_registry import HANDLERS, supported

SOURCES = (
    onnx_layers, onnx_pooling, onnx_shapes, onnx_attention, onnx_recurrent, onnx_quantize, onnx_integer, onnx_qonnx,
)  # fmt: skip
"""Modules that register operators; a new one is added here."""

__all__ = ["HANDLERS", "SOURCES", "supported"]
