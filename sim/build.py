"""Verilog to something that runs, cached by content.

``build`` returns one file: a shared library for ``sim.model`` (kind ``library``, or ``trace`` with FST
waveforms) or an executable for cocotb (kind ``cocotb``). It lives in a folder named by the hash of everything
it depends on, so that a folder that exists is right and complete. Verilator's own runtime, half of a
small build, is compiled once per kind.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dataflows.errors import InputError
from sim import verilator

CACHE = Path(__file__).resolve().parents[1] / "build" / "verilator"
"""Default place of all builds; may be deleted at any time."""

_NATIVE = Path(__file__).resolve().parent / "native"

# Measured on a 16x16 accelerator: -O1 runs as fast as -O2 and -O3 and compiles in 70 % of the time; -Os, Verilator's
# default, made an array alone 4x slower. Neither -march=native nor --x-assign fast gains anything.
_OPTIMIZE = ("-O1",)
_QUIET = ("-Wno-fatal", "-Wno-lint", "-Wno-style")
_VERILATE = ("--cc", "-O3", "--x-assign", "unique", "--x-initial", "unique", "--output-split", "20000", *_QUIET)


@dataclass(frozen=True)
class Kind:
    """What is built: extra Verilator arguments, C++ defines, runtime files, sources and linker arguments of ours."""

    verilate: tuple[str, ...]
    defines: tuple[str, ...]
    runtime: tuple[str, ...]
    sources: tuple[Path, ...]
    compile: tuple[str, ...]
    link: tuple[str, ...]
    output: str


def _defines(**on: bool) -> tuple[str, ...]:
    names = ("COVERAGE", "SC", "TIMING", "TRACE", "TRACE_FST", "TRACE_VCD", "TRACE_SAIF")
    return ("-DVERILATOR=1", *(f"-DVM_{name}={int(on.get(name, False))}" for name in names))


# Hidden symbols: several designs are loaded into one process, and each must keep its own classes.
_SHARED = ("-fPIC", "-fvisibility=hidden", "-DVL_TIME_CONTEXT")

_PLAIN = ("verilated.cpp", "verilated_threads.cpp")
_HARNESS = (_NATIVE / "harness.cpp",)
_LIBRARY = Kind((), _defines(), _PLAIN, _HARNESS, _SHARED, ("-shared", "-lpthread"), "model.so")
_TRACE = Kind(
    ("--trace-fst",),
    _defines(TRACE=True, TRACE_FST=True),
    (*_PLAIN, "verilated_fst_c.cpp"),
    _HARNESS,
    (*_SHARED, f"-I{_NATIVE / 'fst'}"),
    ("-shared", "-lpthread"),
    "model.so",
)


def _cocotb() -> Kind:
    from cocotb_tools import config  # only tests need cocotb

    libraries = config.libs_dir
    return Kind(
        # The ports of the top module are all that cocotb needs; more public signals would prevent optimization.
        ("--vpi", "--public-depth", "1", "--timescale", "1ns/1ps"),
        _defines(),
        (*_PLAIN, "verilated_vpi.cpp"),
        (config.share_dir / "lib" / "verilator" / "verilator.cpp",),
        (),
        (f"-Wl,-rpath,{libraries}", f"-L{libraries}", "-lcocotbvpi_verilator", "-lpthread"),
        "model",
    )


def harness(source: Path) -> Kind:
    """A library around a design that is no accelerator: ``source`` is the C++ between its ports and its caller."""
    return replace(_LIBRARY, sources=(source,))


def build(
    verilog: str | Path, top: str, kind: str | Kind = "library", flags: Sequence[str] = (), cache: Path = CACHE
) -> Path:
    """Build a design, or find it built.

    Parameters
    ----------
    verilog : path
        One self-contained Verilog file.
    top : str
        Its top module.
    kind : str or Kind
        ``library``, ``trace`` or ``cocotb``, or what :func:`harness` returns.
    flags : sequence of str
        Further arguments for Verilator.
    cache : path
        Where builds are kept.

    Returns
    -------
    Path
        The library or executable. Calls from several processes at once are safe; one of them builds.

    Raises
    ------
    InputError
        When a tool is missing or does not work, or the file is missing or not legal Verilog.
    """
    if isinstance(kind, Kind):
        what = kind
    else:
        what = _cocotb() if kind == "cocotb" else {"library": _LIBRARY, "trace": _TRACE}[kind]
    try:
        text = Path(verilog).read_bytes()
    except OSError as error:
        raise InputError(f"{verilog}: cannot be read as Verilog: {error.strerror}") from None

    def make(folder: Path) -> None:
        shutil.copyfile(verilog, folder / "design.v")
        names = ["--prefix", "Vtop", "--top-module", top, "-Mdir", "c", "design.v"]
        result = verilator.run([*_VERILATE, *what.verilate, *flags, *names], folder)
        if result.returncode:
            raise InputError(f"{verilog}: Verilator refused it:\n{result.stderr.strip() or result.stdout.strip()}")
        common = [*_common(what), "-I", folder / "c"]
        sources = [*sorted((folder / "c").glob("*.cpp")), *what.sources]
        jobs = []
        for source in sources:
            optimize = () if source.stem.endswith("Slow") else _OPTIMIZE  # Verilator's name for code that runs once
            jobs.append(([*common, *optimize, "-c", source], folder / f"{source.stem}.o"))
        _compile(jobs)
        output = folder / what.output
        _compile([([*(target for _, target in jobs), _runtime(what, cache), *what.link], output)])
        for leftover in folder.glob("*.o"):
            leftover.unlink()

    # Comments at the top name the generator, whose sources change more often than what it makes.
    significant = re.sub(rb"\A(?://[^\n]*\n)*", b"", text)
    parts = [significant, top.encode(), repr((kind, _VERILATE, _OPTIMIZE, what, tuple(flags))).encode()]
    parts += [path.read_bytes() for path in sorted(_NATIVE.rglob("*.h*")) + list(what.sources)]
    return _cached(cache, "", parts, make) / what.output


def _common(what: Kind) -> list[str | Path]:
    """Compiler arguments of everything that is compiled for one kind."""
    include = verilator.root() / "include"
    return ["-std=gnu++17", "-I", include, "-I", include / "vltstd", "-I", _NATIVE, *what.defines, *what.compile]


def _runtime(what: Kind, cache: Path) -> Path:
    """Verilator's runtime as one object file."""

    def make(folder: Path) -> None:
        include = verilator.root() / "include"
        jobs = [([*_common(what), "-O1", "-c", include / name], folder / f"{name}.o") for name in what.runtime]
        _compile(jobs)
        _compile([(["-r", "-nostdlib", *(target for _, target in jobs)], folder / "runtime.o")])

    parts = [repr((what.defines, what.runtime, what.compile)).encode()]
    parts += [path.read_bytes() for path in sorted(_NATIVE.glob("fst/*.h"))]
    return _cached(cache, "runtime-", parts, make) / "runtime.o"


