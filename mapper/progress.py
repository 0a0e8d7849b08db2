"""What the command is doing, on the error stream: live on a terminal, one line per long step elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TextIO

from rich.console import Console
from rich.status import Status

PATIENCE = 2.0
"""Seconds a step may take before it is worth a line in a log."""

INTERVAL = 10.0
"""Seconds between two lines about the same step in a log."""


class Progress:
    """Steps of a command.

    Parameters
    ----------
    stream : text file
        Where to write; the process's error stream by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._console = Console(file=stream or sys.stderr, highlight=False, soft_wrap=True)
        self._status: Status | None = None
        self._late: threading.Timer | None = None
        self._said = self._started = 0.0
        self._name = ""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Show ``name`` while the body runs."""
        self._status = self._console.status(f"{name} ...") if self._console.is_terminal else None
        try:
            with self._status or nullcontext():
                self._begin(name)
                yield
                self._end()
        finally:
            self._cancel()
            self._status = None

    def then(self, name: str) -> None:
        """The current step is over and another one begins, inside the same body."""
        if name != self._name:
            self._end()
            self._begin(name)

    def _begin(self, name: str) -> None:
        self._name, self._said = name, time.monotonic()
        self._started = self._said
        if self._status is not None:
            self._status.update(f"{name} ...")
        else:
            self._late = threading.Timer(PATIENCE, self._say, (f"{name} ...",))
            self._late.daemon = True
            self._late.start()

    def _end(self) -> None:
        self._cancel()
        seconds = time.monotonic() - self._started
        if seconds > PATIENCE:
            self._say(f"{self._name}: {seconds:.1f} s")

    def _cancel(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def detail(self, text: str) -> None:
        """Say how far the current step is."""
        line = f"{self._name}: {text}"
        if self._status is not None:
            self._status.update(line)
        elif time.monotonic() - self._said > INTERVAL:
            self._say(line)

    def warn(self, text: str) -> None:
        """A line that everybody should see."""
        self._say(f"warning: {text}")

    def _say(self, text: str) -> None:
        self._said = time.monotonic()
        self._console.print(text, markup=False)


class SimulationClock:
    """Words for a simulation in progress: cycles, speed, time left.

    Parameters
    ----------
    cycles : int
        Predicted length.
    samples : int
        To be run.
    """

    def __init__(self, cycles: int, samples: int) -> None:
        self._cycles, self._samples, self._started = cycles, samples, 0.0
        self._first = 0

    def text(self, done: int, samples: int) -> str:
        """The state after ``done`` cycles and ``samples`` samples."""
        now = time.monotonic()
        if not self._started:
            self._started, self._first = now, done
        rate = (done - self._first) / max(now - self._started, 1e-9)
        text = f"{done:,} of about {self._cycles:,} cycles, sample {min(samples + 1, self._samples)} of {self._samples}"
        if now - self._started > 0.5 and rate > 0:
            left = max(self._cycles - done, 0) / rate
            text += f", {rate:,.0f} cycles/s, " + (f"{left:.0f} s left" if left < 120 else f"{left / 60:.0f} min left")
        return text
