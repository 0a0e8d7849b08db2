"""What cannot be imported is refused with one message that says what, where and how to mend it."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from dataflows.errors import InputError
from mapper.float_reference import run
from mapper.loading import import_model
from tests.mapper import models

HOW = r'torch\.export\.save\(torch\.export\.export\(model\.eval\(\), \(example,\)\), "model\.pt2"\)'
ROW = torch.arange(6.0)


class Trap:
    """Unpickling this leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


class Act(nn.Module):
    """A model of one function."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function
        self.inner = nn.Conv2d(2, 2, 1)

    def forward(self, x):
        return self.function(self.inner(x))


def refused(path, message, *args):
    with pytest.raises(InputError, match=message) as caught:
        import_model(path, *args)
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path):
    refused(tmp_path / "none.pt", "none.pt does not exist")
    refused(tmp_path, "is a directory, not a model file")


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is empty"),
        (b"hello, this is text", "not a PyTorch model file, nor one of ONNX; make one with " + HOW),
        (bytes(range(1, 256)), "not a PyTorch model file"),
        (b"PK\x03\x04", "truncated or damaged archive"),
        (b"\x80", "damaged or not a PyTorch file"),
        (b"\x80\x02garbage", "damaged or not a PyTorch file|pickled Python objects"),
    ],
)
def test_other_bytes(tmp_path, content, message):
    (tmp_path / "m.pt").write_bytes(content)
    refused(tmp_path / "m.pt", message)


@pytest.mark.parametrize("how", ["export", "trace", "state"])
def test_truncated(tmp_path, how):
    path, example = tmp_path / "m.pt", torch.randn(1, 1, 24, 20)
    if how == "export":
        models.save_export(models.lenet(), path, example)
    elif how == "trace":
        models.save_torchscript(models.lenet(), path, example)
    else:
        torch.save(models.lenet().state_dict(), path)
    data = path.read_bytes()
    for part in (5, len(data) // 2, len(data) - 30):
        path.write_bytes(data[:part])
        refused(path, "truncated or damaged archive")
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 0xFF
    path.write_bytes(flipped)
    refused(path, "truncated or damaged archive")


@pytest.mark.parametrize("new", [True, False])
def test_state_dict(tmp_path, new):
    torch.save(models.lenet().state_dict(), tmp_path / "m", _use_new_zipfile_serialization=new)
    refused(tmp_path / "m", r"holds a dictionary of 8 entries, weights without the graph .*state dict.*" + HOW)


def test_other_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused(tmp_path / "m.zip", "is a zip archive, but not one of PyTorch's")


def test_pickled_module(tmp_path):
    path = tmp_path / "m.pt"
    torch.save(models.lenet(), path)
    refused(path, r"holds pickled Python objects .*" + HOW + ".*--allow-pickle")
    refused(path, "does not say the shape of its input", None, True)
    graph = import_model(path, (2, 1, 24, 20), allow_pickle=True)
    example = torch.randn(2, 1, 24, 20)
    with torch.no_grad():
        expected = models.lenet()(example).numpy()
    found = run(graph, {graph.inputs[0]: example.numpy()})[graph.outputs[0]]
    np.testing.assert_allclose(found[:, :, 0, 0], expected, rtol=1e-4, atol=1e-5)
    torch.save(Trap(tmp_path / "m2"), path)
    refused(path, "not a torch.nn.Module|cannot be unpickled", (1, 1), True)


@pytest.mark.parametrize("where", ["plain", "torch", "sample_inputs", "weight", "state"])
def test_nothing_is_unpickled(tmp_path, where):
    """Pickles in any place a loader might look at are not executed."""
    mark, path = tmp_path / "mark", tmp_path / "m.pt2"
    trap = pickle.dumps(Trap(mark))
    if where == "plain":
        path.write_bytes(trap)
    elif where == "torch":
        torch.save(Trap(mark), path)
    else:
        buffer = io.BytesIO()
        torch.save(Trap(mark), buffer)
        _replace_member(models.save_export(models.lenet(), path, torch.randn(1, 1, 24, 20)), where, buffer.getvalue())
    if where == "sample_inputs":
        import_model(path)
    else:
        refused(path, "pickled Python objects|stored as a Python object")
    assert not mark.exists()


def _replace_member(path: Path, where: str, trap: bytes) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    root = next(iter(members)).split("/")[0]
    if where == "sample_inputs":
        members[f"{root}/data/sample_inputs/model.pt"] = trap
    elif where == "weight":
        config = f"{root}/data/weights/model_weights_config.json"
        members[config] = members[config].replace(b'"use_pickle": false', b'"use_pickle": true')
        members[f"{root}/data/weights/weight_0"] = trap
    else:
        members[f"{root}/data/weights/model.pt"] = trap
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    "function, message",
    [
        (torch.lgamma, r"operator lgamma is not supported; supported are .*adaptive_avg_pool2d.*conv2d"),
        (lambda x: x * x.transpose(2, 3), "mul of two tensors of shape .* held in different orders"),
        (lambda x: x.permute(0, 2, 3, 1), r"an output .* not on this view of shape \(1, 6, 6, 2\)"),
        (lambda x: torch.cat([x, x], 2), "cat is supported over channels"),
        (lambda x: x + x.mean((2, 3), keepdim=True), r"tensors of equal shape, not \(1, 2, 6, 6\) and \(1, 2, 1, 1\)"),
        (lambda x: functional.pad(x, (1, 1, 1, 1), value=2.0), "only zeros around rows and columns"),
        (lambda x: functional.pad(x, (0, 0, 0, 0, 1, 1)), "only zeros around rows and columns"),
        (lambda x: functional.pad(x, (-1, 0)), "only zeros around rows and columns"),
        (lambda x: functional.pad(x, (1, 1, 1, 1), mode="reflect"), "only zeros around|operator reflection_pad2d"),
        (lambda x: functional.adaptive_avg_pool2d(x, 4), r"from \(6, 6\) to \(4, 4\) has windows of different sizes"),
        (lambda x: x.reshape(1, 4, 3, 6), r"an output .* not on this view of shape \(1, 4, 3, 6\)"),
        (lambda x: x[:, :, ::2], "18 pixels between 0 and 29 .* only neighbouring"),
        (lambda x: x.mean(1), "mean over dimensions .1. is not supported"),
        (lambda x: functional.max_pool2d(x, 2, 1, 1, 7), "covers nothing but padding"),
        (lambda x: torch.softmax(x.flatten(1), 1), "operator softmax is not supported"),
        (lambda x: functional.conv2d(x, x), "supported with constant parameters only"),
        (lambda x: x * ROW, "must be a scalar or one value per channel"),
        (lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear"), "by nearest neighbours only"),
        (lambda x: _flatten_then_change(x), "changed in place at .* through another view"),
    ],
)
@pytest.mark.parametrize("how", ["export", "trace"])
def test_unsupported(tmp_path, function, message, how):
    path, example = tmp_path / "m", torch.randn(1, 2, 6, 6)
    if how == "export":
        models.save_export(Act(function), path, example)
    else:
        models.save_torchscript(Act(function), path, example)
    refused(path, message)


def _flatten_then_change(x):
    y = x.flatten(1)
    torch.relu_(x)
    return y


def test_place_is_named(tmp_path):
    """The module path, and the line of the model's own code where the file has it."""
    model, example = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Sequential(nn.ReLU(), nn.CELU())), torch.randn(1, 1, 4, 4)
    refused(models.save_export(model, tmp_path / "e", example), r"^1\.1: operator celu")
    refused(models.save_torchscript(model, tmp_path / "t", example), r"^1\.1: operator celu")
    act = Act(lambda x: torch.lgamma(x))
    place = r"^the model's forward \(test_bad_models.py line \d+\): operator lgamma"
    refused(models.save_export(act, tmp_path / "e", torch.randn(1, 2, 6, 6)), place)
    refused(models.save_torchscript(act, tmp_path / "t", torch.randn(1, 2, 6, 6)), place)


