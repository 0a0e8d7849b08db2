"""ONNX operators: recurrent layers over sequences. Their gates come in another order than PyTorch's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mapper.import_values import Activation, Constant
from mapper.onnx_registry import Call, onnx_operator

ORDER = {"lstm": (0, 2, 3, 1), "gru": (1, 0, 2)}
"""Where PyTorch's gates are among ONNX's: (input, output, forget, cell) and (update, reset, hidden)."""


def _turned(part: torch.Tensor, order: Sequence[int]) -> torch.Tensor:
    """Rows of gates in PyTorch's order."""
    gates = part.chunk(len(order))
    return torch.cat([gates[i] for i in order])


def _parameters(call: Call, kind: str, ways: int) -> list[Constant]:
    """Weights and biases as PyTorch has them: of the input, of the state, both biases, for every direction."""
    order, found = ORDER[kind], []
    weight, state, bias = call.value(1), call.value(2), call.value(3)
    if not isinstance(weight, Constant) or not isinstance(state, Constant) or isinstance(bias, Activation):
        raise call.error(f"{call.op} is supported with weights that are constants of the model")
    for way in range(ways):
        zeros = torch.zeros(2 * len(weight.data[way]))
        both = (zeros if bias is None else bias.data[way]).chunk(2)
        for part in (weight.data[way], state.data[way], *both):
            found.append(Constant(weight.name, _turned(part, order)))
    return found


def _layer(call: Call, kind: str, states: int) -> tuple[Any, ...]:
    """The layer by PyTorch's operator, and its results in the shapes that ONNX has."""
    direction = call.attribute("direction", "forward")
    plain = not any(call.attribute(name) for name in ("clip", "activations", "input_forget", "layout"))
    if direction == "reverse" or not plain or call.get(4) is not None or call.get(7) is not None:
        raise call.error(
            f"{call.op} is supported forward and bidirectional, with its usual functions, without clip, layout, "
            "peepholes and lengths of sequences"
        )
    ways = 2 if direction == "bidirectional" else 1
    length, count, _ = call.shape(0)
    size = int(call.attribute("hidden_size"))
    zero = Constant("zeros", torch.zeros(ways, count, size))
    given = [call.value(5 + i) if call.get(5 + i) is not None else zero for i in range(states)]
    result = call.run(
        kind, input=call.value(0), hx=given if kind == "lstm" else given[0], params=_parameters(call, kind, ways),
        has_biases=True, num_layers=1, dropout=0.0, train=False, bidirectional=ways == 2, batch_first=False,
    )  # fmt: skip
    whole = call.run("reshape", self=result[0], shape=[length, count, ways, size])
    return call.run("permute", self=whole, dims=[0, 2, 1, 3]), *result[1:]


@onnx_operator("LSTM", needs=("lstm",))
def lstm(call: Call) -> tuple[Any, ...]:
    """LSTM."""
    return _layer(call, "lstm", 2)


@onnx_operator("GRU", needs=("gru",))
def gru(call: Call) -> tuple[Any, ...]:
    """GRU, with the reset gate behind the product of the state, as PyTorch has it."""
    if not call.attribute("linear_before_reset", 0):
        raise call.error("GRU is supported with linear_before_reset 1 only")
    return _layer(call, "gru", 1)
