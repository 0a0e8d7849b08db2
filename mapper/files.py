"""What a command leaves in its output folder."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflows import isa
from dataflows.config import Config
from dataflows.network import Network
from mapper.c_network import c_files
from mapper.compile import Program, Scheduled
from mapper.generated import Generated, Ids
from mapper.generation import Generation
from mapper.outcome import Outcome
from mapper.program import disassemble
from mapper.report import report
from mapper.report_compare import comparison
from mapper.samples import dequantize_output
from mapper.stages import Model, Tensors, simulation
from mapper.trace_events import trace_events
from mapper.writing import Output


def write(out: Output, outcome: Outcome, model: Model, folder: Path) -> None:
    """Program, memory image, schedule, report and timeline of one configuration."""
    program = outcome.program
    out.write(folder / "program.bin", program.words.astype("<u8").tobytes())
    out.write(folder / "program.lst", "".join(f"{line}\n" for line in listing(program)))
    out.write(folder / "memory.bin", program.constants.tobytes())
    for name, source in c_files(program).items():
        out.write(folder / name, source)
    out.write(folder / "schedule.json", text(schedule(outcome)))
    out.write(folder / "trace.json", json.dumps(trace_events(outcome), separators=(",", ":")))
    out.write(folder / "report.html", report(outcome))
    if outcome.generated is not None and outcome.tokens is not None:
        _tokens(out, outcome.generated, outcome.tokens, folder)
    if outcome.run is not None:
        found, golden = outputs(model, outcome.run.outputs), outputs(model, outcome.run.golden)
        out.write_arrays(folder / "outputs.npz", found | {f"{name}_golden": values for name, values in golden.items()})


def outputs(model: Model, codes: Tensors) -> dict[str, NDArray[np.float32]]:
    """Outputs of the network as the model itself has them, as real numbers in its shapes."""
    results = {}
    for name in model.network.outputs:
        values = dequantize_output(model.network, name, codes[name])
        results[name] = model.graph.modelled(name, values) if name in model.graph.ranks else values
    return results


def write_all(out: Output, results: Sequence[tuple[Outcome, Model]], root: Path, document: Path | None) -> None:
    """Everything about one or several configurations: in ``root``, or in a folder there each; JSON in ``document``."""
    outcomes = [outcome for outcome, _ in results]
    count = len(outcomes)
    for outcome, model in results:
        write(out, outcome, model, own(root, outcome.cfg, count))
        if outcome.arguments.dump:
            dump(out, outcome, model, own(outcome.arguments.dump, outcome.cfg, count))
    if count > 1:
        compare(out, outcomes, root)
    if document:
        documents = [outcome.document() for outcome in outcomes]
        document.write_text(text(documents[0] if count == 1 else documents))


def own(folder: Path, cfg: Config, count: int) -> Path:
    """The folder of one accelerator: a folder in ``folder`` where there are several."""
    return folder if count == 1 else folder / cfg.name


def listing(program: Program) -> Iterator[str]:
    """Disassembled words; where layers run on the host, of every program."""
    for part in program.sequence:
        if not isinstance(part, Program):
            yield f"; {part.layer.name} ({part.layer.op}) runs on the host: {program.host[part.layer.name]}"
            continue
        if program.runs:
            yield f"; program at byte {part.offset} of program.bin"
        yield from disassemble(part.cfg, part.words)


def _tokens(out: Output, generated: Generated, made: Ids, folder: Path) -> None:
    """Prompt and what followed, as ids and as text."""
    buffer = io.BytesIO()
    np.save(buffer, made)
    out.write(folder / "tokens.npy", buffer.getvalue())
    text = generated.text(made)
    if text is not None:
        out.write(folder / "text.txt", text)


def compare(out: Output, outcomes: Sequence[Outcome], folder: Path) -> None:
    """The page about several configurations, beside their folders."""
    out.write(folder / "comparison.html", comparison(outcomes))


def dump(out: Output, outcome: Outcome, model: Model, folder: Path) -> None:
    """Every int8 tensor of every batch as RTL and golden model have it, NHWC."""
    golden, network = simulation().golden, outcome.program.network
    found = (outcome.run.tensors if outcome.run else None) or []
    state = Generation.of(network, len(found))
    for index, tensors in enumerate(found):
        inputs: Tensors = {n: v[index * model.batch :][: model.batch] for n, v in model.inputs.items()}
        wanted = golden.run(network, inputs, **state.before)
        state.go_on(wanted)
        out.write_arrays(folder / f"batch{index:04d}_rtl.npz", inputs | tensors)
        out.write_arrays(folder / f"batch{index:04d}_golden.npz", wanted)


def text(value: Any) -> str:
    """JSON for people and tools."""
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def schedule(outcome: Outcome) -> dict[str, Any]:
    """What a host needs to run the program, and what the mapper decided for every layer."""
    program = outcome.program
    network = program.network
    files = {isa.Region.PROGRAM: "program.bin", isa.Region.CONSTANT: "memory.bin"}
    return {
        "model": network.name,
        "config": program.cfg.name,
        "config_hash": program.cfg.hash,
        "command": outcome.arguments.command,
        "program_words": len(program.words),
        "regions": {
            region.name.lower(): {"bytes": int(program.region_bytes.get(region, 0)), "file": files.get(region)}
            for region in isa.Region
        },
        "runs": [_run(part) for part in program.sequence],
        "inputs": [_tensor(outcome, name) for name in network.inputs],
        "outputs": [_tensor(outcome, name) for name in network.outputs],
        "layers": _layers(outcome, network),
    }


def _tensor(outcome: Outcome, name: str) -> dict[str, Any]:
    """Place and meaning of a tensor: real value = scale * (q - zero), NHWC."""
    program = outcome.program
    tensor, place = program.network.tensors[name], program.places[name]
    order = program.network.output_order.get(name)
    return {
        "name": name, "shape": list(tensor.shape), "bits": tensor.bits, "scale": float(tensor.scale),
        "zero": int(tensor.zero),
        "region": place.region.name.lower(), "offset": int(place.offset), "bytes": tensor.bytes,
        "order": None if order is None else order.tolist(),
    }  # fmt: skip


def _run(part: Program | Scheduled) -> dict[str, Any]:
    """One of the things to be done one after the other: a program to be run, or a layer that the host computes."""
    if isinstance(part, Program):
        return {"program_offset": part.offset, "program_words": len(part.words)}
    return {"host": part.layer.name}


def _layers(outcome: Outcome, network: Network) -> list[dict[str, Any]]:
    result = []
    for row, entry in zip(outcome.rows, outcome.program.schedule, strict=True):
        plan = None if entry.plan is None else entry.plan.summary
        result.append(
            {
                "number": row.index, "name": row.name, "op": row.op, "fused": row.fused, "engine": row.engine,
                "inputs": [_tensor(outcome, name) for name in entry.layer.inputs],
                "output": _tensor(outcome, entry.output),
                "macs": row.macs, "cycles_predicted": row.cycles_predicted, "cycles_measured": row.cycles_measured,
                "plan": plan,
            }
        )  # fmt: skip
    return result
