"""State dicts: weights by name, which ``--arch`` has a module for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from dataflows.errors import InputError
from mapper.import_factory import made

NESTED = "state_dict", "model_state_dict", "model"
"""Keys under which training loops keep the weights in a checkpoint."""

PARALLEL = "module."
"""What ``DataParallel`` puts before every name."""

SHOWN = 5
"""Names of a kind in a message."""

Weights = Mapping[str, torch.Tensor]


def looks_like_safetensors(data: bytes) -> bool:
    """Whether these are the length of a header and its beginning."""
    return data[8:9] == b"{" and 2 <= int.from_bytes(data[:8], "little") <= len(data) - 8


def read_safetensors(path: Path, data: bytes) -> Weights:
    """Tensors of a safetensors file."""
    try:
        return safetensors.torch.load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise InputError(f"{path} is a damaged safetensors file: {error}") from error


def weights_in(content: Any) -> Weights | None:
    """The state dict in what a file holds: the whole of it, or an entry of a checkpoint; None where there is none."""
    if not isinstance(content, Mapping):
        return None
    for inner in (content, *(content.get(key) for key in NESTED)):
        if isinstance(inner, Mapping) and inner and all(isinstance(value, torch.Tensor) for value in inner.values()):
            names = [str(name) for name in inner]
            cut = len(PARALLEL) if all(name.startswith(PARALLEL) for name in names) else 0
            return {name[cut:]: value for name, value in zip(names, inner.values(), strict=True)}
    return None


def with_weights(path: Path, weights: Weights, arch: str) -> torch.nn.Module:
    """The module of ``arch`` with these weights.

    Raises
    ------
    InputError
        When it cannot be made, or when names or shapes differ; one message has all of them.
    """
    module = made(arch)
    own = module.state_dict()
    wrong = [f"{name} {tuple(weights[name].shape)} instead of {tuple(own[name].shape)}"
             for name in own if name in weights and weights[name].shape != own[name].shape]  # fmt: skip
    tied = {value.data_ptr() for name, value in own.items() if name in weights and value.numel()}
    missing = [name for name, value in own.items() if name not in weights and value.data_ptr() not in tied]
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    unexpected = [name for name in weights if name not in own]
    parts = [f"{kind} {_listed(names)}" for kind, names in (
        ("missing", missing), ("unexpected", unexpected), ("of another shape:", wrong),
    ) if names]  # fmt: skip
    if parts:
        raise InputError(f"the weights in {path} do not fit {arch}: {'; '.join(parts)}")
    module.load_state_dict(dict(weights), strict=False)
    return module


def _listed(names: Iterable[str]) -> str:
    """The first names, and how many there are more."""
    first = list(names)
    more = f" and {len(first) - SHOWN} more" if len(first) > SHOWN else ""
    return ", ".join(first[:SHOWN]) + more
