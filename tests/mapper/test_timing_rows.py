"""The row-stationary array in the timing model, against its law cycle by cycle, which the RTL is held to."""

from collections import deque
from types import SimpleNamespace

import numpy as np
import pytest

from dataflows import isa
from mapper.timing_row_plans import TOLD
from mapper.timing_rows import Rows
from mapper.timing_streamer import STREAM
from tests.rtl.row_bench import make_config, random_geometry
from tests.rtl.row_law import law


class Words:
    """Stands in for a streamer: all its jobs are there from the beginning."""

    def __init__(self, jobs):
        self.jobs = deque(jobs)
        self.entered = -1
        self.times: list[int] = []

    def enter(self, words: int, start: int) -> None:
        assert start > self.entered
        self.entered = start + words - 1
        self.times += range(start, start + words)


class Sums:
    """Stands in for the accumulator."""

    def __init__(self, jobs):
        self.jobs = deque(jobs)
        self.last: list[int] = []

    def summed(self, _job, _taken: int, time: int) -> None:
        self.last.append(time)


def jobs_of(geometries, ahead: int) -> list[SimpleNamespace]:
    """INPUT jobs with registers of the geometries, and words of their groups, taken ``ahead`` cycles before cycle 0."""
    return [
        SimpleNamespace(job=SimpleNamespace(registers=g.registers()), taken=-ahead, words=words, last=number)
        for number, g in enumerate(geometries)
        for words in [g.passes * g.groups * g.fresh * g.rows * g.chained]
    ]


@pytest.mark.parametrize("seed", range(40))
def test_words_and_sums_come_when_the_law_says(seed):
    rng = np.random.default_rng(seed)
    rows, cols, inputs, weights, sums = (int(rng.integers(1, most)) for most in (9, 7, 9, 31, 9))
    cfg = make_config(rows, cols, inputs=inputs, weights=max(weights, inputs), sums=sums)
    geometries = [random_geometry(rng, cfg) for _ in range(rng.integers(1, 7))]
    opens = sorted(int(time) for time in rng.integers(0, 400, len(geometries)))
    wanted = law(cfg, geometries, opens)

    # As in the law, streams never starve: their words are there when geometries are offered, in cycle 0.
    inputs, weights = Words(jobs_of(geometries, STREAM)), Words(jobs_of(geometries, STREAM))
    acc = Sums((None, time) for time in opens)
    machine = SimpleNamespace(
        cfg=cfg, engines={}, progress={isa.Unit.INPUT: None}, at=lambda time, signal: None,
        work=lambda begin, cycles: None,
    )  # fmt: skip
    rows = Rows(machine, inputs, weights, acc)
    for stream in jobs_of(geometries, TOLD):
        rows.plans.tell(stream)
    rows.advance()
    assert inputs.times == wanted["input"]
    assert weights.times == wanted["weight"]
    ends, position = [], 0
    for g in geometries:
        position += g.passes * g.positions * g.units * g.filters
        ends.append(wanted["sum"][position - 1])
    assert acc.last == ends
