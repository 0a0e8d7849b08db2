"""The multipliers that a configuration can ask for."""

from dataflows import sections
from rtl.binary import BinaryMultiplier, TernaryMultiplier
from rtl.fusion import FusionMultiplier
from rtl.multiplier import Multiplier
from rtl.serial import SerialMultiplier
from rtl.table import TableMultiplier


def class_and_parameters(unit: sections.Multiplier) -> tuple[type[Multiplier], dict]:
    """What builds the multiplier of a section ``[multiplier]``."""
    lanes, bits = unit.lanes or 1, unit.bits or 8
    match unit.kind:
        case "fusion":
            return FusionMultiplier, {"leaf": unit.leaf or 2, "wide": False}
        case "serial_input":
            return SerialMultiplier, {"lanes": lanes, "a_piece": 1, "w_piece": bits, "bits": bits}
        case "serial_weight":
            return SerialMultiplier, {"lanes": lanes, "a_piece": bits, "w_piece": 1, "bits": bits}
        case "serial":
            return SerialMultiplier, {"lanes": lanes, "a_piece": 1, "w_piece": 1, "bits": bits}
        case "table":
            return TableMultiplier, {"lanes": lanes, "bits": bits}
        case "binary":
            return BinaryMultiplier, {"lanes": lanes, "masked": False}
        case "ternary":
            return TernaryMultiplier, {"lanes": lanes}


def multiplier_of(unit: sections.Multiplier) -> Multiplier:
    """The multiplier of a section ``[multiplier]``."""
    kind, parameters = class_and_parameters(unit)
    return kind(**parameters)


def latency_of(unit: sections.Multiplier) -> int:
    """Its latency, without building it."""
    return class_and_parameters(unit)[0].latency
