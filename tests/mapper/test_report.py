"""The report and the timeline say what is true, and stand alone."""

import io
import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from dataflows import catalogue, config, isa
from dataflows.network import Tensor, Window
from mapper import quality, stages
from mapper.options import parse
from mapper.progress import Progress
from mapper.report import report
from mapper.report_compare import comparison
from mapper.report_figure import figure
from mapper.report_layers import BANDWIDTH, LOST, OTHER, STALLS, USEFUL, parts, reached, views
from mapper.report_roofline import roofline
from mapper.report_text import sections
from mapper.report_timeline import joined, stretches
from mapper.table import aligned
from mapper.terminal import side_by_side
from mapper.timing import Span
from mapper.trace_events import LAYERS, MEASURED, PROCESS, UNITS, trace_events
from tests.mapper import models
from tests.mapper.fake_rtl import FakeRtl

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Checks that tags nest, collects text and attributes."""

    def __init__(self, text):
        super().__init__()
        self.open, self.words, self.attributes = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def embedded(text):
    """The data that the page's script reads."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*)</script>\n<script>', text)[1])


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    """(model, outcome without a run) of a small residual network."""
    folder = tmp_path_factory.mktemp("m")
    path = models.save_export(models.resnet_tiny(), folder / "net<1>.pt2", torch.zeros(1, 3, 8, 8))
    arguments = parse([str(path), "--config", "configs/tiny.toml", "--run"])
    model = stages.load(arguments, [config.load(arguments.configs[0])], Progress())
    return model, stages.schedule(model, config.load(arguments.configs[0]), arguments.configs[0], arguments, Progress())


@pytest.fixture
def rtl(monkeypatch):
    fake = FakeRtl()
    monkeypatch.setattr(stages, "simulation", lambda: fake)
    return fake


def test_page_without_a_run(mapped):
    text = report(mapped[1])
    words = " ".join(Page(text).words)
    for row in mapped[1].rows:
        assert row.name in words and f"{row.cycles_predicted:,}" in words
    assert "net<1> on tiny" in words and "<1>" not in text
    assert "not run" in words and "bit-exact" not in words and "Counters" not in words
    assert mapped[1].arguments.command in words and mapped[1].cfg.hash in words


def test_page_is_self_contained(mapped):
    text = report(mapped[1])
    assert not [a for a in Page(text).attributes if a[1] in ("src", "href", "xlink:href", "srcset", "action")]
    assert not re.search(r"url\(|@import|import\(|fetch\(|XMLHttp|https?:", text)


def test_page_of_a_run(mapped, rtl):
    model, outcome = mapped
    words = " ".join(Page(report(stages.execute(outcome, model, None, Progress()))).words)
    assert "bit-exact" in words and "Counters" in words and "Mismatches" not in words
    rtl.wrong = "conv1"
    outcome = stages.execute(outcome, model, None, Progress())
    words = " ".join(Page(report(outcome)).words)
    assert "1 differ" in words and "job 7: STORE x" in words and "--layers conv1..conv1" in words


def drawn_on(program, cfg):
    """The program as if it were one for another accelerator; its jobs are not."""
    return replace(program, cfg=cfg, jobs=[])


@pytest.mark.parametrize("path", sorted(Path("configs").glob("*.toml")), ids=lambda path: path.stem)
def test_every_configuration_is_drawn(mapped, path):
    cfg = config.load(path)
    outcome = replace(mapped[1], program=drawn_on(mapped[1].program, cfg))
    words = " ".join(Page(report(outcome)).words)
    assert f"net<1> on {cfg.name}" in words and cfg.dataflow.title in words
    for section in sections(cfg):
        assert section.title in words and all(key in words and value in words for key, value, _ in section.rows)
    drawn = figure(cfg)
    assert max(drawn.width, drawn.height) == 200
    assert drawn.grid.count("v") <= 47 and drawn.grid.count("h") <= 47
    assert drawn.width / drawn.height == pytest.approx(cfg.array.cols / cfg.array.rows, rel=0.01)


@pytest.mark.parametrize("name", catalogue.NAMES)
def test_every_dataflow_is_drawn(mapped, name):
    array = mapped[1].cfg.array.model_copy(update={"dataflow": name})
    cfg = mapped[1].cfg.model_copy(update={"array": array})
    text = report(replace(mapped[1], program=drawn_on(mapped[1].program, cfg)))
    assert cfg.dataflow.title in " ".join(Page(text).words)


