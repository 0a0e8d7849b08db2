"""Writes an accelerator as Verilog, with everything that belongs beside it."""

import gc
import hashlib
import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from amaranth._toolchain.yosys import find_yosys
from amaranth.lib.wiring import Component

import dataflows
from dataflows.config import Config
from dataflows.errors import InputError
from rtl import documents
from rtl.driver_files import driver_files
from rtl.merge import merge
from rtl.shared import Library
from rtl.top import Accelerator

_YOSYS = (
    # Array, lanes and sparse PEs are most of what a simulator does: registers with enables, and sums as wide as they
    # are needed, run a third faster. Elsewhere the processes stay as they were written, which reads better.
    "select *_pe *_row *_grid *_window_lane *_vector_lane *_requantize* *_column_walker *_pointer_memory *_sparse_sums "
    "*_short_queue *_norm_lane *_softmax_lane *_collect_lane *_maximum_tree",
    "proc -norom",
    "opt_expr",
    "opt_clean",
    "opt_dff -simple-dffe -nosdff",
    "opt_clean",
    "wreduce",
    "opt_clean",
    "wreduce",  # again: wires keep bits that the first pass has taken from their drivers
    "opt_clean",
    "select -clear",
    "proc -nomux -norom",
    "memory_collect",
    "write_verilog -norename -noattr",
)


def verilog(cfg: Config) -> str:
    """The design as Verilog text, the same on every run."""
    return _heading(cfg) + component_verilog(Accelerator(cfg), cfg.name)


def component_verilog(component: Component, name: str) -> str:
    """Verilog text of a component and all that is below it; ``name`` is its module."""
    library = Library()
    with _no_collection():
        library.convert(component, name)
        rtlil = merge("".join(library.texts), name, library.kinds, component.signature.members)
    yosys = find_yosys(lambda version: version >= (0, 40))
    script = "\n".join([f"read_rtlil <<rtlil\n{rtlil}\nrtlil", *_YOSYS])
    text = yosys.run(["-q", "-"], script, ignore_warnings=True)
    return text[text.index("\n") + 1 :]  # Yosys's own first line names its version


def emit(cfg: Config, out_dir: str | Path) -> Path:
    """Write ``<name>.v``, ``<name>.vlt``, ``<name>.h``, ``config.json``, ``registers.md`` and the driver in C.

    Nothing is done if the folder already holds this configuration, made by this generator. The files are written to a
    temporary folder first, so that a failure leaves what was there.

    Parameters
    ----------
    cfg : Config
    out_dir : path
        Folder of the files; made if it does not exist.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        When the folder cannot be written.
    """
    out_dir = Path(out_dir)
    if is_current(cfg, out_dir):
        return out_dir
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".emit-", dir=out_dir))
    except OSError as error:
        raise InputError(f"{out_dir} cannot be written: {error.strerror}; choose another place") from error
    try:
        contents = {
            f"{cfg.name}.v": verilog(cfg),
            f"{cfg.name}.vlt": documents.lint_waivers(cfg.name),
            f"{cfg.name}.h": documents.c_header(cfg),
            "registers.md": documents.registers_markdown(cfg),
            **driver_files(),
            "config.json": _config_text(cfg),
        }
        for name, text in contents.items():
            (temporary / name).write_text(text, encoding="utf-8")
        for name in contents:  # config.json last: with it the folder is current
            os.replace(temporary / name, out_dir / name)
    except OSError as error:
        raise InputError(f"{out_dir} cannot be written: {error.strerror}; choose another place") from error
    finally:
        shutil.rmtree(temporary)
    return out_dir


@contextmanager
def _no_collection():
    """A netlist is millions of small objects that stay; looking for garbage among them would take half of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def is_current(cfg: Config, folder: Path) -> bool:
    """Whether ``folder`` holds the files of this configuration from this generator."""
    if not all((folder / name).is_file() for name in (f"{cfg.name}.vlt", f"{cfg.name}.h", "registers.md")):
        return False
    try:
        if any((folder / name).read_text(encoding="utf-8") != text for name, text in driver_files().items()):
            return False
        with open(folder / f"{cfg.name}.v", encoding="utf-8") as file:
            heading = file.read(len(_heading(cfg)))
        return heading == _heading(cfg) and (folder / "config.json").read_text(encoding="utf-8") == _config_text(cfg)
    except (OSError, UnicodeDecodeError):
        return False


def _config_text(cfg: Config) -> str:
    return json.dumps(cfg.resolved(), indent=2) + "\n"


def _heading(cfg: Config) -> str:
    return f"// {cfg.name}: accelerator {cfg.hash}, made by generator {generator_hash()}. Do not edit.\n"


def generator_hash() -> str:
    """14 hex digits over the sources that decide the Verilog, and the version of Amaranth."""
    digest = hashlib.sha256(metadata.version("amaranth").encode())
    for package in (Path(dataflows.__file__).parent, Path(__file__).parent):
        for path in sorted(package.glob("*.py")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:14]
