"""The stages of the command: model to network, network to program, program to measurements."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflows.attention import Attention
from dataflows.config import Config
from dataflows.errors import InputError
from dataflows.network import Codes, Network
from mapper import float_reference, part, quality
from mapper.allocation import Allocation
from mapper.bit_widths import widths
from mapper.calibrate import observe
from mapper.candidates import with_candidates
from mapper.choose_bits import allocate_bits, common_widths
from mapper.clipping import NARROW
from mapper.cluster import cluster
from mapper.compile import Program, compile_network, fuse_additions
from mapper.compressed_layers import compressed_layers
from mapper.compression_options import COMPRESSION, LEAVING_OUT, OF_VALUES
from mapper.conv_plan import Options
from mapper.correct_bias import biases_by, corrected
from mapper.decoder import by_halves, decoder, length
from mapper.engines import resolved
from mapper.equalize import equalize
from mapper.generated import Generated, as_ids, generate
from mapper.given_scales import all_given, not_kept
from mapper.graph import FloatGraph
from mapper.host import host_note
from mapper.leave_out import leave_out
from mapper.leave_out_values import leave_out_values
from mapper.loading import import_model
from mapper.options import ROOT, Arguments
from mapper.outcome import Outcome
from mapper.progress import Progress, SimulationClock
from mapper.prune import PruneSpec, prune
from mapper.quality import JUDGED
from mapper.quantize import rounded_model
from mapper.samples import check_signs, load_samples, quantize_input, random_samples
from mapper.timing import Prediction, predict
from mapper.timing_sparse import Masks

Floats = dict[str, NDArray[np.float32]]
Tensors = dict[str, Codes]

BUILD = ROOT / "build" / "hardware"
"""Generated RTL, in a folder per configuration hash."""

ESTIMATED = "cycles on the sparse engine are estimated from shares of zeros; --run knows the activations"
"""Note where nothing was run."""

UNCLAMPED = "; ceilings between them are gone, and SQNR compares with the model without them"

KEEP_BYTES = 1 << 30
"""Tensors of a run are kept for SQNR up to this size; beyond, the golden model's first batch serves."""


RANDOM = "calibrated with random samples: accuracy is not that of real data; give --calibration FILE.npz"
"""What is said where scales were found without data."""


@dataclass(frozen=True)
class Model:
    """A quantized model and what to feed it: ``samples`` as given, ``inputs`` as integers NHWC; both by input name.

    ``allocation`` says why layers have their widths, where these were chosen.

    ``generated`` are the tokens of a decoder: its inputs are tokens behind each other, its samples all of them at once.

    ``graph`` is what was quantized, ``original`` the same before it was pruned and clustered; ``engine`` says what is
    to run its layers, by their names. ``own`` is the SQNR of every tensor in dB as far as its own layer makes it.
    """

    graph: FloatGraph
    original: FloatGraph
    network: Network
    samples: Floats
    inputs: Tensors
    notes: tuple[str, ...]
    engine: Mapping[str, str] | str = "auto"
    allocation: Allocation | None = None
    generated: Generated | None = None
    own: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def batch(self) -> int:
        """Samples that one execution takes."""
        return self.network.tensors[self.network.inputs[0]].shape[0]

    @property
    def count(self) -> int:
        """Samples to run."""
        return len(self.inputs[self.network.inputs[0]])


def simulation() -> Any:
    """``mapper.run``, loaded only when something is to be run: it brings hardware generation and Verilator."""
    return importlib.import_module("mapper.run")


def load(arguments: Arguments, accelerators: Sequence[Config], progress: Progress) -> Model:
    """Import, calibrate, quantize, cut out the layers asked for; before that, look for the tools."""
    if arguments.run:
        simulation().check_tools()
    return chosen(quantized(read(arguments, progress), accelerators, arguments, progress), arguments, progress)


def read(arguments: Arguments, progress: Progress) -> FloatGraph:
    """The model file as a float graph."""
    with progress.step(f"import {arguments.model}"):
        return import_model(arguments.model, arguments.input_shape, arguments.allow_pickle, arguments.arch)


