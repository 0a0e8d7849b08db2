"""Which generator builds the array of a configuration: decided by how its inputs travel, and what multiplies them."""

from dataflows.config import Config
from dataflows.vocabulary import Kind
from rtl.array import PEArray
from rtl.plane_array import PlaneArray
from rtl.row_array import RowArray
from rtl.step_array import StepArray


def array_of(cfg: Config):
    """The array of a configuration.

    All have the ports ``input`` and ``weight`` (streams of operand words), ``open`` (the accumulator has opened one
    more job) and ``o`` (stream of words of one sum per lane), and ``geometry`` where :func:`dataflows.isa.geometry`
    has registers; ``gated`` (multiplications left out in this cycle) where ``array.zero_gating`` asks for it.
    """
    if cfg.dataflow.input.kind is Kind.NEIGHBOUR:
        return PlaneArray(cfg)
    if cfg.dataflow.input.kind is Kind.BUS:
        return RowArray(cfg)
    if cfg.multiplier and cfg.multiplier.kind != "fusion":
        return StepArray(cfg)
    return PEArray(cfg)
