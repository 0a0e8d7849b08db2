"""Running a program on the RTL and holding every tensor against the golden model.

The only file of the mapper that knows hardware generation and simulation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dataflows import isa
from dataflows.errors import InputError
from dataflows.network import Codes, Layer
from dataflows.pruning import Select
from mapper.check_transformers import check_ids
from mapper.compile import Program
from mapper.generation import Generation
from mapper.image import Image
from mapper.mismatch import Mismatch, mismatches
from mapper.timing import Prediction, predict
from mapper.timing_gather import counts, gathers
from mapper.timing_sparse import Masks
from mapper.traffic import blocks_in
from rtl.emit import emit
from sim import golden, verilator
from sim.golden.run_length import decode, encode
from sim.runner import Dram, Result, SimulationError, Simulator

__all__ = ["Image", "Mismatch", "Run", "check_tools", "execute"]

PREDICTED = 64
"""Batches whose cycles are predicted one by one, where they depend on the data."""

GATHERED = 4
"""The same where only the pages depend on it that chosen rows lie on: a few cycles."""

PICTURED = 8
"""Samples whose selections the report shows."""

Tensors = dict[str, Codes]
Inputs = Mapping[str, Codes]


@dataclass
class Run:
    """What a run on the RTL gave, summed over all samples.

    ``layer_cycles`` is by schedule index, from the predecessor's completion to its own; ``outputs`` are the
    network's outputs of all samples, ``golden`` what they should be; ``tensors`` all that left the chip, per batch,
    where asked for. ``block_words`` are the words of every compressed block by its offset in the region of activations,
    one number per batch, as the golden data says. ``predictions`` and ``masks`` are of the first batches, from their
    golden data, of programs whose cycles depend on it; ``selections`` are the tokens or heads that stay in the first
    :data:`PICTURED` samples, by the tensor of their list; ``values`` how many values
    are added up, of every head and sample, by attention layer that leaves some out; ``candidates`` how many keys each
    query and head scores, by attention layer that searches them.
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
    block_words: dict[int, list[int]] = field(default_factory=dict)
    predictions: list[Prediction] = field(default_factory=list)
    masks: list[Masks] = field(default_factory=list)
    selections: dict[str, list[list[int]]] = field(default_factory=dict)
    values: dict[str, list[int]] = field(default_factory=dict)
    candidates: dict[str, list[int]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def cycles_per_second(self) -> float:
        """Speed of the simulation."""
        return self.cycles / max(self.seconds, 1e-9)

    def add(self, program: Program, result: Result, *, among: bool = False) -> None:
        """Count the cycles of a program that was run; ``among`` others, its last ones are the last layer's."""
        self.cycles += result.cycles
        self.seconds += result.seconds
        before = 0
        for cycle, tag in result.marks:
            self.layer_cycles[int(tag)] = self.layer_cycles.get(int(tag), 0) + int(cycle) - before
            before = int(cycle)
        if among:
            self.layer_cycles[program.schedule[-1].index] += result.cycles - before
        if len(result.marks) != len(program.schedule):
            raise SimulationError(f"{len(result.marks)} layers reported their end, not {len(program.schedule)}")
        for total, values in ((self.counters, result.counters), (self.dram, result.dram)):
            for name, value in values.items():
                total[name] = total.get(name, 0) + value

    def select(self, program: Program, expected: Tensors, position: int = 0) -> None:
        """Keep what selections of a batch have left, as long as that is pictured."""
        for layer in program.network.layers:
            if isinstance(layer, Select):
                seen = self.selections.setdefault(layer.output, [])
                numbers = expected[layer.output].view(np.uint16).reshape(-1, layer.keep)
                seen += numbers[: PICTURED - len(seen)].tolist()
        for name, kept in golden.values_kept(program.network, expected, position).items():
            self.values.setdefault(name, []).extend(kept.ravel().tolist())
        for name, found in golden.candidates_found(program.network, expected).items():
            self.candidates.setdefault(name, []).extend(found.ravel().tolist())


def check_tools() -> None:
    """Raise ``InputError`` naming the first thing that a simulation needs and that is not installed."""
    verilator.check_tools()


def execute(
    program: Program,
    inputs: Inputs,
    *,
    dram: Dram,
    build_root: Path,
    seed: int = 0,
    keep: bool = False,
    trace: tuple[str, Path] | None = None,
    progress: Callable[[int, int], None] | None = None,
    position: int = 0,
    caches: Inputs | None = None,
) -> Run:
    """Run all samples, one batch of the program after the other; those of a decoder are tokens behind each other.

    Parameters
    ----------
    program : Program
    inputs : NHWC array per network input, all samples along the first axis
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
    position, caches : int, arrays by name
        Of a decoder: tokens before the first sample, and what its caches hold then (nothing).

    Raises
    ------
    InputError
        When the number of samples is no multiple of the program's batch, a layer to trace is unknown, or ids are beyond
        the table of an embedding.
    SimulationError
        When the RTL stops with an error or breaks a bus rule.
    """
    batch = program.network.tensors[program.network.inputs[0]].shape[0]
    samples = len(inputs[program.network.inputs[0]])
    if samples == 0 or samples % batch:
        raise InputError(f"the model takes {batch} samples at a time; {samples} samples are no multiple of that")
    check_ids(program.network, inputs)
    cfg = program.cfg
    generation = Generation.of(program.network, samples // batch, position, caches)
    if trace is not None and program.runs:
        raise InputError(f"a part of the model runs on the host; give --layers {trace[0]} to trace that layer alone")
    traced = None if trace is None else _position(program, trace[0])
    verilog = emit(cfg, build_root / cfg.name) / f"{cfg.name}.v"
    image = Image.of(program)
    memory = _memory(image, seed, generation)
    window = None
    if traced is not None:
        with closing(Simulator(cfg, verilog, dram=dram, seed=seed)) as simulator:  # once without, to find the cycles
            part = _batch(inputs, 0, batch)
            ((_, whole),) = _once(simulator, image, _memory(image, seed, generation), part, generation, None)
            window = _cycles(whole, traced)
    run, outputs, wanted = Run(tensors=[] if keep else None), [], []
    path = None if trace is None else trace[1]
    with closing(Simulator(cfg, verilog, dram=dram, seed=seed, trace=path, trace_cycles=window)) as simulator:
        for first in range(0, samples, batch):
            part, guards = _batch(inputs, first, batch), image.guards(memory).copy()
            tell = None if progress is None else partial(_tell, progress, run.cycles, first)
            results = _once(simulator, image, memory, part, generation, tell)
            expected = golden.run(program.network, part, **generation.before)
            found = partial(_tensor, image, memory)
            run.mismatches += mismatches(program, found, expected, first)
            if not np.array_equal(guards, image.guards(memory)):
                raise SimulationError("the accelerator wrote outside its regions")
            run.samples += batch
            for each, result in results:
                run.add(each, result, among=bool(program.runs))
            for entry in program.schedule:
                run.layer_cycles.setdefault(entry.index, 0)  # on the host
            if len(run.predictions) < _predicted(program, generation):
                rate, vectors = dram.bytes_per_cycle or cfg.bus_bytes, {job.tensor for job in program.sparse.values()}
                at = generation.position
                decided = golden.decisions(program.network, expected, at)
                chosen = golden.selected_from(program.network, expected, at)
                run.predictions.append(
                    predict(
                        program, dram.latency, rate, expected, position=at, decisions=decided, observed=chosen
                    )
                )
                run.masks.append(Masks({name: expected[name] for name in vectors}))
            run.select(program, expected, generation.position)
            for offset, words in _block_words(program, expected):
                run.block_words.setdefault(offset, []).append(words)
            generation.go_on(expected)
            outputs.append({name: found(name).copy() for name in program.network.outputs})
            wanted.append({name: expected[name] for name in program.network.outputs})
            if run.tensors is not None:
                run.tensors.append({s.output: found(s.output).copy() for s in program.schedule})
    run.outputs, run.golden = _joined(outputs), _joined(wanted)
    return run


def _predicted(program: Program, generation: Generation) -> int:
    """Batches whose cycles are predicted one by one: those of none if they are always the same."""
    if program.sparse or generation.tokens or counts(program):
        return PREDICTED
    return GATHERED if gathers(program) else 0


def _tell(progress: Callable[[int, int], None], before: int, samples: int, cycles: int) -> None:
    """Progress of a batch after ``before`` cycles and ``samples`` of the batches before it."""
    progress(before + cycles, samples)


def _joined(batches: list[Tensors]) -> Tensors:
    """Tensors of all batches, one after the other along the first axis."""
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def _batch(inputs: Inputs, first: int, batch: int) -> Tensors:
    """``batch`` samples of all inputs from number ``first``."""
    return {name: values[first : first + batch] for name, values in inputs.items()}


def _tensor(image: Image, memory: NDArray[np.uint8], name: str) -> Codes:
    """A tensor in ``memory``, decoded if it is compressed."""
    blocks = image.program.blocks.get(name)
    if blocks is None:
        return image.read(memory, name)
    raw, tensor = image.raw(memory, name), image.program.network.tensors[name]
    x = np.empty((blocks.count * blocks.pixels, tensor.shape[3]), tensor.dtype)
    for offset, elements, pixels, channels in blocks.parts():
        words = raw[offset:][: blocks.form.worst_words(elements) * 8].view("<u8")
        found = decode(words, elements, blocks.form, zero=blocks.zero, exact=False)
        x[pixels, channels] = found.reshape(blocks.pixels, -1)
    return x.reshape(tensor.shape)


def _block_words(program: Program, tensors: Tensors) -> Iterator[tuple[int, int]]:
    """Words of all compressed blocks of a batch: (offset in the region of activations, words)."""
    for offset, name, elements in blocks_in(program, tensors):
        blocks = program.blocks[name]
        yield offset, encode(elements, blocks.form, zero=blocks.zero).size


def _memory(image: Image, seed: int, generation: Generation) -> NDArray[np.uint8]:
    """Memory before the first batch: what the caches of a decoder hold is in place."""
    memory = image.memory(seed)
    for name, value in generation.caches.items():
        image.write(memory, name, value)
    return memory


def _once(
    simulator: Simulator, image: Image, memory: NDArray[np.uint8], inputs: Inputs, generation: Generation,
    progress: Callable[[int], None] | None,
) -> list[tuple[Program, Result]]:  # fmt: skip
    """One batch: inputs in, what else the programs write scrambled before (but caches, which stay), run."""
    rng = np.random.default_rng(1)
    for entry in image.program.schedule:
        if entry.output in generation.caches:
            continue
        raw = image.raw(memory, entry.output)
        raw[...] = rng.integers(0, 256, raw.shape, np.uint8)
    for name, value in inputs.items():
        image.write(memory, name, value)
    limit = 1_000_000 + 200 * _work(image.program)
    results: list[tuple[Program, Result]] = []
    for part in image.program.sequence:
        if not isinstance(part, Program):
            _on_host(image, memory, part.layer)
            continue
        bases = image.bases | {isa.Region.PROGRAM: image.bases[isa.Region.PROGRAM] + part.offset}
        result = simulator.run(
            len(part.words), bases, memory, limit, mark_address=image.marks, progress=progress,
            position=generation.position,
        )  # fmt: skip
        if result.error is not isa.Error.NONE:
            raise SimulationError(f"the accelerator stopped with {result.message}")
        results.append((part, result))
    return results


def _on_host(image: Image, memory: NDArray[np.uint8], layer: Layer) -> None:
    """Compute a layer from what is in memory."""
    network = image.program.network
    values = {name: image.read(memory, name) for name in layer.inputs}
    image.write(memory, layer.output, golden.run_layer(network, layer, values))


def _work(program: Program) -> int:
    """A generous bound on cycles at one byte or one product a cycle and PE, for the time limit."""
    network, cfg = program.network, program.cfg
    macs = sum(network.macs(layer) for layer in network.layers)
    traffic = sum(t.bytes for t in network.tensors.values()) + program.constants.size
    return macs // min(cfg.multipliers, cfg.sparse_multipliers or cfg.multipliers) + traffic


def _position(program: Program, layer: str) -> int:
    """Position of a layer in the schedule."""
    names = [s.layer.name for s in program.schedule]
    if layer not in names:
        raise InputError(f"there is no layer {layer!r} to trace; the layers are {', '.join(names)}")
    return names.index(layer)


def _cycles(result: Result, position: int) -> range:
    """Cycles in which the layer at a position of the schedule runs."""
    start = int(result.marks[position - 1, 0]) if position else 0
    return range(start, int(result.marks[position, 0]) + 1)
