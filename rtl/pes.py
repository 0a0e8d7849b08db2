"""Which PE an array has: decided by its multiplier."""

from dataflows.sections import Multiplier, Numbers
from dataflows.vocabulary import Dataflow
from rtl.fusion_pe import FusionPE
from rtl.pe import PE


def pe_of(flow: Dataflow, numbers: Numbers, unit: Multiplier | None) -> PE:
    """A PE: with one fixed multiplier, or with a ``unit`` of some kind."""
    return PE(flow, numbers) if unit is None else FusionPE(flow, numbers, unit)
