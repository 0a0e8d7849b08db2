"""Options of quantization on the command line, and what table, report and JSON say of noise."""

import json
from pathlib import Path

import pytest
import torch

from mapper.cli import main
from mapper.options import parse
from tests.mapper.models import save_export
from tests.mapper.test_equalize import uneven

CHOICES = "--weights", "per-tensor", "--equalize", "--correct-bias", "--calibration-method", "mse"


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return save_export(uneven(), tmp_path_factory.mktemp("model") / "m.pt2", torch.randn(1, 3, 12, 12))


def mapped(path: Path, folder: Path, *options: str) -> dict:
    assert main([str(path), "--out", str(folder), "--json", str(folder / "r.json"), *options]) == 0
    return json.loads((folder / "r.json").read_text())


def test_noise_is_told(path, tmp_path, capsys):
    poor = mapped(path, tmp_path, "--weights", "per-tensor")
    table, page = capsys.readouterr().out, (tmp_path / "report.html").read_text()
    known = {layer["name"]: layer["sqnr_own_db"] for layer in poor["layers"]}
    worst = poor["quantization"]["noisiest_layer"]
    assert known[worst] == min(value for value in known.values() if value is not None)
    assert known["max_pool"] is None and all(layer["sqnr_db"] is None for layer in poor["layers"])
    assert f"worst {known[worst]:.1f}" in table
    assert "What rounding costs" in page and f"{known[worst]:.1f} worst" in page
    good = mapped(path, tmp_path, *CHOICES)
    expected = {"method": "mse", "one_scale": True, "equalize": True, "unclamp": False, "correct_bias": "data-free"}
    assert expected.items() <= good["quantization"].items()
    assert "4 pairs of layers are equalized" in good["notes"]
    assert {layer["name"]: layer["sqnr_own_db"] for layer in good["layers"]}["expand"] > known["expand"]


def test_commands_that_repeat_a_layer_have_them(path):
    assert set(CHOICES) <= set(parse([str(path), *CHOICES]).reproduce(Path("c.toml"), "depth").split())
    assert "--percentile 99.5" in parse([str(path), "--percentile", "99.5"]).reproduce(Path("c.toml"), "depth")


@pytest.mark.parametrize(("options", "message"), [
    (["--unclamp"], "--unclamp is about layers that are equalized; add --equalize"),
    (["--percentile", "99", "--calibration-method", "mse"], "--percentile contradicts --calibration-method mse"),
    (["--calibration-method", "best"], "invalid choice: 'best'"),
    (["--weights", "each"], "invalid choice: 'each'"),
])  # fmt: skip
def test_contradictions(options, message, path, capsys):
    assert main([str(path), *options]) == 2
    assert message in capsys.readouterr().err