def _compile(jobs: Sequence[tuple[Sequence[str | Path], Path]]) -> None:
    """Run the compiler once per (arguments, output file), as many at a time as there are processors."""

    def one(job: tuple[Sequence[str | Path], Path]) -> subprocess.CompletedProcess[str]:
        command = [verilator.compiler(), *map(str, job[0]), "-o", str(job[1])]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for (_, target), result in zip(jobs, pool.map(one, jobs), strict=True):
            if result.returncode:
                raise InputError(
                    f"the C++ compiler {verilator.compiler()} failed on {target.name}; another can be named by CXX; "
                    f"it said: {result.stderr[:4000].strip() or 'nothing'}"
                )


def _cached(cache: Path, prefix: str, parts: Sequence[bytes], make: Callable[[Path], None]) -> Path:
    """The folder of the given contents: made by ``make`` in a private folder and moved into place when complete."""
    verilator.check_tools()
    digest = hashlib.sha256()
    for part in (verilator.version().encode(), verilator.compiler_version(verilator.compiler()).encode(), *parts):
        digest.update(len(part).to_bytes(8, "little") + part)
    folder = cache / (prefix + digest.hexdigest())
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_suffix(".lock")):
        if not folder.is_dir():
            scratch = Path(tempfile.mkdtemp(prefix="making-", dir=cache))
            try:
                make(scratch)
                scratch.rename(folder)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock between processes; the system drops it when a process dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
