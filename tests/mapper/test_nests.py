"""Loop nests as counts and steps visit what counts and strides say; splits cover a nest in order."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mapper.nests import addresses, levels, split
from tests.isa_model import nest

NAMES = ("a", "b", "c", "d")
LOOPS = st.lists(st.tuples(st.integers(1, 4), st.integers(-50, 50)), max_size=len(NAMES))


def visited(base: int, loops: list[tuple[int, int]]) -> list[int]:
    """Addresses of a nest, its first loop innermost."""
    ranges = [range(count) for count, _ in reversed(loops)]
    strides = [stride for _, stride in reversed(loops)]
    return [base + sum(i * s for i, s in zip(index, strides, strict=True)) for index in itertools.product(*ranges)]


@given(LOOPS, st.integers(-100, 100))
def test_steps_visit_what_strides_say(loops, base):
    registers = levels(NAMES, loops)
    assert list(addresses(registers, NAMES, base)) == visited(base, loops)
    found, _ = nest(base, [registers[name] for name in NAMES])  # the functional model reads them in its own way
    np.testing.assert_array_equal(found, visited(base, loops))


@given(LOOPS)
def test_registers_have_their_names_and_unused_levels_run_once(loops):
    registers = levels(NAMES, loops, "x_")
    assert list(registers) == ["x_a", "x_b", "x_c", "x_d"]
    assert [r["count"] for r in registers.values()] == [c for c, _ in loops] + [1] * (len(NAMES) - len(loops))
    assert all(r["step"] == 0 for r in registers.values() if r["count"] == 1)


@given(st.tuples(*[st.integers(1, 9)] * 3), st.integers(1, 40))
def test_split_covers_a_nest_in_order(counts, limit):
    boxes = list(split(counts, limit))
    assert all(0 < word[1] * kx[1] * ky[1] <= limit for word, kx, ky in boxes)
    order = [
        (w, x, y)
        for word, kx, ky in boxes
        for y in range(ky[0], sum(ky))
        for x in range(kx[0], sum(kx))
        for w in range(word[0], sum(word))
    ]
    assert order == [(w, x, y) for y in range(counts[2]) for x in range(counts[1]) for w in range(counts[0])]


@given(st.integers(1, 60), st.integers(1, 60))
def test_pieces_are_as_few_and_as_equal_as_they_can_be(extent, limit):
    sizes = [count for (_, count), _, _ in split((extent, 1, 1), limit)]
    assert len(sizes) == -(-extent // limit)
    assert max(sizes) - min(sizes) <= 1
