"""Every dataflow this project can build: add the module of a new one to this list."""

from dataflows import input_stationary, output_stationary, weight_stationary
from dataflows.vocabulary import Dataflow

_ALL: dict[str, Dataflow] = {
    module.DATAFLOW.name: module.DATAFLOW for module in (weight_stationary, output_stationary, input_stationary)
}

NAMES = tuple(_ALL)
"""Names as written in configuration files."""


def get(name: str) -> Dataflow:
    """The description called ``name``."""
    return _ALL[name]
