"""The steps of ``python -m mapper`` as functions; docs/tutorial.py shows them.

Each function takes the options of its step under the names of the command line (``--dram-latency 50`` is
``dram_latency=50``), and each result knows the command line that gives the same (``command``). Files, arrays and
programs of ``torch.export`` in memory are taken where the command line takes files. Unusable input raises
:class:`dataflows.errors.InputError` with the message that the command line prints.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from dataflows.errors import InputError
from mapper import files, stages
from mapper.accelerators import Accelerators, accelerators, check_patience
from mapper.advice import advise
from mapper.api_options import (
    KEPT,
    MapOptions,
    MemoryOptions,
    ModelOptions,
    QuantizeOptions,
    RunOptions,
    Samples,
    sample_file,
    words,
)
from mapper.graph import FloatGraph
from mapper.options import Arguments, parse
from mapper.outcome import Outcome
from mapper.progress import Progress
from mapper.samples import load_samples
from mapper.table import Row
from mapper.writing import Output

Config = str | Path
"""A configuration file."""

Floats = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Step:
    """What a step gave. ``words`` are those of the command line so far."""

    words: tuple[str, ...]

    @property
    def arguments(self) -> Arguments:
        """The options so far, checked."""
        return parse(self.words)

    @property
    def command(self) -> str:
        """The command line that gives the same."""
        return self.arguments.command


@dataclass(frozen=True)
class LoadedModel(Step):
    """A model file as a float graph."""

    graph: FloatGraph


@dataclass(frozen=True)
class QuantizedModel(Step):
    """Integers, and samples to run; ``model.network`` is the network of integers, the same for all accelerators."""

    model: stages.Model
    accelerators: Accelerators

    def golden(self, inputs: Samples) -> Floats:
        """Outputs of the golden model, without any hardware.

        Parameters
        ----------
        inputs : file, array or arrays by name
            Samples along the first axis, as the command line's ``--inputs``; any number of batches.

        Returns
        -------
        dict of str to array
            Per output of the model, as real numbers.
        """
        path, golden = sample_file(inputs), stages.simulation().golden
        model = stages.fed(self.model, load_samples(path, self.model.graph), str(path))
        batches = []
        for first in range(0, model.count, model.batch):
            part = {name: values[first : first + model.batch] for name, values in model.inputs.items()}
            tensors = golden.run(model.network, part)
            batches.append(files.outputs(model, {name: tensors[name] for name in model.network.outputs}))
        return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


@dataclass(frozen=True)
class MappedModel(Step):
    """A program for one accelerator, its predicted cycles and, after :func:`run_model`, its measured ones.

    Attributes
    ----------
    outcome : Outcome
        Everything that reports show.
    model : Model
        What was mapped: of the whole model the part that ``layers`` names.
    whole : QuantizedModel
    """

    outcome: Outcome
    model: stages.Model
    whole: QuantizedModel

    @property
    def layers(self) -> list[Row]:
        """A row per layer with what the table shows of it (MACs, cycles, utilization, bytes, stalls, SQNR) and more."""
        return self.outcome.rows

    @property
    def totals(self) -> dict[str, Any]:
        """Sums over the layers."""
        return self.outcome.totals

    @property
    def bit_exact(self) -> bool | None:
        """Whether every tensor of the RTL equals the golden model's; None before a run."""
        return self.outcome.bit_exact

    def document(self) -> dict[str, Any]:
        """What ``--json`` writes."""
        return self.outcome.document()

    @cached_property
    def outputs(self) -> Floats:
        """Outputs of the RTL as real numbers, all samples along the first axis. Raises ``InputError`` before a run."""
        if self.outcome.run is None:
            raise InputError("there are no outputs before run_model; QuantizedModel.golden has the golden ones")
        return files.outputs(self.model, self.outcome.run.outputs)


def load_model(
    model: str | Path | torch.export.ExportedProgram, *, name: str = "model", **options: Unpack[ModelOptions]
) -> LoadedModel:
    """Read a model.

    Parameters
    ----------
    model : file or program
        Any model file that the command line takes, or what ``torch.export.export`` returns.
    name : str
        Of a program in memory: what it is called in reports and files.
    **options
        ``input_shape``, ``allow_pickle``.

    Returns
    -------
    LoadedModel
    """
    path = _kept(model, name) if isinstance(model, torch.export.ExportedProgram) else Path(model)
    said = (str(path), *words(options))
    return LoadedModel(said, stages.read(parse(said), Progress()))


def quantize_model(
    loaded: LoadedModel, config: Config | Sequence[Config] | None = None, **options: Unpack[QuantizeOptions]
) -> QuantizedModel:
    """Calibrate and quantize, once for all accelerators that the model is to be mapped for.

    Parameters
    ----------
    loaded : LoadedModel
    config : file or files
        Accelerators; ``configs/ws16.toml`` by default. They need the same widths of operands.
    **options
        ``calibration`` (without it, random samples and a warning), ``calibration_method``, ``percentile``, ``bits``,
        ``auto_bits``, ``prune`` and others: all options about quantization, compression, leaving out and generation.

    Returns
    -------
    QuantizedModel
    """
    configs = [config] if isinstance(config, str | Path) else config or ()
    said = (*loaded.words, *(word for path in configs for word in ("--config", str(path))), *words(options))
    arguments = parse(said)
    found = accelerators(arguments)
    model = stages.quantized(loaded.graph, [cfg for _, cfg in found], arguments, Progress())
    return QuantizedModel(said, model, found)