def test_every_chart_has_every_layer(mapped):
    text = report(mapped[1])
    layers = views(mapped[1])
    found = Counter(value for _, name, value in Page(text).attributes if name == "data-layer")
    points = sum(v.intensity is not None for v in layers)
    assert points and found.total() == 4 * len(layers) + points  # bars, table, traffic, energy; roofline
    assert set(found) == {str(v.position) for v in layers}
    data = embedded(text)
    assert [tip[0] for tip in data["tips"]] == [row.title for row in mapped[1].rows]
    assert data["timeline"]["layers"][-1] == mapped[1].prediction.cycles


def test_hostile_names_stay_text(mapped):
    name = "</script><img src=x onerror='alert(1)'>\"&{{7*7}}"
    outcome = mapped[1]
    entry = outcome.program.schedule[0]
    schedule = (replace(entry, layer=replace(entry.layer, name=name)), *outcome.program.schedule[1:])
    changed = replace(outcome, program=replace(outcome.program, schedule=schedule))
    text = report(changed)
    page = Page(text)
    assert not [a for a in page.attributes if a[0] == "img" or a[1].startswith("on")]
    assert "<img" not in text and name in page.words
    assert embedded(text)["tips"][0][0] == name
    assert name in [e["name"] for e in json.loads(json.dumps(trace_events(changed)))["traceEvents"]]


def row(mapped, **changes):
    return replace(mapped[1].rows[0], cycles_measured=None, **changes)


def test_parts_without_reasons(mapped):
    def found(rate=1e9, **changes):
        first = row(mapped, stalls={}, dram_read_bytes=300, dram_write_bytes=101, **changes)
        return {p.reason: p.cycles for p in parts(first, 50, rate)}

    assert found(macs=1000, cycles_predicted=30) == {USEFUL: 20, LOST: 10}
    assert found(macs=1001, cycles_predicted=15) == {USEFUL: 15}  # faster than its share: it overlaps
    assert found(macs=0, cycles_predicted=0) == {}
    assert found(macs=0, cycles_predicted=9) == {OTHER: 9}
    assert found(macs=1000, cycles_predicted=30, rate=16) == {USEFUL: 20, BANDWIDTH: 6, LOST: 4}  # 26 cycles of bus
    assert found(macs=1000, cycles_predicted=30, rate=10) == {USEFUL: 20, BANDWIDTH: 10}


def test_parts_with_reasons(mapped):
    stalls = {"dram": 5, "fill": 3}

    def found(**changes):
        first = replace(mapped[1].rows[0], macs=1000, cycles_predicted=35, stalls=stalls, **changes)
        return {p.reason.key: p.cycles for p in parts(first, 50, 16)}

    assert found() == {"useful": 20, "partial": 7, "dram": 5, "fill": 3}
    assert found(cycles_measured=45) == {"useful": 20, "partial": 7, "dram": 5, "fill": 3, "lost": 10}
    assert found(cycles_measured=26) == {"useful": 20, "dram": 5, "fill": 1}
    assert found(engine="vector window") == {"useful": 20, "dram": 5, "fill": 3, "lost": 7}


