"""``python -m mapper``: from a model file to a program, its cycles, and a run on the RTL."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dataflows.errors import InputError
from mapper.accelerators import Accelerators, accelerators
from mapper.options import Arguments, parse

if TYPE_CHECKING:
    from mapper.outcome import Outcome

LOG_WIDTH = 160
"""Columns of a table that is not printed to a terminal."""

FINE, DISAGREED, UNUSABLE, DEFECT, INTERRUPTED = 0, 1, 2, 3, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns its exit status."""
    try:
        arguments = parse(sys.argv[1:] if argv is None else argv)
        return run(arguments, accelerators(arguments))
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


def run(arguments: Arguments, accelerators: Accelerators) -> int:
    """Map, run if asked to, write everything, print the tables."""
    from rich.console import Console  # from here on, everything heavy

    from mapper import files, stages, terminal
    from mapper.advice import advise
    from mapper.progress import Progress
    from mapper.writing import Output

    progress = Progress()
    with Output() as out:
        root = arguments.out or Path("build/map") / arguments.model.stem
        folders = [files.own(root, cfg, len(accelerators)) for _, cfg in accelerators]
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
            if arguments.advise:
                outcome = replace(outcome, advice=advise(outcome, model, arguments, progress))
            outcomes.append(outcome)
        with progress.step("write"):
            files.write_all(out, [(outcome, model) for outcome in outcomes], root, document)
        out.commit()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else LOG_WIDTH)
    terminal.show(console, outcomes)
    if len(outcomes) > 1:
        console.print(f"comparison: {root / 'comparison.html'}", markup=False, soft_wrap=True)
    for folder in folders:
        console.print(f"report: {folder / 'report.html'}", markup=False, soft_wrap=True)
    terminal.complain(Console(stderr=True, highlight=False, soft_wrap=True), outcomes)
    return DISAGREED if any(outcome.bit_exact is False for outcome in outcomes) else FINE


def _plain(name: str | None) -> str:
    """A layer's name as a file's."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name or "")
