"""The report and the timeline say what is true, and stand alone."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from dataflows import config, isa
from mapper import quality, stages
from mapper.options import parse
from mapper.progress import Progress
from mapper.report import SHADES, activity, report, stretches
from mapper.table import layer_cycles
from mapper.timing import Span
from mapper.trace_events import LAYERS, trace_events
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


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    """(model, outcome without a run) of a small residual network."""
    folder = tmp_path_factory.mktemp("m")
    path = models.save_export(models.resnet_tiny(), folder / "net<1>.pt2", torch.zeros(1, 3, 8, 8))
    arguments = parse([str(path), "--config", "configs/tiny.toml", "--run"])
    model = stages.load(arguments, Progress())
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
    assert "not run" in words and "measured" not in words
    assert mapped[1].arguments.command in words and mapped[1].cfg.hash in words


def test_page_is_self_contained(mapped):
    text = report(mapped[1])
    assert not [a for a in Page(text).attributes if a[1] in ("src", "href", "xlink:href")]
    assert not re.search(r"url\(|@import|<script", text)


def test_page_of_a_run(mapped, rtl):
    model, outcome = mapped
    words = " ".join(Page(report(stages.execute(outcome, model, None, Progress()))).words)
    assert "bit-exact" in words and "Counters" in words and "Mismatches" not in words
    rtl.wrong = "conv1"
    outcome = stages.execute(outcome, model, None, Progress())
    words = " ".join(Page(report(outcome)).words)
    assert "1 differ" in words and "job 7: STORE x" in words and "--layers conv1..conv1" in words


def test_layers_fill_the_timeline(mapped):
    prediction = mapped[1].prediction
    cycles = layer_cycles(mapped[1].program, prediction.layer_end, prediction.cycles)
    assert sum(cycles.values()) == prediction.cycles and min(cycles.values()) >= 0
    pieces = stretches(mapped[1])
    assert pieces[0].start == 0 and pieces[-1].start + pieces[-1].width == pytest.approx(800)


@pytest.mark.parametrize("seed", range(5))
def test_activity_is_the_covered_share(seed):
    rng = np.random.default_rng(seed)
    total, bins = int(rng.integers(1, 500)), 16
    starts = rng.integers(0, total, 12)
    ends = np.minimum(starts + rng.integers(0, 40, 12), total)
    spans = [Span(isa.Unit.LOAD, 0, 0, int(s), int(e), "") for s, e in zip(starts, ends, strict=True)]
    fine = np.zeros(total * bins)
    for span in spans:
        fine[span.start * bins : span.end * bins] = 1
    share = fine.reshape(bins, -1).mean(1)
    found = np.zeros(bins)
    for bar in activity(spans, total, bins):
        found[bar.start : bar.start + bar.width] = bar.share
    np.testing.assert_array_equal(found, np.ceil(share * SHADES - 1e-9) / SHADES)


def test_no_activity():
    assert activity([], 100) == [] and activity([], 0) == []


def test_trace_has_every_job_on_its_unit(mapped):
    outcome = mapped[1]
    trace = json.loads(json.dumps(trace_events(outcome.program, outcome.prediction)))
    slices = [e for e in trace["traceEvents"] if e["ph"] == "X"]
    names = {e["tid"]: e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "thread_name"}
    assert [names[unit] for unit in isa.Unit] == [unit.name for unit in isa.Unit]
    jobs = [(s.unit, s.start, s.end) for s in outcome.prediction.spans]
    assert sorted((e["tid"], e["ts"], e["ts"] + e["dur"]) for e in slices if e["tid"] != LAYERS) == sorted(jobs)
    layers = [e for e in slices if e["tid"] == LAYERS]
    assert [e["name"] for e in layers] == [entry.layer.name for entry in outcome.program.schedule]
    assert sum(e["dur"] for e in layers) == outcome.prediction.cycles


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
    network = stages.load(parse([str(path)]), Progress()).network
    flat = [layer.output for layer in network.layers if layer.op == "reshape"]
    assert quality.reordered(network) == set(flat) and flat
