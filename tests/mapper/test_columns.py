"""Compressed columns: against SciPy's columns, the golden decoder, and gaps around the longest run."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from dataflows import config
from dataflows.errors import InputError
from mapper.columns import Columns, codebook_of, encode, pack, pack_codebook
from tests import sparsity
from tests.random_sparse import engine


def decoded(columns: Columns, pes: int, run_bits: int) -> np.ndarray:
    """The matrix, entry by entry."""
    rows = columns.rows
    matrix = np.zeros((rows, columns.columns), np.int64)
    for pe in range(pes):
        for k in range(columns.columns):
            place = -1
            for entry in range(columns.pointers[pe, k], columns.pointers[pe, k + 1]):
                run, code = int(columns.runs[pe][entry]), int(columns.codes[pe][entry])
                assert run < 1 << run_bits
                place += run + 1
                assert place * pes + pe < rows
                assert code or run == (1 << run_bits) - 1, "code 0 is for padding"
                matrix[place * pes + pe, k] += columns.codebook[code]
    return matrix


@pytest.mark.parametrize("seed", range(30))
def test_round_trip(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pes, run_bits = int(rng.choice([1, 2, 4, 8, 64])), int(rng.integers(1, 9))
    bits = 16 if seed % 3 == 0 else 8
    cfg = engine(pes, cols=1, bits=bits, run_bits=run_bits)
    shape = int(rng.integers(1, 200)), int(rng.integers(1, 30))
    make = sparsity.clustered if seed % 2 else sparsity.independent
    mask = make(rng, shape, float(rng.choice([0, 0.02, 0.1, 0.5, 1])))
    weight = sparsity.weights(rng, mask, int(rng.integers(1, 16)), bits).astype(f"i{bits // 8}")
    columns = encode(weight, cfg)
    np.testing.assert_array_equal(decoded(columns, pes, run_bits), weight)
    assert columns.lengths.sum() == columns.entries.sum() == np.count_nonzero(weight) + columns.padding


@pytest.mark.parametrize("gap", [0, 1, 14, 15, 16, 17, 30, 31, 32, 33, 47, 48])
@pytest.mark.parametrize("first", [0, 15, 16, 17])
def test_gaps(gap: int, first: int) -> None:
    """A padding entry for every 16 zeros before a weight."""
    cfg = config.load("configs/eie4.toml")
    mask = sparsity.gaps((4 * 120, 3), 4, gap, first)
    weight = sparsity.weights(np.random.default_rng(gap), mask, 15).astype(np.int8)
    columns = encode(weight, cfg)
    np.testing.assert_array_equal(decoded(columns, 4, 4), weight)
    count = mask[::4, 0].sum()
    assert columns.padding == 4 * 3 * (first // 16 + (count - 1) * (gap // 16))


def test_same_columns_as_scipy() -> None:
    """With runs that never need padding: indices, values and pointers of each PE are those of a CSC matrix."""
    cfg = engine(8, cols=4, run_bits=8, code_bits=8)
    rng = np.random.default_rng(1)
    weight = sparsity.weights(rng, sparsity.independent(rng, (333, 70), 0.2), 200).astype(np.int8)
    columns = encode(weight, cfg)
    assert columns.padding == 0
    for pe in range(8):
        wanted = scipy.sparse.csc_matrix(weight[pe::8].astype(np.int64))
        np.testing.assert_array_equal(columns.pointers[pe], wanted.indptr)
        np.testing.assert_array_equal(columns.codebook[columns.codes[pe]], wanted.data)
        steps = np.cumsum(columns.runs[pe].astype(np.int64) + 1)
        before = np.repeat(np.concatenate([[0], steps])[wanted.indptr[:-1]], np.diff(wanted.indptr))
        np.testing.assert_array_equal(steps - before - 1, wanted.indices)


def test_codebook() -> None:
    weight = np.array([[0, -128, 5, 5], [7, 0, 127, -128]], np.int8)
    np.testing.assert_array_equal(codebook_of(weight, 3), [0, -128, 5, 7, 127, 0, 0, 0])
    assert codebook_of(weight, 2) is None  # three codes beside 0
    np.testing.assert_array_equal(codebook_of(np.zeros((2, 2), np.int8), 1), [0, 0])
    book = codebook_of(np.array([[-32768, 300]], np.int16), 2)
    np.testing.assert_array_equal(book, [0, -32768, 300, 0])
    with pytest.raises(InputError, match="4 values"):
        encode(weight, engine(code_bits=2))
    with pytest.raises(InputError, match="no sparse engine"):
        encode(weight, config.load("configs/tiny.toml"))


@pytest.mark.parametrize(("run_bits", "code_bits"), [(4, 4), (5, 4), (8, 8)])
def test_packed_tiles(run_bits: int, code_bits: int) -> None:
    """Segments are whole beats, as long for every PE; pointers of a tile begin with 0."""
    cfg = engine(4, run_bits=run_bits, code_bits=code_bits)
    rng = np.random.default_rng(2)
    weight = sparsity.weights(rng, sparsity.clustered(rng, (61, 40), 0.3), 15).astype(np.int8)
    columns, size = encode(weight, cfg), cfg.entry_bytes
    assert size == (1 if run_bits + code_bits <= 8 else 2)
    for first, count in ((0, 40), (0, 1), (7, 20), (39, 1)):
        packed = pack(columns, first, count, cfg)
        assert packed.entries.shape[1] % cfg.bus_bytes == packed.pointers.shape[1] % cfg.bus_bytes == 0
        for pe in range(4):
            start, end = columns.pointers[pe, first], columns.pointers[pe, first + count]
            words = packed.entries[pe].view(f"<u{size}").astype(np.int64)
            np.testing.assert_array_equal(words[: end - start] & (1 << run_bits) - 1, columns.runs[pe][start:end])
            np.testing.assert_array_equal(words[: end - start] >> run_bits, columns.codes[pe][start:end])
            assert not words[end - start :].any() and end - start <= packed.longest
            pointers = packed.pointers[pe].view("<u2")[: count + 1].astype(np.int64)
            np.testing.assert_array_equal(pointers, columns.pointers[pe, first : first + count + 1] - start)
    raw = pack_codebook(columns.codebook, cfg)
    np.testing.assert_array_equal(raw.view(np.int8)[: 1 << code_bits], columns.codebook)
    assert raw.size % cfg.bus_bytes == 0
