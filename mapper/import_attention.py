"""Operators: attention as one operator, softmax, norms over channels, embeddings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from mapper.graph_attention import Embedding, Norm
from mapper.import_builder import Builder
from mapper.import_layout import sequence
from mapper.import_masks import constant_mask, seen
from mapper.import_memory import known
from mapper.import_parts import placed, rows
from mapper.import_registry import activation, floats, operator
from mapper.import_scores import attend
from mapper.import_values import Activation, Ids


@operator("scaled_dot_product_attention")
def scaled_dot_product_attention(
    builder: Builder, query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, **_: Any,
) -> Activation:  # fmt: skip
    """Attention of (..., heads, tokens, channels of a head)."""
    q = activation(builder, query, "scaled_dot_product_attention")
    k, v = (known(builder, x, "scaled_dot_product_attention") for x in (key, value))
    if dropout_p:
        raise builder.error("attention has dropout; call model.eval() before exporting")
    keys = k.shape if isinstance(k, Activation) else tuple(k.data.shape)
    scores = (*np.broadcast_shapes(q.shape[:-2], keys[:-2]), q.shape[-2], keys[-2])
    allowed = None
    if is_causal:
        allowed = torch.ones(scores[-2:], dtype=torch.bool).tril()
    elif attn_mask is not None:
        allowed = seen(builder, constant_mask(builder, attn_mask), scores)
    return attend(builder, q, k, v, 1 / math.sqrt(q.shape[-1]) if scale is None else scale, allowed)


@operator("_scaled_dot_product_flash_attention_for_cpu")
def flash_attention(builder: Builder, **arguments: Any) -> tuple[Activation, None]:
    """The same, as decomposition leaves it."""
    return scaled_dot_product_attention(builder, **arguments), None


@operator("_transformer_encoder_layer_fwd", "_native_multi_head_attention", refused=True)
def fast_path(builder: Builder, **_: Any) -> Activation:
    """PyTorch's fused layers, which hide what they compute."""
    raise builder.error(
        "this file holds PyTorch's fused transformer layer; export the model with torch.export, which takes it apart"
    )


@operator("softmax", "_softmax", "_safe_softmax")
def softmax(builder: Builder, x: Any, **_: Any) -> Activation:
    """A softmax of anything but products of queries and keys."""
    raise builder.error(
        "operator softmax is not supported outside attention; supported is "
        "softmax(q @ k.transpose(-2, -1) * scale + mask, -1) @ v, or scaled_dot_product_attention"
    )


def _norm(builder: Builder, x: Any, op: str, shape: Any, gain: Any, bias: Any, epsilon: float) -> Activation:
    x = activation(builder, x, op)
    if len(shape) != 1 or (x.index is None and len(x.shape) != 2):
        raise builder.error(f"{op} over {list(shape)} of {x.shape} is supported over the channels of tokens only")
    tensor, where = rows(builder, x, op)
    size = x.shape[-1]
    gains = np.ones(size, np.float32) if gain is None else floats(builder, gain, op)
    shift = np.zeros(size, np.float32) if bias is None else floats(builder, bias, op)
    centered = op == "layer_norm"
    held = builder.shape(tensor)
    result = builder.add(Norm, [tensor], held, centered=centered, epsilon=float(epsilon), gain=gains, bias=shift)
    return Activation(result.name, x.shape) if x.index is None else placed(builder, result, where)


@operator("layer_norm")
def layer_norm(
    builder: Builder, x: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, **_: Any
) -> Activation:
    """Layer norm over the channels of tokens."""
    return _norm(builder, x, "layer_norm", normalized_shape, weight, bias, eps)


@operator("native_layer_norm")
def native_layer_norm(builder: Builder, **arguments: Any) -> tuple[Activation, None, None]:
    """Layer norm whose statistics nobody reads."""
    return layer_norm(builder, **arguments), None, None


@operator("rms_norm")
def rms_norm(builder: Builder, x: Any, normalized_shape: Any, weight: Any = None, eps: Any = None) -> Activation:
    """RMS norm over the channels of tokens."""
    epsilon = torch.finfo(torch.float32).eps if eps is None else eps
    return _norm(builder, x, "rms_norm", normalized_shape, weight, None, epsilon)


@operator("_fused_rms_norm")
def fused_rms_norm(builder: Builder, **arguments: Any) -> tuple[Activation, None]:
    """RMS norm whose statistics nobody reads."""
    return rms_norm(builder, **arguments), None


MAX_ENTRIES = 1 << 16
"""Entries of a table: ids have 16 bits."""


@operator("embedding")
def embedding(builder: Builder, weight: Any, indices: Any, **options: Any) -> Activation:
    """Rows of a constant table, chosen by integers (N, L); ``options`` matter for training only."""
    table = floats(builder, weight, "embedding")
    if not isinstance(indices, Ids) or len(indices.shape) != 2 or indices.index is None:
        raise builder.error("embedding is supported for integers (N, tokens) that are an input of the model")
    n, _, _, length = builder.shape(indices)
    if not torch.equal(indices.index, torch.arange(n * length).reshape(n, length)):
        raise builder.error("embedding of ids in another order than the input's, or of some of them, is not supported")
    if len(table) > MAX_ENTRIES:
        raise builder.error(f"embedding has {len(table)} entries; at most {MAX_ENTRIES} are supported")
    shape = (n, table.shape[1], 1, length)
    return sequence(builder.add(Embedding, [indices], shape, table=table))
