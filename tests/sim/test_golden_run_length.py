"""Run-length compression: round trips, exact words of small blocks, published ratios."""

import numpy as np
import pytest

from dataflows.run_length import EIE, EYERISS, EYERISS_V2, SCNN, Format
from sim.golden.run_length import decode, encode, pairs

FORMATS = [EYERISS, EIE, SCNN, EYERISS_V2, Format(5, 8), Format(4, 4, pairs=8), Format(1, 1), Format(3, 5, 32, 2)]


def streamed(x, form, zero, restart):
    """The pairs as a machine makes them, element after element."""
    result, run = [], 0
    for i, value in enumerate(x, 1):
        ends = i == len(x) or (restart and i % restart == 0)
        if value == zero and not ends and run < form.longest_run:
            run += 1
        else:
            result.append((run, int(value)))
            run = 0
    return result


def random_block(rng, form, length, zeros, zero):
    """Elements over the whole range, a share of them zero."""
    low = -(1 << form.level_bits - 1)
    x = rng.integers(low, -low, length)
    x[rng.random(length) < zeros] = zero
    return x


@pytest.mark.parametrize("form", FORMATS, ids=str)
@pytest.mark.parametrize("zeros", [0, 0.5, 0.9, 0.99, 1])
def test_round_trip(form, zeros):
    rng = np.random.default_rng(int(100 * zeros))
    for length in [*range(1, 101), 4096]:
        zero = int(rng.integers(-(1 << form.level_bits - 1), 1 << form.level_bits - 1))
        x = random_block(rng, form, length, zeros, zero)
        restart = int(rng.choice([0, 1, 7, length]))
        runs, levels = pairs(x, form, zero=zero, restart=restart)
        assert list(zip(runs, levels, strict=True)) == streamed(x, form, zero, restart)
        words = encode(x, form, zero=zero, restart=restart)
        assert words.size == -(-runs.size // form.pairs) <= form.worst_words(length)
        if form.terminated:
            assert (words >> np.uint64(form.word_bits - 1)).tolist() == [0] * (words.size - 1) + [1]
        assert np.array_equal(decode(words, length, form, zero=zero), x)


@pytest.mark.parametrize("run", [0, 1, 30, 31, 32, 33, 62, 63, 64, 65, 96])
@pytest.mark.parametrize("tail", [0, 1, 31, 32, 33, 64])
def test_long_runs(run, tail):
    x = np.array([0] * run + [-32768] + [0] * tail)
    runs, _ = pairs(x, EYERISS)
    assert runs.max() <= 31 and (runs + 1).sum() == x.size
    assert runs.size == run // 32 + 1 + -(-tail // 32)
    assert np.array_equal(decode(encode(x, EYERISS), x.size, EYERISS), x)


def test_words_by_hand():
    """Run in the low bits, level above, first pair lowest, terminator highest."""
    x = np.array([0, 0, 5, -1, *[0] * 33, 7, 0])
    pair = [2 | 5 << 5, 0xFFFF << 5, 31, 1 | 7 << 5, 0]
    word = [sum(p << 21 * i for i, p in enumerate(group)) for group in (pair[:3], pair[3:])]
    assert encode(x, EYERISS).tolist() == [word[0], word[1] | 1 << 63]


def test_nothing_is_no_words():
    assert encode(np.zeros(0, np.int8), EYERISS).size == 0
    assert decode(np.zeros(0, np.uint64), 0, EYERISS).size == 0


def test_restart_keeps_columns_apart():
    runs, _ = pairs(np.zeros(64, np.int64), EIE, restart=16)
    assert runs.tolist() == [15] * 4
    runs, _ = pairs(np.zeros(60, np.int64), EIE, restart=20)
    assert runs.tolist() == [15, 3] * 3


@pytest.mark.parametrize(
    ("zeros", "ratio"), [(0.0, 0.75), (0.387, 1.22), (0.725, 2.72), (0.793, 3.64)], ids=lambda v: str(v)
)
def test_published_ratios(zeros, ratio):
    rng = np.random.default_rng(5)
    x = random_block(rng, EYERISS, 200_000, 0, 0) | 1
    x[rng.random(x.size) < zeros] = 0
    assert 2 * x.size / encode(x, EYERISS).nbytes == pytest.approx(ratio, rel=0.02)


def test_formats():
    assert (EYERISS.pairs, EYERISS.terminated, EIE.pairs, EYERISS_V2.pairs, SCNN.pairs) == (3, True, 7, 5, 3)
    assert not Format(4, 4, pairs=8).terminated
    for bad in ({"run_bits": 0, "level_bits": 8}, {"run_bits": 5, "level_bits": 16, "pairs": 4}):
        with pytest.raises(ValueError, match="bits"):
            Format(**bad)
    with pytest.raises(ValueError, match="no room"):
        Format(40, 30)


def test_wrong_words_are_refused():
    x = np.arange(10)
    words = encode(x, EYERISS)
    for bad, length in ((words[:-1], 10), (words, 11), (np.append(words, words), 10), (words, 6)):
        with pytest.raises(ValueError, match="elements"):
            decode(bad, length, EYERISS)
    with pytest.raises(ValueError, match="vector"):
        encode(x.reshape(2, 5), EYERISS)
