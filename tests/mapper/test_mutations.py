"""Models, configurations and samples that are nearly right: one clear message or a result, never anything else."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from tests.mapper import models
from tests.mapper.onnx_models import NETWORKS
from tests.mutations import failures

EVERY, LONG = 3, 240
"""Mutations in every run, and in the regression."""

TINY = "configs/tiny.toml"
FORMS = {"export": "archive", "script": "archive", "onnx": "bytes"}
CONFIGURATIONS = ("tiny", "eie4", "ws16_attention", "bitfusion")


@pytest.fixture(autouse=True)
def one_thread():
    """Processes are forked: no thread may hold a lock meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    export = models.save_export(models.lenet(), folder / "m.pt2", torch.zeros(1, 1, 24, 20))
    script = models.save_torchscript(models.lenet(), folder / "m.pt", torch.zeros(1, 1, 24, 20))
    np.savez(folder / "s.npz", x=np.random.default_rng(1).normal(size=(2, 1, 24, 20)).astype(np.float32))
    onnx.save(NETWORKS["mobilenet"](), folder / "m.onnx")
    return {"export": export, "script": script, "onnx": folder / "m.onnx", "samples": folder / "s.npz"}


def counted(kinds):
    """Each kind with few mutations, and with many in the regression."""
    many = [pytest.param(kind, LONG, marks=[pytest.mark.regress, pytest.mark.timeout(3600)]) for kind in kinds]
    return pytest.mark.parametrize(("kind", "count"), [*((kind, EVERY) for kind in kinds), *many])


@counted(FORMS)
def test_models(files, kind, count, tmp_path) -> None:
    data = Path(files[kind]).read_bytes()
    shape = ["--input-shape", "1,1,24,20"] if kind == "script" else []
    found = failures(FORMS[kind], data, lambda file: [str(file), "--config", TINY, *shape], count, 1, tmp_path)
    assert not found, "\n".join(found)


@counted(CONFIGURATIONS)
def test_configurations(files, kind, count, tmp_path) -> None:
    data = Path(f"configs/{kind}.toml").read_bytes()
    found = failures("text", data, lambda file: [str(files["export"]), "--config", str(file)], count, 2, tmp_path)
    assert not found, "\n".join(found)


@counted(["samples"])
def test_samples(files, kind, count, tmp_path) -> None:
    data = Path(files[kind]).read_bytes()

    def command(file: Path) -> list[str]:
        return [str(files["export"]), "--config", TINY, "--calibration", str(file)]

    found = failures("archive", data, command, count, 3, tmp_path)
    assert not found, "\n".join(found)
