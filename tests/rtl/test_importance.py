"""Importance accumulators against sums of the golden model's probabilities."""

import random

import numpy as np
import pytest

from rtl.importance import TokenImportance
from sim.golden.softmax import probabilities, reciprocal
from tests.rtl.axi_model import simulate


def rows_of(rng, lanes, words, count):
    """Numerators: (rows, keys) lists of random rows of one number of keys."""
    keys = rng.randint(1, lanes * words)
    kinds = [[127] * keys, [127] + [0] * (keys - 1)]
    return [
        rng.choice([*kinds, [rng.choice([0, 1, 127, rng.randrange(128)]) for _ in range(keys - 1)] + [127]])
        for _ in range(count)
    ]


def run(lanes, words, jobs, gap, late, maxima=None):
    """Feed jobs (lists of rows, the first of each fresh); returns the accumulators behind each job, and the cycles.

    With ``maxima`` each job says whether the largest probabilities are kept.
    """
    dut = TokenImportance(lanes, words, maxima is not None)
    found, spent = [], []

    async def testbench(ctx):
        pending = []  # (cycle, row) of reciprocals
        now = 0

        async def tick():
            nonlocal now
            ctx.set(dut.row.valid, bool(pending and pending[0][0] <= now))
            if pending and pending[0][0] <= now:
                ctx.set(dut.row.payload, pending.pop(0)[1])
            await ctx.tick()
            now += 1

        for number, rows in enumerate(jobs):
            more = {} if maxima is None else {"largest": maxima[number]}
            for n, row in enumerate(rows):
                padded = row + [0] * (-len(row) % lanes)
                total = np.array([sum(row)])
                inverse, bits = (int(v[0]) for v in reciprocal(total))
                for start in range(0, len(padded), lanes):
                    last = start + lanes == len(padded)
                    ctx.set(dut.i.payload, {"data": padded[start : start + lanes], "last": last})
                    ctx.set(dut.i.valid, 1)
                    if last:
                        entry = {"inverse": inverse >> 8, "shift": bits - 1, "fresh": n == 0, **more}
                        pending.append((now + late, entry))
                    await tick()
                ctx.set(dut.i.valid, 0)
                for _ in range(gap - len(padded) // lanes):
                    await tick()
            begin = now
            while pending or ctx.get(dut.busy):
                await tick()
            spent.append(now - begin)
            values = []
            for word in range(words):
                ctx.set(dut.read, 1)
                ctx.set(dut.read_word, word)
                await tick()
                values += [ctx.get(dut.read_data[lane]) for lane in range(lanes)]
            ctx.set(dut.read, 0)
            found.append(values)

    simulate(dut, [testbench], cycles=20000)
    return found, spent


@pytest.mark.parametrize(
    ("lanes", "words", "gap", "late"), [(4, 5, 0, 30), (16, 1, 20, 12), (1, 9, 0, 0), (2, 3, 3, 3)]
)
def test_sums_of_probabilities(lanes, words, gap, late):
    rng = random.Random(lanes)
    jobs = [rows_of(rng, lanes, words, count) for count in (6, 1, 5)]
    if gap == 0:
        jobs = [[row for row in rows if len(row) > 3 * lanes] or [[127] * lanes * words] for rows in jobs]
    found, _ = run(lanes, words, jobs, gap, late)
    for rows, values in zip(jobs, found, strict=True):
        codes = np.array(rows)
        wanted = probabilities(codes, codes.sum(axis=1)).sum(axis=0)
        assert values[: len(rows[0])] == wanted.tolist()


@pytest.mark.parametrize(("lanes", "words"), [(4, 3), (2, 5)])
def test_largest_probabilities(lanes, words):
    """Jobs of sums and of maxima in turn."""
    rng = random.Random(words)
    jobs = [rows_of(rng, lanes, words, count) for count in (6, 4, 1, 5, 7)]
    largest = [True, False, True, False, True]
    found, _ = run(lanes, words, jobs, 4, 5, largest)
    for rows, values, most in zip(jobs, found, largest, strict=True):
        codes = np.array(rows)
        each = probabilities(codes, codes.sum(axis=1))
        assert values[: len(rows[0])] == (each.max(axis=0) if most else each.sum(axis=0)).tolist()


def test_rows_back_to_back_never_wait():
    """A word per cycle for many rows: everything is added a fixed time after the last reciprocal."""
    rows = [[127, *range(19)]] * 30
    _, (spent,) = run(4, 5, [rows], 0, 12)
    assert spent == 12 + 2 + 5 + TokenImportance.settle


def test_many_sums_do_not_overflow_soon():
    """One key takes all probability, 65535 of 65536, in every row."""
    found, _ = run(2, 1, [[[127, 0]] * 40], 3, 1)
    one = int(probabilities(np.array([[127]]), np.array([127]))[0, 0])
    assert found[0] == [40 * one, 0]
