"""Operators: functions of single elements, which become tables."""

from __future__ import annotations

from typing import Any

from mapper.functions import FUNCTIONS, family
from mapper.graph_attention import Lookup
from mapper.import_builder import Builder
from mapper.import_registry import activation, operator, pointwise
from mapper.import_values import Activation

PLAIN = {
    "silu": "silu", "tanh": "tanh", "sigmoid": "sigmoid", "hardswish": "hard_swish", "hardsigmoid": "hard_sigmoid",
    "mish": "mish", "selu": "selu", "softsign": "softsign", "log_sigmoid": "log_sigmoid", "exp": "exp", "abs": "abs",
    "erf": "erf", "sqrt": "sqrt",
}  # fmt: skip
"""PyTorch's operators without arguments, and the function of each (:data:`mapper.functions.FUNCTIONS`)."""


def lookup(builder: Builder, x: Any, function: str) -> Activation:
    """Append a table."""
    return pointwise(
        builder, Lookup, activation(builder, x, function), title=builder.title(function.partition("(")[0]),
        function=function,
    )  # fmt: skip


def _plain(name: str) -> None:
    """Register one of the functions without arguments."""

    @operator(name)
    def apply(builder: Builder, x: Any) -> Activation:
        return lookup(builder, x, PLAIN[name])


for _name in PLAIN:
    assert PLAIN[_name] in FUNCTIONS
    _plain(_name)


@operator("gelu")
def gelu(builder: Builder, x: Any, approximate: str = "none") -> Activation:
    """GELU, exact or by tanh."""
    return lookup(builder, x, "gelu_tanh" if approximate == "tanh" else "gelu")


@operator("leaky_relu")
def leaky_relu(builder: Builder, x: Any, negative_slope: float = 0.01) -> Activation:
    """Leaky ReLU."""
    return lookup(builder, x, family("leaky_relu", float(negative_slope)))


@operator("elu")
def elu(builder: Builder, x: Any, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Activation:
    """ELU."""
    if scale != 1 or input_scale != 1:
        raise builder.error("elu is supported with scale and input_scale 1 only")
    return lookup(builder, x, family("elu", float(alpha)))


@operator("softplus")
def softplus(builder: Builder, x: Any, beta: float = 1, threshold: float = 20) -> Activation:
    """Softplus; what it does beyond its threshold is less than a step of a table."""
    return lookup(builder, x, family("softplus", float(beta)))
