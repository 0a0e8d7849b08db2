"""DRAM bytes of LOAD jobs by what they are."""

from __future__ import annotations

from dataflows import isa
from mapper.compile import Program
from mapper.program import Job
from mapper.timing_bus import row_starts
from mapper.timing_load_job import fills


def load_bytes(program: Program) -> dict[int, dict[isa.Target, int]]:
    """Bytes that cross the bus in one execution, in whole beats, by schedule index and by the memory they go to.

    Compressed rows count as their elements.
    """
    result: dict[int, dict[isa.Target, int]] = {}
    for job in program.jobs:
        if job.unit is isa.Unit.LOAD and not fills(job):
            target = isa.Target(job.registers["destination"].get("target", 0))
            found = result.setdefault(job.layer, {})
            found[target] = found.get(target, 0) + _read(program, job)
    return result


def _read(program: Program, job: Job) -> int:
    """Bytes of the beats that a job's rows lie in."""
    bus, size = program.cfg.bus_bytes, job.registers["row"]["bytes"]
    starts = row_starts(job, job.registers["source"]["address"])
    return sum(-(-(start + size) // bus) - start // bus for start in starts) * bus
