"""Random transformers on the RTL against the golden model, cycles predicted beside measured."""

from pathlib import Path

import pytest

from dataflows import config
from mapper.compile import compile_network
from mapper.conv_plan import Options
from sim.runner import Dram
from tests.attention_networks import encoder_network, random_input
from tests.system.attention_regression import run_case
from tests.system.regression import RESULTS, failures, measure, surprises, table, write

ROOT = Path(__file__).parents[2]

CASES = {0: range(10), 1: (*range(20), 32, 43, 54)}
"""By configuration: configs/ws16_attention.toml, and a small array that also leaves out tokens and heads."""


@pytest.mark.parametrize("number", [0, pytest.param(1, marks=pytest.mark.regress)])
def test_random_transformers(number: int) -> None:
    outcomes = [run_case(number, case) for case in CASES[number]]
    print("\n" + table(outcomes))
    write(outcomes, RESULTS / f"attention{number}.json")
    assert not any(o.failure for o in outcomes), failures(outcomes)
    assert not surprises(outcomes), "cycles differ from the prediction:\n" + table(surprises(outcomes))


@pytest.mark.parametrize("number", [pytest.param(n, marks=pytest.mark.regress) for n in range(2, 14)])
def test_random_arrays(number: int) -> None:
    outcomes = [run_case(number, case) for case in range(30)]
    print("\n" + table(outcomes))
    assert not any(o.failure for o in outcomes), failures(outcomes)
    assert not surprises(outcomes), "cycles differ from the prediction:\n" + table(surprises(outcomes))


SHAPES = [
    (128, 2, 1, {}), (128, 2, 77, {"causal": True}), (256, 4, 129, {"before": True}), (312, 12, 33, {"lengths": (20,)}),
    (384, 6, 384, {}), (512, 8, 197, {"function": "silu", "centered": False}), (768, 12, 128, {}),
    (768, 12, 383, {"causal": True}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("hidden", "heads", "length", "fields"),
    [pytest.param(*shape, marks=pytest.mark.regress, id="-".join(map(str, shape[:3]))) for shape in SHAPES],
)
def test_encoder_layers(hidden: int, heads: int, length: int, fields: dict) -> None:
    """Layers of published sizes on ws16_attention: bits, and cycles as predicted."""
    cfg = config.load(ROOT / "configs" / "ws16_attention.toml")
    network = encoder_network(1, hidden, heads, length, 4 * hidden, **fields)
    memory = Dram(latency=60, bytes_per_cycle=cfg.bus_bytes)
    program = compile_network(cfg, network, Options(memory.latency, memory.bytes_per_cycle))
    outcome = measure(0, length, program, random_input(network, length), memory)
    print("\n" + table([outcome]))
    assert not outcome.failure, outcome.failure
    assert not surprises([outcome]), table([outcome])
