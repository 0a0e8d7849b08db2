"""Finds and runs Yosys and nextpnr, with the time they take on the error stream."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from dataflows.errors import InputError

INSTALL = "install it with: pip install -e '.[synth]' -c constraints.txt (make synth does)"
QUIET_SECONDS = 30.0
"""Between two lines about the same step where the error stream is not a terminal."""

LIBERTY = (
    Path("/usr/share/qflow/tech/osu018/osu018_stdcells.lib"),
    Path("/usr/local/share/qflow/tech/osu018/osu018_stdcells.lib"),
)
"""Where Debian's qflow-tech-osu018, or qflow itself, puts its standard cells."""


def find(name: str) -> str:
    """Program ``name``: the wheel's (``yowasp-<name>``) beside this Python or on the path, or else the system's.

    Raises
    ------
    InputError
        If there is none; says what to install.
    """
    beside = str(Path(sys.executable).parent)
    wheel = f"yowasp-{name}"
    for program in (shutil.which(wheel, path=beside), shutil.which(wheel), shutil.which(name)):
        if program:
            return program
    raise InputError(f"{wheel} is not installed, and there is no {name} either; {INSTALL}")


def find_liberty(given: Path | None) -> Path | None:
    """The Liberty file to use, if there is one. Raises InputError if the one that was asked for is not there."""
    if given is None:
        return next((path for path in LIBERTY if path.is_file()), None)
    if not given.is_file():
        raise InputError(f"--liberty: there is no file {given}; Debian's qflow-tech-osu018 has one, {LIBERTY[0]}")
    return given


def version(program: str) -> str:
    """Name and version of a tool, as far as it tells them: ``Yosys 0.70``."""
    result = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"(Yosys|nextpnr)[- ](\d[\w.+-]*\w)", result.stdout + result.stderr)
    return " ".join(found.groups()) if found else f"{Path(program).name}, version unknown"


class Runner:
    """Runs steps in a folder.

    Parameters
    ----------
    folder : Path
        Working folder of the tools; ``<step>.log`` is written there.
    timeout : float
        Seconds a step may take.
    """

    def __init__(self, folder: Path, timeout: float):
        self.folder = folder
        self.timeout = timeout
        self.seconds: dict[str, float] = {}
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)

    def yosys(self, program: str, step: str, title: str, script: str) -> None:
        """Run a script of Yosys; see :meth:`run`."""
        (self.folder / f"{step}.ys").write_text(script, encoding="utf-8")
        self.run(step, title, [program, "-q", "-l", f"{step}.yosys.log", f"{step}.ys"])

    def run(self, step: str, title: str, command: list[str]) -> None:
        """Run a command; the last lines of its log tell how far it is.

        Raises
        ------
        InputError
            If it fails or takes too long: the step, the time, and where its log is.
        """
        begun = time.monotonic()
        log = self.folder / f"{step}.log"
        with open(log, "wb") as output:
            process = subprocess.Popen(command, cwd=self.folder, stdout=output, stderr=subprocess.STDOUT)
            try:
                self._watch(process, step, title, begun)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        if process.returncode:
            lines = log.read_text("utf-8", "replace").strip().splitlines()
            last = next((line for line in reversed(lines) if "ERROR" in line), lines[-1] if lines else "no output")
            raise InputError(f"{title}: {Path(command[0]).name} failed: {last.strip()} (log: {log})")
        self.seconds[step] = round(time.monotonic() - begun, 1)

    def _watch(self, process: subprocess.Popen, step: str, title: str, begun: float) -> None:
        said = begun
        status = self._console.status(title) if self._console.is_terminal else None
        if status:
            status.start()
        try:
            while True:
                try:
                    process.wait(0.5)
                    break
                except subprocess.TimeoutExpired:
                    pass
                now = time.monotonic()
                if now - begun > self.timeout:
                    raise InputError(
                        f"{title} took more than {self.timeout:.0f} s; allow more with --timeout, "
                        f"or take less: --top array or --top pe (log: {self.folder / step}.log)"
                    )
                text = f"{title}: {now - begun:.0f} s, {self._where(step)}"
                if status:
                    status.update(text)
                elif now - said >= QUIET_SECONDS:
                    said = now
                    self._console.print(text, markup=False)
        finally:
            if status:
                status.stop()
        if process.returncode == 0:
            self._console.print(f"{title}: {time.monotonic() - begun:.1f} s", markup=False)

    def _where(self, step: str) -> str:
        """The last thing that the tool said it does."""
        for path in (self.folder / f"{step}.yosys.log", self.folder / f"{step}.log"):
            if path.is_file():
                with open(path, "rb") as file:
                    file.seek(max(0, os.path.getsize(path) - 4000))
                    lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines()]
                for line in reversed(lines):
                    if "Executing" in line or line.startswith("Info:"):
                        return line.removeprefix("Info:").strip()[:80]
        return "starting"