def quantized(graph: FloatGraph, accelerators: Sequence[Config], arguments: Arguments, progress: Progress) -> Model:
    """Compress as the options say, calibrate, quantize for all accelerators alike."""
    notes: list[str] = []
    if arguments.rounding.equalize:
        graph, pairs = equalize(graph, arguments.rounding.unclamp)
        notes.append(f"{len(pairs)} pairs of layers are equalized{UNCLAMPED if arguments.rounding.unclamp else ''}")
    original = graph
    if any(getattr(arguments, name).values for name in COMPRESSION):
        with progress.step("prune and cluster"):
            graph = _compress(graph, arguments)
        notes.append("pruned or clustered on the way: SQNR compares with the float model after that, not before")
    common = common_widths(graph, accelerators, arguments.bits)
    notes += [*graph.notes, *common.notes, *not_kept(graph, common)]
    signs = {name for name in graph.inputs if common.tensors[name] == 1}
    if arguments.calibration:
        calibration = load_samples(arguments.calibration, graph)
    else:
        calibration = random_samples(graph, seed=arguments.seed, signs=signs)
        if not all_given(graph):
            notes.append(RANDOM)
            progress.warn(notes[-1])
    samples = load_samples(arguments.inputs, graph) if arguments.inputs else _first_batch(graph, calibration)
    for name in signs:
        check_signs(name, calibration[name])
    with progress.step("calibrate and quantize"):
        narrow = arguments.auto_bits is not None or min(common.tensors.values()) <= NARROW
        rounding = arguments.rounding
        observed = observe(graph, calibration, rounding.method, rounding.percentile, histograms=narrow)
        exact = rounded_model(graph, observed, common, rounding.one_scale)
    allocation = None
    if arguments.auto_bits is not None:
        with progress.step("allocate bits"):
            allocation = allocate_bits(graph, accelerators, calibration, observed, arguments, progress.detail)
            common = widths(graph, accelerators[0], allocation.spec)
            exact = rounded_model(graph, observed, common, rounding.one_scale)
    if rounding.correct_bias is not None:
        with progress.step("correct biases"):
            biases, note = biases_by(rounding.correct_bias, exact, calibration)
            exact = corrected(exact, biases, observed, common, rounding.one_scale)
        notes.append(note)
    network, own = exact.network, {}
    if arguments.generate is None:
        with progress.step("noise of every layer"):
            own = quality.own_sqnr(exact, quality.judged(graph, calibration))
    if arguments.candidates.values:
        network = with_candidates(network, arguments.candidates)
        notes.append("attention to candidates leaves out keys: SQNR is that with what was left out")
    if any(getattr(arguments, name).values for name in LEAVING_OUT):
        if arguments.generate is None:
            network = _cut_down(network, arguments)
        if arguments.keep_tokens.values or arguments.keep_heads.values:
            notes.append("parts are left out while running: SQNR is that of tensors that are still whole")
        if any(getattr(arguments, name).values for name in OF_VALUES):
            notes.append("attention leaves out values or small probabilities: SQNR is that with what was left out")
    model = Model(graph, original, network, {}, {}, tuple(notes), allocation=allocation, own=own)
    return _generated(model, arguments, progress) if arguments.generate else fed(model, samples, str(arguments.inputs))


def fed(model: Model, samples: Floats, source: str) -> Model:
    """The model with other samples to run; ``source`` is where they come from, for messages."""
    for name in model.graph.inputs:
        if model.network.tensors[name].bits == 1:
            check_signs(name, samples[name])
    inputs = {name: quantize_input(model.network, name, values) for name, values in samples.items()}
    model = replace(model, samples=samples, inputs=inputs)
    if model.count % model.batch:
        raise InputError(
            f"{source} holds {model.count} samples, but the model takes {model.batch} at a time; "
            "give a multiple of that, or export the model with batch 1"
        )
    return model


def chosen(model: Model, arguments: Arguments, progress: Progress) -> Model:
    """The engines that the options name, and the part of the model that they name."""
    model = replace(model, engine=resolved(model.network, arguments.engine))
    return model if arguments.layers is None or model.generated else _cut(model, arguments, progress)


