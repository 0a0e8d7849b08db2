"""Energy: numbers of the table, bytes that jobs move, and what a command tells of both."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from dataflows import config
from dataflows.network import Conv, Network, Tensor, Window
from mapper.accesses import accesses
from mapper.cli import main
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.energy import of_dram, on_chip, product, register_bytes
from mapper.energy_table import DRAM, SRAM_KIB, sram_byte, table
from mapper.report_energy import joules, parts
from tests.mapper import models

TINY = "configs/tiny.toml"


def test_every_number_has_a_node_and_a_source() -> None:
    numbers = table()
    assert len(numbers) == 2 + 2 * len(SRAM_KIB) + len(DRAM)
    assert all(number.pj > 0 and number.what and number.node and number.source for number in numbers)


@pytest.mark.parametrize("write", [False, True])
def test_memories_cost_what_the_table_says_and_more_where_they_are_larger(write: bool) -> None:
    for kib, pair in SRAM_KIB.items():
        assert 8 * sram_byte(round(1024 * kib), 8, write=write) == pytest.approx(pair[write])
    costs = [sram_byte(size, 8, write=write) for size in (64, 700, 5000, 50_000, 500_000, 5_000_000)]
    assert all(a < b for a, b in pairwise(costs))
    # eight banks of 8 KiB that are read together: a byte costs what it does in one of them
    assert sram_byte(64 << 10, 64, write=write) == pytest.approx(sram_byte(8 << 10, 8, write=write))


@pytest.mark.parametrize(
    ("name", "size"),
    # of a product: what is passed on or changed counts twice, what is only read once; sums have 4 bytes (6 of 16 bits)
    [("ws16", 2 + 1 + 8), ("os16", 2 + 2 + 8), ("is8", 1 + 2 + 8), ("diannao", 0), ("eyeriss", 2 + 2 + 12)],
)
def test_registers_follow_from_the_dataflow(name: str, size: int) -> None:
    assert register_bytes(config.load(f"configs/{name}.toml")) == size


def layer(channels: int, pixels: int) -> Network:
    rng = np.random.default_rng(channels)
    weight = rng.integers(-128, 128, (4, channels, 1, 1)).astype(np.int8)
    scale = np.full(4, 0.01, np.float32)
    conv = Conv("c", ("x",), "y", -128, 127, weight, scale, np.zeros(4, np.int32), Window((1, 1)))
    tensors = [Tensor("x", (1, 1, pixels, channels), 0.1, 0), Tensor("y", (1, 1, pixels, 4), 1.0, 0)]
    return Network("net", {tensor.name: tensor for tensor in tensors}, (conv,), ("x",), ("y",))


def test_bytes_of_a_layer_counted_by_hand() -> None:
    cfg = config.load(TINY)  # 4 x 4, sums of 4 bytes
    moved = next(iter(accesses(compile_network(cfg, layer(8, 6), Options(bytes_per_cycle=8))).values()))
    assert moved["input buffer", False] == 2 * 6 * 4  # two slices of the channels
    assert moved["input buffer", True] == 6 * 8
    assert moved["weight buffer", False] == 8 * 4
    assert moved["accumulators", True] == 2 * 6 * 16
    assert moved["accumulators", False] == 6 * 16 + 6 * 16  # the second slice adds, then the vector unit reads
    assert not moved["operand buffer", False]


def test_places_add_up() -> None:
    cfg = config.load(TINY)
    moved = next(iter(accesses(compile_network(cfg, layer(8, 6), Options(bytes_per_cycle=8))).values()))
    found = on_chip(cfg, 192, (8, 8), moved, "array") | of_dram(100, "ddr3")
    assert found["multipliers"] == pytest.approx(192 * product(8, 8)) and found["DRAM"] == 100 * 8 * DRAM["ddr3"].pj
    assert sum(pj for _, _, pj in parts(found)) == pytest.approx(sum(found.values()))
    assert product(2, 4) == pytest.approx(product(8, 8) / 8) and product(16, 16) == 4 * product(8, 8)


@pytest.mark.parametrize(
    ("pj", "text"), [(0.0, "0 pJ"), (12.34, "12.34 pJ"), (4.5e4, "45 nJ"), (7e8, "700 uJ"), (2e12, "2 J")]
)
def test_units(pj: float, text: str) -> None:
    assert joules(pj) == text


def test_the_command_tells_it(tmp_path, capsys) -> None:
    model = models.save_export(models.lenet(), tmp_path / "m.pt2", torch.zeros(2, 1, 24, 20))
    found = {}
    for kind in DRAM:
        out = tmp_path / kind
        command = [str(model), "--config", TINY, "--out", str(out), "--json", str(tmp_path / "r.json"), "--dram", kind]
        assert main(command) == 0
        found[kind] = json.loads((tmp_path / "r.json").read_text())
        assert "energy: " in capsys.readouterr().out and 'id="energy"' in (out / "report.html").read_text()
    total = found["ddr3"]["totals"]
    assert total["energy_pj"] == pytest.approx(sum(total["energy"].values()))
    of_layers = sum(row["energy_pj"] for row in found["ddr3"]["layers"])
    own = (total["program_bytes"] + total["mark_bytes"]) * 8 * 70
    assert total["energy_pj"] == pytest.approx(of_layers + own)
    assert total["energy"]["DRAM"] / found["lpddr4"]["totals"]["energy"]["DRAM"] == pytest.approx(70 / 8)


def test_the_guide_has_every_number() -> None:
    text = Path("docs/energy.md").read_text(encoding="utf-8")
    for number in table():
        assert f"| {number.what} | {number.pj:g} | {number.node} | {number.source} |" in text
