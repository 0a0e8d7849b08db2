"""Widths of a model on the accelerators of a command line: given, or chosen for a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dataflows.config import Config
from dataflows.errors import InputError
from mapper.allocation import Allocation
from mapper.auto_bits import AutoBits
from mapper.bit_widths import Widths, widths
from mapper.calibrate import Calibration, Samples
from mapper.conv_plan import Options
from mapper.graph import FloatGraph
from mapper.layer_specs import LayerSpec
from mapper.options import Arguments
from mapper.precision import Request


def common_widths(graph: FloatGraph, accelerators: Sequence[Config], spec: LayerSpec[Request]) -> Widths:
    """Widths of all tensors, which have to be the same on all accelerators."""
    first, *others = accelerators
    result = widths(graph, first, spec)
    for cfg in others:
        found = widths(graph, cfg, spec)
        if (found.tensors, found.layers) != (result.tensors, result.layers):
            raise InputError(f"{first.name} and {cfg.name} take this model in different widths; map it one by one")
    return result


def allocate_bits(
    graph: FloatGraph, accelerators: Sequence[Config], samples: Samples, calibration: Calibration, arguments: Arguments,
    tell: Callable[[str], None],
) -> Allocation:  # fmt: skip
    """Widths for the budget of the command line, on its only accelerator."""
    cfg, *others = accelerators
    if others or arguments.auto_bits is None:
        raise InputError(f"--auto-bits chooses widths for one accelerator, not for {len(accelerators)}")
    options = Options(arguments.latency, arguments.bytes_per_cycle or cfg.bus_bytes)
    auto = AutoBits(graph, samples, calibration, cfg, options, arguments.bits, arguments.fuse, tell)
    return auto.run(arguments.auto_bits)