def _generated(model: Model, arguments: Arguments, progress: Progress) -> Model:
    """The decoder of a model, and the tokens that the golden model generates with it."""
    assert arguments.generate is not None
    with progress.step("generate with the golden model"):
        network, tokens = decoder(model.network, context=arguments.generate.context), length(model.network)
        network = by_halves(_cut_down(network, arguments), arguments.generate.key_threshold)
        found = generate(network, arguments.generate, simulation().golden.run)
    (name,) = network.inputs
    whole = np.zeros((1, 1, 1, tokens), np.float32)
    seen = found.fed[:tokens]
    whole[..., : len(seen)] = seen
    return replace(
        model, network=network, samples={name: whole}, inputs={name: as_ids(found.fed)}, generated=found,
        notes=(*model.notes, "a sample is a run of one token: of the prompt, or generated before"),
    )  # fmt: skip


def _cut_down(network: Network, arguments: Arguments) -> Network:
    """The network with fewer and fewer tokens and heads, and fewer values, as the options say."""
    names = [layer.name for layer in network.layers if isinstance(layer, Attention)]
    tokens, heads, keep, threshold, least = (
        getattr(arguments, name).resolve(names, f"--{name.replace('_', '-')}") for name in LEAVING_OUT
    )
    return leave_out_values(leave_out(network, tokens, heads), keep, threshold, least)


def _compress(graph: FloatGraph, arguments: Arguments) -> FloatGraph:
    """The graph pruned and clustered as the options say."""
    spec = PruneSpec(arguments.prune, arguments.prune_pattern, arguments.prune_channels)
    return cluster(prune(graph, spec), arguments.cluster)


def _first_batch(graph: FloatGraph, calibration: Floats) -> Floats:
    """One batch of the calibration samples, repeated if there are fewer."""
    return {
        name: values[np.arange(graph.shapes[name][0]) % len(values)] for name, values in calibration.items()
    }


def _cut(model: Model, arguments: Arguments, progress: Progress) -> Model:
    """The part of the model that ``--layers`` names, fed with the golden model's tensors."""
    fused = fuse_additions(model.network) if arguments.fuse else {}
    first, last = part.bounds(model.network, arguments.layers or "")
    network = part.cut(model.network, first, last, fused)
    inputs: Tensors = {}
    if arguments.run:
        with progress.step("golden model of what comes before"):
            tensors = simulation().golden.run(model.network, model.inputs)
            inputs = {name: tensors[name] for name in network.inputs}
    else:
        inputs = {name: np.zeros(network.tensors[name].shape, network.tensors[name].dtype) for name in network.inputs}
    names = [layer.name for layer in network.layers]
    note = f"only layers {names[0]}..{names[-1]}, fed with the golden model's tensors"
    engine = model.engine
    if not isinstance(engine, str):
        engine = {name: choice for name, choice in engine.items() if name in names}
    return replace(model, network=network, inputs=inputs, notes=(*model.notes, note), engine=engine)


def schedule(model: Model, cfg: Config, config_file: Path, arguments: Arguments, progress: Progress) -> Outcome:
    """Compile for one accelerator and predict the cycles."""
    rate = arguments.bytes_per_cycle or cfg.bus_bytes
    with progress.step(f"schedule on {cfg.name}"):
        zeros = zeros_of(model, cfg)
        options = Options(arguments.latency, rate, model.engine, objective=arguments.objective)
        program = compile_network(cfg, model.network, options, fuse=arguments.fuse, zeros=zeros)
    _check_traced(model, program, arguments)
    if model.allocation:  # commands that repeat a layer are to have its widths
        arguments = replace(arguments, bits=model.allocation.spec, auto_bits=None)
    notes = (*model.notes, *_compression_note(program), *((ESTIMATED,) if program.sparse else ()))
    if program.host:
        notes = (*notes, host_note(program.host, len(program.runs) - len(program.host)))
    compression = compressed_layers(model.network, cfg, model.original, model.graph)
    masks = (Masks(zeros=zeros),)
    prediction = predicted(program, zeros, arguments, progress)
    return Outcome(
        arguments, config_file, program, prediction, model.batch, None, {}, notes, compression, masks,
        model.allocation, model.generated, own=model.own,
    )


def predicted(
    program: Program, zeros: Mapping[str, float] | None, arguments: Arguments, progress: Progress
) -> Prediction:
    """Cycles of one batch on the memory that the options describe."""
    with progress.step("predict cycles"):
        rate = arguments.bytes_per_cycle or program.cfg.bus_bytes
        return predict(program, arguments.latency, rate, zeros=zeros)


