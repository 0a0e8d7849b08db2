"""Cycles of a program, from its commands and tokens, without simulating cycle by cycle.

Every unit is a process that goes through its own commands; jobs take the time their counts say, bursts share the DRAM
in the order of their addresses, and semaphores tie the units together exactly as in the hardware. On a memory of fixed
latency and bandwidth the cycles are those of the hardware. The constants in ``timing_*.py`` are pipeline depths of the
RTL in cycles.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate

from dataflows import isa
from dataflows.network import Codes
from dataflows.vocabulary import Kind
from mapper.compile import Program
from mapper.timing_array import Array
from mapper.timing_causes import Causes, Taken, by_layer
from mapper.timing_commands import Decoder, FrontEnd
from mapper.timing_gather import Lists
from mapper.timing_load import Loader
from mapper.timing_machine import Machine, Prediction, Span
from mapper.timing_plane import PlaneArray
from mapper.timing_read import ReadMaster
from mapper.timing_row_engine import RowEngine
from mapper.timing_rows import Rows
from mapper.timing_search import Searches
from mapper.timing_select import Observed
from mapper.timing_sparse import Masks, SparseEngine
from mapper.timing_store import Packer
from mapper.timing_vector import Lanes
from mapper.timing_words import Words
from mapper.timing_write import WriteMaster

__all__ = ["Prediction", "Span", "predict"]

END = 7
"""All units idle, to the end of the last cycle that counts."""


def predict(
    program: Program,
    latency: int,
    bytes_per_cycle: float,
    activations: Mapping[str, Codes] | None = None,
    zeros: Mapping[str, float] | None = None,
    position: int = 0,
    decisions: Sequence[bool] = (),
    observed: Observed | None = None,
) -> Prediction:
    """Timeline of a program on a DRAM of fixed latency and bandwidth.

    Parameters
    ----------
    program : Program
    latency : int
        Cycles from a read address to its first data, and from the last write data to the response; at least 1.
    bytes_per_cycle : float
        Shared by reads and writes.
    activations : mapping, optional
        Golden integers of a batch by tensor. The sparse engine's cycles depend on which of them are the zero point,
        those of gathered loads on how the rows that lists choose lie on pages.
    zeros : mapping, optional
        Share of those by tensor, of tensors that are not among ``activations``: which they are is drawn then.
    position : int
        Tokens before those of the run, where the program generates.
    decisions : sequence of bool
        What the row engine decides, in order: whether predicated jobs are executed. Those that are not told say so.
    observed : mapping, optional
        What selections choose from: golden data of the batch, by kind and in order. Those that are not told take as
        long as random values in the mean; of values all are above a threshold.
    """
    if program.runs:
        return _one_after_the_other(program, latency, bytes_per_cycle, activations, zeros)
    with _no_collection():
        machine = Machine(program, latency, bytes_per_cycle, position, decisions)
        return _predict(machine, Masks(activations, zeros), Lists(program, activations or {}, position), observed or {})


def _one_after_the_other(
    program: Program, latency: int, bytes_per_cycle: float, activations: Mapping[str, Codes] | None,
    zeros: Mapping[str, float] | None,
) -> Prediction:  # fmt: skip
    """The same of several programs; layers on the host between them take no cycles of the accelerator."""
    total = Prediction()
    for part in program.sequence:
        if isinstance(part, Program):
            found = predict(part, latency, bytes_per_cycle, activations, zeros)
            found.layer_end[part.schedule[-1].index] = found.cycles
            total.append(found)
        else:
            total.layer_end[part.index] = total.cycles
            total.array_busy[part.index] = 0
            total.stalls[part.index] = {}
    return total


def _predict(machine: Machine, masks: Masks, lists: Lists, observed: Observed) -> Prediction:
    """The same, of a machine that has not begun."""
    program = machine.program
    reads, writes, array = ReadMaster(machine), WriteMaster(machine), Array(machine)
    reads.load = load = Loader(machine, reads, lists)
    lanes = Lanes(machine)
    engine = RowEngine(machine, lanes, Searches(program, lists), observed) if program.cfg.attention else None
    packer = Packer(machine, Words(lanes, engine, writes.wake), writes)
    machine.engines |= {isa.Unit.LOAD: load, isa.Unit.VECTOR: lanes, isa.Unit.STORE: packer}
    machine.engines |= {isa.Unit.ROWS: engine} if engine else {}
    words = array.run()
    if program.cfg.dataflow.input.kind is Kind.BUS:
        words = Rows(machine, array.input, array.weight, array.acc).run()
    elif program.cfg.dataflow.input.kind is Kind.NEIGHBOUR:
        words = PlaneArray(machine, array.input, array.weight, array.acc).run()
    fronts = {unit: FrontEnd(machine, unit) for unit in machine.words}
    decoder = Decoder(machine, reads, fronts)
    processes = [reads.run(), decoder.run(), words, packer.run(), writes.run()]
    if program.cfg.sparse:
        sparse = SparseEngine(machine, array.input, array.acc, masks)
        machine.engines[isa.Unit.SPARSE] = sparse
        processes += [sparse.fetch(), sparse.run()]
    for process in processes + [front.run() for front in fronts.values()]:
        machine.kernel.schedule(0, process)
    machine.kernel.run()
    left = [unit.name for unit, front in fronts.items() if not front.ended]
    if left:
        raise AssertionError(f"the program would never end: {', '.join(left)} wait for ever")
    machine.result.cycles = machine.idle + END
    _explain(machine)
    return machine.result


@contextmanager
def _no_collection() -> Iterator[None]:
    """Nothing here is garbage in cycles, but the collector would look at a large program again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _explain(machine: Machine) -> None:
    """Stalls and busy cycles of each layer."""
    result, schedule = machine.result, machine.program.schedule
    if not schedule:
        return
    ends = list(accumulate((result.layer_end[entry.index] for entry in schedule), max))
    ends[-1] = result.cycles
    jobs = {job.index: job for job in machine.program.jobs}
    taken = {s.job: Taken(jobs[s.job], s.start, s.end, machine.causes[s.job]) for s in result.spans}
    idle = Causes(taken, machine.sources).all(machine.busy, result.cycles, machine.walks)
    for entry, start, end, stalls in zip(schedule, [0, *ends[:-1]], ends, by_layer(idle, ends), strict=True):
        result.stalls[entry.index] = stalls
        result.array_busy[entry.index] = end - start - sum(stalls.values())