@pytest.mark.parametrize("seed", range(20))
def test_parts_add_up(mapped, seed):
    rng = np.random.default_rng(seed)
    names = [reason.key for reason in STALLS]
    stalls = {name: int(rng.integers(0, 40)) for name in rng.permutation(names)[: rng.integers(0, 7)]}
    engine = ("array", "vector", "vector window")[seed % 3]
    macs, cycles = int(rng.integers(0, 5000)) * int(rng.integers(0, 2)), int(rng.integers(0, 200))
    found = parts(row(mapped, engine=engine, macs=macs, cycles_predicted=cycles, stalls=stalls), 50, 16)
    assert sum(p.cycles for p in found) == cycles and all(p.cycles > 0 for p in found)
    by_key = {p.reason.key: p.cycles for p in found}
    assert all(by_key.get(name, 0) <= stalls.get(name, 0) for name in names)
    if sum(stalls.values()) + -(-macs // 50) <= cycles:
        assert all(by_key.get(name, 0) == count for name, count in stalls.items())
        assert by_key.get("useful", 0) == -(-macs // 50)


def test_reasons_are_drawn(mapped):
    outcome = replace(mapped[1])
    first = outcome.rows[0]
    vars(outcome)["rows"] = [replace(first, macs=0, stalls={"dram": 1, "write_back": 2}), *outcome.rows[1:]]
    text = report(outcome)
    assert 'class="dram"' in text and 'class="write_back"' in text and "the array waits for operands" in text


def test_least_traffic_counts_what_windows_reach():
    tensor = Tensor("x", (2, 7, 9, 5), 1.0, 0)
    for window in (
        Window(), Window((1, 1), (2, 2)), Window((3, 3), (2, 3), (1, 1, 1, 1)),
        Window((2, 1), (3, 4), (0, 2, 1, 0), (2, 1)),
    ):  # fmt: skip
        height, width = window.output_size(7, 9)
        seen = np.zeros((7, 9), bool)
        for y, x, ky, kx in np.ndindex(height, width, *window.kernel):
            at = y * window.stride[0] + ky * window.dilation[0] - window.padding[0]
            along = x * window.stride[1] + kx * window.dilation[1] - window.padding[1]
            if 0 <= at < 7 and 0 <= along < 9:
                seen[at, along] = True
        assert reached(tensor, window, height, width) == 2 * seen.sum()


def test_traffic_is_at_least_the_least(mapped):
    for view in views(mapped[1]):
        assert 0 < view.least_bytes <= view.bytes


def test_roofline_is_to_scale(mapped):
    outcome = mapped[1]
    drawing = roofline(outcome, views(outcome))
    for axis in (drawing.x_ticks, drawing.y_ticks):
        steps = np.diff([tick.at for tick in axis])
        assert len(axis) > 1 and np.ptp(steps) <= 0.2 and len({tick.label for tick in axis}) == len(axis)
    decade = drawing.x_ticks[1].at - drawing.x_ticks[0].at
    for a, b in pairwise(drawing.points):
        shift = decade * np.log10(b.view.intensity / a.view.intensity)
        assert b.x - a.x == pytest.approx(shift, abs=0.3) and a.radius >= b.radius
    for point in drawing.points:
        assert drawing.left <= point.x <= drawing.right and drawing.top <= point.y <= drawing.bottom
        assert point.view.roof == min(outcome.cfg.multipliers, 8 * point.view.intensity)
    assert drawing.ridge == outcome.cfg.multipliers / 8
    assert roofline(outcome, [v for v in views(outcome) if not v.row.macs]) is None


def random_spans(seed):
    """Jobs of one unit in the order they are taken, some overlapping, of 3 layers."""
    rng = np.random.default_rng(seed)
    starts = np.sort(rng.integers(0, 900, 60))
    ends = starts + rng.integers(0, 40, 60)
    layers = np.sort(rng.integers(0, 3, 60))
    values = zip(starts.tolist(), ends.tolist(), layers.tolist(), strict=True)
    return [Span(isa.Unit.LOAD, layer, i, start, end, f"job {i}") for i, (start, end, layer) in enumerate(values)]


@pytest.mark.parametrize("seed", range(10))
def test_stretches_cover_what_the_jobs_cover(seed):
    spans = random_spans(seed)
    busy, drawn = np.zeros(1000, int), np.zeros(1000, int)
    for span in spans:
        busy[span.start : span.end] = 1
    pieces = stretches(reversed(spans))
    for piece in pieces:
        drawn[piece.start : piece.end] += 1
    np.testing.assert_array_equal(drawn, busy)
    for limit in (1, 3, 10, 100):
        merged, longest = joined(pieces, limit)
        changes = sum(a.layer != b.layer for a, b in pairwise(pieces))
        assert len(merged) <= max(limit, changes + 1)
        assert merged[0].start == pieces[0].start and merged[-1].end == pieces[-1].end
        assert all(a.end <= b.start for a, b in pairwise(merged))
        for a, b in pairwise(pieces):
            together = any(m.start <= a.start and b.end <= m.end for m in merged)
            assert together == (a.layer == b.layer and len(pieces) > limit and b.start - a.end <= longest)


def test_comparison_of_different_schedules(mapped):
    model, outcome = mapped
    path = Path("configs/ws8.toml")
    arguments = replace(outcome.arguments, fuse=False)
    other = stages.schedule(model, config.load(path), path, arguments, Progress())
    assert len(other.rows) > len(outcome.rows)
    lines = aligned([outcome.rows, other.rows])
    assert [b for _, b in lines] == other.rows and [a for a, _ in lines if a] == outcome.rows
    assert all(a.index == b.index for a, b in lines if a)
    page = Page(comparison([outcome, other]))
    words = " ".join(page.words)
    assert "net<1> on 2 accelerators" in words and words.count("inside another") == len(other.rows) - len(outcome.rows)
    assert [value for _, name, value in page.attributes if name == "href"] == ["tiny/report.html", "ws8/report.html"]
    for row in outcome.rows:
        assert row.name in words
    table = io.StringIO()
    Console(file=table, width=200).print(side_by_side([outcome, other]))
    assert all(row.name in table.getvalue() for row in other.rows)


def test_no_work_no_stretches():
    assert stretches([]) == [] and joined([], 0) == ([], 0)


def test_timeline_holds_every_job(mapped):
    outcome = mapped[1]
    data = embedded(report(outcome))["timeline"]
    assert [unit["name"] for unit in data["units"]] == [unit.name for unit in isa.units(outcome.cfg)] and data["noted"]
    for unit in data["units"]:
        jobs = sorted((s for s in outcome.prediction.spans if s.unit.name == unit["name"]), key=lambda s: s.start)
        values = np.array(unit["spans"]).reshape(-1, 4)
        ends = np.cumsum(values[:, 0] + values[:, 1])
        shown = {span.end: span for span in jobs}
        assert set(ends.tolist()) <= set(shown) and ends[-1] == max(shown)
        for end, layer, note in zip(ends.tolist(), values[:, 2].tolist(), values[:, 3].tolist(), strict=True):
            assert outcome.program.schedule[layer].index == shown[end].layer
            assert data["notes"][note] in {span.note for span in jobs if span.end == end}


def events(outcome, kind):
    return [e for e in json.loads(json.dumps(trace_events(outcome), allow_nan=False))["traceEvents"] if e["ph"] == kind]


def test_trace_has_every_job_on_its_unit(mapped):
    outcome = mapped[1]
    names = {e["tid"]: e["args"]["name"] for e in events(outcome, "M") if e["name"] == "thread_name"}
    units = isa.units(outcome.cfg)
    assert [names[UNITS + unit].split(":")[0] for unit in units] == [unit.name for unit in units]
    assert MEASURED not in names
    slices = events(outcome, "X")
    assert {e["tid"] for e in slices} <= set(names) and {e["pid"] for e in slices} == {PROCESS}
    found = sorted((e["tid"] - UNITS, e["args"]["taken"], e["args"]["done"]) for e in slices if e["tid"] >= UNITS)
    assert found == sorted((s.unit, s.start, s.end) for s in outcome.prediction.spans)


def test_trace_slices_never_overlap(mapped):
    for track in range(LAYERS, UNITS + len(isa.units(mapped[1].cfg))):
        slices = [(e["ts"], e["ts"] + e["dur"], e) for e in events(mapped[1], "X") if e["tid"] == track]
        assert all(start <= end for start, end, _ in slices)
        assert all(a[1] <= b[0] for a, b in pairwise(slices))
        for start, end, event in slices if track >= UNITS else ():
            assert event["args"]["taken"] <= start and end >= event["args"]["done"]


def test_trace_of_a_run_has_the_measured_layers(mapped, rtl):
    model, outcome = mapped
    outcome = stages.execute(outcome, model, None, Progress())
    titles = [row.title for row in outcome.rows]
    for track, cycles in ((LAYERS, "cycles_predicted"), (MEASURED, "cycles_measured")):
        slices = [e for e in events(outcome, "X") if e["tid"] == track]
        assert [e["name"] for e in slices] == titles
        assert [e["dur"] for e in slices] == [getattr(row, cycles) for row in outcome.rows]
    counted = events(outcome, "C")
    assert {e["name"] for e in counted} == {"MACs per cycle", "DRAM bytes per cycle"}
    rates = {e["ts"]: e["args"]["value"] for e in counted if e["name"] == "MACs per cycle"}
    ends = [*sorted(rates)[1:], outcome.prediction.cycles]
    area = sum(rates[start] * (end - start) for start, end in zip(sorted(rates), ends, strict=True))
    assert area == pytest.approx(outcome.totals["macs"], rel=1e-2)


def test_sqnr_of_known_noise(mapped):
    network = mapped[0].network
    tensor = network.tensors["conv1"]
    codes = np.random.default_rng(0).integers(-128, 128, tensor.shape, np.int8)
    exact = (codes.transpose(0, 3, 1, 2).astype(np.float64) - tensor.zero) * tensor.scale
    assert quality.sqnr(exact, tensor, codes) is None
    assert quality.sqnr(np.zeros_like(exact), tensor, codes) is None
    assert quality.sqnr(exact / 1.1, tensor, codes) == pytest.approx(20)


def test_flattened_maps_are_not_judged(tmp_path):
    path = models.save_export(models.lenet(), tmp_path / "m.pt2", torch.zeros(1, 1, 24, 20))
    network = stages.load(parse([str(path)]), [config.load("configs/tiny.toml")], Progress()).network
    flat = [layer.output for layer in network.layers if layer.op == "reshape"]
    assert quality.reordered(network) == set(flat) and flat
