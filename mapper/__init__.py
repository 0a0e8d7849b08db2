"""From a trained model to a program: import, quantization, scheduling, timing, reports, command line.

The steps are functions of this package (``from mapper import load_model``); :mod:`mapper.api` describes them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mapper.api import (
        LoadedModel,
        MappedModel,
        QuantizedModel,
        load_model,
        map_model,
        predict_cycles,
        quantize_model,
        run_model,
        write_results,
    )

__all__ = [
    "LoadedModel", "MappedModel", "QuantizedModel", "load_model", "map_model", "predict_cycles", "quantize_model",
    "run_model", "write_results",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load what is heavy (PyTorch) when it is first asked for."""
    if name in __all__:
        return getattr(import_module("mapper.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
