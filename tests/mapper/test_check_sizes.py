"""Networks beyond what addresses reach are refused before anything is made of them."""

import pytest

from dataflows import config
from dataflows.errors import InputError
from dataflows.network import AvgPool, Network, Tensor, Window
from mapper.check_sizes import REGION_BYTES, TENSOR_BYTES, check_sizes
from mapper.compile import compile_network
from mapper.conv_plan import Options


def chain(length: int, height: int, width: int) -> Network:
    """Means of one pixel each: tensors as large as one likes, without any values."""
    tensors = [Tensor(f"t{i}", (1, height, width, 1), 0.1, 0) for i in range(length + 1)]
    layers = [AvgPool(f"l{i}", (f"t{i}",), f"t{i + 1}", -128, 127, Window((1, 1))) for i in range(length)]
    return Network("large", {t.name: t for t in tensors}, tuple(layers), ("t0",), (f"t{length}",))


def test_largest_tensor() -> None:
    check_sizes(chain(1, TENSOR_BYTES // 4096 - 1, 4096))
    large = chain(1, TENSOR_BYTES // 4096, 4096)
    message = r"tensor t0 \(1, 524288, 4096, 1\) has 2.0 GiB, .* at most 2 GiB .* smaller batches"
    with pytest.raises(InputError, match=message):
        check_sizes(large)
    with pytest.raises(InputError, match=message):
        compile_network(config.load("configs/tiny.toml"), large, Options(bytes_per_cycle=8))


def test_all_of_them() -> None:
    each = TENSOR_BYTES // 2
    count = REGION_BYTES // each
    check_sizes(chain(count - 2, each // 4096, 4096))
    with pytest.raises(InputError, match=r"of large have 1,024.0 GiB, more than the 1024 GiB of the memory map"):
        check_sizes(chain(count - 1, each // 4096, 4096))
