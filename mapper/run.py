"""Running a program on the RTL and holding every tensor against the golden model.

The only file of the mapper that knows hardware generation and simulation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dataflows import isa
from dataflows.errors import InputError
from mapper.compile import ALIGNMENT, Program, Scheduled
from mapper.program import Job
from rtl.emit import emit
from sim import golden, verilator
from sim.runner import Dram, Result, SimulationError, Simulator

Tensors = dict[str, NDArray[np.int8]]
GUARD = 64
"""Bytes at least between regions, which must be unchanged after a run."""
PAGE = 4096
"""Regions begin at multiples of this, so that bursts are cut at the same places wherever a program is loaded."""


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


@dataclass
class Run:
    """What a run on the RTL gave, summed over all samples.

    ``layer_cycles`` is by schedule index, from the predecessor's completion to its own; ``outputs`` are the
    network's outputs of all samples; ``tensors`` all that left the chip, per batch, where asked for.
    """

    samples: int = 0
    cycles: int = 0
    layer_cycles: dict[int, int] = field(default_factory=dict)
    mismatches: list[Mismatch] = field(default_factory=list)
    outputs: Tensors = field(default_factory=dict)
    golden: Tensors = field(default_factory=dict)
    tensors: list[Tensors] | None = None
    counters: dict[str, int] = field(default_factory=dict)
    dram: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def cycles_per_second(self) -> float:
        """Speed of the simulation."""
        return self.cycles / max(self.seconds, 1e-9)


@dataclass(frozen=True)
class Image:
    """DRAM contents of a program: where each region and the mark table begin, and the memory's size."""

    program: Program
    bases: dict[isa.Region, int]
    marks: int
    size: int

    @staticmethod
    def of(program: Program) -> Image:
        """Regions one after the other with guards between them, then the mark table."""
        bases, position = {}, 0
        for region in isa.Region:
            bases[region] = position
            position += -(-(program.region_bytes.get(region, 0) + GUARD) // PAGE) * PAGE
        return Image(program, bases, position, position + isa.MARK_BYTES * (len(program.schedule) + 1) + ALIGNMENT)

    def memory(self, seed: int) -> NDArray[np.uint8]:
        """Memory with program and constants in place and random bytes everywhere else."""
        memory = np.random.default_rng(seed).integers(0, 256, self.size, np.uint8)
        for region, data in (
            (isa.Region.PROGRAM, self.program.words.astype("<u8").view(np.uint8)),
            (isa.Region.CONSTANT, self.program.constants),
        ):
            memory[self.bases[region] :][: data.size] = data
        return memory

    def view(self, memory: NDArray[np.uint8], tensor: str) -> NDArray[np.int8]:
        """A tensor's bytes in ``memory``."""
        place, t = self.program.places[tensor], self.program.network.tensors[tensor]
        start = self.bases[place.region] + place.offset
        return memory[start : start + t.size].view(np.int8).reshape(t.shape)

    def guards(self, memory: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Bytes between the regions."""
        ends = [*list(self.bases.values())[1:], self.marks]
        return np.concatenate([memory[end - GUARD : end] for end in ends])


def check_tools() -> None:
    """Raise ``InputError`` naming the first thing that a simulation needs and that is not installed."""
    verilator.check_tools()


def execute(
    program: Program,
    inputs: Mapping[str, NDArray[np.int8]],
    *,
    dram: Dram,
    build_root: Path,
    seed: int = 0,
    keep: bool = False,
    trace: tuple[str, Path] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Run:
    """Run all samples, one batch of the program after the other.

    Parameters
    ----------
    program : Program
    inputs : int8 NHWC array per network input, all samples along the first axis
    dram : Dram
        Behaviour of the memory.
    build_root : Path
        Where the generated RTL goes, in a folder of the configuration's name.
    seed : int
        Of the initial contents of registers, on-chip memories and DRAM.
    keep : bool
        Keep every tensor of every batch.
    trace : (layer name, path), optional
        Write a waveform of that layer of the first batch.
    progress : callable, optional
        Called with (cycles simulated, samples done).

    Raises
    ------
    InputError
        When the number of samples is no multiple of the program's batch, or a layer to trace is unknown.
    SimulationError
        When the RTL stops with an error or breaks a bus rule.
    """
    network = program.network
    batch = network.tensors[network.inputs[0]].shape[0]
    samples = len(inputs[network.inputs[0]])
    if samples == 0 or samples % batch:
        raise InputError(f"the model takes {batch} samples at a time; {samples} samples are no multiple of that")
    cfg = program.cfg
    verilog = emit(cfg, build_root / cfg.name) / f"{cfg.name}.v"
    image = Image.of(program)
    memory = image.memory(seed)
    window = None
    if trace is not None:
        window = _trace_window(program, image, verilog, inputs, batch, dram, seed, trace[0])
    simulator = Simulator(
        cfg, verilog, dram=dram, seed=seed, trace=None if trace is None else trace[1], trace_cycles=window
    )
    run = Run(tensors=[] if keep else None)
    outputs: list[Tensors] = []
    wanted: list[Tensors] = []
    try:
        for first in range(0, samples, batch):
            part = {name: values[first : first + batch] for name, values in inputs.items()}
            guards = image.guards(memory).copy()
            done = run.cycles
            tell = None if progress is None else lambda c, f=first, d=done: progress(d + c, f)
            result = _once(simulator, image, memory, part, tell)
            expected = golden.run(network, part)
            run.mismatches += _compare(program, image, memory, expected, first)
            if not np.array_equal(guards, image.guards(memory)):
                raise SimulationError("the accelerator wrote outside its regions")
            _account(run, program, result, batch)
            outputs.append({name: image.view(memory, name).copy() for name in network.outputs})
            wanted.append({name: expected[name] for name in network.outputs})
            if run.tensors is not None:
                run.tensors.append({s.output: image.view(memory, s.output).copy() for s in program.schedule})
    finally:
        simulator.close()
    for name in network.outputs:
        run.outputs[name] = np.concatenate([o[name] for o in outputs])
        run.golden[name] = np.concatenate([o[name] for o in wanted])
    return run


def _once(
    simulator: Simulator, image: Image, memory: NDArray[np.uint8], inputs: Mapping[str, NDArray[np.int8]],
    progress: Callable[[int], None] | None,
) -> Result:  # fmt: skip
    """One batch: inputs in, everything the program writes scrambled before, run."""
    rng = np.random.default_rng(1)
    for entry in image.program.schedule:
        view = image.view(memory, entry.output)
        view[...] = rng.integers(-128, 128, view.shape, np.int8)
    for name, value in inputs.items():
        image.view(memory, name)[...] = value
    limit = 1_000_000 + 200 * _work(image.program)
    result = simulator.run(
        len(image.program.words), image.bases, memory, limit, mark_address=image.marks, progress=progress
    )
    if result.error is not isa.Error.NONE:
        raise SimulationError(f"the accelerator stopped with {result.message}")
    return result


def _work(program: Program) -> int:
    """A generous bound on cycles at one byte or one product a cycle and PE, for the time limit."""
    network = program.network
    macs = sum(network.macs(layer) for layer in network.layers)
    traffic = sum(t.size for t in network.tensors.values()) + program.constants.size
    return macs // program.cfg.multipliers + traffic


def _account(run: Run, program: Program, result: Result, batch: int) -> None:
    run.samples += batch
    run.cycles += result.cycles
    run.seconds += result.seconds
    before = 0
    for cycle, tag in result.marks:
        run.layer_cycles[int(tag)] = run.layer_cycles.get(int(tag), 0) + int(cycle) - before
        before = int(cycle)
    if len(result.marks) != len(program.schedule):
        raise SimulationError(f"{len(result.marks)} layers reported their end, not {len(program.schedule)}")
    for total, values in ((run.counters, result.counters), (run.dram, result.dram)):
        for name, value in values.items():
            total[name] = total.get(name, 0) + value


def _compare(
    program: Program, image: Image, memory: NDArray[np.uint8], expected: Tensors, first: int
) -> Iterator[Mismatch]:
    for entry in program.schedule:
        found, wanted = image.view(memory, entry.output), expected[entry.output]
        wrong = np.argwhere(found != wanted)
        if len(wrong):
            at = tuple(int(v) for v in wrong[0])
            job = _writer(program, entry, int(np.ravel_multi_index(at, found.shape)))
            name = entry.fused.name if entry.fused else entry.layer.name
            yield Mismatch(name, first + at[0], at, int(wanted[at]), int(found[at]), len(wrong), job)


def _writer(program: Program, entry: Scheduled, offset: int) -> str:
    """The store job that wrote a byte of a layer's result."""
    place = program.places[entry.output]
    for job in program.jobs:
        if job.unit is isa.Unit.STORE and job.layer == entry.index and _covers(job, place.offset + offset):
            return f"job {job.index}: STORE {job.note}"
    return "no job writes this byte"


def _covers(job: Job, address: int) -> bool:
    starts = np.array([job.registers["target"]["address"]], np.int64)
    gone = 0
    for name in ("row_a", "row_b", "row_c"):
        level = job.registers[name]
        stride = level["step"] + gone
        starts = (starts[:, None] + stride * np.arange(level["count"])).ravel()
        gone += (level["count"] - 1) * stride
    return bool(((starts <= address) & (address < starts + job.registers["row"]["bytes"])).any())


def _trace_window(
    program: Program, image: Image, verilog: Path, inputs: Mapping[str, NDArray[np.int8]], batch: int, dram: Dram,
    seed: int, layer: str,
) -> range:  # fmt: skip
    """Cycles in which a layer runs, found by a run without waveform."""
    names = [s.layer.name for s in program.schedule]
    if layer not in names:
        raise InputError(f"there is no layer {layer!r} to trace; the layers are {', '.join(names)}")
    simulator = Simulator(program.cfg, verilog, dram=dram, seed=seed)
    try:
        part = {name: values[:batch] for name, values in inputs.items()}
        marks = _once(simulator, image, image.memory(seed), part, None).marks
    finally:
        simulator.close()
    position = names.index(layer)
    start = int(marks[position - 1, 0]) if position else 0
    return range(start, int(marks[position, 0]) + 1)
