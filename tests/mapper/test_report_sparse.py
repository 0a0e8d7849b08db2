"""What the report tells about layers on the sparse engine, from data made by hand."""

import io
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from dataflows import config, isa
from mapper import stages, terminal
from mapper.columns import encode
from mapper.load_bytes import load_bytes
from mapper.options import parse
from mapper.progress import Progress
from mapper.report import render, report
from mapper.report_compare import comparison
from mapper.report_layers import USEFUL, least_bytes, parts, views
from mapper.report_queue import panels
from mapper.report_roofline import roofline
from mapper.report_sparse import SparseSection, SparseView, by_kind, sparse_section, strip, widest
from mapper.sparse_summary import Pattern, summarize
from mapper.table import all_multipliers, multipliers
from mapper.trace_events import trace_events
from tests.mapper import models
from tests.mapper.test_report import Page

EIE4 = config.load(Path("configs/eie4.toml"))
DEPTHS = (1, 2, 4, 8, 16, 32)


@dataclass
class Compressed:
    """A row of the table of compressed weights."""

    layer: str
    weights: int
    density: float
    codes: int
    dense_bytes: int
    compressed_bytes: int
    huffman_bytes: int
    recognised: bool


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    """Outcome of two linear layers, scheduled on an array beside which there is a sparse engine."""
    folder = tmp_path_factory.mktemp("m")
    net = models.seeded(nn.Sequential(nn.Linear(33, 22), nn.ReLU(), nn.Linear(22, 7)))
    path = models.save_export(net, folder / "mlp.pt2", torch.zeros(1, 33))
    arguments = parse([str(path), "--config", "configs/tiny.toml"])
    model = stages.load(arguments, [config.load(arguments.configs[0])], Progress())
    return stages.schedule(model, config.load(arguments.configs[0]), arguments.configs[0], arguments, Progress())


