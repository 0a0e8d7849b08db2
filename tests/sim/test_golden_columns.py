"""Compressed columns: round trips, SciPy's columns, gaps around the longest run, the engine's sums, bad streams."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csc_array

from dataflows.network import Conv, Tensor
from dataflows.run_length import EIE, Format
from sim.golden.columns import decode, encode, multiply, pack, unpack, unpack_pointers
from sim.golden.conv import accumulate
from sim.golden.run_length import pairs
from tests.sparsity import clustered, empty_columns, gaps, independent, single_entries, weights

FORMATS = [EIE, Format(1, 1), Format(2, 8), Format(5, 3), Format(8, 8), Format(3, 6)]


@st.composite
def matrices(draw):
    """Format, PEs, a matrix that its codes hold."""
    form = Format(draw(st.integers(1, 6)), draw(st.integers(1, 8)))
    shape = draw(st.integers(1, 70)), draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    make = draw(st.sampled_from([independent, clustered]))
    mask = make(rng, shape, draw(st.sampled_from([0.0, 0.03, 0.1, 0.5, 1.0])))
    weight = weights(rng, mask, (1 << form.level_bits) - 1, draw(st.sampled_from([8, 16])))
    return form, draw(st.integers(1, 20)), weight


def slowly(share, form):
    """Runs of one PE's columns, element after element; None in place of a weight for padding."""
    result = []
    for column in share.T:
        run, here = 0, []
        for value in column:
            if value:
                here.append((run, int(value)))
                run = 0
            elif run == form.longest_run:
                here.append((run, None))
                run = 0
            else:
                run += 1
        while here and here[-1][1] is None:  # nothing follows it
            here.pop()
        result.append(here)
    return result


@given(matrices())
def test_round_trip(case):
    form, pes, weight = case
    columns = encode(weight, form, pes)
    assert np.array_equal(decode(columns, len(weight), form), weight)
    values = set(np.unique(weight)) - {0}
    assert columns.codebook.tolist() == [0, *sorted(values)] + [0] * ((1 << form.level_bits) - 1 - len(values))
    for pe, entries in enumerate(columns.entries):
        found = [(int(e) & form.longest_run, int(columns.codebook[e >> form.run_bits]) or None) for e in entries]
        expected = slowly(weight[pe::pes], form)
        assert found == [entry for column in expected for entry in column]
        assert np.diff(columns.pointers[pe], prepend=0).tolist() == [0, *(len(column) for column in expected)]
        assert np.array_equal(unpack(pack(entries, form), form), entries)
        assert pack(entries, form).nbytes == entries.size * (1 if form.pair_bits <= 8 else 2)


@pytest.mark.parametrize("make", [independent, clustered])
@pytest.mark.parametrize("density", [0, 0.01, 0.1, 0.5, 1])
def test_columns_of_scipy(make, density):
    """Places and values beside a library's compressed columns, without and with padding."""
    rng = np.random.default_rng(int(100 * density))
    weight = weights(rng, make(rng, (300, 40), density), 15)
    for pes in (1, 4, 7, 64, 301):
        columns = encode(weight, EIE, pes)
        for pe in range(pes):
            reference = csc_array(weight[pe::pes])
            codes = columns.entries[pe] >> 4
            assert np.array_equal(columns.codebook[codes[codes > 0]], reference.data)
            before = np.concatenate([[0], np.cumsum(codes > 0)])
            assert np.array_equal(before[columns.pointers[pe]], reference.indptr)
            column = np.repeat(np.arange(40), np.diff(columns.pointers[pe]))
            steps = (columns.entries[pe] & 15) + 1
            ends = np.cumsum(steps) - np.concatenate([[0], np.cumsum(steps)])[columns.pointers[pe][column]] - 1
            assert np.array_equal(ends[codes > 0], reference.indices)


