"""The mapper's compressed columns beside the golden model's, which was written apart from them."""


import numpy as np
import pytest

from dataflows.config import Config, load, parse
from dataflows.run_length import Format
from mapper import columns as mapper
from sim.golden import columns as golden
from tests.sparsity import clustered, empty_columns, gaps, independent, single_entries, weights


def sized(root, **sparse: int) -> Config:
    """eie4 with another engine."""
    values = load(root / "configs" / "eie4.toml").model_dump()
    values["sparse"] |= sparse
    return parse(values, "test")


def same(weight: np.ndarray, cfg: Config) -> None:
    """Both encodings of a matrix agree, in numbers and bytes, and decode to it."""
    sparse = cfg.sparse
    form = Format(sparse.run_bits, sparse.code_bits)
    made, expected = mapper.encode(weight, cfg), golden.encode(weight, form, sparse.pes)
    assert np.array_equal(made.codebook, expected.codebook)
    assert np.array_equal(made.pointers, expected.pointers)
    assert np.array_equal(made.lengths, np.diff(expected.pointers))
    assert made.entries.tolist() == [len(entries) for entries in expected.entries]
    assert made.padding == sum(int((entries >> sparse.run_bits == 0).sum()) for entries in expected.entries)
    for runs, codes, entries in zip(made.runs, made.codes, expected.entries, strict=True):
        assert np.array_equal(runs + (codes.astype(int) << sparse.run_bits), entries)
    assert np.array_equal(golden.decode(expected, len(weight), form), weight)
    tile(made, weight, cfg, form)


def tile(made: mapper.Columns, weight: np.ndarray, cfg: Config, form: Format) -> None:
    """The bytes of a tile of columns decode to its part of the matrix."""
    first = weight.shape[1] // 3
    count = max(1, weight.shape[1] // 2)
    packed = mapper.pack(made, first, count, cfg)
    pointers = np.array([golden.unpack_pointers(row)[: count + 1] for row in packed.pointers])
    entries = tuple(golden.unpack(row, form)[:end] for row, end in zip(packed.entries, pointers[:, -1], strict=True))
    assert packed.longest == pointers[:, -1].max() and not pointers[:, 0].any()
    assert packed.entries.shape[1] % cfg.bus_bytes == packed.pointers.shape[1] % cfg.bus_bytes == 0
    decoded = golden.decode(golden.Columns(made.codebook, entries, pointers), len(weight), form)
    assert np.array_equal(decoded, weight[:, first : first + count])


@pytest.mark.parametrize("code_bits", [2, 4, 8])
@pytest.mark.parametrize("run_bits", [1, 2, 4, 5, 8])
def test_random_matrices(root, run_bits, code_bits):
    rng = np.random.default_rng([run_bits, code_bits])
    for bits in (8, 16):
        for pes in (4, 12, 64):
            cfg = sized(root, pes=pes, run_bits=run_bits, code_bits=code_bits)
            for density in (0, 0.02, 0.1, 0.5, 1):
                make = clustered if rng.random() < 0.5 else independent
                shape = int(rng.integers(1, 300)), int(rng.integers(1, 30))
                mask = single_entries(rng, empty_columns(rng, make(rng, shape, density), 5), 0.1)
                same(weights(rng, mask, (1 << code_bits) - 1, bits).astype(f"i{bits // 8}"), cfg)


@pytest.mark.parametrize("gap", [0, 1, 15, 16, 17, 31, 32, 33, 47, 48, 49, 255, 256, 257])
def test_gaps(root, gap):
    rng = np.random.default_rng(gap)
    for first in (0, gap):
        same(weights(rng, gaps((4 * (2 * gap + 4) + 3, 5), 4, gap, first), 15).astype(np.int8), sized(root))


def test_sizes_of_one_and_fewer_rows_than_pes(root):
    rng = np.random.default_rng(1)
    for shape in ((1, 1), (1, 9), (9, 1), (3, 4), (4, 4), (5, 4)):
        for density in (0, 0.5, 1):
            same(weights(rng, independent(rng, shape, density), 15).astype(np.int8), sized(root))


def test_too_many_values_have_no_codebook(root):
    weight = np.arange(-8, 9, dtype=np.int8)[:, None]  # 16 beside 0
    assert mapper.codebook_of(weight, 4) is None
    assert mapper.codebook_of(weight[1:], 4).tolist() == [0, *range(-7, 0), *range(1, 9)]
    with pytest.raises(ValueError, match="16 values"):
        golden.encode(weight, Format(4, 4), 4)


def test_large_matrix():
    """A quarter of AlexNet's first linear layer."""
    rng = np.random.default_rng(0)
    weight = weights(rng, independent(rng, (4096, 2304), 0.09), 15).astype(np.int8)
    cfg = load("configs/eie64.toml")
    made = mapper.encode(weight, cfg)
    share = [golden.encode(weight[:, k : k + 1], Format(4, 4), 64) for k in (0, 1000, 2303)]
    for k, expected in zip((0, 1000, 2303), share, strict=True):
        assert np.array_equal(made.lengths[:, k], expected.pointers[:, 1])
