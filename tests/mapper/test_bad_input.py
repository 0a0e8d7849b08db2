"""Whatever is wrong with the input: exit status 2, one line that helps, and nothing overwritten."""

import random
import re

import numpy as np
import pytest
import torch
from torch import nn

from dataflows.errors import InputError
from mapper import stages
from mapper.cli import main
from mapper.writing import Output
from tests.mapper import models
from tests.mapper.fake_rtl import FakeRtl, samples

BASE = """
name = "bad"
[array]
rows = {rows}
cols = 4
dataflow = "{dataflow}"
[memory]
input_bytes = {input}
weight_bytes = 8192
acc_bytes = 8192
operand_bytes = 4096
param_bytes = 4096
[bus]
data_bits = 64
{more}
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    return str(models.save_export(models.lenet(), folder / "net.pt2", torch.zeros(2, 1, 24, 20)))


TOLD = re.compile(r"warning: calibrated with random samples|.* \.\.\.$|.*: [\d.]+ s$")
"""Lines that are no errors: on a slow machine steps tell that they began and how long they took."""


def refused(capsys, folder, *argv):
    """Run a command that must fail; returns its message."""
    out, document = folder / "kept", folder / "kept.json"
    out.mkdir()
    (out / "report.html").write_text("mine")
    document.write_text("also mine")
    before = sorted(path.relative_to(folder) for path in folder.rglob("*"))
    status = main([*map(str, argv), "--out", str(out), "--json", str(document)])
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if not TOLD.match(line)]
    assert status == 2, error
    assert len(lines) == 1 and lines[0].startswith("error: "), error
    assert (out / "report.html").read_text() == "mine" and document.read_text() == "also mine"
    assert sorted(path.relative_to(folder) for path in folder.rglob("*")) == before
    return lines[0]


def configuration(folder, rows=4, dataflow="weight_stationary", input=16384, more=""):
    path = folder / "x.toml"
    path.write_text(BASE.format(rows=rows, dataflow=dataflow, input=input, more=more))
    return str(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rows": -3}, ["array.rows must be a positive integer, not -3", "x.toml"]),
        ({"dataflow": "magic"}, ["array.dataflow", "weight_stationary", "'magic'"]),
        ({"input": 1000}, ["memory.input_bytes must be a multiple of 16", "1000"]),
        ({"more": "width = 3"}, ["bus.width", "not a known key", "x.toml"]),
        ({"more": "= ="}, ["not valid TOML"]),
        ({"rows": 1000}, ["array.rows must be at most 256, not 1000"]),
    ],
)
def test_configurations(model, tmp_path, capsys, change, words):
    message = refused(capsys, tmp_path, model, "--config", configuration(tmp_path, **change))
    assert all(word in message for word in words), message


def test_configuration_that_is_not_there(model, tmp_path, capsys):
    assert "no such configuration file" in refused(capsys, tmp_path, model, "--config", tmp_path / "none.toml")


def test_configurations_of_one_name(model, tmp_path, capsys):
    path = configuration(tmp_path)
    assert "two configurations are called 'bad'" in refused(capsys, tmp_path, model, "--config", path, "--config", path)


def test_layer_that_cannot_fit(model, tmp_path, capsys):
    message = refused(capsys, tmp_path, model, "--config", configuration(tmp_path, input=16))
    assert all(word in message for word in ("layer ", "needs", "input", "memory.input_bytes", "raise"))


class Sines(nn.Module):
    def forward(self, x):
        return torch.sin(x)


def _state_dict(path):
    torch.save(models.lenet().state_dict(), path)


def _module(path):
    torch.save(nn.Linear(3, 2), path)


def _truncated(path):
    models.save_export(models.lenet(), path, torch.zeros(1, 1, 24, 20))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _random(path):
    path.write_bytes(random.Random(0).randbytes(4096))


def _operator(path):
    models.save_export(Sines(), path, torch.zeros(1, 3, 4, 4))


def _dynamic(path):
    batch = torch.export.Dim("batch", min=2, max=8)
    exported = torch.export.export(nn.Conv2d(1, 2, 3), (torch.zeros(2, 1, 8, 8),), dynamic_shapes=({0: batch},))
    torch.export.save(exported, path)


def _nan(path):
    layer = nn.Conv2d(1, 2, 3)
    layer.weight.data[1, 0, 2, 2] = float("nan")
    models.save_export(layer, path, torch.zeros(1, 1, 8, 8))


MODELS = [
    (_state_dict, ["state dict", "torch.export.save("]),
    (_module, ["pickle", "torch.export.save(", "--allow-pickle"]),
    (_truncated, ["damaged"]),
    (_random, ["not a PyTorch model file", "torch.export.save("]),
    (_operator, ["sin", "supported"]),
    (_dynamic, ["dynamic"]),
    (_nan, ["weight", "NaN"]),
    (lambda path: path.write_bytes(b""), ["is empty"]),
    (lambda path: None, ["does not exist"]),
]


@pytest.mark.parametrize(("make", "words"), MODELS, ids=[make.__name__ for make, _ in MODELS])
def test_model_files(tmp_path, capsys, make, words):
    path = tmp_path / "model.pt"
    make(path)
    message = refused(capsys, tmp_path, path, "--config", "configs/tiny.toml")
    assert all(word in message for word in words), message


def _text(path):
    np.savez(path, x=np.array([["a"]]))


def _objects(path):
    np.savez(path, x=np.array([{}], dtype=object))


def _not_finite(path):
    values = np.zeros((2, 1, 24, 20), np.float32)
    values[1, 0, 3, 4] = np.inf
    np.savez(path, x=values)


def _beyond_float32(path):
    np.savez(path, x=np.full((2, 1, 24, 20), 1e300))


def _many_arrays(path):
    np.savez(path, **{f"array{index}": np.zeros(1) for index in range(9)})


def _nothing(path):
    np.savez(path)


def _two_arrays(path):
    np.savez(path, left=np.zeros((2, 1, 24, 20)), right=np.zeros((2, 1, 24, 20)))


ARRAYS = [
    (lambda path: samples(path, 2, (1, 20, 24)), ["shape (2, 1, 20, 24)", "(samples, 1, 24, 20)"]),
    (lambda path: samples(path, 0, (1, 24, 20)), ["at least one sample"]),
    (_text, ["holds <U1", "float32"]),
    (_objects, ["npz file of plain arrays"]),
    (_not_finite, ["1 value(s)", "infinite"]),
    (_beyond_float32, ["960 value(s)", "beyond float32"]),
    (_many_arrays, ["array0, array1, array2, array3 and 5 more"]),
    (_nothing, ["holds nothing", "one array per input"]),
    (lambda path: path.mkdir(), ["not a NumPy .npz file", "directory"]),
    (_two_arrays, ["left, right", "one array per input"]),
    (lambda path: path.write_bytes(b"PK\x03\x04 no archive"), ["is not a NumPy .npz file"]),
    (lambda path: None, ["does not exist"]),
]


@pytest.mark.parametrize("option", ["--calibration", "--inputs"])
@pytest.mark.parametrize(("make", "words"), ARRAYS)
def test_samples(model, tmp_path, capsys, option, make, words):
    path = tmp_path / "data.npz"
    make(path)
    run = ["--run"] if option == "--inputs" else []
    message = refused(capsys, tmp_path, model, "--config", "configs/tiny.toml", option, path, *run)
    assert "data.npz" in message and all(word in message for word in words), message


def test_samples_that_are_no_whole_batch(model, tmp_path, capsys):
    data = samples(tmp_path / "data.npz", 3, (1, 24, 20))
    message = refused(capsys, tmp_path, model, "--config", "configs/tiny.toml", "--run", "--inputs", data)
    assert "3 samples" in message and "2 at a time" in message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--layers="], ["no layer ''"]),
        (["--dump=", "--run"], ["--dump", "must be a path"]),
        (["--dram-latency", "99999999999999999999"], ["--dram-latency", "at most 2**30"]),
        (["--dram-latency", "1048576", "--run"], ["tiny", "control.watchdog_cycles is 1048576", "raise"]),
        (["--seed", "-1"], ["--seed", "from 0", "'-1'"]),
        (["--bits", "4"], ["--bits 4", "tiny takes operands of 8 bits, not inputs of 4"]),
        (["--bits", "9"], ["--bits", "1 to 8, or 16", "'9'"]),
        (["--bits", "features.9=8"], ["--bits: there is no such layer as 'features.9'", "features.0"]),
        (["--bits", "16"], ["--bits 16", "tiny takes operands of 8 bits, not inputs of 16", "numbers.act_bits"]),
        (["--prune", "0"], ["--prune", "above 0 and at most 1", "'0'"]),
        (["--prune", "nan"], ["--prune", "above 0 and at most 1", "'nan'"]),
        (["--prune", "features.0=1.5"], ["--prune", "above 0 and at most 1", "'1.5'"]),
        (["--prune", "0.5,0.1"], ["--prune", "'0.5,0.1' gives all layers two values"]),
        (["--prune", "features.9=0.5"], ["--prune: there is no such layer as 'features.9'", "features.0"]),
        (["--prune-channels", "-1"], ["--prune-channels", "above 0 and at most 1", "'-1'"]),
        (["--prune-pattern", "4:2"], ["--prune-pattern", "0 < N <= M", "'4:2'"]),
        (["--prune-pattern", "here=2:4"], ["--prune-pattern: there is no such layer as 'here'"]),
        (["--cluster", "1"], ["--cluster", "2 to 256", "'1'"]),
        (["--cluster", "257"], ["--cluster", "2 to 256", "'257'"]),
        (["--cluster", "features.9=16"], ["--cluster: there is no such layer as 'features.9'", "features.0"]),
        (["--cluster", "17", "--config", "configs/eie4.toml"], ["--cluster 17: eie4 has codes of 4 bits", "fewer"]),
        (["--objective", "beauty"], ["cycles, energy or edp", "'beauty'"]),
        (["--dram-latency", "0"], ["--dram-latency", "positive integer", "'0'"]),
        (["--dram-latency", "fast"], ["--dram-latency", "positive integer", "'fast'"]),
        (["--dram-bytes-per-cycle", "0"], ["--dram-bytes-per-cycle", "'0'"]),
        (["--dram-bytes-per-cycle", "nan"], ["--dram-bytes-per-cycle", "'nan'"]),
        (["--dram-stall", "1", "--run"], ["--dram-stall", "below 1", "'1'"]),
        (["--percentile", "20"], ["--percentile", "above 50", "'20'"]),
        (["--percentile", "99", "--calibration-method", "minmax"], ["contradicts"]),
        (["--calibration-method", "magic"], ["minmax", "percentile", "magic"]),
        (["--input-shape", "1,2,3,4,5"], ["--input-shape", "N,C,H,W", "N,L,C", "'1,2,3,4,5'"]),
        (["--input-shape", "1,2,3"], ["input x has shape", "in the file, not (1, 2, 3)", "leave --input-shape out"]),
        (["--input-shape", "1,-1,8,8"], ["positive", "'1,-1,8,8'"]),
        (["--input-shape", "1,3,8,8"], ["input"]),
        (["--layers", "features.9"], ["no layer 'features.9'", "features."]),
        (["--layers", "features.3..features.0"], ["features.0 comes before features.3"]),
        (["--layers", "99"], ["no layer '99'", "by number 0.."]),
        (["--layers", ".."], ["no layer ''"]),
        (["--trace", "features.0"], ["--trace", "add --run"]),
        (["--run", "--trace", "featured.0"], ["no layer", "'featured.0'", "features.0"]),
        (["--dump", "somewhere"], ["--dump", "add --run"]),
        (["--inputs", "x.npz"], ["--inputs", "add --run"]),
        (["--colour", "red"], ["--colour", "--help"]),
        (["--seed", "x"], ["--seed", "'x'"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_options(model, tmp_path, capsys, options, words):
    message = refused(capsys, tmp_path, model, "--config", "configs/tiny.toml", *options)
    assert all(word in message for word in words), message


def test_no_model(capsys):
    assert main([]) == 2
    assert "error: the following arguments are required: model" in capsys.readouterr().err


def test_places_that_cannot_be_written(model, tmp_path, capsys):
    blocker = tmp_path / "file"
    blocker.write_text("mine")
    base = [model, "--config", "configs/tiny.toml"]
    assert main([*base, "--out", str(blocker)]) == 2
    assert f"{blocker} is a file" in capsys.readouterr().err
    assert main([*base, "--out", str(blocker / "deeper")]) == 2
    assert f"{blocker} is a file" in capsys.readouterr().err
    assert main([*base, "--out", str(tmp_path / "out"), "--json", str(tmp_path)]) == 2
    assert "is a directory" in capsys.readouterr().err
    for option in ("--out", "--json"):
        assert main([*base, "--out", str(tmp_path / "out"), option, str(tmp_path / ("n" * 300))]) == 2
        assert "cannot be written: File name too long" in capsys.readouterr().err
    assert main([*base, "--out="]) == 2
    assert "--out: must be a path, not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and blocker.read_text() == "mine"


def test_places_are_checked_before_any_work(model, tmp_path, capsys, monkeypatch):
    blocker = tmp_path / "file"
    blocker.write_text("mine")
    monkeypatch.setattr(stages, "load", lambda *_: pytest.fail("the model was loaded"))
    message = refused(capsys, tmp_path, model, "--config", "configs/tiny.toml", "--run", "--dump", blocker)
    assert f"{blocker} is a file" in message


def test_missing_compiler(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("CXX", str(tmp_path / "no-such-compiler"))
    monkeypatch.setattr(stages, "import_model", lambda *_: pytest.fail("work began"))
    message = refused(capsys, tmp_path, model, "--config", "configs/tiny.toml", "--run")
    assert "C++ compiler" in message and "no-such-compiler" in message


def test_failure_while_running(model, tmp_path, capsys, monkeypatch):
    fake = FakeRtl()

    def execute(*_, **__):
        raise InputError("x.v was generated from a configuration with hash 1, not 2 (tiny); generate it again")

    monkeypatch.setattr(fake, "execute", execute, raising=False)
    monkeypatch.setattr(stages, "simulation", lambda: fake)
    message = refused(capsys, tmp_path, model, "--config", "configs/tiny.toml", "--run")
    assert "generate it again" in message


def test_output_appears_whole_or_not_at_all(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(ZeroDivisionError), Output() as out:
        out.write(tmp_path / "a", "new")
        out.write(tmp_path / "deep" / "er" / "b", "new")
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_text() == "old"
    with Output() as out:
        out.write(tmp_path / "a", "new")
        out.write(tmp_path / "deep" / "er" / "b", b"\x00")
        out.write_arrays(tmp_path / "c.npz", {"file": np.arange(3), "a.b/c": np.float32(2)})
        assert (tmp_path / "a").read_text() == "old"
        out.commit()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c.npz", "deep"]
    assert (tmp_path / "a").read_text() == "new" and (tmp_path / "deep" / "er" / "b").read_bytes() == b"\x00"
    with np.load(tmp_path / "c.npz") as arrays:
        np.testing.assert_array_equal(arrays["file"], [0, 1, 2])
        assert arrays["a.b/c"] == 2
