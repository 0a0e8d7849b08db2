"""Keys and values that are values of the model, as a memory network has them: (..., L, D) for heads and samples."""

from __future__ import annotations

from typing import Any

import torch

from mapper.graph_attention import Constant as Fixed
from mapper.import_builder import Builder
from mapper.import_heads import Heads
from mapper.import_values import Activation, Constant


def known(builder: Builder, value: Any, op: str) -> Activation | Constant:
    """Keys or values: computed from the inputs, or constant."""
    if isinstance(value, Activation | Constant):
        return value
    raise builder.error(f"{op} needs keys and values that are tensors, not {type(value).__name__}")


def remembered(builder: Builder, value: Constant, lead: tuple[int, ...], like: Heads, role: str) -> Heads:
    """Constant keys or values as a tensor of the graph, with samples and heads as the queries have them.

    Parameters
    ----------
    lead : dimensions of the attention before tokens and channels
    like : the queries
    """
    length, depth = value.data.shape[-2:]
    floats = torch.from_numpy(value.floats())
    rows = floats.expand(*lead, length, depth).reshape(-1, length, depth)
    heads = torch.stack([rows[like.head == head][0] for head in range(like.count)])
    if not torch.equal(rows, heads[like.head]):
        raise builder.error(
            f"attention: {role} {tuple(value.data.shape)} of the model differ between samples; supported are keys and "
            "values that are the same for all samples"
        )
    samples = int(like.sample.max()) + 1
    channels = heads.transpose(1, 2).reshape(1, like.count * depth, 1, length).contiguous().numpy()
    title = f"{builder.where.path}.{role}".strip(".")
    held = builder.add(Fixed, [], (samples, *channels.shape[1:]), title, value=channels)
    return Heads(held, like.sample, like.head)
