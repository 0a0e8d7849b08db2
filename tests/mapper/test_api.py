"""The Python interface: the same numbers, files and refusals as the command line."""

import inspect
import json
import shlex
import subprocess
import sys

import numpy as np
import pytest
import torch

import mapper
from dataflows.errors import InputError
from mapper import (
    api,
    api_options,
    load_model,
    map_model,
    predict_cycles,
    quantize_model,
    run_model,
    stages,
    write_results,
)
from mapper.cli import main
from mapper.options import _parser
from tests.mapper import models
from tests.mapper.fake_rtl import FakeRtl

TINY = "configs/tiny.toml"


@pytest.fixture(scope="module")
def program():
    model, example = models.resnet_tiny(), torch.zeros(1, 3, 8, 8)
    return torch.export.export(model.eval(), (example,))


@pytest.fixture(scope="module")
def path(program, tmp_path_factory):
    place = tmp_path_factory.mktemp("api") / "small.pt2"
    torch.export.save(program, place)
    return place


@pytest.fixture(autouse=True)
def kept(monkeypatch, tmp_path):
    monkeypatch.setattr(api_options, "KEPT", tmp_path / "kept")


@pytest.fixture
def rtl(monkeypatch):
    fake = FakeRtl()
    monkeypatch.setattr(stages, "simulation", lambda: fake)
    return fake


def images(count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, 3, 8, 8)).astype(np.float32)


def test_the_same_as_the_command_line(path, rtl, tmp_path):
    """The command that a result names gives the same JSON and the same files."""
    quantized = quantize_model(load_model(path), TINY, calibration=images(4))
    mapped = map_model(quantized, dram_latency=50, no_fuse=True)
    measured = run_model(mapped, inputs={"x": images(3, 1)})
    assert mapped.bit_exact is None and measured.bit_exact is True
    assert write_results(measured, tmp_path / "api", tmp_path / "api.json") == tmp_path / "api"
    words = shlex.split(measured.command)
    assert words[:3] == ["python", "-m", "mapper"]
    assert main([*words[3:], "--out", str(tmp_path / "cli"), "--json", str(tmp_path / "cli.json")]) == 0
    ours, theirs = (json.loads((tmp_path / f"{kind}.json").read_text()) for kind in ("api", "cli"))
    assert ours.pop("command") in theirs.pop("command")
    assert ours == theirs
    names = {place.name for place in (tmp_path / "cli").iterdir()}
    assert {place.name for place in (tmp_path / "api").iterdir()} == names >= {"outputs.npz", "report.html"}
    for name in ("program.bin", "memory.bin", "small_network.c"):  # an archive holds the time of its making
        assert (tmp_path / "api" / name).read_bytes() == (tmp_path / "cli" / name).read_bytes()
    golden = quantized.golden(images(3, 1))
    with np.load(tmp_path / "api" / "outputs.npz") as found:
        for name, values in measured.outputs.items():
            assert np.array_equal(found[name], values) and np.array_equal(golden[name], values)
            assert values.shape == (3, 5)


def test_a_program_in_memory(program, path):
    """Its numbers are those of its file, and its command line works."""
    ours = map_model(quantize_model(load_model(program, name="mine"), TINY, calibration=images(4)))
    theirs = map_model(quantize_model(load_model(str(path)), TINY, calibration=images(4)))
    assert ours.totals == theirs.totals and ours.document()["model"] == "mine"
    assert [row.name for row in ours.layers] == [row.name for row in theirs.layers]


def test_another_memory(path):
    mapped = map_model(quantize_model(load_model(path), TINY, calibration=images(2)))
    slow = predict_cycles(mapped, dram_latency=400, dram_bytes_per_cycle=2)
    assert slow.totals["cycles_predicted"] > 1.2 * mapped.totals["cycles_predicted"]
    assert slow.outcome.program is mapped.outcome.program
    again = predict_cycles(slow, dram_latency=100, dram_bytes_per_cycle=8)
    assert again.totals == mapped.totals