def _check_traced(model: Model, program: Program, arguments: Arguments) -> None:
    """Refuse to trace a layer that is part of another one's job."""
    if arguments.trace is None:
        return
    index = part.position(model.network, arguments.trace, "layer to trace:")
    if index not in (entry.index for entry in program.schedule):
        raise InputError(f"layer {arguments.trace!r} does not run by itself and cannot be traced (try --no-fuse)")


def zeros_of(model: Model, cfg: Config) -> dict[str, float] | None:
    """Shares of zeros of the first batch, where the accelerator makes something of them."""
    if not (cfg.codec or cfg.sparse):
        return None
    first = {name: values[: model.batch] for name, values in model.samples.items()}
    return quality.zeros(model.network, float_reference.run(model.graph, first))


def _compression_note(program: Program) -> tuple[str, ...]:
    """What a reader has to know where activations are compressed."""
    if not program.blocks:
        return ()
    count = len(program.blocks)
    return (f"{count} activations are compressed in DRAM; predicted cycles are those of uncompressed transfers",)


def execute(outcome: Outcome, model: Model, waveform: Path | None, progress: Progress) -> Outcome:
    """Run on the RTL, compare with the golden model, judge against the float model."""
    arguments, program = outcome.arguments, outcome.program
    _check_traced(model, program, arguments)
    with progress.step("load the RTL generator"):
        front = simulation()
    batches = model.count // model.batch
    clock = SimulationClock(outcome.prediction.cycles * batches, model.count)
    dram = front.Dram(
        latency=arguments.latency, bytes_per_cycle=arguments.bytes_per_cycle, read_stall=arguments.stall,
        write_stall=arguments.stall, seed=arguments.seed,
    )  # fmt: skip
    trace = None
    if waveform is not None and arguments.trace is not None:
        trace = model.network.layers[part.position(model.network, arguments.trace)].name, waveform
    kept = sum(tensor.bytes for tensor in model.network.tensors.values()) * batches <= KEEP_BYTES
    keep = kept or arguments.dump is not None

    def tell(cycles: int, done: int) -> None:
        progress.then("simulate")
        progress.detail(clock.text(cycles, done))

    with progress.step(f"generate and compile the RTL of {program.cfg.name}, once per configuration"):
        run = front.execute(
            program, model.inputs, dram=dram, build_root=BUILD / program.cfg.hash, seed=arguments.seed, keep=keep,
            trace=trace, progress=tell,
        )  # fmt: skip
    with progress.step("compare with the float model"):
        tensors = run.tensors
        if tensors is None:
            tensors = [front.golden.run(model.network, {n: v[: model.batch] for n, v in model.inputs.items()})]
        judged = _judge(model, tensors[: -(-JUDGED // model.batch)])
    notes, known = tuple(note for note in outcome.notes if note != ESTIMATED), len(run.predictions)
    if 0 < known < batches:
        notes = (*notes, f"cycles are predicted from the data of the first {known} of {batches} batches, and scaled")
    prediction = run.predictions[0] if run.predictions else outcome.prediction
    masks = tuple(run.masks) or outcome.masks
    return replace(
        outcome, run=run, samples=model.count, quality=judged, prediction=prediction, masks=masks, notes=notes
    )


def _judge(model: Model, tensors: list[Tensors]) -> dict[str, float | None]:
    """SQNR of the tensors of the first batches."""
    if model.generated is not None:
        return _judge_tokens(model, tensors)
    count = len(tensors) * model.batch
    reference = float_reference.run(model.graph, {name: values[:count] for name, values in model.samples.items()})
    stacked = {name: np.concatenate([batch[name] for batch in tensors]) for name in tensors[0]}
    return quality.all_sqnr(model.network, reference, stacked)


def _judge_tokens(model: Model, tensors: list[Tensors]) -> dict[str, float | None]:
    """SQNR of the first tokens of a decoder, against the rows of the float model that takes all of them at once."""
    reference = float_reference.run(model.graph, model.samples)
    count = min(len(tensors), next(iter(model.samples.values())).shape[3])
    stacked = {name: np.concatenate([run[name] for run in tensors[:count]], 2) for name in tensors[0]}
    return quality.all_sqnr(model.network, {name: x[..., :count] for name, x in reference.items()}, stacked)
