"""Every dataflow this project can build: each file of this folder that defines ``DATAFLOW``."""

from importlib import import_module
from pathlib import Path

from dataflows.vocabulary import Dataflow


def _find() -> dict[str, Dataflow]:
    """Descriptions by name. Only files that define one are imported, for others may import this module."""
    files = Path(__file__).parent.glob("*.py")
    names = sorted(file.stem for file in files if "\nDATAFLOW = " in file.read_text("utf-8"))
    flows: list[Dataflow] = [import_module(f"dataflows.{name}").DATAFLOW for name in names]
    return {flow.name: flow for flow in flows}


_ALL = _find()

NAMES = tuple(_ALL)
"""Names as written in configuration files."""


def get(name: str) -> Dataflow:
    """The description called ``name``."""
    return _ALL[name]
