"""Options about how numbers become integers (``docs/quantization.md``)."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dataflows.errors import InputError
from mapper import layer_specs
from mapper.budget import budget
from mapper.layer_specs import LayerSpec
from mapper.option_values import number
from mapper.precision import request
from mapper.range_methods import METHODS

PER_CHANNEL, PER_TENSOR = "per-channel", "per-tensor"

Source = Literal["samples", "data-free"]
"""What mean errors are known from: calibration samples, or batch normalizations alone."""

SAMPLES: Source = "samples"
DATA_FREE: Source = "data-free"


@dataclass(frozen=True)
class Rounding:
    """What ranges and scales are chosen by, and what is done about their errors.

    Attributes
    ----------
    method, percentile : how the range of an activation is chosen (``mapper/range_methods.py``)
    one_scale : whether all weights of a layer have one scale, not one per output channel
    equalize, unclamp : whether channels are scaled between layers, and ceilings between them taken away
    correct_bias : from what biases make up for the mean error of their channel, if they do
    """

    method: str = "minmax"
    percentile: float = 99.99
    one_scale: bool = False
    equalize: bool = False
    unclamp: bool = False
    correct_bias: Source | None = None

    @property
    def words(self) -> list[str]:
        """As on the command line; what is usual is left out."""
        said = ["--calibration-method", self.method] if self.method != "minmax" else []
        said += ["--percentile", str(self.percentile)] if self.method == "percentile" else []
        said += ["--weights", PER_TENSOR] if self.one_scale else []
        said += ["--correct-bias", self.correct_bias] if self.correct_bias else []
        return said + [f"--{name}" for name in FLAGS if getattr(self, name)]


FLAGS = "equalize", "unclamp"


def add_quantization(p: argparse.ArgumentParser) -> None:
    """Add them to the parser, as a group of their own."""
    g = p.add_argument_group("quantization")
    g.add_argument("--calibration", type=Path, metavar="FILE.npz", help="samples that show the range of every tensor")
    g.add_argument(
        "--calibration-method", choices=tuple(METHODS),
        help="range of an activation: " + "; ".join(f"{name}: {m.meaning}" for name, m in METHODS.items()),
    )  # fmt: skip
    g.add_argument(
        "--percentile", type=number(float, "a number above 50 and at most 100", lambda v: 50 < v <= 100), metavar="P",
        help="percentile of --calibration-method percentile (99.99)",
    )  # fmt: skip
    g.add_argument(
        "--weights", choices=(PER_CHANNEL, PER_TENSOR), default=PER_CHANNEL,
        help="a scale for the weights of each output channel (as is usual), or one for all of a layer",
    )  # fmt: skip
    g.add_argument(
        "--equalize", action="store_true",
        help="scale channels between layers so that the weights of both have equal ranges; the function stays the same",
    )  # fmt: skip
    g.add_argument(
        "--unclamp", action="store_true",
        help="with --equalize, take the ceiling of ReLU6 away where it is between two layers; this changes the model",
    )  # fmt: skip
    g.add_argument(
        "--correct-bias", nargs="?", type=_source, const=True, metavar=f"{SAMPLES}|{DATA_FREE}",
        help="take the mean error of each output channel off its bias: that on calibration samples (as is usual with "
        "--calibration), or the one that batch normalizations before the layer let expect (as is usual without)",
    )  # fmt: skip
    g.add_argument(
        "--bits", type=layer_specs.parser(request), metavar="SPEC", default=LayerSpec(),
        help="widths of inputs and weights, for all layers or by layer: 8/4, 8/ternary, 4,conv1=8/8 (8 where there is)",
    )  # fmt: skip
    g.add_argument(
        "--auto-bits", type=budget, metavar="BUDGET",
        help="choose widths of layers that --bits does not name: cycles=0.5, size=0.3 or energy=0.4 of the widest's",
    )  # fmt: skip


def rounding(a: argparse.Namespace) -> Rounding:
    """What the parsed options say. Raises ``InputError`` where they contradict each other."""
    if a.percentile is not None and a.calibration_method not in (None, "percentile"):
        raise InputError(f"--percentile contradicts --calibration-method {a.calibration_method}; leave one out")
    if a.unclamp and not a.equalize:
        raise InputError("--unclamp is about layers that are equalized; add --equalize")
    method = a.calibration_method or ("minmax" if a.percentile is None else "percentile")
    percentile = 99.99 if a.percentile is None else a.percentile
    source = (SAMPLES if a.calibration else DATA_FREE) if a.correct_bias is True else a.correct_bias
    return Rounding(method, percentile, a.weights == PER_TENSOR, a.equalize, a.unclamp, source)


def _source(text: str) -> Source:
    if text == SAMPLES:
        return SAMPLES
    if text == DATA_FREE:
        return DATA_FREE
    raise argparse.ArgumentTypeError(f"{text!r} is neither {SAMPLES} nor {DATA_FREE}; a model's file stands before it")