def test_runs_and_predictions_follow_each_other(path, rtl, monkeypatch):
    """A result forgets what was run before it, and takes new advice if it is asked for."""
    asked = []
    monkeypatch.setattr(api, "advise", lambda outcome, *_: asked.append(outcome) or ())
    mapped = map_model(quantize_model(load_model(path), TINY, calibration=images(2)), advise=True)
    first = run_model(mapped, inputs=images(3), dram_stall=0.25)
    second = run_model(first, inputs=images(2, 1))
    assert "--dram-stall" in first.command and "--dram-stall" not in second.command
    assert [found.document()["samples"] for found in (first, second)] == [3, 2]
    slow = predict_cycles(second, dram_latency=200)
    assert slow.bit_exact is None and slow.document()["samples"] == 1 and "--run" not in slow.command
    assert [outcome.samples for outcome in asked] == [1, 3, 2, 1]


def test_a_part_of_the_layers(path, rtl):
    quantized = quantize_model(load_model(path), TINY, calibration=images(4))
    part = map_model(quantized, layers="conv1..stages.0.0.conv1")
    assert [row.name for row in part.layers] == ["conv1", "stages.0.0.conv1"]
    assert run_model(part, inputs=images(2)).bit_exact
    assert len(map_model(quantized).layers) > 2


def test_several_accelerators(path, tmp_path):
    quantized = quantize_model(load_model(path), [TINY, "configs/ws8.toml"], calibration=images(4))
    both = [map_model(quantized, config) for config in (TINY, "configs/ws8.toml")]
    assert both[0].totals["cycles_predicted"] > both[1].totals["cycles_predicted"]
    write_results(both, tmp_path / "both", tmp_path / "both.json")
    assert {place.name for place in (tmp_path / "both").iterdir()} == {"tiny", "ws8", "comparison.html"}
    assert [found["config"] for found in json.loads((tmp_path / "both.json").read_text())] == ["tiny", "ws8"]


@pytest.mark.parametrize(("options", "message"), [
    ({"calibration": object()}, "--calibration: a object is no value of an option"),
    ({"calibration": np.zeros((2, 4, 8, 8))}, "shape"),
    ({"percentile": 10}, "--percentile: must be a number above 50"),
    ({"bits": {"conv1": "99"}}, "--bits"),
    ({"generate": 3}, "--generate needs something to begin with"),
])  # fmt: skip
def test_bad_options(path, options, message):
    with pytest.raises(InputError, match=message):
        quantize_model(load_model(path), TINY, **options)


def test_steps_out_of_order(path, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_model(tmp_path / "nothing.pt2")
    quantized = quantize_model(load_model(path), TINY, calibration=images(2))
    with pytest.raises(InputError, match=r"quantized for configs/tiny.toml, not for configs/ws8.toml"):
        map_model(quantized, "configs/ws8.toml")
    mapped = map_model(quantized)
    with pytest.raises(InputError, match="no outputs before run_model"):
        _ = mapped.outputs
    with pytest.raises(InputError, match="trace and waveform belong together"):
        run_model(mapped, trace="conv1")
    with pytest.raises(InputError, match="several results of one configuration"):
        write_results([mapped, mapped], tmp_path)
    with pytest.raises(InputError, match="nothing to write"):
        write_results([])


def test_values_as_words():
    found = api_options.words({"bits": {"a": 4, "b": "8/2"}, "no_fuse": True, "layers": None, "input_shape": (1, 3)})
    assert found == ("--bits", "a=4,b=8/2", "--no-fuse", "--input-shape", "1,3")
    assert api_options.words({"bits": "-4"}) == ("--bits=-4",)
    first, second = api_options.keep({"x": images(1)}), api_options.keep({"x": images(1, 1)})
    assert first != second and first == api_options.keep({"x": images(1)})
    assert api_options.words({"prompt": np.arange(3)})[1].endswith(".npy")


def test_every_option_of_the_command_line_is_there():
    """A new option belongs to the step that it is about: ``mapper/api_options.py``."""
    ours = {
        name for kind in vars(api_options).values() if inspect.isclass(kind) and hasattr(kind, "__required_keys__")
        for name in kind.__annotations__
    }  # fmt: skip
    named = {action.dest for action in _parser()._actions}
    functions = {"help", "model", "config", "run", "out", "json"}  # arguments of the functions, or the function itself
    assert ours == named - functions


def test_heavy_packages_are_loaded_late():
    """``import mapper`` alone costs nothing, and names only what there is."""
    code = "import mapper, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert all(inspect.getdoc(getattr(mapper, name)) for name in mapper.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = mapper.nothing
