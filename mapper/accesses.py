"""Bytes that a program's jobs read from and write to each memory on chip, from their loop counts.

What streams is counted as the hardware moves it: whole words, padding included. Jobs that decisions skip count as
executed. Registers of units, lists, tables and queues are not counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflows import isa
from dataflows.config import Config
from mapper.program import Job
from mapper.timing_bus import iterations
from mapper.timing_vector_job import ACC_LEVELS, OPERAND_LEVELS, TAP_LEVELS

if TYPE_CHECKING:
    from mapper.compile import Program

INPUTS, WEIGHTS, PARAMETERS = "input buffer", "weight buffer", "parameters"

PLACES = {
    isa.Target.INPUT: INPUTS, isa.Target.WEIGHT: WEIGHTS, isa.Target.OPERAND: "operand buffer",
    isa.Target.PARAM: PARAMETERS, isa.Target.ENTRIES: "entries", isa.Target.COLUMNS: "sorted columns",
}  # fmt: skip
"""Memories that LOAD writes and that are counted."""

ACCUMULATORS = "accumulators"
ENTRIES, SUMS = "entries", "sparse sums"
ROW_BUFFER = "row buffer"
COLUMNS = "sorted columns"
SCORE_BYTES = 2
SPARSE_WORD = 8


Traffic = Counter[tuple[str, bool]]
"""Bytes by memory and whether they are written."""


@dataclass(frozen=True)
class Memory:
    """Size and word of a memory, in bytes."""

    size: int
    word: int


def memories(cfg: Config) -> dict[str, Memory]:
    """Memories that are counted, by their names."""
    memory = cfg.memory
    found = {
        INPUTS: Memory(memory.input_bytes, cfg.input_word_bytes),
        WEIGHTS: Memory(memory.weight_bytes, cfg.weight_word_bytes),
        ACCUMULATORS: Memory(memory.acc_bytes, cfg.acc_word_bytes),
        "operand buffer": Memory(memory.operand_bytes, cfg.operand_word_bytes),
        PARAMETERS: Memory(memory.param_bytes, cfg.param_entry_bytes),
    }
    if cfg.attention:
        found[ROW_BUFFER] = Memory(cfg.attention.row_elements * SCORE_BYTES, cfg.lanes * SCORE_BYTES)
    if cfg.candidates and cfg.attention:
        found[COLUMNS] = Memory(cfg.candidate_column_bytes * cfg.attention.candidate_columns, cfg.bus_bytes)
    if cfg.sparse:  # of one PE
        found[ENTRIES] = Memory(cfg.sparse.weight_bytes, SPARSE_WORD)
        found[SUMS] = Memory(cfg.sparse.accumulators * cfg.numbers.acc_bits // 8, SPARSE_WORD)
    return found


def walked(cfg: Config, entries: int) -> Traffic:
    """Bytes of entries that PEs of the sparse engine walk: each is read, and a sum read and written."""
    size = cfg.numbers.acc_bits // 8
    return Counter({
        (ENTRIES, False): entries * cfg.entry_bytes, (SUMS, False): entries * size, (SUMS, True): entries * size,
    })  # fmt: skip


def accesses(program: Program) -> dict[int, Traffic]:
    """Bytes by schedule index, of one run of the program."""
    found: dict[int, Traffic] = {entry.index: Counter() for entry in program.schedule}
    for job in program.jobs:
        count = _COUNTERS.get(job.unit)
        if count and job.layer in found:
            found[job.layer].update(count(program.cfg, job))
    return found


def _load(cfg: Config, job: Job) -> Traffic:
    fields = {**job.registers["destination"], **job.registers["segment"]}
    place = PLACES.get(isa.Target(fields["target"]))
    segments = iterations(job, ("segment_a", "segment_b", "segment_c"))
    return Counter({(place, True): fields["bytes"] * segments} if place else {})


def _input(cfg: Config, job: Job) -> Traffic:
    return Counter({(INPUTS, False): iterations(job, cfg.dataflow.input_nest.levels) * cfg.input_read_bytes})


def _weight(cfg: Config, job: Job) -> Traffic:
    return Counter({(WEIGHTS, False): iterations(job, cfg.dataflow.weight_nest.levels) * cfg.weight_read_bytes})


def _acc(cfg: Config, job: Job) -> Traffic:
    words = iterations(job, ("word", "block", "pass", "group"))
    fresh = 0 if job.registers["mode"].get("keep") else words // job.registers["pass"]["count"]
    size = cfg.acc_word_bytes
    return Counter({(ACCUMULATORS, True): words * size, (ACCUMULATORS, False): (words - fresh) * size})


def _vector(cfg: Config, job: Job) -> Traffic:
    mode, found = job.registers["mode"], Traffic()
    word, from_operand = cfg.vector_word_bytes, bool(mode.get("from_operand"))
    levels = OPERAND_LEVELS if from_operand else ACC_LEVELS
    words = iterations(job, levels)
    if from_operand:
        found["operand buffer", False] += words * iterations(job, TAP_LEVELS) * word
    else:
        found[ACCUMULATORS, False] += words * cfg.acc_word_bytes
    if mode.get("add"):
        found["operand buffer", False] += words * word
    if mode.get("keep"):
        found["operand buffer", True] += words * word
    blocks = 1 if mode.get("broadcast") else job.registers["param"]["blocks"]
    found[PARAMETERS, False] += (words if blocks > 1 else 1) * cfg.param_entry_bytes
    return found


def _rows(cfg: Config, job: Job) -> Traffic:
    if job.registers["mode"]["kind"] == isa.Rows.SEARCH and cfg.attention:
        ends = 2 * (cfg.attention.candidate_columns + job.registers["select"]["keep"])  # of columns, then of steps
        return Counter({(COLUMNS, False): ends * cfg.bus_bytes})
    if job.registers["mode"]["kind"] >= isa.Rows.SELECT_TOKENS:
        return Traffic()
    size = job.registers["count"]["rows"] * job.registers["mode"]["blocks"] * cfg.lanes * SCORE_BYTES
    return Counter({(ROW_BUFFER, True): size, (ROW_BUFFER, False): size})


_COUNTERS = {
    isa.Unit.LOAD: _load, isa.Unit.INPUT: _input, isa.Unit.WEIGHT: _weight, isa.Unit.ACC: _acc,
    isa.Unit.VECTOR: _vector, isa.Unit.ROWS: _rows,
}  # fmt: skip
