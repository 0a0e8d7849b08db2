"""What flows through the import of an ONNX model, beside activations and constants: arrays, and integers of tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mapper.import_scores import Scores
from mapper.import_values import Activation, Constant

PLAIN = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")
"""Element types that PyTorch takes as they are."""


@dataclass(frozen=True)
class Array:
    """A constant as the file has it, of any of ONNX's element types."""

    name: str
    data: NDArray[Any]

    def constant(self) -> Constant:
        """The same for operators of the registry."""
        data = self.data
        if data.dtype.name not in PLAIN:  # bfloat16 and float8, or small and unsigned integers
            data = data.astype(np.float32 if data.dtype.name.startswith(("bfloat", "float")) else np.int64)
        return Constant(self.name, torch.from_numpy(np.array(data, order="C")))


@dataclass(frozen=True)
class Codes:
    """Integers ``q`` of type ``type`` that stand for real values ``scale * (q - zero)``, which are ``value``."""

    value: Activation | Scores
    scale: float
    zero: int
    type: str


@dataclass(frozen=True)
class Raw:
    """Integers that are an input of the model: what they stand for is said where they are read."""

    value: Activation
    type: str


Value = Any
"""Activation, Ids, Scores, Constant, Array, Codes, Raw, or None for what is left out."""
