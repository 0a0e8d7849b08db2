"""Jobs in program order, with dependencies found from the addresses they touch.

Every job tells which bytes (or words) of which memory it reads and writes.  A scoreboard derives the dependencies (read
after write, write after read, write after write) and each one that crosses units becomes a token of the semaphore that
belongs to that ordered pair of units.  So double buffering, rings and layer-to-layer overlap need no protocol of their
own, and a wrong one cannot be written.
"""

from __future__ import annotations

from dataflows import isa
from dataflows.config import Config
from mapper.program import Job, Registers
from mapper.scoreboard import Access, Scoreboard
from mapper.tokens import assign


class Builder:
    """Collects jobs and turns their dependencies into semaphore traffic."""

    def __init__(self, cfg: Config):
        self.cfg = cfg
        self.jobs: list[Job] = []
        self._board = Scoreboard()
        self._needs: list[set[int]] = []

    def add(
        self, unit: isa.Unit, registers: Registers, accesses: list[Access], *, layer: int, note: str, mark: bool = False
    ) -> Job:
        """Append a job; the order of calls is the program's order."""
        if self.cfg.codec and unit in (isa.Unit.LOAD, isa.Unit.STORE):
            registers = {"codec": {"coded": 0}, **registers}  # else that of the job before would stay
        job = Job(unit, registers, layer, note, mark, index=len(self.jobs))
        self.jobs.append(job)
        self._needs.append(set().union(*(self._board.touch(job.index, access) for access in accesses)))
        return job

    def finish(self) -> list[Job]:
        """All jobs in order, with what they wait for and what they give. Call it once."""
        assign(self.jobs, self._needs, self.cfg.control.queue_words)
        return self.jobs
