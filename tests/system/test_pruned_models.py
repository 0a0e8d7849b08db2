"""Models from training to RTL: the pruned perceptron of the example, and a small AlexNet with three sparse layers."""

import json
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mapper.cli import main
from tests.demo import mlp_train
from tests.demo.__main__ import accuracy
from tests.demo.train import predict
from tests.mapper import models

CONFIG = "configs/eie4.toml"


def mapped(folder: Path, model: Path, *options: str) -> dict:
    """What the command line says about a run on the RTL."""
    out = folder / "result.json"
    words = [str(model), "--config", CONFIG, "--run", "--out", str(folder), "--json", str(out), *options]
    assert main(words) == 0
    return json.loads(out.read_text(encoding="utf-8"))


def alexnet_like() -> nn.Module:
    """Convolutions, poolings, and three linear layers behind the flattening of a map."""
    convolutions = nn.Sequential(
        nn.Conv2d(3, 8, 5, 2, 2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(8, 12, 3, padding=1, groups=2), nn.ReLU(),
        nn.MaxPool2d(2),
    )  # fmt: skip
    layers = [nn.Linear(12 * 9, 70), nn.ReLU(), nn.Linear(70, 50), nn.ReLU(), nn.Linear(50, 10)]
    names = ("fc6", "relu6", "fc7", "relu7", "fc8")
    body = OrderedDict([("convolutions", convolutions), ("flat", nn.Flatten()), *zip(names, layers, strict=True)])
    return models.seeded(nn.Sequential(body), seed=3)


def test_convolutions_on_the_array_and_pruned_linear_layers_on_the_engine(tmp_path):
    model = models.save_export(alexnet_like(), tmp_path / "alexnet.pt2", torch.zeros(2, 3, 28, 28))
    names = ("fc6", "fc7", "fc8")
    choices = {"--prune": "fc6=0.09,fc7=0.09,fc8=0.25", "--cluster": ",".join(f"{n}=16" for n in names)}
    choices["--engine"] = ",".join(f"{name}=sparse" for name in names)
    result = mapped(tmp_path, model, *(word for pair in choices.items() for word in pair))
    layers = {layer["name"]: layer for layer in result["layers"]}
    assert result["bit_exact"] and result["mismatches"] == 0
    assert {name: layers[name]["engine"] for name in names} == dict.fromkeys(names, "sparse")
    assert [layer["engine"] for layer in result["layers"] if layer["op"] == "conv"].count("array") == 2
    assert all(layer["cycles_predicted"] == layer["cycles_measured"] for layer in result["layers"])


def test_pruned_perceptron_classifies_as_its_float_model_does(tmp_path):
    data = mlp_train.vectors()
    trained = mlp_train.train(data, tell=lambda _: None, epochs=10)
    assert max(trained.density.values()) < 0.101 and max(trained.values.values()) <= mlp_train.CLUSTERS
    mlp_train.save(trained.model, data, tmp_path)
    options = ("--engine", "sparse", "--calibration", str(tmp_path / "calibration.npz"))
    result = mapped(tmp_path, tmp_path / "mlp.pt2", *options, "--inputs", str(tmp_path / "inputs.npz"))
    assert result["bit_exact"] and {layer["engine"] for layer in result["layers"]} == {"sparse"}
    assert result["totals"]["cycles_predicted"] == result["totals"]["cycles_measured"]
    shares = accuracy(tmp_path, predict(trained.model, data.test_images))
    assert shares["rtl"] == shares["golden"] and abs(shares["rtl"] - shares["float"]) <= 0.01
    assert np.isclose(shares["float"], trained.accuracy["clustered"]) and shares["float"] > 0.95
