"""The command line on small models: what it prints, writes and returns."""

import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dataflows import config, isa
from dataflows.errors import InputError
from dataflows.network import Reshape
from mapper import part, progress, stages
from mapper.cli import main
from mapper.options import parse
from sim import golden
from tests.mapper import models
from tests.mapper.fake_rtl import FakeRtl, samples

TINY = "configs/tiny.toml"
LAYER_KEYS = {
    "name", "op", "engine", "macs", "act_bits", "weight_bits", "cycles_predicted", "cycles_measured", "utilization",
    "dram_read_bytes", "dram_write_bytes", "energy_pj", "stalls",
}  # fmt: skip
TOTAL_KEYS = {
    "macs", "cycles_predicted", "cycles_measured", "utilization", "dram_read_bytes", "dram_write_bytes", "energy_pj",
}  # fmt: skip
FILES = {
    "program.bin", "program.lst", "memory.bin", "schedule.json", "report.html", "trace.json", "small_network.h",
    "small_network.c", "small_network.S",
}  # fmt: skip


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resnet")
    return str(models.save_export(models.resnet_tiny(), folder / "small.pt2", torch.zeros(1, 3, 8, 8)))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A model that takes two images at a time."""
    folder = tmp_path_factory.mktemp("pairs")
    return str(models.save_export(models.lenet(), folder / "pairs.pt2", torch.zeros(2, 1, 24, 20)))


@pytest.fixture
def rtl(monkeypatch):
    fake = FakeRtl()
    monkeypatch.setattr(stages, "simulation", lambda: fake)
    return fake


def command(model, folder, *options):
    return [model, "--config", TINY, "--out", str(folder / "out"), "--json", str(folder / "result.json"), *options]


def result(folder):
    def refuse(text):
        raise ValueError(f"{text} is not JSON")

    return json.loads((folder / "result.json").read_text(), parse_constant=refuse)


def test_mapping_alone(resnet, tmp_path, capsys):
    assert main(command(resnet, tmp_path)) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    shown = capsys.readouterr()
    assert "conv1" in shown.out and "predicted" in shown.out and "measured" not in shown.out
    assert "--calibration" in shown.err
    found = result(tmp_path)
    cfg = config.load(TINY)
    assert (found["model"], found["config"], found["config_hash"]) == ("small", "tiny", cfg.hash)
    assert found["clock_mhz"] == cfg.clock_mhz
    assert found["bit_exact"] is found["mismatches"] is found["sim"] is None
    assert all(set(layer) >= LAYER_KEYS for layer in found["layers"])
    total = found["totals"]
    assert set(total) >= TOTAL_KEYS
    assert sum(layer["cycles_predicted"] for layer in found["layers"]) == total["cycles_predicted"]
    for layer in found["layers"]:
        assert layer["cycles_predicted"] == layer["array_busy"] + sum(layer["stalls"].values())
    macs = 64 * 8 * 27 + 2 * 64 * 8 * 72 + 16 * 12 * (72 + 108 + 8) + 60
    assert sum(layer["macs"] for layer in found["layers"]) == total["macs"] == macs
    assert total["utilization"] == pytest.approx(macs / total["cycles_predicted"] / 16)
    for direction, more in (("read", "program_bytes"), ("write", "mark_bytes")):
        layers = sum(layer[f"dram_{direction}_bytes"] for layer in found["layers"])
        assert total[f"dram_{direction}_bytes"] == layers + total[more]
    searches = [layer["search"] for layer in found["layers"] if layer["op"] == "conv"]
    assert all((s["objective"], s["exact"], s["gap"]) == ("cycles", True, 0) for s in searches)
    assert all(0 < s["costed"] <= s["candidates"] for s in searches)
    pool = next(layer for layer in found["layers"] if layer["op"] == "avg_pool")
    assert (pool["engine"], pool["utilization"], pool["weight_bits"], pool["macs"]) == ("vector", None, None, 0)


def wide(folder) -> str:
    """The tiny configuration for operands of 16 bits."""
    text = Path(TINY).read_text().replace("acc_bytes = 8192", "acc_bytes = 12288").replace('"tiny"', '"wide"')
    (folder / "wide.toml").write_text(text + "\n[numbers]\nact_bits = 16\n")
    return str(folder / "wide.toml")


def test_operands_of_16_bits(resnet, rtl, tmp_path):
    """The width comes from the configuration, ``--bits`` only insists on it."""
    data = samples(tmp_path / "data.npz", 2, (3, 8, 8))
    results = []
    for extra in (["--config", TINY], ["--config", wide(tmp_path), "--bits", "16"]):
        options = [resnet, *extra, "--run", "--inputs", data, "--calibration", data]
        assert main([*options, "--out", str(tmp_path / "out"), "--json", str(tmp_path / "result.json")]) == 0
        results.append(result(tmp_path))
        plan = json.loads((tmp_path / "out" / "schedule.json").read_text())
        size = int(np.prod(plan["inputs"][0]["shape"]))
        assert plan["inputs"][0]["bytes"] == size * results[-1]["layers"][0]["act_bits"] // 8
    narrow, broad = (found["layers"] for found in results)
    assert {layer["act_bits"] for layer in broad} == {16} and broad[0]["weight_bits"] == 16
    assert all(b["sqnr_db"] > n["sqnr_db"] + 35 for n, b in zip(narrow, broad, strict=True))
    for direction in ("read", "write"):
        read, wider = (sum(layer[f"dram_{direction}_bytes"] for layer in found["layers"]) for found in results)
        assert 1.7 * read < wider < 2.3 * read


def test_one_width_at_a_time(resnet, tmp_path, capsys):
    assert main([resnet, "--config", TINY, "--config", wide(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "tiny takes operands of 8 bits and wide of 16" in capsys.readouterr().err


def test_files_belong_together(resnet, tmp_path):
    assert main(command(resnet, tmp_path)) == 0
    out = tmp_path / "out"
    words = np.fromfile(out / "program.bin", "<u8")
    listing = (out / "program.lst").read_text().splitlines()
    plan = json.loads((out / "schedule.json").read_text())
    assert int(words[0]) == isa.Op.HASH << 60 | int(plan["config_hash"], 16)
    assert len(words) == len(listing) == plan["program_words"]
    assert "HASH" in listing[0] and "END" in listing[-1]
    assert plan["regions"]["constant"] == {"bytes": (out / "memory.bin").stat().st_size, "file": "memory.bin"}
    assert plan["inputs"][0]["shape"] == [1, 8, 8, 3] and plan["inputs"][0]["scale"] > 0
    assert [layer["name"] for layer in plan["layers"]] == [layer["name"] for layer in result(tmp_path)["layers"]]


def test_run_adds_up(resnet, rtl, tmp_path, capsys):
    data = samples(tmp_path / "data.npz", 3, (3, 8, 8))
    assert main(command(resnet, tmp_path, "--run", "--inputs", data, "--calibration", data)) == 0
    found = result(tmp_path)
    assert (found["samples"], found["bit_exact"], found["mismatches"]) == (3, True, 0)
    layers, total = found["layers"], found["totals"]
    assert total["cycles_measured"] == sum(layer["cycles_measured"] for layer in layers) == 3 * (100 * len(layers) + 5)
    assert layers[0]["macs"] == 3 * 64 * 8 * 27
    assert layers[0]["utilization"] == pytest.approx(64 * 8 * 27 / 100 / 16)
    assert total["dram_read_bytes"] == 1000
    assert total["stalls"] == {"load_busy": 3, "acc_stall": 2}
    assert found["sim"]["cycles"] == total["cycles_measured"] and found["sim"]["seconds"] == 0.5
    assert all(20 < layer["sqnr_db"] < 80 for layer in layers)
    shown = capsys.readouterr()
    assert "every tensor equals the golden model" in shown.out and "warning" not in shown.err
    with np.load(tmp_path / "out" / "outputs.npz") as outputs:
        assert set(outputs.files) == {"fc", "fc_golden"}
        assert outputs["fc"].shape == (3, 5) and outputs["fc"].dtype == np.float32
        np.testing.assert_array_equal(outputs["fc"], outputs["fc_golden"])


def test_outputs_are_close_to_the_model(pairs, rtl, tmp_path):
    data = samples(tmp_path / "data.npz", 8, (1, 24, 20))
    assert main(command(pairs, tmp_path, "--run", "--inputs", data, "--calibration", data)) == 0
    with np.load(data) as arrays, np.load(tmp_path / "out" / "outputs.npz") as outputs, torch.inference_mode():
        real = models.lenet()(torch.from_numpy(arrays["x"])).numpy()
        found = outputs["fc2"]
    assert np.sum((real - found) ** 2) < 0.01 * np.sum(real**2)


def test_one_batch_of_the_calibration_data_runs_by_default(pairs, rtl, tmp_path):
    data = samples(tmp_path / "one.npz", 1, (1, 24, 20))
    assert main(command(pairs, tmp_path, "--run", "--calibration", data)) == 0
    (codes,) = rtl.calls[0]["inputs"].values()
    assert len(codes) == 2
    np.testing.assert_array_equal(codes[0], codes[1])


def test_mismatch(resnet, rtl, tmp_path, capsys):
    rtl.wrong = "stages.0.0.add"
    data = samples(tmp_path / "data 1.npz", 2, (3, 8, 8))
    options = ["--run", "--calibration", data, "--inputs", data, "--dram-stall", "0.25", "--seed", "7"]
    assert main(command(resnet, tmp_path, *options)) == 1
    error = capsys.readouterr().err
    lines = error.splitlines()
    assert "layer stages.0.0.add, sample 0: at (image, row, column, channel) = (0, 0, 0, 0) expected" in error
    assert "written by job 7: STORE x" in error
    found = result(tmp_path)
    assert (found["bit_exact"], found["mismatches"]) == (False, 2)
    assert "disagree" in (tmp_path / "out" / "report.html").read_text().lower()
    line = next(line.split("reproduce: ")[1] for line in lines if "reproduce: " in line)
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "mapper"]
    assert main([*words[3:], "--out", str(tmp_path / "again")]) == 1
    first, second = rtl.calls
    assert (second["seed"], second["dram"]) == (7, first["dram"])
    assert [e.output for e in second["program"].schedule] == ["stages.0.0.add"]


def test_a_failing_accelerator(resnet, rtl, tmp_path, capsys):
    rtl.failure = "the accelerator stopped with READ_ERROR in unit LOAD"
    assert main(command(resnet, tmp_path, "--run")) == 1
    assert "error: tiny: the accelerator stopped with READ_ERROR in unit LOAD" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_options_reach_the_simulation(resnet, rtl, tmp_path):
    options = ["--dram-latency", "7", "--dram-bytes-per-cycle", "2.5", "--dram-stall", "0.5", "--seed", "3"]
    dump = tmp_path / "dump"
    assert main(command(resnet, tmp_path, "--run", "--trace", "4", "--dump", str(dump), *options)) == 0
    call = rtl.calls[0]
    dram = call["dram"]
    assert (dram.latency, dram.bytes_per_cycle, dram.read_stall, dram.write_stall, dram.seed) == (7, 2.5, 0.5, 0.5, 3)
    assert call["trace"][0] == "stages.1.0.conv1"
    assert (tmp_path / "out" / "4.fst").read_bytes() == b"waveform"
    with np.load(dump / "batch0000_rtl.npz") as found, np.load(dump / "batch0000_golden.npz") as wanted:
        assert {"x", "fc"} <= set(found.files) <= set(wanted.files)
        for name in found.files:
            np.testing.assert_array_equal(found[name], wanted[name])


def test_slow_memory_is_predicted_slower(resnet, tmp_path):
    cycles = []
    for options in ((), ("--dram-latency", "2000"), ("--dram-bytes-per-cycle", "0.5")):
        assert main(command(resnet, tmp_path, *options)) == 0
        cycles.append(result(tmp_path)["totals"]["cycles_predicted"])
    assert cycles[0] < min(cycles[1:])


def test_no_fuse_gives_every_layer_a_row(resnet, tmp_path):
    assert main(command(resnet, tmp_path)) == 0
    fused = {layer["name"] for layer in result(tmp_path)["layers"]}
    assert main(command(resnet, tmp_path, "--no-fuse")) == 0
    assert {layer["name"] for layer in result(tmp_path)["layers"]} - fused == {"stages.0.0.add", "stages.1.0.add"}


def test_side_by_side(resnet, rtl, tmp_path, capsys):
    assert main([*command(resnet, tmp_path), "--config", "configs/ws8.toml", "--run"]) == 0
    names = [r["config"] for r in result(tmp_path)]
    assert names == ["tiny", "ws8"]
    for name in names:
        assert {path.name for path in (tmp_path / "out" / name).iterdir()} == FILES | {"outputs.npz"}
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert 'href="tiny/report.html"' in page and 'href="ws8/report.html"' in page
    out = capsys.readouterr().out
    assert "comparison.html" in out
    assert any("tiny" in line and "ws8" in line for line in out.splitlines())
    assert "16 multipliers" in out and "64 multipliers" in out


@pytest.mark.parametrize("text", ["stages.0.0.conv2..stages.1.0.conv1", "2..4", "1", "fc", "stages.1.0.add..9"])
@pytest.mark.parametrize("fuse", [True, False])
def test_a_part_alone(resnet, rtl, tmp_path, text, fuse):
    data = samples(tmp_path / "data.npz", 2, (3, 8, 8))
    options = ["--run", "--calibration", data, "--inputs", data, *([] if fuse else ["--no-fuse"])]
    assert main(command(resnet, tmp_path, *options, "--dump", str(tmp_path / "whole"))) == 0
    assert main(command(resnet, tmp_path, *options, "--dump", str(tmp_path / "part"), "--layers", text)) == 0
    assert result(tmp_path)["bit_exact"]
    whole, alone = (call["program"].network for call in rtl.calls)
    first, last = part.bounds(whole, text)
    assert {layer.name for layer in whole.layers[first : last + 1]} <= {layer.name for layer in alone.layers}
    kept = tmp_path / "whole" / "batch0000_golden.npz", tmp_path / "part" / "batch0000_rtl.npz"
    with np.load(kept[0]) as wanted, np.load(kept[1]) as found:
        assert set(alone.outputs) <= set(found.files)
        for name in found.files:
            np.testing.assert_array_equal(found[name], wanted[name])


def test_cut_keeps_what_others_read(pairs):
    network = stages.load(parse([pairs]), [config.load(TINY)], progress.Progress()).network
    names = [layer.name for layer in network.layers]
    flatten = next(i for i, layer in enumerate(network.layers) if isinstance(layer, Reshape))
    with pytest.raises(InputError, match="only reshapes"):
        part.cut(network, flatten, flatten, {})
    cut = part.cut(network, flatten, flatten + 1, {})
    assert [layer.name for layer in cut.layers] == names[flatten : flatten + 2]
    assert cut.inputs == network.layers[flatten].inputs
    assert cut.outputs == (network.layers[flatten + 1].output,)
    rng = np.random.default_rng(0)
    x = rng.integers(-128, 128, network.tensors[network.inputs[0]].shape, np.int8)
    tensors = golden.run(network, {network.inputs[0]: x})
    again = golden.run(cut, {cut.inputs[0]: tensors[cut.inputs[0]]})
    np.testing.assert_array_equal(again[cut.outputs[0]], tensors[cut.outputs[0]])


def test_objective(resnet, tmp_path, capsys):
    """Other goals are searched for, and said."""
    assert main(command(resnet, tmp_path, "--objective", "energy")) == 0
    found = json.loads((tmp_path / "result.json").read_text())
    assert {layer["search"]["objective"] for layer in found["layers"] if layer["search"]} == {"energy"}
    assert "search for energy: " in (said := capsys.readouterr().out) and "exact, gap 0" in said


def test_default_places(resnet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([resnet]) == 0
    assert {path.name for path in (tmp_path / "build" / "map" / "small").iterdir()} == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["build"]


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    out = capsys.readouterr().out
    options = "config out input-shape calibration bits auto-bits objective run inputs json prune prune-pattern cluster"
    assert all(f"--{option}" in out for option in [*options.split(), "dram-latency", "dram-bytes-per-cycle"])
    assert "examples" in out and "torch.export.save(" in out


def test_a_defect_is_not_a_mismatch(resnet, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(stages, "schedule", lambda *_: 1 / 0)
    assert main(command(resnet, tmp_path)) == 3
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_progress_is_silent_when_quick_and_speaks_when_slow(monkeypatch, capsys):
    steps = progress.Progress(sys.stderr)
    with steps.step("quick"):
        steps.detail("half")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "PATIENCE", -1.0)
    monkeypatch.setattr(progress, "INTERVAL", -1.0)
    steps = progress.Progress(sys.stderr)
    with steps.step("first"):
        steps.then("second")
        steps.detail("half")
    err = capsys.readouterr().err
    assert "first: 0.0 s" in err and "second: half" in err and "second: 0.0 s" in err


def test_clock_tells_speed_and_rest(monkeypatch):
    now = iter([100.0, 102.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    clock = progress.SimulationClock(3_000, 10)
    assert clock.text(1_000, 0) == "1,000 of about 3,000 cycles, sample 1 of 10"
    assert clock.text(2_000, 4) == "2,000 of about 3,000 cycles, sample 5 of 10, 500 cycles/s, 2 s left"


def test_on_real_rtl(resnet, tmp_path, capsys):
    data = samples(tmp_path / "data.npz", 2, (3, 8, 8))
    options = ["--run", "--calibration", data, "--inputs", data, "--dram-stall", "0.1"]
    assert main(command(resnet, tmp_path, *options)) == 0, capsys.readouterr().err
    found = result(tmp_path)
    assert found["bit_exact"] is True and found["samples"] == 2
    assert sum(layer["cycles_measured"] for layer in found["layers"]) == found["totals"]["cycles_measured"]
    assert 0 < found["totals"]["utilization"] <= 1
    for direction, more in (("read", "program_bytes"), ("write", "mark_bytes")):  # predicted rows, counted total
        layers = sum(layer[f"dram_{direction}_bytes"] for layer in found["layers"])
        assert found["totals"][f"dram_{direction}_bytes"] == layers + 2 * found["totals"][more]


def test_a_real_difference_is_found_and_placed(resnet, tmp_path, capsys, monkeypatch):
    correct = golden.run

    def wrong(network, inputs):
        tensors = correct(network, inputs)
        layer = next(layer for layer in network.layers if layer.name == "conv1")
        tensors[layer.output] = tensors[layer.output].copy()
        tensors[layer.output][0, 2, 7, 3] ^= 4
        tensors[layer.output][0, 5, 1, 7] ^= 1
        return tensors

    data = samples(tmp_path / "data.npz", 2, (3, 8, 8))
    monkeypatch.setattr(golden, "run", wrong)
    assert main(command(resnet, tmp_path, "--run", "--calibration", data, "--inputs", data)) == 1
    shown = capsys.readouterr().err
    found = result(tmp_path)
    assert (found["bit_exact"], found["mismatches"]) == (False, 4)
    for sample, first in enumerate(found["first_mismatches"]):
        assert (first["layer"], first["sample"]) == ("conv1", sample)
        assert (first["coordinate"], first["count"]) == ([0, 2, 7, 3], 2)
        assert first["expected"] ^ first["found"] in (4, -4)
        rows, channels = re.search(r"STORE conv1: rows (\d+\.\.\d+), channels (\d+\.\.\d+)", first["job"]).groups()
        for span, place in ((rows, 2), (channels, 3)):
            low, high = map(int, span.split(".."))
            assert low <= place <= high
        assert "--layers conv1..conv1" in first["reproduce"] and first["reproduce"] in shown
