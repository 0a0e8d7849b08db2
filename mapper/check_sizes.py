"""Whether a network fits the memory that an accelerator addresses."""

from __future__ import annotations

from dataflows import isa
from dataflows.errors import InputError
from dataflows.network import Conv, Network

REGION_BYTES = 1 << isa.ADDRESS_BITS
"""A region, from its base address on."""

TENSOR_BYTES = 1 << isa.STEP_BITS - 1
"""A tensor: loops step over it by signed numbers."""

GIB = 1 << 30


def check_sizes(network: Network) -> None:
    """Raise :class:`InputError` naming the first tensor or weight beyond what addresses reach, or all of them."""
    sizes = {f"tensor {tensor.name} {tensor.shape}": tensor.bytes for tensor in network.tensors.values()}
    convs = [layer for layer in network.layers if isinstance(layer, Conv)]
    sizes |= {f"the weight of layer {conv.name} {conv.weight.shape}": conv.weight.nbytes for conv in convs}
    for name, size in sizes.items():
        if size >= TENSOR_BYTES:
            raise InputError(
                f"{name} has {size / GIB:,.1f} GiB, but programs step through at most {TENSOR_BYTES // GIB} GiB of a "
                "tensor; give smaller batches or images"
            )
    total = sum(sizes.values())
    if total >= REGION_BYTES:
        raise InputError(
            f"tensors and weights of {network.name} have {total / GIB:,.1f} GiB, more than the {REGION_BYTES // GIB} "
            f"GiB of the memory map ({isa.ADDRESS_BITS} bits of address); give smaller batches or images"
        )
