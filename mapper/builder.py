"""Jobs in program order, with dependencies found from the addresses they touch.

Every job tells which bytes (or words) of which memory it reads and writes.  A scoreboard derives the dependencies (read
after write, write after read, write after write) and each one that crosses units becomes a token of the semaphore that
belongs to that ordered pair of units.  So double buffering, rings and layer-to-layer overlap need no protocol of their
own, and a wrong one cannot be written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dataflows import isa
from dataflows.config import Config
from mapper.candidates import Search
from mapper.program import Job, Registers
from mapper.scoreboard import Access, Scoreboard
from mapper.sparse_plan import SparseJob
from mapper.tokens import assign, channels_of


class Builder:
    """Collects jobs and turns their dependencies into semaphore traffic."""

    def __init__(self, cfg: Config):
        self.cfg = cfg
        self.keeps = False
        """Whether VECTOR writes the operand buffer, too: LOAD and VECTOR then have its write port in turn."""
        self.jobs: list[Job] = []
        self.sparse: dict[int, SparseJob] = {}
        """What SPARSE jobs walk, by index."""
        self.searches: dict[int, Search] = {}
        """What ROWS jobs search, by index."""
        self._predicated = False
        self._board = Scoreboard()
        self._needs: list[set[int]] = []

    def add(
        self, unit: isa.Unit, registers: Registers, accesses: list[Access], *, layer: int, note: str, mark: bool = False
    ) -> Job:
        """Append a job; the order of calls is the program's order."""
        if self.cfg.codec and unit in (isa.Unit.LOAD, isa.Unit.STORE):
            registers = {"codec": {"coded": 0}, **registers}  # else that of the job before would stay
        if self.cfg.sparse and unit in (isa.Unit.INPUT, isa.Unit.ACC):
            registers = {**registers, "mode": {"sparse": 0, **registers.get("mode", {})}}
        if self.cfg.attention and unit is isa.Unit.LOAD:
            registers = {"gather": {"indexed": 0}, **registers}
            if self.cfg.values:
                registers["gather"] = {"counted": 0, **registers["gather"]}
        if self.cfg.attention and unit is isa.Unit.STORE:
            registers = {"mode": {"rows": 0}, **registers}
        if self.cfg.pruning and unit in (isa.Unit.ROWS, isa.Unit.VECTOR):
            registers = {"importance": {"observe": 0}, **registers}
        if self.cfg.values and unit is isa.Unit.ROWS:
            registers = {"values": {"observe": 0}, **registers}
        job = Job(unit, registers, layer, note, mark, index=len(self.jobs), predicated=self._predicated)
        self.jobs.append(job)
        port = self._port(job) if self.keeps else []
        self._needs.append(set().union(*(self._board.touch(job.index, access) for access in [*accesses, *port])))
        return job

    @contextmanager
    def predicated(self) -> Iterator[None]:
        """Jobs that are added meanwhile are executed or skipped by the next decision of the row engine."""
        self._predicated = True
        yield
        self._predicated = False

    def use_up(self) -> None:
        """The last predicated job of every unit uses the decision up."""
        left = set(isa.units(self.cfg))
        for job in reversed(self.jobs):
            if job.predicated and job.unit in left:
                if job.last:
                    break
                job.last = True
                left.remove(job.unit)
        if left:
            raise AssertionError(f"nobody uses a decision up of {', '.join(unit.name for unit in left)}")

    @staticmethod
    def _port(job: Job) -> list[Access]:
        """Use of the operand buffer's write port: loads share it, a job that keeps words has it alone."""
        if job.unit is isa.Unit.LOAD and job.registers["destination"]["target"] == isa.Target.OPERAND:
            return [Access("operand port", 0, 1)]
        if job.unit is isa.Unit.VECTOR and job.registers["mode"].get("keep"):
            return [Access("operand port", 0, 1, write=True)]
        return []

    def finish(self) -> list[Job]:
        """All jobs in order, with what they wait for and what they give. Call it once."""
        assign(self.jobs, self._needs, self.cfg.control.queue_words, channels_of(self.cfg))
        return self.jobs
