"""Cycles of the sparse engine: the fast model against a plain one that goes cycle by cycle, and estimates."""

from collections import deque
from pathlib import Path

import numpy as np
import pytest

from dataflows.config import load
from mapper.sparse_cycles import engine_cycles, estimate, expected_entries, load_balance, sweep
from mapper.sparse_walk import IDLE

CFG = load(Path("configs/eie64.toml"))

TABLE = {
    "Alex-6": (4096, 9216, 0.09, 0.351),
    "Alex-7": (4096, 4096, 0.09, 0.353),
    "Alex-8": (1000, 4096, 0.25, 0.375),
    "VGG-6": (4096, 25088, 0.04, 0.183),
    "VGG-7": (4096, 4096, 0.04, 0.375),
    "VGG-8": (1000, 4096, 0.23, 0.411),
    "NT-We": (600, 4096, 0.10, 1.0),
    "NT-Wd": (8791, 600, 0.11, 1.0),
    "NTLSTM": (2400, 1201, 0.10, 1.0),
}
"""The published layers: rows, columns, densities of weights and activations."""


def entries(there, pes, run_bits=4):
    """Entries of each PE and column, padding included, counted weight by weight in the order of the rows."""
    columns = there.shape[1]
    lengths, zeros = np.zeros((pes, columns), np.int64), np.zeros((pes, columns), np.int64)
    for row, weights in enumerate(there):
        pe = row % pes
        lengths[pe] += np.where(weights, 1 + (zeros[pe] >> run_bits), 0)
        zeros[pe] = np.where(weights, 0, zeros[pe] + 1)
    return lengths


def plain(lengths, mask, *, queue, word):
    """Cycles of a job, one cycle after the other: registers as in the hardware."""
    pes, columns = lengths.shape
    words = deque(list(np.nonzero(mask[first : first + word])[0] + first) for first in range(0, columns, word))
    offered = None  # the column that is broadcast as soon as all queues have room
    queues = [deque() for _ in range(pes)]
    fetched = [None] * pes  # columns whose pointers are read
    left = [0] * pes  # cycles of a walk
    cycle = latest = 0
    while words or offered is not None or any(queues) or any(left) or any(f is not None for f in fetched):
        free = [cycles <= 1 for cycles in left]
        takes = [f is None or free[pe] for pe, f in enumerate(fetched)]
        room = all(len(waiting) < queue or takes[pe] for pe, waiting in enumerate(queues))
        moved = offered if offered is not None and room else None
        for pe in range(pes):
            left[pe] = max(0, left[pe] - 1)
            if free[pe] and fetched[pe] is not None:
                left[pe] = max(1, lengths[pe, fetched[pe]])
            if takes[pe]:
                fetched[pe] = queues[pe].popleft() if queues[pe] else None
            if moved is not None:
                queues[pe].append(moved)
        if moved is not None:
            offered = None
        if words:
            if words[0] and offered is None:
                offered = words[0].pop(0)
                if not words[0]:
                    words.popleft()
            elif not words[0]:
                words.popleft()
        cycle += 1
        latest = cycle + 1 + IDLE if any(left) else latest
        assert cycle < 1_000_000
    return max(latest, -(-columns // word))


@pytest.mark.parametrize("seed", range(40))
def test_fast_model_is_the_plain_one(seed):
    rng = np.random.default_rng(seed)
    pes, word, queue = int(rng.choice([1, 2, 4, 7])), int(rng.choice([1, 3, 4, 8])), int(rng.integers(1, 9))
    columns = int(rng.integers(1, 60))
    there = rng.random((int(rng.integers(1, 80)), columns)) < rng.choice([0, 0.05, 0.3, 1])
    if seed % 2:  # some columns and PEs have much more
        there |= rng.random(there.shape) < rng.random(columns) ** 4
    mask = rng.random(columns) < rng.choice([0, 0.05, 0.5, 1])
    lengths = entries(there, pes)
    assert engine_cycles(lengths, mask, queue=queue, word=word) == plain(lengths, mask, queue=queue, word=word)


def pattern(name, seed=0):
    """Entries and non-zero activations of a layer of the table, synthetic."""
    rows, columns, weights, activations = TABLE[name]
    rng = np.random.default_rng(seed)
    return entries(rng.random((rows, columns)) < weights, 64), rng.random(columns) < activations


def test_sweep_gains_with_depth():
    lengths, mask = pattern("Alex-7")
    found = sweep(lengths, mask)
    efficiencies = [efficiency for _, efficiency in found.values()]
    assert list(found) == [1, 2, 4, 8, 16, 32]
    assert efficiencies == sorted(efficiencies)
    assert efficiencies[3] == pytest.approx(0.97, abs=0.01)
    assert efficiencies[5] == pytest.approx(0.985, abs=0.01)
    assert found[8][1] == load_balance(lengths, mask, found[8][0])


def test_sweep_is_the_published_one_with_a_place_less():
    """Pointers are read ahead: the column that waits for its walk has left the queue."""
    lengths, mask = pattern("Alex-6")
    found = sweep(lengths, mask, (1, 3, 7, 15, 31))
    published = (0.90, 0.94, 0.97, 0.98, 0.99)  # depths 2, 4, 8, 16, 32
    assert [efficiency for _, efficiency in found.values()] == pytest.approx(published, abs=0.01)


@pytest.mark.parametrize("name", TABLE)
def test_estimate_of_published_layers(name):
    lengths, mask = pattern(name)
    rows, columns, weights, _ = TABLE[name]
    exact = engine_cycles(lengths, mask, queue=8, word=8)
    assert estimate(rows, columns, weights, mask.mean(), CFG) == pytest.approx(exact, rel=0.015)
    assert expected_entries(rows, columns, weights, CFG) == pytest.approx(lengths.sum(), rel=0.003)


@pytest.mark.parametrize("density", [0, 1])
def test_estimate_at_the_ends(density):
    for rows, columns in ((1, 1), (3, 700), (64, 8), (700, 3)):
        lengths = entries(np.full((rows, columns), density, bool), 64)
        assert expected_entries(rows, columns, density, CFG) == lengths.sum()
        for mask in (np.zeros(columns, bool), np.ones(columns, bool)):
            exact = engine_cycles(lengths, mask, queue=8, word=8)
            assert estimate(rows, columns, density, mask.mean(), CFG) == pytest.approx(exact, abs=0.5)
