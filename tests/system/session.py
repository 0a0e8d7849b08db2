"""One instance of the accelerator that goes from run to run, from error to soft reset to a good run."""

from collections.abc import Mapping

import numpy as np

from dataflows.isa import Error, Region
from sim.runner import Dram, Result, Simulator
from tests.system.small import Small, small

BUSY, DONE, ERROR, RESETTING = 1, 2, 4, 8
LIMIT = 400_000
QUICK = Dram(latency=20)

Patch = Mapping[int, bytes]
"""Bytes by their DRAM address."""


class Session:
    """One instance and one program's memory, which changes from run to run."""

    def __init__(self, simulator: Simulator, seed: int = 0, case: Small | None = None) -> None:
        self.simulator = simulator
        self.case: Small = case or small(seed, simulator.cfg)
        self.memory = self.case.before.copy()
        self.start = self.memory  # contents at the start of the last run

    def run(
        self, words: np.ndarray | None = None, dram: Dram = QUICK, count: int | None = None, patch: Patch | None = None
    ) -> Result:
        """Run ``words`` (default: the good program), or only ``count`` of them, on fresh, perhaps patched memory."""
        words = self.case.program.words if words is None else words
        self.simulator.configure(dram)
        self.memory[:] = self.case.before
        for address, data in (patch or {}).items():
            self.memory[address : address + len(data)] = np.frombuffer(data, np.uint8)
        self.memory[self.case.image.bases[Region.PROGRAM] :][: words.nbytes] = words.view(np.uint8)
        self.start = self.memory.copy()
        count = len(words) if count is None else count
        return self.simulator.run(count, self.case.image.bases, self.memory, LIMIT, mark_address=self.case.image.marks)

    def good(self, dram: Dram = QUICK, patch: Patch | None = None) -> int:
        """A run without error, whose results are right although memory may be patched; returns its cycles."""
        result = self.run(dram=dram, patch=patch)
        for address, data in (patch or {}).items():
            assert self.memory[address : address + len(data)].tobytes() == data
            self.memory[address : address + len(data)] = self.case.before[address : address + len(data)]
        assert (result.error, result.message) == (Error.NONE, "")
        assert self.simulator.read("STATUS") == DONE
        self.case.check_done(self.memory, result.cycles)
        return result.cycles

    def drained(self, status: int) -> None:
        """Wait until not busy: STATUS must be ``status`` then, and the bus must rest."""
        for _ in range(LIMIT):
            found = self.simulator.read("STATUS")
            if not found & BUSY:
                break
        else:
            raise AssertionError(f"STATUS is {found:#x} after {LIMIT} reads of it")
        assert found == status
        before = self.simulator.model.counters()
        self.simulator.model.run(300)
        after = self.simulator.model.counters()
        assert after | {"cycles": 0} == before | {"cycles": 0}, "the bus moves while it counts as drained"

    def recover(self) -> None:
        """From the error state through a soft reset to a good run."""
        self.drained(ERROR)
        self.case.check_untouched(self.memory, self.start)
        self.simulator.write("CONTROL", 2)
        self.drained(0)
        assert self.simulator.read("ERROR") == self.simulator.read("ERROR_INFO") == 0
        self.good()

    def expect(self, result: Result, error: Error, info: int, unit: int = 0) -> None:
        """Check the reason in the registers and in the result."""
        assert result.error is error, result.message
        assert self.simulator.read("ERROR") == error | unit << 8
        assert self.simulator.read("ERROR_INFO") == info, result.message
        assert error.name in result.message and f"{info:#010x}" in result.message
        assert self.simulator.read("STATUS") & (ERROR | DONE) == ERROR
