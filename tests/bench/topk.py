"""Top-k engine against a sorter of as many values per cycle: cycles of random lists, area, clock, switching."""

from __future__ import annotations

import numpy as np

from dataflows.top_k import cycles, output_latency
from rtl.top_k import TopK
from sim.golden.top_k import top_k
from tests.bench.component_synth import Synthesis
from tests.bench.figures import FOLDER, BenchError, Figure
from tests.rtl.merge_sorter import MergeSorter, levels_of, merging, sorting
from tests.rtl.top_k_bench import Engine

COMMAND = "python -m tests.bench topk"
PARALLEL, LENGTH, BITS = 16, 1024, 16
LISTS = 500
TRACED = 20
"""Lists of which switching wires are counted."""

AUTHORS = {(1024, 512): 260, (1024, 128): 220, (256, 32): 74, (4096, 32): 579}
"""(n, k): mean cycles of selecting by the authors' model, ceil(n / 16) + 3 per round."""

JOBS = ((1024, 512), (1024, 1024), (256, 32))
"""(n, k) that the sorter is measured with."""

PUBLISHED_THROUGHPUT, PUBLISHED_POWER = 1.4, 3.5
"""Sorter over engine, SpAtten, HPCA 2021; the sorter is not described further."""


def batcher_cycles(length: int, comparators: int) -> int:
    """Cycles of Batcher's network over the whole list, level by level, with so many comparators."""
    return sum(-(-len(level) // comparators) for level in levels_of(sorting(0, length - 1)))


def lists(n: int) -> np.ndarray:
    """Random lists of 16 bits, one per row."""
    return np.random.default_rng(n).integers(1 << BITS, size=(LISTS, n))


def measured(engine: Engine, n: int, k: int) -> float:
    """Cycles from a job to its last word of output: the mean over all lists, whose results are compared."""
    results, times = engine.run([(values, k) for values in lists(n)])
    for values, (_, indices) in zip(lists(n), results, strict=True):
        if not np.array_equal(np.sort(indices), top_k(values, k)):
            raise BenchError(f"{engine.name} gave wrong values")
    return float((times[:, 2] - times[:, 0]).mean())


def run() -> list[Figure]:
    """Cycles of selecting, whole jobs of engine and sorter, and what synthesis says of both."""
    folder = FOLDER / "topk"
    folder.mkdir(parents=True, exist_ok=True)
    figures: list[Figure] = []

    def add(name: str, value: float, unit: str, baseline: str = "", base: float | None = None) -> None:
        figures.append(Figure(name, round(float(value), 2), unit, baseline, base and round(base, 2), COMMAND))

    engines = {n: Engine(TopK(PARALLEL, n, BITS), f"top_k_{n}", folder) for n in (LENGTH, 4096)}
    for (n, k), authors in AUTHORS.items():
        select = [cycles(values, k, PARALLEL).select for values in lists(n)]
        add(f"selecting {k} of {n}, mean", np.mean(select), "cycles", "authors' model", authors)
        add(f"selecting {k} of {n}, deviation", np.std(select), "cycles")
        add(f"selecting {k} of {n}, most", np.max(select), "cycles")
        add(f"last pass, {n}", n // PARALLEL + output_latency(PARALLEL), "cycles")
        add(f"whole job, {k} of {n}, mean, RTL", measured(engines[max(n, LENGTH)], n, k), "cycles")
    mine = Synthesis(TopK(PARALLEL, LENGTH, BITS), "top_k", folder / "engine")
    other = Synthesis(MergeSorter(PARALLEL, LENGTH, BITS), "merge_sorter", folder / "sorter")
    for n, k in JOBS:
        sorter = Engine(MergeSorter(PARALLEL, n, BITS), f"sorter_{n}", folder)
        ours, theirs = measured(engines[LENGTH], n, k), measured(sorter, n, k)
        add(f"whole job, sorter, {k} of {n}", theirs, "cycles", "top-k engine", ours)
        add(f"sorter over engine, {k} of {n}", theirs / ours, "ratio", "published", PUBLISHED_THROUGHPUT)
        if n == LENGTH:
            cost = mine.area * ours, other.area * theirs
            add(f"area x cycles, sorter, {k} of {n}", cost[1], f"{mine.unit} x cycles", "top-k engine", cost[0])
    add("area, sorter", other.area, mine.unit, "top-k engine", mine.area)
    add("ECP5 tables, sorter", other.lut, "LUT", "top-k engine", mine.lut)
    add("flip-flops, sorter", other.flip_flops, "bits", "top-k engine", mine.flip_flops)
    add("memory, sorter", other.memory_bits, "bits", "top-k engine", mine.memory_bits)
    add("clock on ECP5, estimated, sorter", other.mhz, "MHz", "top-k engine", mine.mhz)
    jobs = [(values, LENGTH // 2) for values in lists(LENGTH)[:TRACED]]
    switched = [
        Engine(each.component, each.name, folder, each.netlist).activity(jobs) / TRACED for each in (mine, other)
    ]
    add(f"switching wires of a job, sorter, {LENGTH // 2} of {LENGTH}", switched[1], "changes", "top-k engine",
        switched[0])  # fmt: skip
    for name, ratio in (("area", other.area / mine.area), ("switching wires of a job", switched[1] / switched[0])):
        add(f"{name}, sorter over engine", ratio, "ratio", "published, power", PUBLISHED_POWER)
    comparators = len([*sorting(0, PARALLEL - 1), *merging(0, 2 * PARALLEL - 1)])
    add("comparators, sorter", comparators, "comparators", "top-k engine", PARALLEL)
    add(f"Batcher's network over {LENGTH}, {PARALLEL} comparators", batcher_cycles(LENGTH, PARALLEL), "cycles")
    return figures
