"""The sparse engine in the timing model: words from INPUT, the walk of each job, and its sums on their way to ACC."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from dataflows import isa
from dataflows.network import Codes, Network
from mapper.kernel import Process, Signal
from mapper.program import Job
from mapper.sparse_plan import SparseJob
from mapper.sparse_walk import IDLE, walk
from mapper.timing_array import Accumulator
from mapper.timing_machine import Machine
from mapper.timing_streamer import STREAM, Streamer

TAKEN = 1  # job taken, to its vector at the detection, and to its begin if nothing is before it
LOADED = 1  # vector at the detection, to its first word there
SEARCH = 1  # word there, or job begun, to the first search
SENT = 1  # last word searched, to the end of a broadcast that has sent everything
DONE = 1  # end of a job, to its tokens
READ = 1  # end of a job, or ACC job taken, to the first sum read
LEAVE = 2  # sum read, to ACC

LIKELY = 0.5
"""Share of zeros among activations, where nothing is known."""


class Masks:
    """Which activations of a SPARSE job differ from the zero point.

    Parameters
    ----------
    activations : mapping, optional
        Golden integers by tensor, of one batch.
    zeros : mapping, optional
        Share of those that are the zero point, by tensor; where the integers are not known, they are drawn.
    """

    def __init__(self, activations: Mapping[str, Codes] | None = None, zeros: Mapping[str, float] | None = None):
        self._activations, self._zeros = activations or {}, zeros or {}
        self._vectors: dict[tuple[str, int], NDArray[np.bool_]] = {}

    def of(self, network: Network, job: SparseJob) -> NDArray[np.bool_]:
        """One bool per column of the job."""
        key = job.tensor, job.sample
        if key not in self._vectors:
            tensor = network.tensors[job.tensor]
            columns = tensor.shape[-1]
            if job.tensor in self._activations:
                self._vectors[key] = self._activations[job.tensor].reshape(-1, columns)[job.sample] != tensor.zero
            else:
                rng = np.random.default_rng([crc32(job.tensor.encode()), job.sample])
                self._vectors[key] = rng.random(columns) >= self._zeros.get(job.tensor, LIKELY)
        return self._vectors[key][job.first_column : job.first_column + job.lengths.shape[1]]


@dataclass
class Run:
    """A SPARSE job that is taken; ``loaded`` is when its first word is in the detection, None if that is not known."""

    job: Job
    taken: int
    loaded: int | None = None


class SparseEngine:
    """Engine of SPARSE: a job that runs, one that waits, and sums of the one before on their way.

    Its processes are :meth:`fetch` and :meth:`run`.
    """

    def __init__(self, machine: Machine, words: Streamer, acc: Accumulator, masks: Masks):
        self.machine, self.words, self.acc, self.masks = machine, words, acc, masks
        self._changed = Signal(machine.kernel)
        self._taken: deque[Run] = deque()  # no word has come
        self._jobs: deque[Run] = deque()  # not ended
        self._begun: int | None = -1  # when the last job taken begins, if that is known
        self._searched: int | None = 0  # last search of the latest job whose first word has come, if that is known
        self._told = 0  # when its last word was there
        self._drained: int | None = 0  # when the last sum of the drain before is read, if that is known

    def accepts(self, _job: Job) -> bool:
        """Whether no job waits."""
        return self._begun is not None and self._begun < self.machine.kernel.cycle

    def take(self, job: Job) -> None:
        """A job that it is ready for."""
        run = Run(job, self.machine.kernel.cycle)
        self._begun = None
        self._taken.append(run)
        self._jobs.append(run)
        self._changed.fire()

    def fetch(self) -> Process:
        """The first word of each job: it comes while the job before is still walked."""
        words = self.words
        while True:
            while not (self._taken and self._searched is not None):
                yield self._changed
            run = self._taken.popleft()
            vector = max(run.taken + TAKEN, self._told + 1)
            while not words.next(sparse=True):
                yield self.machine.streamed
            ready = words.jobs[0].taken + STREAM + 1
            run.loaded = max(vector + LOADED, self._searched, ready, words.entered + 1)
            self._searched = None
            words.enter(1, run.loaded)
            self._changed.fire()

    def run(self) -> Process:
        """One job after the other."""
        machine, changed, end = self.machine, self._changed, 0
        while True:
            while not self._jobs:
                yield changed
            run = self._jobs[0]
            begin = self._begun = max(run.taken + TAKEN, end)
            machine.at(begin + 1, machine.progress[isa.Unit.SPARSE])
            while run.loaded is None:
                yield changed
            first = max(begin, run.loaded) + SEARCH
            quiet = self._walk(run, first)
            words = run.job.registers["mode"].get("drain", 0)
            while words and self._drained is None:
                yield changed
            end = quiet
            if words and self._drained is not None:
                end = max(end, self._drained + 1)
                self._drained = None
                machine.kernel.schedule(machine.kernel.now, self._drain(end, words))
            machine.give(run.job, run.taken, end + DONE)
            self._jobs.popleft()

    def _walk(self, run: Run, first: int) -> int:
        """A job whose first search is in a cycle; returns when all of its sums are complete."""
        cfg, job = self.machine.cfg, self.machine.program.sparse[run.job.index]
        if cfg.sparse is None:
            raise AssertionError("a SPARSE job without a sparse engine")
        mask = self.masks.of(self.machine.program.network, job)
        found = walk(job.lengths, mask, queue=cfg.sparse.queue, word=cfg.input_elements)
        searched = first + found.words
        for time in searched[:-1].tolist():  # each word gives way to the next one
            self.words.enter(1, time)
        self.words.leave()
        self._searched, self._told = int(searched[-1]), self.words.entered
        self._changed.fire()
        end = max(self._searched + 1, first + found.end)
        least = -(-int(job.lengths[:, mask].sum()) // cfg.sparse.pes)
        self.machine.walks.append((first, end, len(self.machine.walks), end - first - least))
        return max(self._searched + SENT, first + found.end + IDLE if mask.any() else 0)

    def _drain(self, end: int, words: int) -> Process:
        """Sums of a job that has ended leave when ACC has a job for them."""
        acc = self.acc
        while not acc.next(sparse=True):
            yield self.machine.streamed
        job, taken = acc.jobs.popleft()
        last = max(end, taken) + READ + words - 1
        acc.summed(job, taken, last + LEAVE)
        self._drained = last
        self._changed.fire()
