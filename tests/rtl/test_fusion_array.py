"""The weight-stationary array of fusion units against matrix products in NumPy."""

from dataclasses import dataclass

import numpy as np
import pytest

from dataflows.packing import pack
from tests.rtl.array_bench import Traffic, anywhere, run
from tests.rtl.compute_bench import Word, make_config


@dataclass
class Packed(Word):
    """A word of bytes, and its precision."""

    a_bits: int = 8
    w_bits: int = 8
    a_unsigned: int = 0
    w_unsigned: int = 0


def numbers(rng, bits, unsigned, *shape):
    """Random numbers over the whole range, a quarter of them at its ends."""
    low, high = (0, (1 << bits) - 1) if unsigned else (-(1 << bits - 1), (1 << bits - 1) - 1)
    return np.where(rng.random(shape) < 0.25, rng.choice([low, high], shape), rng.integers(low, high + 1, shape))


def words(rng, lines, bits, size, **told):
    """Lines of numbers as the words of a tile: packed, and whatever follows up to ``size`` bytes."""
    raw = pack(lines.astype(np.int16), bits)
    raw = np.concatenate([raw, rng.integers(0, 256, (len(raw), size - raw.shape[1]), np.uint8)], axis=1)
    tile = [Packed(line.tolist(), **told) for line in raw]
    tile[0].first = tile[-1].last = 1
    return tile


def add_job(cfg, traffic, rng, pair, signs, tiles):
    """A job of one precision; ``tiles``: input words of each."""
    reduction = cfg.reduction(*pair)
    told = dict(zip(("a_bits", "w_bits", "a_unsigned", "w_unsigned"), (*pair, *signs), strict=True))
    inputs, weights, sums = [], [], []
    for count in tiles:
        x = numbers(rng, pair[0], signs[0], count, reduction.depth)
        w = numbers(rng, pair[1], signs[1], reduction.depth, cfg.array.cols)
        inputs += words(rng, x, pair[0], cfg.input_read_bytes, **told)
        steps = w.reshape(reduction.steps, reduction.products, -1).transpose(0, 2, 1)  # by row: column, product
        weights += words(rng, steps.reshape(reduction.steps, -1), pair[1], cfg.weight_read_bytes, **told)
        sums += (x @ w).tolist()
    traffic.add(inputs, weights, sums)


def every_precision(cfg, rng, tiles):
    """Jobs of every pair of widths, in random order, signed and unsigned."""
    pairs = [(a, w) for a in cfg.operand_bits for w in cfg.operand_bits]
    traffic = Traffic()
    for index in rng.permutation(len(pairs)):
        add_job(cfg, traffic, rng, pairs[index], rng.integers(0, 2, 2).tolist(), tiles(index))
    return traffic


@pytest.mark.parametrize("gaps", [False, True], ids=["steady", "gaps"])
@pytest.mark.parametrize(("rows", "cols", "leaf"), [(3, 4, 2), (1, 4, 4), (2, 8, 4)])
def test_products_of_every_precision(rows, cols, leaf, gaps, rng):
    cfg = make_config(rows, cols, "weight_stationary", multiplier={"kind": "fusion", "leaf": leaf})
    traffic = every_precision(cfg, rng, lambda index: [int(rng.integers(1, 4)), 1])
    options = {f"{name}_gap": anywhere(rng) for name in ("input", "weight", "open")} if gaps else {}
    out, _ = run(cfg, traffic, **options)
    assert out == traffic.sums


def test_most_negative_operands_of_every_precision(rng):
    cfg = make_config(2, 4, "weight_stationary", multiplier={"kind": "fusion"})
    traffic, wanted = Traffic(), []
    for pair in ((8, 8), (4, 4), (2, 2), (8, 2), (2, 8)):
        depth = cfg.reduction(*pair).depth
        low = [-(1 << bits - 1) for bits in pair]
        add_job(cfg, traffic, rng, pair, [0, 0], [1])
        for words_, bits, code in ((traffic.input[-1:], pair[0], low[0]), (traffic.weight[-2:], pair[1], low[1])):
            for word in words_:
                word.data = pack(np.full(8 * len(word.data) // bits, code, np.int16), bits).tolist()
        wanted.append([low[0] * low[1] * depth] * 4)
    traffic.sums = wanted
    assert run(cfg, traffic)[0] == wanted


@pytest.mark.parametrize("tiles", [[4, 4], [5, 9]])
def test_precisions_follow_each_other_without_a_gap(tiles, rng):
    """Times are those of every weight-stationary array: a tile takes as many cycles as it has input words."""
    cfg = make_config(4, 4, "weight_stationary", multiplier={"kind": "fusion"})
    fixed = make_config(4, 4, "weight_stationary")
    traffic = Traffic()
    for pair in ((8, 8), (2, 2), (4, 8), (8, 2)):
        add_job(cfg, traffic, rng, pair, [0, 1], tiles)
    out, times = run(cfg, traffic)
    assert out == traffic.sums
    assert set(np.diff(times["input"])) == {1}
    assert times["sum"] == [cycle + times["latency"] for cycle in times["input"]]
    assert times["latency"] == run(fixed, Traffic())[1]["latency"]
