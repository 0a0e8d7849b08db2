"""Lists of rows in the timing model: what LOAD jobs write to them, and where gathered jobs read because of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dataflows import isa
from dataflows.config import INDEX_BYTES
from dataflows.network import Codes
from mapper.compile import Program
from mapper.loads import ROWS, SEGMENTS
from mapper.nests import addresses
from mapper.program import Job
from mapper.timing_bus import row_starts


def gathered(job: Job) -> bool:
    """Whether the rows of a LOAD job go by a list."""
    return bool(job.registers.get("gather", {}).get("indexed"))


def counted(job: Job) -> bool:
    """Whether the list of a gathered job has a length."""
    return bool(job.registers.get("gather", {}).get("counted"))


def gathers(program: Program) -> bool:
    """Whether rows are chosen by lists, so that cycles depend on data: on pages that the rows cross."""
    return any(job.unit is isa.Unit.LOAD and gathered(job) for job in program.jobs)


def counts(program: Program) -> bool:
    """Whether the number of rows depends on data, too."""
    loads = (job for job in program.jobs if job.unit is isa.Unit.LOAD and gathered(job))
    return any(job.registers["gather"].get("counted") for job in loads)


class Lists:
    """The list memory of LOAD.

    Parameters
    ----------
    program : Program
    activations : mapping
        Golden integers by tensor, of one batch. An index that comes from another tensor is taken to be its own place:
        rows then follow each other.
    position : int
        Tokens before those of the run.
    """

    def __init__(self, program: Program, activations: Mapping[str, Codes], position: int = 0):
        self.program, self.position, attention = program, position, program.cfg.attention
        self.activations = activations
        self.values: NDArray[np.int64] = np.arange(attention.indices if attention else 0)
        self._images = {
            (place.region, place.offset): np.ascontiguousarray(activations[name]).view(np.uint8).ravel()
            for name, place in program.places.items()
            if name in activations
        }
        self._images[isa.Region.CONSTANT, 0] = program.constants

    def write(self, job: Job) -> None:
        """A LOAD job writes to the lists."""
        r = job.registers
        if r["destination"].get("fill"):
            raise AssertionError("a list is no padding")
        source = r["source"]
        region, size = isa.Region(source.get("region", 0)), r["row"]["bytes"]
        rows = [self._bytes(region, start, size) for start in row_starts(job, source["address"])]
        starts = addresses(r, SEGMENTS, r["destination"]["address"])
        places = np.concatenate([np.arange(at, at + r["segment"]["bytes"]) for at in starts])[::INDEX_BYTES]
        places = places // INDEX_BYTES
        known = [row for row in rows if row is not None]
        codes = np.concatenate(known).view("<u2") if len(known) == len(rows) else places
        inside = places < self.values.size
        self.values[places[inside]] = codes[inside]

    def _bytes(self, region: isa.Region, start: int, size: int) -> NDArray[np.uint8] | None:
        """Bytes of a region, if they are known; those behind a tensor are zero."""
        for (held, offset), image in self._images.items():
            if held == region and offset <= start < offset + image.size:
                found = np.zeros(size, np.uint8)
                part = image[start - offset :][:size]
                found[: part.size] = part
                return found
        return None

    def limited(self, job: Job, name: str) -> Mapping[str, int]:
        """A level of a job, which goes at most as far as the list where that is counted."""
        level = job.registers[name]
        if not counted(job):
            return level
        return {**level, "count": min(level["count"], int(self.values[job.registers["gather"]["first"]]))}

    def starts(self, job: Job) -> Sequence[Iterator[int]]:
        """Row addresses of a gathered job, for each iteration of ``row_c``."""
        r = job.registers
        first, level = r["gather"].get("first", 0) + counted(job), self.limited(job, "row_c")
        inner = {**r, "row_c": {"count": 1, "step": 0}}
        if r["gather"].get("positioned"):
            chosen = list(range(self.position, self.position + level["count"]))
        else:
            chosen = self.values[first : first + level["count"]].tolist()
        return [addresses(inner, ROWS, r["source"]["address"] + index * level["step"]) for index in chosen]
