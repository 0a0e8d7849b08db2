"""The report about transformers: which tokens are left, traffic, utilization, the row engine."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from dataflows import config, isa
from dataflows.attention import Attention
from dataflows.pruning import Select
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.leave_out_values import leave_out_values
from mapper.options import parse
from mapper.outcome import Outcome
from mapper.report import report
from mapper.report_layers import views
from mapper.report_tokens import WIDTH, pictures
from mapper.run import PICTURED, Run
from mapper.terminal import show
from mapper.timing import predict
from mapper.timing_causes import REASONS
from mapper.trace_events import trace_events
from sim import golden
from tests.attention_configs import small_attention
from tests.attention_networks import random_input
from tests.pruned_transformers import pruned_encoder

KEEP = (17, 9, 3)
HEADS = 4


@pytest.fixture(scope="module")
def outcome():
    """A network that leaves out tokens and heads, as if it had been run."""
    cfg = small_attention()
    cfg = cfg.model_copy(update={"attention": cfg.attention.model_copy(update={"pruning": True, "values": True})})
    network = pruned_encoder(3, 20, HEADS, 8, KEEP, (HEADS, 2, 2))
    _, second, third = (layer.name for layer in network.layers if isinstance(layer, Attention))
    network = leave_out_values(network, {second: 0.4}, {third: 0.2}, {second: 0.1})
    program = compile_network(cfg, network, Options())
    prediction = predict(program, 100, 8)
    run = Run(samples=PICTURED + 2, cycles=prediction.cycles * (PICTURED + 2))
    for seed in range(run.samples):
        run.select(program, golden.run(network, {"x": random_input(network, seed)}))
    run.layer_cycles = {entry.index: 1000 for entry in program.schedule}
    run.dram = {"read_bytes": 1000, "write_bytes": 500}
    arguments = parse(["net.pt2", "--config", "configs/ws16_attention.toml"])
    return Outcome(arguments, Path("net.toml"), program, prediction, run.samples, run, {}, (), {})


def places(cells):
    """Numbers that a path shows, of 20."""
    return [round(float(part.split()[0]) * 20 / WIDTH) for part in cells.split("M")[1:]]


def test_lines_hold_the_numbers_of_the_golden_model(outcome):
    network, found = outcome.program.network, pictures(outcome)
    tokens = [picture for picture in found if picture.kind == "tokens"]
    assert [picture.sample for picture in tokens] == list(range(PICTURED))
    lists = [layer.output for layer in network.layers if isinstance(layer, Select) and not layer.heads]
    for seed, picture in enumerate(tokens):
        values = golden.run(network, {"x": random_input(network, seed)})
        wanted = [values[name].ravel().tolist() for name in lists]
        assert [places(line.cells) for line in picture.lines] == [list(range(20)), *wanted]
        assert [line.left for line in picture.lines] == [20, *KEEP]
        assert [outcome.document()["selections"][name][seed] for name in lists] == wanted
    heads = [picture for picture in found if picture.kind == "heads"]
    assert [line.left for line in heads[0].lines] == [HEADS, 2]


def test_the_page_shows_them(outcome):
    text = report(outcome)
    assert "What was left out" in text and f"sample {PICTURED - 1}, 20 tokens" in text
    assert "row engine" in text and "softmax and norms of 64" in text
    json.dumps(outcome.document(), allow_nan=False)
    names = [event["args"]["name"] for event in trace_events(outcome)["traceEvents"] if event["name"] == "thread_name"]
    assert "ROWS: softmax and norms of rows" in names


def test_rows_of_the_table(outcome):
    by_op = {}
    for view in views(outcome):
        by_op.setdefault(view.row.op, []).append(view)
        assert sum(part.cycles for part in view.parts) == view.row.cycles
    attention = by_op["attention"][0].row
    assert attention.macs == 2 * 20 * 20 * HEADS * 8 * outcome.samples and attention.engine == "array"
    assert attention.utilization == attention.macs / (attention.cycles * outcome.cfg.multipliers)
    assert attention.weight_bits is None and by_op["norm"][0].row.engine == "rows"
    assert any(view.row.stalls["rows"] for view in by_op["norm"]) and set(attention.stalls) == set(REASONS)
    gather = by_op["gather"][0]
    assert gather.least_bytes == 2 * np.prod(gather.row.shape) * outcome.samples
    assert all(view.bytes >= 0.9 * view.least_bytes for views_ in by_op.values() for view in views_)


def test_values_left_out(outcome):
    """None of the first layer; 7 of 17 by rank; of the third one what the data says."""
    first, second, third = (row.values for row in outcome.rows if row.op == "attention")
    assert first is None and second.text == "7 of 17" and second.least == 13
    counts = outcome.run.values[next(row.name for row in outcome.rows if row.values is third)]
    assert len(counts) == 2 * (PICTURED + 2) and third.kept == np.mean(counts) and third.most == max(counts)
    assert max(counts) <= 9 and min(counts) < 9 and third.least == 0
    assert [layer["values"]["kept"] for layer in outcome.document()["layers"] if layer["values"]] == [7, third.kept]
    text = report(outcome)
    assert "7 of 17" in text and "13 / 127" in text and third.text in text
    console = Console(width=150, file=io.StringIO())
    show(console, [outcome])
    shown = console.file.getvalue()
    assert "values left out" in shown and third.text in shown


def test_nothing_is_pictured_without_a_run_or_without_selections():
    cfg = config.load("configs/ws16_attention.toml")
    assert isa.Unit.ROWS in isa.units(cfg)
    network = pruned_encoder(3, 6, 2, 8, (6,), (2,))
    program = compile_network(
        cfg.model_copy(update={"attention": cfg.attention.model_copy(update={"pruning": True})}), network, Options()
    )
    arguments = parse(["net.pt2", "--config", "configs/ws16_attention.toml"])
    outcome = Outcome(arguments, Path("net.toml"), program, predict(program, 100, 16), 1, None, {}, (), {})
    assert not pictures(outcome) and "What was left out" not in report(outcome)
