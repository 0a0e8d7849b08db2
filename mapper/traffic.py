"""DRAM bytes of compressed tensors, which depend on the data: counted from the sizes of blocks, or estimated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflows import isa
from mapper.compile import Program
from mapper.loads import ROWS
from mapper.nests import addresses
from mapper.program import Job
from mapper.timing import Prediction

EXPECTED_ZEROS = 0.5
"""Share of zeros where there is no data to count them in."""

Codes = NDArray[np.integer[Any]]

Sizes = Mapping[int, Sequence[int]]
"""Words of every compressed block, by its offset in the region of activations: one number per batch."""


def traffic(
    program: Program, prediction: Prediction, batches: int, sizes: Sizes | None
) -> tuple[dict[int, int], dict[int, int]]:
    """DRAM bytes read and written per layer, by schedule index, summed over the batches.

    ``prediction`` takes compressed blocks for their elements; here they count as what they are. ``sizes`` come from the
    golden model's data; without them every block is expected to hold a share of ``EXPECTED_ZEROS``.
    """
    reads = {index: batches * size for index, size in prediction.dram_read_bytes.items()}
    writes = {index: batches * size for index, size in prediction.dram_write_bytes.items()}
    for job in program.jobs if program.blocks else ():
        if job.unit in (isa.Unit.LOAD, isa.Unit.STORE) and job.registers["codec"]["coded"]:
            read = job.unit is isa.Unit.LOAD
            layers, beat = (reads, program.cfg.bus_bytes) if read else (writes, 1)  # whole beats are read
            layers[job.layer] += _saved(program, job, batches, sizes, beat)
    return reads, writes


def _saved(program: Program, job: Job, batches: int, sizes: Sizes | None, beat: int) -> int:
    """Bytes of a job's rows in multiples of ``beat``: as compressed blocks, less as elements."""
    form, source = program.cfg.codec_format, "source" if job.unit is isa.Unit.LOAD else "target"
    if form is None:
        raise AssertionError("a compressed row without a codec")
    row, difference = job.registers["row"]["bytes"], 0
    for start in addresses(job.registers, ROWS, job.registers[source]["address"]):
        expected = [ceil(form.expected_words(row // program.cfg.act_bytes, EXPECTED_ZEROS))] * batches
        for words in expected if sizes is None else sizes[start]:
            difference += -(-words * form.word_bits // 8 // beat) * beat + (-row // beat) * beat
    return difference


def blocks_in(program: Program, tensors: Mapping[str, Codes]) -> Iterator[tuple[int, str, Codes]]:
    """All blocks of a run: (offset in the region of activations, tensor, elements)."""
    for name, blocks in program.blocks.items():
        matrix, place = tensors[name].reshape(-1, tensors[name].shape[3]), program.places[name]
        for offset, _, pixels, channels in blocks.parts():
            yield place.offset + offset, name, matrix[pixels, channels].ravel()
