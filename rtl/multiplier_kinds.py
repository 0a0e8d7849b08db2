"""The multipliers that a configuration can ask for."""

from dataflows import sections
from rtl.binary import BinaryMultiplier, TernaryMultiplier
from rtl.multiplier import Multiplier
from rtl.serial import SerialMultiplier
from rtl.table import TableMultiplier


def class_and_parameters(unit: sections.Multiplier) -> tuple[type[Multiplier], dict]:
    """What builds the multiplier of a section ``[multiplier]``, of all kinds but fusion (:mod:`rtl.fusion_pe`)."""
    law = unit.law
    match unit.kind:
        case "table":
            return TableMultiplier, {"lanes": law.lanes, "bits": law.a_max}
        case "binary":
            return BinaryMultiplier, {"lanes": law.lanes, "masked": False}
        case "ternary":
            return TernaryMultiplier, {"lanes": law.lanes}
    pieces = {"a_piece": law.a_widths[0], "w_piece": law.w_widths[0]}
    return SerialMultiplier, {"lanes": law.lanes, **pieces, "bits": law.a_max}


def multiplier_of(unit: sections.Multiplier) -> Multiplier:
    """The multiplier of a section ``[multiplier]``."""
    kind, parameters = class_and_parameters(unit)
    return kind(**parameters)


def latency_of(unit: sections.Multiplier) -> int:
    """Its latency, without building it."""
    return class_and_parameters(unit)[0].latency
