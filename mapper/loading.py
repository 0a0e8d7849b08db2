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
from mapper.import_factory import brief, exported
from mapper.import_onnx import import_onnx
from mapper.import_state_dict import Weights, looks_like_safetensors, read_safetensors, weights_in, with_weights
from mapper.import_torchscript import import_torchscript
from mapper.onnx_model import looks_like_onnx
from mapper.simplify import simplify

HOW_TO_EXPORT = 'torch.export.save(torch.export.export(model.eval(), (example,)), "model.pt2")'


def import_model(
    path: str | Path, input_shape: Sequence[int] | None = None, allow_pickle: bool = False, arch: str | None = None
) -> FloatGraph:
    """Read a model file into a simplified float graph.

    Parameters
    ----------
    path
        A ``torch.export`` or TorchScript archive, an ONNX model, or with ``arch`` a state dict, under any name.
    input_shape
        (N, C, H, W) or (N, features) of the input, where the file does not say.
    allow_pickle
        Also accept a pickled ``nn.Module``; unpickling runs code from the file.
    arch
        ``package.module:factory`` of the module that a state dict belongs to.

    Raises
    ------
    InputError
        For files that are no such archive, and models that cannot be mapped.
    """
    path = Path(path)
    data = _read(path)
    if arch is not None:
        return simplify(_from_weights(path, data, input_shape, arch))
    if data[:4] == b"PK\x03\x04":
        graph = _from_archive(path, data, input_shape, allow_pickle)
    elif data[:1] == b"\x80":
        graph = _from_pickle(path, data, input_shape, allow_pickle)
    elif looks_like_safetensors(data):
        raise _without_graph(path, read_safetensors(path, data))
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
            f"{path} is a truncated or damaged archive ({brief(error)}); copy it again, or export the model again"
        ) from error
    # PyTorch puts everything below one root folder named after the file; versions before 2.8 did not for exports.
    short = {name.split("/", 1)[-1]: content for name, content in members.items()}
    program = next((m for m in (short, members) if {"models/model.json", "archive_format"} & m.keys()), None)
    if "serialized_exported_program.json" in members:
        program = members
    if program is not None:
        return _export(path, program, input_shape)
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
            f"{path} is an export archive that cannot be read ({brief(error)}); "
            f"export the model again with {HOW_TO_EXPORT}"
        ) from error


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
        raise InputError(f"{path} is damaged or not a PyTorch file: {brief(error)}") from error
    raise _without_graph(path, content)


def _without_graph(path: Path, content: object) -> InputError:
    """The refusal of weights alone, to be raised by the caller."""
    kind = f"a dictionary of {len(content)} entries" if isinstance(content, dict) else f"a {type(content).__name__}"
    return InputError(
        f"{path} holds {kind}, weights without the graph that uses them (a state dict); give --arch and --input-shape, "
        f"or load it into the model and make a model file with {HOW_TO_EXPORT}"
    )


def _from_weights(path: Path, data: bytes, input_shape: Sequence[int] | None, arch: str) -> FloatGraph:
    """A state dict and the module that ``arch`` makes, exported here."""
    if looks_like_safetensors(data):
        weights: Weights | None = read_safetensors(path, data)
    else:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about pickle protocols
                weights = weights_in(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))
        except Exception as error:
            raise InputError(f"{path} is no state dict, which --arch is for ({brief(error)}); leave it out") from error
    if weights is None:
        raise InputError(f"{path} holds no state dict, which --arch is for; torch.save(model.state_dict()) makes one")
    if input_shape is None:
        raise InputError(f"{path} is a state dict: it does not say the shape of the input; give --input-shape")
    return _export(path, exported(path, with_weights(path, weights, arch), input_shape), None)


def _from_module(path: Path, data: bytes, input_shape: Sequence[int] | None) -> FloatGraph:
    """Export a pickled module here: the caller trusts the file."""
    if input_shape is None:
        raise InputError(f"{path} is a pickled module: it does not say the shape of its input; give --input-shape")
    try:
        module = torch.load(io.BytesIO(data), map_location="cpu", weights_only=False)
    except Exception as error:
        raise InputError(f"{path} cannot be unpickled: {brief(error)}") from error
    if not isinstance(module, torch.nn.Module):
        raise InputError(f"{path} holds a {type(module).__name__}, not a torch.nn.Module")
    return _export(path, exported(path, module, input_shape), None)
