"""Every supported ONNX operator: importing this module fills the table that the import looks at."""

from mapper import (
    onnx_attention,
    onnx_integer,
    onnx_layers,
    onnx_pooling,
    onnx_qonnx,
    onnx_quantize,
    onnx_shapes,
)
from mapper.onnx_registry import HANDLERS, supported

SOURCES = (onnx_attention, onnx_integer, onnx_layers, onnx_pooling, onnx_qonnx, onnx_quantize, onnx_shapes)
"""Modules that register operators; a new one is added here."""

__all__ = ["HANDLERS", "SOURCES", "supported"]
