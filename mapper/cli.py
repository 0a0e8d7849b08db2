"""``python -m mapper``: from a model file to a program, its cycles, and a run on the RTL."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dataflows import config
from dataflows.config import Config
from dataflows.errors import InputError
from mapper.options import Arguments, parse
from mapper.precision import counted, resolve, usual

if TYPE_CHECKING:
    from mapper.outcome import Outcome

LOG_WIDTH = 160
"""Columns of a table that is not printed to a terminal."""

MARGIN = 256
"""Cycles between two bus transfers beside what the memory takes for one."""

FINE, DISAGREED, UNUSABLE, DEFECT, INTERRUPTED = 0, 1, 2, 3, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns its exit status."""
    try:
        arguments = parse(sys.argv[1:] if argv is None else argv)
        accelerators = _accelerators(arguments)
        return run(arguments, accelerators)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return UNUSABLE
    except Exception:  # never the status that means "the RTL disagreed"
        traceback.print_exc()
        print("error: this is a defect of the mapper, not of the input; nothing was written", file=sys.stderr)
        return DEFECT
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return INTERRUPTED


def _accelerators(arguments: Arguments) -> list[tuple[Path, Config]]:
    """Every configuration asked for; their names must differ, they name folders."""
    found = [(path, config.load(path)) for path in arguments.configs]
    names = [cfg.name for _, cfg in found]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two configurations are called {name!r}; give each its own name to compare them")
    _check_widths(arguments, found)
    _check_clusters(arguments, found)
    for _, cfg in found if arguments.run else ():
        _check_patience(cfg, arguments)
    return found


def _check_widths(arguments: Arguments, accelerators: list[tuple[Path, Config]]) -> None:
    """Refuse widths that a configuration lacks, and configurations for different networks."""
    (_, first), *others = accelerators
    for _, cfg in accelerators:
        for wanted in arguments.bits.values:
            resolve(wanted, cfg)
    for _, cfg in others:
        if cfg.operand_bits != first.operand_bits and usual(cfg) != usual(first):
            raise InputError(
                f"{first.name} takes operands of {counted(usual(first).a_bits)} and {cfg.name} of {usual(cfg).a_bits}; "
                "map configurations of different widths one by one"
            )


def _check_clusters(arguments: Arguments, accelerators: list[tuple[Path, Config]]) -> None:
    """Refuse more clusters than the codes of a sparse engine tell apart."""
    most = max(arguments.cluster.values, default=0)
    for _, cfg in accelerators:
        if cfg.sparse and most > 1 << cfg.sparse.code_bits:
            raise InputError(
                f"--cluster {arguments.cluster.text}: {cfg.name} has codes of {cfg.sparse.code_bits} bits, which tell "
                f"{1 << cfg.sparse.code_bits} clusters apart; ask for fewer, or raise sparse.code_bits in its file"
            )


def _check_patience(cfg: Config, arguments: Arguments) -> None:
    """Refuse a memory so slow that the accelerator takes it for a deadlock."""
    wait = arguments.latency + cfg.bus_bytes / (arguments.bytes_per_cycle or cfg.bus_bytes) + MARGIN
    if wait > cfg.control.watchdog_cycles:
        raise InputError(
            f"{cfg.name} would stop with a timeout: this memory makes it wait {arguments.latency} cycles and more, its "
            f"control.watchdog_cycles is {cfg.control.watchdog_cycles}; raise that, or lower --dram-latency"
        )


def run(arguments: Arguments, accelerators: list[tuple[Path, Config]]) -> int:
    """Map, run if asked to, write everything, print the tables."""
    from rich.console import Console  # from here on, everything heavy

    from mapper import files, stages, terminal
    from mapper.progress import Progress
    from mapper.writing import Output

    progress = Progress()
    with Output() as out:
        root = arguments.out or Path("build/map") / arguments.model.stem
        folders = [_own(root, cfg, accelerators) for _, cfg in accelerators]
        for folder in folders:
            out.folder(folder)
        if arguments.dump:
            out.folder(arguments.dump)
        document = out.path(arguments.json) if arguments.json else None
        model = stages.load(arguments, [cfg for _, cfg in accelerators], progress)
        outcomes: list[Outcome] = []
        for (path, cfg), folder in zip(accelerators, folders, strict=True):
            outcome = stages.schedule(model, cfg, path, arguments, progress)
            waveform = out.path(folder / f"{_plain(arguments.trace)}.fst") if arguments.trace else None
            if arguments.run:
                try:
                    outcome = stages.execute(outcome, model, waveform, progress)
                except stages.simulation().SimulationError as error:
                    print(f"error: {cfg.name}: {error}", file=sys.stderr)
                    return DISAGREED
            with progress.step("write"):
                files.write(out, outcome, model, folder)
                if arguments.dump:
                    files.dump(out, outcome, model, _own(arguments.dump, cfg, accelerators))
            outcomes.append(outcome)
        if len(outcomes) > 1:
            files.compare(out, outcomes, root)
        if document:
            results = [outcome.document() for outcome in outcomes]
            document.write_text(files.text(results[0] if len(results) == 1 else results))
        out.commit()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else LOG_WIDTH)
    terminal.show(console, outcomes)
    if len(outcomes) > 1:
        console.print(f"comparison: {root / 'comparison.html'}", markup=False, soft_wrap=True)
    for folder in folders:
        console.print(f"report: {folder / 'report.html'}", markup=False, soft_wrap=True)
    terminal.complain(Console(stderr=True, highlight=False, soft_wrap=True), outcomes)
    return DISAGREED if any(outcome.bit_exact is False for outcome in outcomes) else FINE


def _own(folder: Path, cfg: Config, accelerators: list[tuple[Path, Config]]) -> Path:
    """The folder of one accelerator: a folder in ``folder`` where there are several."""
    return folder if len(accelerators) == 1 else folder / cfg.name


def _plain(name: str | None) -> str:
    """A layer's name as a file's."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name or "")
