"""Sizes of compressed layers: Huffman codes that can be decoded and are as short as they can be, entries as encoded."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflows.config import load
from dataflows.network import Conv
from dataflows.run_length import Format
from mapper import huffman
from mapper.compressed_layers import compression
from mapper.entry_counts import entry_counts
from sim.golden import columns

EIE4 = load("configs/eie4.toml")


def canonical(lengths: np.ndarray) -> dict[str, int]:
    """Symbols by code word, of codes with these lengths."""
    words, code, before = {}, 0, 0
    for bits, symbol in sorted((int(bits), symbol) for symbol, bits in enumerate(lengths) if bits):
        code <<= bits - before
        words[format(code, f"0{bits}b")] = symbol
        code, before = code + 1, bits
    return words


@given(st.lists(st.integers(0, 1000) | st.sampled_from([0, 1, 1 << 40]), min_size=1, max_size=70))
@settings(max_examples=200, deadline=None)
def test_huffman_codes(counts):
    counts = np.array(counts, np.int64)
    lengths = huffman.lengths(counts)
    assert ((lengths > 0) == (counts > 0)).all()
    used, total = np.count_nonzero(counts), int(counts.sum())
    if used < 2:
        assert huffman.bits(counts) == total
        return
    assert sum(2.0 ** -int(bits) for bits in lengths if bits) == 1  # Kraft: complete, so decodable and without waste
    share = counts[counts > 0] / total
    entropy = float(-(share * np.log2(share)).sum())
    assert entropy * total * (1 - 1e-9) <= huffman.bits(counts) < (entropy + 1) * total


def test_streams_decode(rng):
    symbols = rng.choice(20, 3000, p=rng.dirichlet(np.full(20, 0.3)))
    lengths = huffman.lengths(np.bincount(symbols, minlength=20))
    words = canonical(lengths)
    by_symbol = {symbol: word for word, symbol in words.items()}
    stream = "".join(by_symbol[symbol] for symbol in symbols)
    assert len(stream) == huffman.bits(np.bincount(symbols, minlength=20))
    found, word = [], ""
    for bit in stream:
        word += bit
        if word in words:
            found.append(words[word])
            word = ""
    assert found == symbols.tolist() and not word


@pytest.mark.parametrize("kind", [np.int8, np.int16])
@pytest.mark.parametrize("pes, run_bits", [(1, 4), (4, 4), (64, 4), (5, 1), (3, 8)])
@pytest.mark.parametrize("density", [0.0, 0.02, 0.3, 1.0])
def test_entries_are_those_of_the_encoder(rng, kind, pes, run_bits, density):
    info = np.iinfo(kind)
    values = np.append(rng.integers(info.min, info.max + 1, 12), info.min)
    weight = np.where(rng.random((83, 17)) < density, rng.choice(values, (83, 17)), 0).astype(kind)
    weight[:, 3] = 0
    counts = entry_counts(weight, pes, run_bits)
    form = Format(run_bits, 4)
    encoded = columns.encode(weight, form, pes)
    entries = np.concatenate(encoded.entries)
    runs, weights = entries & (1 << run_bits) - 1, encoded.codebook[entries >> run_bits]
    assert counts.entries == len(entries) and counts.padding == np.count_nonzero(weights == 0)
    np.testing.assert_array_equal(counts.runs, np.bincount(runs, minlength=1 << run_bits))
    lengths = np.bincount(np.diff(encoded.pointers).reshape(-1))
    np.testing.assert_array_equal(counts.lengths, lengths)
    np.testing.assert_array_equal(counts.weights, np.bincount(weights - info.min, minlength=info.max - info.min + 1))


def test_a_layer_by_hand():
    """Four PEs, two columns; nine zeros before a weight need no padding with runs of four bits, twenty do."""
    weight = np.zeros((100, 2, 1, 1), np.int8)
    weight[[0, 40, 1], 0, 0, 0] = 5, 7, 5  # PE 0: places 0 and 10; PE 1: place 0
    weight[83, 1] = -9  # PE 3: place 20
    layer = Conv("fc", ("x",), "fc", weight=weight)
    found = compression(layer, EIE4, True)
    pointers = 4 * 3 * 2
    assert (found.layer, found.weights, found.density, found.codes) == ("fc", 200, 0.02, 4)
    assert (found.entries, found.padding, found.recognised) == (5, 1, True)
    assert found.dense_bytes == 800
    assert found.compressed_bytes == 5 + pointers + 16
    # Runs 0, 0, 9, 15, 4 and weights 5, 5, 7, 0, -9: one symbol twice, three once: 10 bits; tables of 4 symbols.
    # Lengths of columns: five times 0, 2, 1, 2: 11 bits and three symbols.
    assert found.huffman_bytes == 2 + 4 * 2 + 2 + 4 * 2 + 2 + 3 * 3
    assert found.ratio == 800 / found.compressed_bytes


def test_wider_codes_take_wider_entries(rng):
    """Too many values for four bits: codes as wide as they need; with 16-bit weights perhaps the weights themselves."""
    few, many = rng.integers(1, 100, (40, 30, 1, 1)), rng.integers(1, 20_000, (40, 30, 1, 1))
    kinds = (few, np.int8), (few, np.int16), (many, np.int16)
    layers = [Conv("fc", ("x",), "fc", weight=weight.astype(kind)) for weight, kind in kinds]
    sizes = [compression(layer, EIE4, False) for layer in layers]
    pointers = 4 * 31 * 2
    assert [s.compressed_bytes - pointers for s in sizes] == [1200 * 2 + 128, 1200 * 2 + 256, 1200 * 4]
    dense = load("configs/ws16.toml")
    assert compression(layers[0], dense, False).entries == 1200
    assert not sizes[0].recognised


def test_layers_of_nothing():
    found = compression(Conv("fc", ("x",), "fc", weight=np.zeros((5, 3, 1, 1), np.int8)), EIE4, True)
    assert (found.entries, found.density, found.codes) == (0, 0, 1)
    assert found.compressed_bytes > 0 and found.huffman_bytes > 0