def map_model(
    quantized: QuantizedModel, config: Config | None = None, **options: Unpack[MapOptions]
) -> MappedModel:
    """Schedule, make the program, predict its cycles.

    Parameters
    ----------
    quantized : QuantizedModel
    config : file
        Which of the accelerators the model was quantized for; the first by default.
    **options
        ``no_fuse``, ``engine``, ``layers``, ``objective``, ``advise``, and those of :func:`predict_cycles`.

    Returns
    -------
    MappedModel
    """
    known = {str(path): (path, cfg) for path, cfg in quantized.accelerators}
    wanted = next(iter(known)) if config is None else str(config)
    if wanted not in known:
        raise InputError(f"the model was quantized for {', '.join(known)}, not for {wanted}; name it in quantize_model")
    path, cfg = known[wanted]
    said = (*_without(quantized.words, "--config"), "--config", wanted, *words(options))
    arguments, progress = parse(said), Progress()
    model = stages.chosen(quantized.model, arguments, progress)
    outcome = stages.schedule(model, cfg, path, arguments, progress)
    return MappedModel(said, _advised(outcome, model, arguments, progress), model, quantized)


def predict_cycles(mapped: MappedModel, **options: Unpack[MemoryOptions]) -> MappedModel:
    """The same program on another memory; nothing is scheduled again.

    Parameters
    ----------
    mapped : MappedModel
    **options
        ``dram_latency``, ``dram_bytes_per_cycle``, ``dram``.

    Returns
    -------
    MappedModel
        Without a run.
    """
    said, progress, outcome = (*_before_run(mapped.words), *words(options)), Progress(), mapped.outcome
    arguments = _with_widths(parse(said), outcome)
    zeros = stages.zeros_of(mapped.model, outcome.cfg)
    prediction = stages.predicted(outcome.program, zeros, arguments, progress)
    outcome = replace(
        outcome, arguments=arguments, prediction=prediction, run=None, quality={}, samples=mapped.model.batch
    )
    return replace(mapped, words=said, outcome=_advised(outcome, mapped.model, arguments, progress))


def run_model(
    mapped: MappedModel, *, waveform: str | Path | None = None, **options: Unpack[RunOptions]
) -> MappedModel:
    """Run on the RTL and compare every tensor with the golden model; the first run of a configuration compiles it.

    Parameters
    ----------
    mapped : MappedModel
    waveform : path
        FST file of the layer that ``trace`` names.
    **options
        ``inputs`` (one batch of the calibration data by default), ``trace``, ``dump``, ``dram_stall``.

    Returns
    -------
    MappedModel
        With measured cycles, outputs, SQNR by layer and mismatches, if any.

    Raises
    ------
    sim.runner.SimulationError
        When the accelerator stops with an error.
    """
    said = (*_before_run(mapped.words), "--run", *words(options))
    progress, outcome = Progress(), mapped.outcome
    arguments = _with_widths(parse(said), outcome)
    if (arguments.trace is None) != (waveform is None):
        raise InputError("trace and waveform belong together: the layer, and the file that shows it")
    stages.simulation().check_tools()
    check_patience(outcome.cfg, arguments)
    model = mapped.whole.model
    if arguments.inputs is not None:
        model = stages.fed(model, load_samples(arguments.inputs, model.graph), str(arguments.inputs))
    model = stages.chosen(model, arguments, progress)
    outcome = replace(outcome, arguments=arguments)
    target = None if waveform is None else Path(waveform)
    outcome = _advised(stages.execute(outcome, model, target, progress), model, arguments, progress)
    return replace(mapped, words=said, outcome=outcome, model=model)


def write_results(
    mapped: MappedModel | Sequence[MappedModel], out: str | Path | None = None, json: str | Path | None = None
) -> Path:
    """Write what the command line leaves: program, memory image, C sources, schedule, report, timeline, outputs.

    Parameters
    ----------
    mapped : MappedModel, or several
        Several give a folder for each configuration, and a comparison.
    out : path
        Folder; ``build/map/<model>`` by default.
    json : path
        File of every number.

    Returns
    -------
    Path
        The folder.
    """
    several = [mapped] if isinstance(mapped, MappedModel) else list(mapped)
    if not several:
        raise InputError("there is nothing to write: give at least one mapped model")
    names = [each.outcome.cfg.name for each in several]
    if len(set(names)) < len(names):
        raise InputError(f"several results of one configuration ({', '.join(names)}): write each to its own folder")
    root = Path(out) if out is not None else Path("build/map") / several[0].arguments.model.stem
    with Output() as output:
        document = None if json is None else output.path(Path(json))
        files.write_all(output, [(each.outcome, each.model) for each in several], root, document)
        output.commit()
    return root


def _advised(outcome: Outcome, model: stages.Model, arguments: Arguments, progress: Progress) -> Outcome:
    """The outcome with advice, if that is asked for."""
    return replace(outcome, advice=advise(outcome, model, arguments, progress)) if arguments.advise else outcome


def _kept(program: torch.export.ExportedProgram, name: str) -> Path:
    """A program in memory as a file."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    data = buffer.getvalue()
    path = KEPT / hashlib.sha256(data).hexdigest()[:16] / f"{name}.pt2"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _with_widths(arguments: Arguments, outcome: Outcome) -> Arguments:
    """Arguments that name the widths that were chosen for a result before."""
    before = outcome.arguments
    return replace(arguments, bits=before.bits, auto_bits=before.auto_bits)


def _before_run(said: tuple[str, ...]) -> tuple[str, ...]:
    """Words without those of a run."""
    return said[: said.index("--run")] if "--run" in said else said


def _without(said: Sequence[str], option: str) -> tuple[str, ...]:
    """Words without an option and its values."""
    return tuple(word for place, word in enumerate(said) if word != option and said[place - 1 : place] != (option,))
