"""``--engine`` on the command line: which layers run on the sparse engine, alone, in parts, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from mapper.cli import main
from tests.mapper import models

EIE4 = "configs/eie4.toml"


@pytest.fixture(scope="module")
def lenet(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("lenet")
    return str(models.save_export(models.lenet(), folder / "lenet.pt2", torch.zeros(1, 1, 24, 20)))


def engines(model: str, folder: Path, *options: str) -> dict[str, str]:
    """Engine of every layer with weights, as the JSON tells."""
    document = folder / "result.json"
    words = [model, "--config", EIE4, "--out", str(folder / "out"), "--json", str(document), *options]
    assert main(words) == 0
    layers = json.loads(document.read_text())["layers"]
    return {layer["name"]: layer["engine"] for layer in layers if layer["op"] == "conv"}


def test_clustered_layers(lenet: str, tmp_path: Path) -> None:
    both = {"features.0": "array", "features.3": "array", "fc1": "sparse", "fc2": "sparse"}
    assert engines(lenet, tmp_path, "--cluster", "16", "--engine", "sparse") == both
    assert engines(lenet, tmp_path, "--cluster", "16", "--engine", "sparse", "--no-fuse") == both
    assert engines(lenet, tmp_path, "--cluster", "16", "--engine", "fc2=array,fc1=sparse") == both | {"fc2": "array"}
    assert engines(lenet, tmp_path, "--cluster", "16", "--engine", "array") == dict.fromkeys(both, "array")


def test_part_of_the_layers(lenet: str, tmp_path: Path) -> None:
    """What is asked for of layers that are cut out does not matter."""
    options = ("--cluster", "fc1=16", "--engine", "fc1=sparse,fc2=array")
    assert engines(lenet, tmp_path, *options, "--layers", "fc1..fc1") == {"fc1": "sparse"}
    assert engines(lenet, tmp_path, *options, "--layers", "fc2") == {"fc2": "array"}


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (("--engine", "fc1=sparse"), "--engine fc1=sparse: its weights take"),
        (("--engine", "fc9=sparse"), "there is no layer for --engine: 'fc9'"),
        (("--engine", "quick"), "--engine: must be auto, array, sparse, or LAYER=ENGINE"),
        (("--config", "configs/tiny.toml", "--engine", "sparse"), "configuration 'tiny' has no section [sparse]"),
    ],
)
def test_refused(
    lenet: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], wanted: str
) -> None:
    config = () if "--config" in options else ("--config", EIE4)
    assert main([lenet, *config, "--out", str(tmp_path / "out"), *options]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert wanted in errors[-1] and not (tmp_path / "out").exists()
