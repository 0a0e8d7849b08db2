"""Pooling windows and divisors count as PyTorch does, over random sizes."""

import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.nn import functional

from mapper.float_reference import compute
from mapper.graph import AvgPool, MaxPool
from mapper.import_windows import adaptive_window, divisors, pool_window
from mapper.simplify import always_hits

SIZES = st.tuples(st.integers(1, 11), st.integers(1, 11))
KERNELS = st.tuples(st.integers(1, 4), st.integers(1, 4))


def image(size: tuple[int, int]) -> torch.Tensor:
    return torch.randn(1, 2, *size, generator=torch.Generator().manual_seed(0))


@given(SIZES, KERNELS, KERNELS, st.tuples(st.integers(0, 2), st.integers(0, 2)), st.booleans(), st.booleans())
def test_average(size, kernel, stride, padding, ceil_mode, count_padding):
    assume(all(p <= k // 2 and s + 2 * p >= k for s, k, p in zip(size, kernel, padding, strict=True)))
    x = image(size)
    expected = functional.avg_pool2d(x, kernel, stride, padding, ceil_mode, count_padding)
    window = pool_window(kernel, stride, padding, (1, 1), ceil_mode, size)
    node = AvgPool("n", ("x",), "n", window=window, divisors=divisors(window, size, padding, count_padding))
    torch.testing.assert_close(compute(node, [x]), expected)


@given(SIZES, KERNELS, KERNELS, st.tuples(st.integers(0, 2), st.integers(0, 2)), KERNELS, st.booleans())
def test_maximum(size, kernel, stride, padding, dilation, ceil_mode):
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    assume(all(p <= k // 2 and s + 2 * p >= n for s, n, k, p in zip(size, spans, kernel, padding, strict=True)))
    x = image(size)
    expected = functional.max_pool2d(x, kernel, stride, padding, dilation, ceil_mode)
    window = pool_window(kernel, stride, padding, dilation, ceil_mode, size)
    assert always_hits(window, *size) == bool(expected.isfinite().all())
    torch.testing.assert_close(compute(MaxPool("n", ("x",), "n", window=window), [x]), expected)


@given(SIZES, SIZES)
def test_adaptive(size, output):
    window = adaptive_window(size, output)
    x = image(size)
    if window is None:
        assert any(s % o for s, o in zip(size, output, strict=True))
        return
    node = AvgPool("n", ("x",), "n", window=window, divisors=divisors(window, size, (0, 0), True))
    torch.testing.assert_close(compute(node, [x]), functional.adaptive_avg_pool2d(x, output))