@pytest.mark.parametrize("form", FORMATS, ids=str)
@pytest.mark.parametrize("gap", [0, 1, 2, 3, 7, 14, 15, 16, 17, 30, 31, 32, 33, 63, 64, 255, 256, 257])
def test_gaps(form, gap):
    pes, rows = 3, 3 * (2 * gap + 5) + 1
    for first in {0, gap}:
        weight = weights(np.random.default_rng(gap), gaps((rows, 4), pes, gap, first), 1)
        columns = encode(weight, form, pes)
        assert np.array_equal(decode(columns, rows, form), weight)
        padding = sum(int((entries >> form.run_bits == 0).sum()) for entries in columns.entries)
        expected = 0
        for pe in range(pes):
            nonzero = len(weight[pe::pes].nonzero()[0]) // 4
            expected += 4 * ((nonzero - 1) * (gap // (form.longest_run + 1)) + first // (form.longest_run + 1))
        assert padding == expected


def test_entries_by_hand():
    """Two PEs: rows 0, 2, ... and 1, 3, ...; 16 zeros take a padding entry, what follows the last weight none."""
    weight = np.zeros((70, 4), np.int64)
    weight[[0, 2, 4 + 2 * 15], 0] = 5, -128, 5  # gaps 0, 0, 15
    weight[[1, 3 + 2 * 16, 69], 0] = 7, 7, 5  # gaps 0, 16, 16
    weight[66, 3] = -128  # 33 zeros before it
    columns = encode(weight, EIE, 2)
    assert columns.codebook.tolist() == [0, -128, 5, 7, *[0] * 12]
    assert columns.entries[0].tolist() == [2 << 4, 1 << 4, 15 | 2 << 4, 15, 15, 1 | 1 << 4]
    assert columns.entries[1].tolist() == [3 << 4, 15, 3 << 4, 15, 2 << 4]
    assert columns.pointers.tolist() == [[0, 3, 3, 3, 6], [0, 5, 5, 5, 5]]
    assert unpack_pointers(np.array([3, 1, 255, 255], np.uint8)).tolist() == [259, 65535]


@pytest.mark.parametrize("run_bits", [1, 4, 5])
def test_pairs_are_those_of_run_length_compression(run_bits):
    """A column whose last element is a weight takes the same pairs as in the other format."""
    rng = np.random.default_rng(run_bits)
    form = Format(run_bits, 8)
    weight = weights(rng, independent(rng, (90, 30), 0.05), 200)
    weight[-1] = 1
    columns = encode(weight, form, 1)
    runs, levels = pairs(weight.T.ravel(), form, restart=90)
    assert np.array_equal(columns.entries[0] & form.longest_run, runs)
    assert np.array_equal(columns.codebook[columns.entries[0] >> run_bits], levels)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("make", [independent, clustered])
def test_sums_are_the_convolution(make, bits):
    rng = np.random.default_rng(bits)
    for density in (0, 0.05, 0.3, 1):
        for alive in (0, 0.4, 1):
            rows, depth, pes = (int(v) for v in rng.integers(1, [80, 50, 20]))
            mask = single_entries(rng, empty_columns(rng, make(rng, (rows, depth), density), 5), 0.1)
            form = Format(int(rng.integers(1, 6)), int(rng.integers(1, 9)))
            weight = weights(rng, mask, (1 << form.level_bits) - 1, bits)
            limit = 1 << bits - 1
            source = Tensor("x", (1, 1, 1, depth), 1.0, int(rng.choice([-limit, 0, 3, limit - 1])), bits)
            x = np.where(independent(rng, (1, depth), alive), rng.integers(-limit, limit, depth), source.zero)
            x = x.astype(source.dtype).reshape(source.shape)
            bias = rng.integers(-(2**31), 2**31, rows)
            layer = Conv("fc", ("x",), "y", weight=weight[:, :, None, None], bias=bias)
            sums = multiply(encode(weight, form, pes), x.ravel(), rows, form, zero=source.zero)
            half = 1 << source.acc_bits - 1
            expected = accumulate(layer, x, source).ravel()
            assert np.array_equal((sums + bias + half) % (2 * half) - half, expected)


def damaged():
    """A stream of 3 PEs and a matrix of 20 rows, and what is wrong with its copies."""
    weight = weights(np.random.default_rng(1), gaps((20, 5), 3, 2), 15)
    good = encode(weight, EIE, 3)
    cut = tuple(entries[:-1] for entries in good.entries)
    last = good.pointers.copy()
    last[1, -1] += 1
    order = good.pointers.copy()
    order[2, 3] = order[2, 2] - 1
    far = [entries.copy() for entries in good.entries]
    far[0][good.pointers[0, 2] - 1] += 1  # place 7 of PE 0, whose last one is 6
    wide = [entries.copy() for entries in good.entries]
    wide[1][0] |= 256
    return good, {
        "entries 9 to 12 of 11|entries 12 to 15 of 14": replace(good, entries=cut),
        "column 4 of PE 1": replace(good, pointers=last),
        "column 3 of PE 2|column 2 of PE 2": replace(good, pointers=order),
        "column 1 of PE 0: runs lead to row 21 of 20": replace(good, entries=tuple(far)),
        "more than 8 bits": replace(good, entries=tuple(wide)),
        "codebook": replace(good, codebook=good.codebook + 1),
        "16 weights": replace(good, codebook=good.codebook[:8]),
    }


def test_bad_streams_are_refused():
    good, bad = damaged()
    assert decode(good, 20, EIE).any()
    for message, columns in bad.items():
        with pytest.raises(ValueError, match=message):
            decode(columns, 20, EIE)
    with pytest.raises(ValueError, match="16 values and 0 do not fit codes of 4 bits"):
        encode(np.arange(17)[:, None], EIE, 4)


def test_columns_that_are_skipped_are_not_looked_at():
    good, bad = damaged()
    columns = bad["column 1 of PE 0: runs lead to row 21 of 20"]
    x = np.array([3, 0, -1, 2, 7])
    assert np.array_equal(multiply(columns, x, 20, EIE), decode(good, 20, EIE) @ x)
    with pytest.raises(ValueError, match="row 21"):
        multiply(columns, np.ones(5, int), 20, EIE)
