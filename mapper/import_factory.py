"""Modules of Python as models: exported here, by code that the user names or trusts."""

from __future__ import annotations

import importlib
import io
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dataflows.errors import InputError


def exported(path: Path, module: torch.nn.Module, input_shape: Sequence[int]) -> dict[str, bytes]:
    """Members of a ``torch.export`` archive of a module, for one input of a shape; ids where it takes no floats."""
    shape, module = tuple(input_shape), module.float().eval()
    try:
        program = _program(module, shape)
    except Exception as error:
        raise InputError(f"{path} cannot be exported for an input of shape {shape}: {brief(error)}") from error
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    with zipfile.ZipFile(buffer) as archive:
        return {name.split("/", 1)[-1]: archive.read(name) for name in archive.namelist()}


def _program(module: torch.nn.Module, shape: tuple[int, ...]) -> torch.export.ExportedProgram:
    try:
        return torch.export.export(module, (torch.zeros(shape),))
    except Exception:
        if len(shape) != 2 or not any(isinstance(part, torch.nn.Embedding) for part in module.modules()):
            raise
        return torch.export.export(module, (torch.zeros(shape, dtype=torch.int64),))


def made(arch: str) -> torch.nn.Module:
    """What the factory ``package.module:factory`` makes; the current directory is looked through, too.

    Raises
    ------
    InputError
        When there is no such module or factory, when it fails, or makes something else than a module.
    """
    place, _, name = arch.partition(":")
    found: Any = _imported(place)
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise InputError(f"--arch {arch}: {place} has no class or function {name}")
    try:
        module = found()
    except (Exception, SystemExit) as error:
        raise InputError(f"--arch {arch}: {name}() fails, called without arguments: {brief(error)}") from error
    if not isinstance(module, torch.nn.Module):
        raise InputError(f"--arch {arch}: {name}() gives a {type(module).__name__}, not a torch.nn.Module")
    return module


def _imported(place: str) -> Any:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        return importlib.import_module(place)
    except (Exception, SystemExit) as error:
        raise InputError(
            f"--arch: {place} cannot be imported ({brief(error)}); it must be installed, or in the current directory"
        ) from error
    finally:
        sys.path.remove(here)


def brief(error: BaseException) -> str:
    """Kind and first line of an error of a library."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
