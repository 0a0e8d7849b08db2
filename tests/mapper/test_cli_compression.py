"""The command line where models are pruned and clustered, or arrive like that."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from mapper import stages
from mapper.cli import main
from mapper.finetune import Pruner, Sharer
from mapper.options import parse
from tests.mapper import models
from tests.mapper.fake_rtl import FakeRtl

KEYS = {"layer", "weights", "density", "codes", "dense_bytes", "compressed_bytes", "huffman_bytes", "recognised"}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 8, 3)
        self.fc1 = nn.Linear(8 * 16, 60)
        self.fc2 = nn.Linear(60, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(torch.relu(self.fc1(torch.flatten(torch.relu(self.conv(x)), 1))))


def net() -> nn.Module:
    return models.seeded(Net())


def saved(model: nn.Module, folder) -> str:
    return str(models.save_export(model, folder / "net.pt2", torch.zeros(1, 2, 6, 6)))


def layers(model: str, folder, *options: str, config: str = "tiny") -> dict[str, dict]:
    """``compression`` of every layer, by name."""
    argv = [model, "--config", f"configs/{config}.toml", "--out", str(folder / "out"), *options]
    assert main([*argv, "--json", str(folder / "result.json")]) == 0
    found = json.loads((folder / "result.json").read_text())
    return {layer["name"]: layer["compression"] for layer in found["layers"]}


def test_options_compress_the_named_layers(tmp_path, capsys):
    model = saved(net(), tmp_path)
    found = layers(model, tmp_path, "--prune", "fc1=0.1,fc2=0.5", "--cluster", "fc1=16")
    assert found["conv"] is None
    fc1, fc2 = found["fc1"], found["fc2"]
    assert set(fc1) >= KEYS and not fc1["recognised"] and not fc2["recognised"]
    assert (fc1["weights"], fc1["dense_bytes"]) == (7680, 4 * 7680)
    assert fc1["density"] == pytest.approx(0.1) and fc1["codes"] == 16
    assert 0.45 < fc2["density"] <= 0.5 and fc2["codes"] > 16
    assert fc1["huffman_bytes"] < fc1["compressed_bytes"] < fc1["dense_bytes"] / 10
    shown = capsys.readouterr().out
    assert "compressed weights" in shown and "this command" in shown and "SQNR compares" in shown
    assert "Compressed weights" in (tmp_path / "out" / "report.html").read_text()


def test_nothing_is_said_where_nothing_is_compressed(tmp_path, capsys):
    found = layers(saved(net(), tmp_path), tmp_path)
    assert set(found.values()) == {None}
    assert "compressed weights" not in capsys.readouterr().out
    assert "Compressed weights" not in (tmp_path / "out" / "report.html").read_text()


def test_models_that_arrive_compressed_are_recognised(tmp_path, capsys):
    model = net()
    Pruner(model, {"fc1": 0.1, "fc2": 0.25}).finish()
    Sharer(model, {"fc1": 16}).finish()
    found = layers(saved(model, tmp_path), tmp_path, config="eie4")
    assert found["conv"] is None
    assert found["fc1"]["recognised"] and found["fc2"]["recognised"]
    assert found["fc1"]["codes"] == 16 and found["fc1"]["density"] == pytest.approx(768 / 7680)
    assert "the model as it came" in capsys.readouterr().out
    again = layers(saved(model, tmp_path), tmp_path, "--prune", "fc1=0.1", "--cluster", "fc1=16", config="eie4")
    assert again["fc1"] == found["fc1"]


def test_patterns_and_channels(tmp_path):
    model = saved(net(), tmp_path)
    found = layers(model, tmp_path, "--prune-pattern", "1:4", "--prune-channels", "conv=0.5")
    assert [found[name]["density"] for name in ("fc1", "fc2")] == pytest.approx([0.25, 0.25], abs=0.02)
    assert found["conv"]["density"] <= 0.26  # one of two input channels, half of the output channels


def test_the_reproducing_command_compresses_too(tmp_path, monkeypatch, capsys):
    fake = FakeRtl(wrong="fc2")
    monkeypatch.setattr(stages, "simulation", lambda: fake)
    options = ["--prune", "0.5,fc1=0.1", "--prune-pattern", "2:4", "--prune-channels", "conv=0.75", "--cluster", "32"]
    argv = [saved(net(), tmp_path), "--config", "configs/tiny.toml", "--out", str(tmp_path / "out"), "--run", *options]
    assert main(argv) == 1
    shown = capsys.readouterr().err
    for option, value in zip(options[::2], options[1::2], strict=True):
        assert f"{option} {value}" in shown
    words = shown.split("reproduce: ")[1].split("\n")[0].split()[3:]
    first, second = parse(argv), parse(words)
    assert (first.prune, first.prune_pattern) == (second.prune, second.prune_pattern)
    assert (first.prune_channels, first.cluster) == (second.prune_channels, second.cluster)


def test_what_is_run_is_what_was_compressed(tmp_path, monkeypatch):
    """Quality is judged against the compressed float model, so it does not suffer from pruning."""
    fake = FakeRtl()
    monkeypatch.setattr(stages, "simulation", lambda: fake)
    data = tmp_path / "data.npz"
    np.savez(data, x=np.random.default_rng(0).standard_normal((4, 2, 6, 6)).astype(np.float32))
    places = ["--out", str(tmp_path / "out"), "--json", str(tmp_path / "r")]
    options = ["--config", "configs/tiny.toml", "--calibration", str(data), "--prune", "0.1", "--cluster", "16"]
    assert main([saved(net(), tmp_path), "--run", *options, *places]) == 0
    found = json.loads((tmp_path / "r").read_text())
    assert all(layer["sqnr_db"] > 20 for layer in found["layers"])
