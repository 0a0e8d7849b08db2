"""Model files: what kind of file it is, by content and without unpickling anything, and its import."""

from __future__ import annotations

import io
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError

import torch

from dataflows.errors import InputError
from mapper.graph import FloatGraph
from mapper.import_export import import_export
from mapper.import_onnx import import_onnx
from mapper.import_torchscript import import_torchscript
from mapper.onnx_model import looks_like_onnx
from mapper.simplify import simplify

HOW_TO_EXPORT = 'torch.export.save(torch.export.export(model.eval(), (example,)), "model.pt2")'


def import_model(path: str | Path, input_shape: Sequence[int] | None = None, allow_pickle: bool = False) -> FloatGraph:
    """Read a model file into a simplified float graph.

    Parameters
    ----------
    path
        A ``torch.export`` or TorchScript archive or an ONNX model, under any name.
    input_shape
        (N, C, H, W) or (N, features) of the input, where the file does not say.
    allow_pickle
        Also accept a pickled ``nn.Module``; unpickling runs code from the file.

    Raises
    ------
    InputError
        For files that are no such archive, and models that cannot be mapped.
    """
    path = Path(path)
    data = _read(path)
    if data[:4] == b"PK\x03\x04":
        graph = _from_archive(path, data, input_shape, allow_pickle)
    elif data[:1] == b"\x80":
        graph = _from_pickle(path, data, input_shape, allow_pickle)
    elif looks_like_onnx(data):
        graph = import_onnx(path, data, input_shape)
    else:
        raise InputError(f"{path} is not a PyTorch model file, nor one of ONNX; make one with {HOW_TO_EXPORT}")
    return simplify(graph)


def _read(path: Path) -> bytes:
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if path.is_dir():
        raise InputError(f"{path} is a directory, not a model file")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if not data:
        raise InputError(f"{path} is empty")
    return data


def _from_archive(path: Path, data: bytes, input_shape: Sequence[int] | None, allow_pickle: bool) -> FloatGraph:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if min((member.header_offset for member in archive.infolist()), default=0):
                # What was found is an archive inside the archive, whose own end is missing.
                raise zipfile.BadZipFile("the directory at its end is missing")
            members = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, zlib.error) as error:
        raise InputError(
            f"{path} is a truncated or damaged archive ({_brief(error)}); copy it again, or export the model again"
        ) from error
    # PyTorch puts everything below one root folder named after the file; versions before 2.8 did not for exports.
    short = {name.split("/", 1)[-1]: content for name, content in members.items()}
    exported = next((m for m in (short, members) if {"models/model.json", "archive_format"} & m.keys()), None)
    if "serialized_exported_program.json" in members:
        exported = members
    if exported is not None:
        return _export(path, exported, input_shape)
    if "constants.pkl" in short:
        return import_torchscript(path.stem, data, "traced_inputs.pkl" in short, input_shape)
    if "data.pkl" in short:
        return _from_pickle(path, data, input_shape, allow_pickle)
    raise InputError(f"{path} is a zip archive, but not one of PyTorch's; make a model file with {HOW_TO_EXPORT}")


def _export(path: Path, members: dict[str, bytes], input_shape: Sequence[int] | None) -> FloatGraph:
    try:
        return import_export(path.stem, members, input_shape)
    except InputError:
        raise
    except (LookupError, ValueError, TypeError, AttributeError, StopIteration, UnpicklingError, RuntimeError) as error:
        raise InputError(
            f"{path} is an export archive that cannot be read ({_brief(error)}); "
            f"export the model again with {HOW_TO_EXPORT}"
        ) from error


def _brief(error: Exception) -> str:
    """Kind and first line of an error of a library."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _from_pickle(path: Path, data: bytes, input_shape: Sequence[int] | None, allow_pickle: bool) -> FloatGraph:
    """A file of ``torch.save``: refused, unless it is a module and unpickling it is allowed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols; the file is refused anyway
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        if allow_pickle:
            return _from_module(path, data, input_shape)
        raise InputError(
            f"{path} holds pickled Python objects (torch.save(model)), which can run any code when loaded; "
            f"make a model file with {HOW_TO_EXPORT}, or pass --allow-pickle if you trust this one"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise InputError(f"{path} is damaged or not a PyTorch file: {_brief(error)}") from error
    kind = f"a dictionary of {len(content)} entries" if isinstance(content, dict) else f"a {type(content).__name__}"
    raise InputError(
        f"{path} holds {kind}, weights without the graph that uses them (a state dict); "
        f"load it into the model and make a model file with {HOW_TO_EXPORT}"
    )


def _from_module(path: Path, data: bytes, input_shape: Sequence[int] | None) -> FloatGraph:
    """Export a pickled module here: the caller trusts the file."""
    if input_shape is None:
        raise InputError(f"{path} is a pickled module: it does not say the shape of its input; give --input-shape")
    try:
        module = torch.load(io.BytesIO(data), map_location="cpu", weights_only=False)
    except Exception as error:
        raise InputError(f"{path} cannot be unpickled: {_brief(error)}") from error
    if not isinstance(module, torch.nn.Module):
        raise InputError(f"{path} holds a {type(module).__name__}, not a torch.nn.Module")
    try:
        program = torch.export.export(module.float().eval(), (torch.zeros(tuple(input_shape)),))
    except Exception as error:
        raise InputError(
            f"{path} cannot be exported for an input of shape {tuple(input_shape)}: {_brief(error)}"
        ) from error
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    with zipfile.ZipFile(buffer) as archive:
        members = {name.split("/", 1)[-1]: archive.read(name) for name in archive.namelist()}
    return _export(path, members, None)