@pytest.mark.parametrize("seed", range(5))
def test_summary_of_tiles_and_vectors(seed):
    rng = np.random.default_rng(seed)
    tiles, vectors, batches = (int(rng.integers(1, 4)) for _ in range(3))
    lengths = [rng.integers(0, 9, (4, int(rng.integers(1, 20)))) for _ in range(tiles)]
    masks = [[rng.random(tile.shape[1]) < 0.5 for tile in lengths] for _ in range(vectors)]
    entries = sum(int(tile.sum()) for tile in lengths)
    weight = np.zeros((entries + 3, 2, 1, 1), np.int8)
    weight.flat[: entries // 2] = 5
    patterns = [[Pattern(*pair) for pair in zip(lengths, row, strict=True)] for row in masks]
    found = summarize(weight, patterns, 1000, resident=True, share=batches)
    walked = 0
    for row in masks:
        for tile, mask in zip(lengths, row, strict=True):
            walked += sum(int(tile[pe, column]) for pe in range(4) for column in range(mask.size) if mask[column])
    assert (found.entries, found.padding, found.tiles) == (entries, entries - entries // 2, tiles)
    assert found.density == entries // 2 / weight.size
    assert found.theoretical_cycles == -(-walked * batches // 4) and found.engine_cycles == 1000 * batches
    assert found.load_balance == walked / 4000
    everything = np.concatenate([mask for row in masks for mask in row])
    assert found.activation_density == pytest.approx(everything.mean())


def test_summary_of_nothing():
    nothing = Pattern(np.zeros((4, 3), int), np.zeros(3, bool))
    found = summarize(np.zeros((2, 3), np.int8), [[nothing]], 0, resident=True, share=1)
    assert (found.entries, found.padding, found.theoretical_cycles, found.load_balance) == (0, 0, 0, 0.0)
    assert not nothing.per_pe.any() and strip(nothing.per_pe).most == 1


def test_multipliers_of_engines():
    assert multipliers(EIE4, "sparse") == 4 and multipliers(EIE4, "array") == 16
    assert all_multipliers(EIE4) == 20


def on_engine(outcome, cycles=40):
    """The same outcome as if the sparse engine ran all layers, and what each met."""
    rng = np.random.default_rng(1)
    changed = replace(outcome, program=replace(outcome.program, cfg=EIE4))
    rows, patterns = [], []
    for row, entry in zip(outcome.rows, outcome.program.schedule, strict=True):
        columns = entry.layer.weight.shape[1]
        patterns.append(Pattern(rng.integers(0, 4, (4, columns)), rng.random(columns) < 0.5))
        summary = summarize(entry.layer.weight, [[patterns[-1]]], cycles, resident=True, share=1)
        changes = {"cycles_predicted": 2 * cycles, "stalls": {"dram": 7, "imbalance": 9}, "multipliers": 4}
        rows.append(replace(row, engine="sparse", sparse=summary, **changes))
    vars(changed)["rows"] = rows
    return changed, patterns


def section(outcome, patterns):
    layers = [
        SparseView(view, view.row.sparse, strip(patterns[view.position].per_pe), by_kind(view, {}, 1),
                   least_bytes(outcome, entry), 4)
        for view, entry in zip(views(outcome), outcome.program.schedule, strict=True)
    ]  # fmt: skip
    sweeps = {v.position: {d: (40 + 8 // d, 0.9 - 0.3 / d) for d in DEPTHS} for v in views(outcome)}
    drawn = panels({v.position: v.row.title for v in views(outcome)}, sweeps, EIE4.sparse.queue)
    return SparseSection(layers, sweeps, drawn, widest(layers))


def test_page_tells_of_sparse_layers(mapped):
    outcome, patterns = on_engine(mapped)
    rows = [
        Compressed("a<b", 1000, 0.1, 16, 4000, 200, 160, True), Compressed("c", 10, 1.0, 3, 40, 20, 0, False),
    ]  # fmt: skip
    page = Page(render(outcome, views(outcome), section(outcome, patterns), rows))
    words = " ".join(page.words)
    assert "Layers on the sparse engine" in words and "Depth of the queues" in words
    assert "4 multipliers of the sparse engine" in words and "of the array" in words
    for row in outcome.rows:
        assert f"{row.sparse.entries:,}" in words and f"{row.sparse.theoretical_cycles:,}" in words
    assert "a<b" in words and "20.0" in words and "25.0" in words and "the model as it came" in words
    assert len([a for a in page.attributes if a[1:] == ("class", "curve")]) == 2 * len(outcome.rows)
    assert len([a for a in page.attributes if a[1:] == ("class", "configured")]) == 2


def test_terminal_and_comparison_tell_of_sparse_layers(mapped):
    outcome, _ = on_engine(mapped)
    text = io.StringIO()
    terminal.show(Console(file=text, width=200), [outcome])
    terminal.show(Console(file=text, width=200), [outcome, mapped])
    for row in outcome.rows:
        assert f"{row.sparse.entries:,}" in text.getvalue()
    assert "conv sparse" in text.getvalue() and "load balance" in text.getvalue()
    assert "16 + 4 sparse multipliers" in text.getvalue() and "of all 20" in text.getvalue()
    words = " ".join(Page(comparison([outcome, mapped])).words)
    assert "4 sparse PEs" in words and "runs 0, 2 on its sparse engine" in words
    text = io.StringIO()
    terminal.show(Console(file=text, width=200), [mapped])
    assert "sparse" not in text.getvalue()


def test_json_tells_of_sparse_layers(mapped):
    outcome, _ = on_engine(mapped)
    document = json.loads(json.dumps(outcome.document(), allow_nan=False))
    assert document["sparse_multipliers"] == 4
    assert {"density", "entries", "padding", "activation_density", "load_balance", "resident", "tiles",
            "theoretical_cycles"} <= set(document["layers"][0]["sparse"])  # fmt: skip
    assert [layer["sparse"] for layer in mapped.document()["layers"]] == [None, None]


def test_page_without_sparse_layers(mapped):
    words = " ".join(Page(render(mapped, views(mapped), None, [])).words)
    assert "sparse engine" not in words and "Compressed weights" not in words


def test_useful_cycles_are_those_of_entries(mapped):
    outcome, _ = on_engine(mapped)
    for row, view in zip(outcome.rows, views(outcome), strict=True):
        found = {part.reason: part.cycles for part in parts(row, 4, 8)}
        assert found[USEFUL] == row.sparse.theoretical_cycles
        assert {reason.key: cycles for reason, cycles in found.items()}["imbalance"] == 9 and sum(found.values()) == 80
        dense = row.macs / row.sparse.theoretical_cycles
        assert view.roof == pytest.approx(min(dense, view.intensity * 8))
    drawing = roofline(outcome, views(outcome))
    assert drawing.ridge == 2
    labels = [roof.label for roof in drawing.roofs]
    assert labels == ["16 multipliers of the array", "4 multipliers of the sparse engine"]
    wide = EIE4.model_copy(update={"sparse": EIE4.sparse.model_copy(update={"pes": 16})})
    layers = [replace(view, row=replace(view.row, multipliers=16)) for view in views(outcome)]
    drawing = roofline(replace(outcome, program=replace(outcome.program, cfg=wide)), layers)
    assert [roof.label for roof in drawing.roofs] == ["16 multipliers of the array and of the sparse engine"]


def test_sparse_layers_need_their_entries_only(mapped):
    outcome, _ = on_engine(mapped)
    for entry, row in zip(outcome.program.schedule, outcome.rows, strict=True):
        dense, packed = least_bytes(outcome, entry), least_bytes(outcome, entry, row.sparse)
        assert dense - packed == entry.layer.weight.size - row.sparse.entries


@pytest.mark.parametrize("depth", [1, 3, 8, 64])
def test_sweep_is_to_scale(depth):
    sweeps = {0: {d: (1000 // d + 17, 0.5 + d / 100) for d in DEPTHS}, 3: {d: (9, 1.0) for d in DEPTHS}}
    balance, cycles = panels({0: "first", 3: "second"}, sweeps, depth)
    for panel in (balance, cycles):
        assert [mark.label for mark in panel.x_marks] == [str(d) for d in DEPTHS]
        assert np.ptp(np.diff([mark.at for mark in panel.x_marks])) < 0.3
        assert panel.left <= panel.configured <= panel.right
        for curve, position in zip(panel.curves, sweeps, strict=True):
            assert curve.position == position and len(curve.dots) == len(DEPTHS)
            assert all(panel.top <= dot.y <= panel.bottom for dot in curve.dots)
            assert [dot.configured for dot in curve.dots] == [d == depth for d in DEPTHS]
    assert balance.curves[1].dots[0].y == balance.top and balance.curves[0].dots[0].y > balance.curves[0].dots[-1].y
    assert balance.y_marks[0].label == "50 %" and balance.y_marks[-1].label == "100 %"
    assert cycles.y_marks[0].label == "5" and cycles.y_marks[-1].label == "2,000"


def test_strip_has_a_bar_for_each_pe():
    drawn = strip(np.array([4, 0, 8, 4]))
    assert drawn.bars.count("z") == 4 and (drawn.least, drawn.mean, drawn.most) == (0, 4.0, 8)
    assert drawn.mean_at == drawn.height / 2 and f"v-{drawn.height}.0" in drawn.bars


def test_bytes_of_loads_are_those_of_the_prediction(mapped):
    found = load_bytes(mapped.program)
    assert {layer: sum(kinds.values()) for layer, kinds in found.items()} == mapped.prediction.dram_read_bytes
    assert all({isa.Target.INPUT, isa.Target.WEIGHT} <= set(kinds) for kinds in found.values())


def test_bytes_by_kind(mapped):
    view = views(mapped)[0]
    view = replace(view, row=replace(view.row, dram_read_bytes=1000, dram_write_bytes=22))
    loads = {isa.Target.ENTRIES: 300, isa.Target.POINTERS: 40, isa.Target.INPUT: 320}
    assert by_kind(view, loads, 2) == {"entries": 600, "pointers": 80, "activations": 320, "results": 22}


def clustered(rng, inputs, outputs):
    """A linear layer of 15 values, about a tenth of its weights not zero, all channels with the same largest one."""
    layer = nn.Linear(inputs, outputs)
    values = np.array([-127, -90, -60, -40, -20, -10, -5, 5, 10, 20, 40, 60, 90, 110, 127]) / 200
    weight = rng.choice(values, (outputs, inputs)) * (rng.random((outputs, inputs)) < 0.1)
    weight[:, 0] = values[-1]
    layer.weight.data = torch.tensor(weight, dtype=torch.float32)
    return layer


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    """Outcome of three layers that the sparse engine runs."""
    folder, rng = tmp_path_factory.mktemp("p"), np.random.default_rng(0)
    net = nn.Sequential(clustered(rng, 90, 70), nn.ReLU(), clustered(rng, 70, 33), nn.ReLU(), clustered(rng, 33, 5))
    path = models.save_export(net.eval(), folder / "pruned.pt2", torch.zeros(1, 90))
    arguments = parse([str(path), "--config", "configs/eie4.toml", "--engine", "sparse"])
    model = stages.load(arguments, [config.load(arguments.configs[0])], Progress())
    return stages.schedule(model, EIE4, arguments.configs[0], arguments, Progress())


def test_sparse_layers_from_model_to_report(pruned):
    assert [row.engine for row in pruned.rows] == ["sparse"] * 3
    for entry, row in zip(pruned.program.schedule, pruned.rows, strict=True):
        found, weight = row.sparse, entry.layer.weight
        assert found.density == np.count_nonzero(weight) / weight.size
        assert found.entries == encode(weight[:, :, 0, 0], EIE4).entries.sum()
        assert found.padding == encode(weight[:, :, 0, 0], EIE4).padding
        assert found.theoretical_cycles <= found.engine_cycles <= row.cycles_predicted and 0 < found.load_balance <= 1
        assert row.utilization == row.macs / (row.cycles_predicted * 4)
        assert row.compression.layer == row.name
    page = Page(report(pruned))
    words = " ".join(page.words)
    assert "Layers on the sparse engine" in words and "Compressed weights" in words
    section = sparse_section(pruned, views(pruned))
    for layer in section.layers:
        assert set(layer.bytes) == {"entries", "pointers", "codebook", "parameters", "activations", "results"}
        assert sum(layer.bytes.values()) == layer.view.bytes
        cycles, balance = section.sweeps[layer.view.position][EIE4.sparse.queue]
        assert (cycles, balance) == (layer.summary.engine_cycles, layer.summary.load_balance)
        counts = [count for count, _ in section.sweeps[layer.view.position].values()]
        assert counts == sorted(counts, reverse=True)
    assert any(event["cat"] == "SPARSE" for event in trace_events(pruned)["traceEvents"] if event["ph"] == "X")


def test_configuration_without_engine_has_no_section(mapped):
    assert sparse_section(mapped, views(mapped)) is None