@pytest.mark.parametrize("how", ["export", "trace"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(tmp_path, how, value):
    model, example = models.lenet(), torch.randn(1, 1, 24, 20)
    model.features[3].weight.data[0, 0, 0, 0] = value
    save = models.save_export if how == "export" else models.save_torchscript
    refused(
        save(model, tmp_path / "m", example), r"parameter features\.3\.weight holds 1 value\(s\) that are NaN or inf"
    )


def test_shapes(tmp_path):
    example = torch.randn(4, 1, 24, 20)
    dims = {"x": {0: torch.export.Dim("batch", min=2, max=64)}}
    dynamic = models.save_export(models.lenet(), tmp_path / "d", example, dynamic_shapes=dims)
    refused(dynamic, "input x: dimension 0 is dynamic; give the shape with --input-shape")
    refused(dynamic, r"input x has shape \(\?, 1, 24, 20\) in the file, not \(1, 1, 24, 21\)", (1, 1, 24, 21))
    fixed = models.save_export(models.lenet(), tmp_path / "f", example)
    refused(fixed, r"input x has shape \(4, 1, 24, 20\) in the file, not \(1, 1, 24, 20\)", (1, 1, 24, 20))
    script = models.save_torchscript(models.lenet(), tmp_path / "s")
    refused(script, "input x: the file does not say its shape; give it with --input-shape")
    refused(script, r"fc1: weights .* do not fit an input of shape \(1, 270\)", (1, 1, 24, 28))
    refused(script, "larger than the padded map", (1, 1, 2, 2))
    refused(models.save_export(nn.Conv1d(2, 2, 1), tmp_path / "1d", torch.randn(1, 2, 5)), "operator conv1d is not")
    refused(models.save_export(nn.ReLU(), tmp_path / "5d", torch.randn(1, 2, 3, 4, 5)), r"input .* has shape \(1, 2, 3")


def test_training_mode(tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Dropout(0.5)).train()
    program = torch.export.export(model, (torch.randn(2, 1, 4, 4),))
    torch.export.save(program, tmp_path / "m.pt2")
    refused(tmp_path / "m.pt2", r"model\.eval\(\)")


def test_integer_inputs(tmp_path):
    class Embed(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(4, 3)

        def forward(self, x):
            return self.table(x)

    path = models.save_export(Embed(), tmp_path / "m", torch.zeros(2, 3, 4, dtype=torch.int64))
    refused(path, r"input x holds integers and has shape \(2, 3, 4\); .* \(N, tokens\)")
    path = models.save_export(nn.ReLU(), tmp_path / "m", torch.zeros(2, 3, dtype=torch.int64))
    refused(path, r"clamp is not supported on integers")
    path = models.save_export(nn.Identity(), tmp_path / "m", torch.zeros(2, 3, dtype=torch.bool))
    refused(path, "input .* holds bool; inputs must be floating point, or int64 or int32 for an embedding")


def test_control_flow_on_data(tmp_path):
    class Jump(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.sum() > 0:
                return x
            return -x

    refused(models.save_torchscript(Jump(), tmp_path / "m"), "operator sum is not supported", (1, 1, 2, 2))


def test_damaged_program(tmp_path):
    path = models.save_export(models.lenet(), tmp_path / "m", torch.randn(1, 1, 24, 20))
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for old, new in (("models/model.json", b"{"), ("models/model.json", b"{}"), ("weights/weight_0", b"\0\0\0")):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, new if name.endswith(old) else content)
        refused(path, "export archive that cannot be read .*export the model again")
