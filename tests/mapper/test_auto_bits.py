"""Automatic bit allocation: budgets are met with less noise than equal widths have, and explained."""

import argparse
import json

import numpy as np
import pytest
import torch

from dataflows.config import load
from dataflows.errors import InputError
from mapper.allocation import Search, allocate
from mapper.auto_bits import AutoBits
from mapper.bit_widths import widths
from mapper.budget import budget
from mapper.calibrate import observe
from mapper.cli import main
from mapper.conv_plan import Options
from mapper.layer_specs import LayerSpec, parse
from mapper.plan_energy import layer_energy
from mapper.precision import Precision, request
from mapper.quantize import quantize
from mapper.samples import random_samples
from mapper.sensitivity import Operand, operands
from tests.mapper import models
from tests.mapper.test_bits import FIXED, FUSION, XNOR, Mixed, imported


@pytest.mark.parametrize(
    ("text", "metric", "limit"),
    [
        ("cycles=0.5", "cycles", 500), ("cycles=50%", "cycles", 500), ("cycles=1", "cycles", 1000),
        ("cycles=1200", "cycles", 1200), ("cycles=1.2M", "cycles", 1.2e6), ("size=40KiB", "size", 40960),
        ("size=.25", "size", 250), ("size=3B", "size", 3),
        ("energy=0.5", "energy", 500), ("energy=2.5nJ", "energy", 2500),
    ],
)  # fmt: skip
def test_budgets(text, metric, limit):
    found = budget(text)
    assert (found.metric, found.limit(1000)) == (metric, pytest.approx(limit))


@pytest.mark.parametrize(
    "text", ["", "0.5", "cycles=", "cycles=0", "size=2", "cycles=-1", "cycles=0.5B", "energy=3", "x=1"]
)
def test_budgets_that_are_none(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"must be cycles=PART.*not"):
        budget(text)


def toy(rng, count: int) -> Search:
    """Layers of random size whose noise falls with bits, some much more than others."""
    inputs = [Operand("inputs", f"t{i}", (f"l{i}",)) for i in range(count)]
    weights = [Operand("weights", f"l{i}", (f"l{i}",)) for i in range(count)]
    noise = {o: {bits: float(rng.lognormal(0, 2)) * 4.0**-bits for bits in (4, 2)} for o in inputs + weights}
    size = {f"l{i}": float(rng.integers(1, 100)) for i in range(count)}
    start = dict.fromkeys(inputs + weights, 8)
    base = {f"l{i}": Precision(8, 8) for i in range(count)}
    return Search(noise, start, base, lambda layer, a, w: size[layer] * a * w / 64)


def test_search_meets_budgets_and_beats_equal_widths(rng):
    for part in (0.9, 0.5, 0.25, 0.1, 0.07):
        search = toy(rng, 7)
        limit = part * search.total(search.start)
        bits = search.run(limit)
        assert search.total(bits) <= limit
        for a, w in ((8, 8), (8, 4), (4, 8), (4, 4), (4, 2), (2, 4), (2, 2)):
            even = {o: a if o.kind == "inputs" else w for o in search.start}
            if search.total(even) <= limit:
                assert search.total_noise(bits) <= search.total_noise(even)


def test_impossible_budgets_say_how_close(rng):
    search = toy(rng, 3)
    with pytest.raises(InputError, match=r"even the narrowest widths take .* cycles, which is 0\.0625 of the"):
        allocate(search, budget("cycles=0.05"))


def test_costs_that_are_more_than_their_parts(rng):
    """Where the whole network takes more than its layers, the search aims lower."""
    search = toy(rng, 5)
    fixed = 0.2 * search.total(search.start)
    found = allocate(search, budget("cycles=0.5"), lambda bits: fixed + search.total(bits))
    before, after = found.measured
    assert after <= 0.5 * before and sum(step.after for step in found.steps) == pytest.approx(after - fixed)


def auto(graph, config: str, spec: str = "") -> AutoBits:
    cfg, samples = load(config), random_samples(graph, 8, seed=1)
    given = parse(spec, request) if spec else LayerSpec()
    return AutoBits(graph, samples, observe(graph, samples, histograms=True), cfg, Options(100, cfg.bus_bytes), given)


