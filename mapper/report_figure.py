"""The block drawing of the accelerator in the report."""

from __future__ import annotations

from dataclasses import dataclass

from dataflows.config import Config
from dataflows.multipliers import MultiplierKind

SIDE = 200.0
"""Longest side of the drawn array."""

ROW = (140.0, 24.0)
"""Width and height of the row of PEs of the sparse engine."""

MOST = 48
"""PEs drawn along one side; larger arrays show so many."""


@dataclass(frozen=True)
class Figure:
    """The array in drawing units: size, and one path with the lines between its PEs; ``sparse`` is the same for the
    row of PEs of the sparse engine, :data:`ROW` in size."""

    width: float
    height: float
    grid: str
    sparse: str


UNITS: dict[MultiplierKind, str] = {
    "fusion": "fusion units of {leaf}-bit bricks",
    "serial_input": "bits of {lanes} inputs in turn",
    "serial_weight": "bits of {lanes} weights in turn",
    "serial": "bits of {lanes} inputs and weights in turn",
    "table": "tables for {lanes} inputs, bits of weights in turn",
    "binary": "XNOR and popcount of {lanes} bits",
    "ternary": "mask and sign planes of {lanes} products",
}
"""What multiplies in a PE, as it is called."""


def unit(cfg: Config) -> str:
    """What multiplies in a PE; nothing to tell of fixed multipliers."""
    kind = cfg.multiplier
    return UNITS[kind.kind].format(leaf=kind.leaf, lanes=kind.lanes) if kind else ""


def widths(cfg: Config) -> str:
    """Operand widths in words."""
    if cfg.multiplier is None:
        return f"{cfg.numbers.act_bits}-bit activations, {cfg.numbers.weight_bits}-bit weights"
    least, most = cfg.operand_bits[0], cfg.operand_bits[-1]
    return f"operands of {least} to {most} bits" if least < most else f"{most}-bit operands"


def figure(cfg: Config) -> Figure:
    """The array to scale."""
    rows, cols = cfg.array.rows, cfg.array.cols
    pitch = SIDE / max(rows, cols)
    width, height = max(cols * pitch, 24.0), max(rows * pitch, 24.0)
    across, down = min(cols, MOST), min(rows, MOST)
    lines = [f"M{width * i / across:.1f} 0v{height:.1f}" for i in range(1, across)]
    lines += [f"M0 {height * i / down:.1f}h{width:.1f}" for i in range(1, down)]
    pes = min(cfg.sparse_multipliers, MOST)
    sparse = "".join(f"M{ROW[0] * i / pes:.1f} 0v{ROW[1]}" for i in range(1, pes))
    return Figure(round(width, 1), round(height, 1), "".join(lines), sparse)
