"""What may be around a tensor of one bit: -1, and nothing else."""

from __future__ import annotations

from dataflows.errors import InputError
from dataflows.network import Tensor
from mapper.graph import AvgPool, Conv, Pad


def check_padding(node: Conv | Pad | AvgPool, source: Tensor) -> None:
    """Refuse padding that the integers of a tensor cannot hold.

    Raises
    ------
    InputError
        For zeros around one bit (there is no zero), and for -1 around anything else (padding is the zero point there).
    """
    padding = node.padding if isinstance(node, Pad) else node.window.padding
    value = node.value if isinstance(node, Pad) else node.padding_value if isinstance(node, Conv) else 0.0
    if not any(padding):
        return
    top, left, bottom, right = padding
    if source.bits == 1 and value != -1:
        raise InputError(
            f"layer {node.name} pads {source.name} with zeros, but one bit is +1 or -1; pad with -1 in the model: "
            f"torch.nn.functional.pad(x, ({left}, {right}, {top}, {bottom}), value=-1)"
        )
    if source.bits > 1 and value:
        raise InputError(
            f"layer {node.name} pads {source.name} with {value:g}, but that has {source.bits} bits here, whose padding "
            "is zero; only tensors of one bit are padded with -1"
        )