def test_sizes_on_a_network(tmp_path):
    torch.manual_seed(0)
    graph = imported(models.seeded(Mixed()), tmp_path, (1, 3, 8, 8))
    found = auto(graph, FUSION, "left=8/8").run(budget("size=0.4"))
    before, after = found.measured
    total = sum(node.weight.size for node in graph.nodes if hasattr(node, "weight"))
    assert before == total and after <= 0.4 * total
    assert found.spec.layers["left"] == request("8/8")
    chosen = widths(graph, load(FUSION), found.spec)
    assert {name: str(p) for name, p in chosen.layers.items()} == {s.layer: str(s.precision) for s in found.steps}
    # Narrowing inputs saves no bytes of weights.
    assert all(step.precision.a_bits == 8 and step.inputs_noise == 0 for step in found.steps)
    assert any(step.weights_noise > 0 for step in found.steps)


def test_cycles_on_a_network(tmp_path):
    graph = imported(models.seeded(Mixed()), tmp_path, (2, 3, 8, 8))
    tool = auto(graph, FUSION)
    found = tool.run(budget("cycles=0.85"))
    before, after = found.measured
    assert after <= 0.85 * before
    network = quantize(graph, tool.calibration, widths(graph, load(FUSION), found.spec))
    assert {step.layer: step.precision.w_bits for step in found.steps} == {
        layer.name: layer.weight_bits for layer in network.layers if hasattr(layer, "weight_bits")
    }


def test_energy_on_a_network(tmp_path):
    """Products cost by their widths, and so do the bytes that the plan moves."""
    graph = imported(models.seeded(Mixed()), tmp_path, (1, 3, 8, 8))
    tool = auto(graph, FUSION)
    found = tool.run(budget("energy=0.5"))
    before, after = found.measured
    assert after <= 0.5 * before
    macs = {name: tool.network.macs(layer) for name, layer in tool.convs.items()}
    for step in found.steps:
        a, w = step.precision.a_bits, step.precision.w_bits
        assert (step.before > macs[step.layer] * 1.033 and step.after < step.before) or (a, w) == (8, 8)
    assert layer_energy(64, 4, 3, 10) == pytest.approx(64 * 1.033 / 4 + 640)
    with pytest.raises(InputError, match=r"energy=1pJ: even the narrowest widths take .* pJ"):
        tool.run(budget("energy=1pJ"))


def test_operands_share_widths(tmp_path):
    graph = imported(Mixed(), tmp_path, (1, 3, 8, 8))
    found = {o.layers for o in operands(graph) if o.kind == "inputs"}
    assert found == {("conv1",), ("left", "right"), ("joined",), ("fc",)}


def test_hardware_without_choice(tmp_path):
    graph = imported(Mixed(), tmp_path, (1, 3, 8, 8))
    with pytest.raises(InputError, match=r"even the narrowest widths take .* 1 of the"):
        auto(graph, FIXED).run(budget("size=0.5"))


def test_command_line(tmp_path, capsys):
    graph = models.save_export(models.seeded(Mixed()), tmp_path / "m", torch.randn(1, 3, 8, 8))
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).standard_normal((8, 3, 8, 8)).astype(np.float32))
    options = ["--config", FUSION, "--calibration", str(tmp_path / "x.npz"), "--out", str(tmp_path / "out")]
    document = tmp_path / "result.json"
    assert main([str(graph), *options, "--auto-bits", "size=0.5", "--json", str(document)]) == 0
    assert "widths for size=0.5" in capsys.readouterr().out
    found = json.loads(document.read_text())["bit_allocation"]
    assert found["found"] <= 0.5 * found["widest"] and "fc=" in found["bits"]
    assert main([str(graph), *options, "--config", XNOR, "--auto-bits", "size=0.5"]) == 2
    assert main([str(graph), *options, "--auto-bits", "size=0.2"]) == 2
    assert "0.25 of the" in capsys.readouterr().err
