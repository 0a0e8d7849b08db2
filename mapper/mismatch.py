"""Differences between what a run left in DRAM and what the golden model says, and the jobs that made them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from dataflows import isa
from dataflows.network import Codes
from mapper.compile import Program, Scheduled
from mapper.loads import ROWS
from mapper.nests import addresses
from mapper.program import Job


@dataclass(frozen=True)
class Mismatch:
    """First difference of a tensor: coordinate is (image, row, column, channel); ``job`` is the store that wrote it."""

    layer: str
    sample: int
    coordinate: tuple[int, ...]
    expected: int
    found: int
    count: int
    job: str


def mismatches(
    program: Program, tensor: Callable[[str], Codes], expected: Mapping[str, Codes], first: int
) -> Iterator[Mismatch]:
    """One per tensor that leaves the chip and differs.

    ``tensor`` gives what was found, by name; ``first`` is the number of the batch's first sample.
    """
    for entry in program.schedule:
        found, wanted = tensor(entry.output), expected[entry.output]
        wrong = np.argwhere(found != wanted)
        if len(wrong):
            at = tuple(int(v) for v in wrong[0])
            job = _writer(program, entry, _offset(program, entry.output, at))
            name = entry.final.name
            yield Mismatch(name, first + at[0], at, int(wanted[at]), int(found[at]), len(wrong), job)


def _offset(program: Program, tensor: str, at: tuple[int, ...]) -> int:
    """Offset in a tensor's place of an element, or of the compressed block that holds it."""
    held = program.network.tensors[tensor]
    pixel = int(np.ravel_multi_index(at[:3], held.shape[:3]))
    blocks = program.blocks.get(tensor)
    if blocks is None:
        return pixel * held.pitch + at[3] * held.container // 8
    (group,) = [g for g, (a, b) in enumerate(blocks.groups) if a <= at[3] < b]
    return blocks.offset(group, pixel // blocks.pixels)


def _writer(program: Program, entry: Scheduled, offset: int) -> str:
    """The store job that wrote a byte of a layer's result."""
    if entry.final.name in program.host:
        return "the host"
    place = program.places[entry.output]
    for job in program.jobs:
        if job.unit is isa.Unit.STORE and job.layer == entry.index and _covers(job, place.offset + offset):
            return f"job {job.index}: STORE {job.note}"
    return "no job writes this byte"


def _covers(job: Job, address: int) -> bool:
    """Whether a STORE job writes the byte at an offset of its region."""
    starts = addresses(job.registers, ROWS, job.registers["target"]["address"])
    return any(start <= address < start + job.registers["row"]["bytes"] for start in starts)
