"""Layers of different precision in table, JSON and report: their widths, and what the array can do at these."""

import io
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from dataflows import config
from dataflows.formats import container
from mapper.cli import main
from mapper.options import parse
from mapper.precisions import precisions
from mapper.progress import Progress
from mapper.report import report
from mapper.report_layers import views
from mapper.report_roofline import roofline
from mapper.report_text import tips
from mapper.stages import load, schedule
from mapper.table import all_multipliers, array_multipliers, multipliers
from mapper.terminal import show
from tests.mapper import models


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """Arguments that map a small residual network, its first layer at 8 bits and the others at 4 or 2."""
    folder = tmp_path_factory.mktemp("bits")
    path = models.save_export(models.resnet_tiny(), folder / "net.pt2", torch.zeros(1, 3, 8, 8))
    text = Path("configs/tiny.toml").read_text().replace('"tiny"', '"bricks"')
    (folder / "bricks.toml").write_text(text + '\n[multiplier]\nkind = "fusion"\n')
    return [str(path), "--config", str(folder / "bricks.toml"), "--bits", "4/4,conv1=8/8,stages.1.0.conv1=4/2"]


@pytest.fixture(scope="module")
def outcome(command):
    arguments = parse(command)
    cfg = config.load(arguments.configs[0])
    return schedule(load(arguments, [cfg], Progress()), cfg, arguments.configs[0], arguments, Progress())


@pytest.mark.parametrize(
    ("name", "widths", "wanted"),
    [
        ("ws16_fusion", (8, 8), 256), ("ws16_fusion", (4, 4), 1024), ("ws16_fusion", (2, 2), 4096),
        ("ws16_fusion", (8, 2), 1024), ("ws16_fusion", (3, 5), 512), ("bitfusion", (2, 2), 8192),
        ("stripes", (8, 8), 512), ("stripes", (8, 2), 512), ("stripes", (4, 8), 1024), ("stripes", (3, 8), 4096 / 3),
        ("xnor", (1, 1), 4096), ("ternary", (2, 2), 8192),
        ("ws16", (8, 8), 256), ("diannao", (16, 16), 256),
        ("stripes", (8, None), 512), ("xnor", (8, None), 4096), ("ws16_fusion", None, 256),
    ],
)  # fmt: skip
def test_multipliers_of_the_array_are_those_at_the_widths(name, widths, wanted):
    cfg = config.load(f"configs/{name}.toml")
    found = array_multipliers(cfg, widths)
    assert found == pytest.approx(wanted) and isinstance(found, int) == isinstance(wanted, int)
    assert multipliers(cfg, "array", widths) == found
    assert multipliers(cfg, "vector window", widths) == cfg.window_multipliers
    assert all_multipliers(cfg, widths) == found + cfg.window_multipliers


def test_json_tells_the_widths_of_every_layer(command, tmp_path):
    assert main([*command, "--out", str(tmp_path / "out"), "--json", str(tmp_path / "r.json")]) == 0
    found = json.loads((tmp_path / "r.json").read_text())
    layers = {layer["name"]: layer for layer in found["layers"]}
    first, second, third = layers["conv1"], layers["stages.0.0.conv1"], layers["stages.1.0.conv1"]
    assert (first["bits"], first["multipliers"]) == ({"input": 8, "weight": 8, "output": 4}, 16)
    assert (second["bits"]["input"], second["bits"]["weight"], second["multipliers"]) == (4, 4, 64)
    assert (third["bits"]["input"], third["bits"]["weight"], third["multipliers"]) == (4, 2, 128)
    assert layers["fc"]["bits"]["output"] == 8
    for layer in layers.values():
        assert (layer["act_bits"], layer["weight_bits"]) == (layer["bits"]["input"], layer["bits"]["weight"])
        slots = layer["cycles_predicted"] * layer["multipliers"]
        assert layer["utilization"] == layer["utilization_all"] == pytest.approx(layer["macs"] / slots)
    slots = sum(layer["cycles_predicted"] * layer["multipliers"] for layer in layers.values())
    assert found["totals"]["utilization"] == pytest.approx(found["totals"]["macs"] / slots)


def test_terminal_and_page_tell_the_widths(outcome):
    stream = io.StringIO()
    show(Console(file=stream, width=200), [outcome])
    lines = stream.getvalue().splitlines()
    for name, widths in (("conv1", "8/8"), ("stages.0.0.conv1", "4/4"), ("stages.1.0.conv1", "4/2")):
        (line,) = [line for line in lines if f" {name} " in line]
        assert f" {widths} " in line
    assert any("at each layer's widths" in line for line in lines) and "by precision" in stream.getvalue()
    page = report(outcome)
    assert "By precision" in page
    assert "fusion units of 2-bit bricks" in page and "operands of 2 to 8 bits" in page
    details = dict(tips(views(outcome), packed=True))["stages.1.0.conv1"]
    assert ("bits", "inputs 4, weights 2, outputs 4") in details and ("multipliers at these", "128") in details
    assert "bits" not in dict(dict(tips(views(outcome)))["stages.1.0.conv1"])


def test_layers_are_summed_by_precision(outcome):
    found = {p.widths: p for p in precisions(outcome)}
    assert set(found) == {"8/8", "4/4", "4/2"} and sum(p.layers for p in found.values()) == len(outcome.rows)
    assert sum(p.macs for p in found.values()) == outcome.totals["macs"]
    assert sum(p.cycles for p in found.values()) == sum(row.cycles for row in outcome.rows)
    assert (found["8/8"].weight_bytes, found["4/2"].weight_bytes) == (8 * 27, 12 * 72 // 4)
    assert found["4/4"].plain_bytes == 2 * found["4/4"].weight_bytes
    (row,) = [row for row in outcome.rows if row.widths == "4/2"]
    assert found["4/2"].utilization == row.utilization


def test_every_precision_has_its_roof(outcome):
    drawn = roofline(outcome, views(outcome))
    assert {roof.label for roof in drawn.roofs} == {
        "16 multipliers of the array at 8/8 bits", "64 multipliers of the array at 4/4 bits",
        "128 multipliers of the array at 4/2 bits",
    }  # fmt: skip
    assert drawn.ridge == 128 / 8
    for view in views(outcome):
        assert view.roof == min(view.row.multipliers, view.intensity * 8)


def test_least_traffic_is_that_of_packed_tensors(outcome):
    tensors = outcome.program.network.tensors
    for view, entry in zip(views(outcome), outcome.program.schedule, strict=True):
        layer = entry.layer
        assert view.least_bytes <= view.bytes
        if entry.absorbed or max(layer.window.stride) > 1:
            continue
        weights = -(-layer.weight.size * container(layer.weight_bits) // 8)
        size = tensors[layer.inputs[0]].bytes + tensors[layer.output].bytes + weights + 4 * len(layer.bias)
        assert view.least_bytes == size
