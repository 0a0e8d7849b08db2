"""Advice: designs that differ in one thing, each mapped as if it had been asked for."""

import json
import tomllib
from pathlib import Path

import pytest
import torch

from dataflows import config
from mapper.advice import variants
from mapper.cli import main
from tests.mapper import models

TINY = Path("configs/tiny.toml")


@pytest.mark.parametrize("path", sorted(Path("configs").glob("*.toml")), ids=lambda path: path.stem)
def test_designs_differ_in_one_thing(path) -> None:
    cfg = config.load(path)
    found = list(variants(cfg))
    assert len({what for what, _, _ in found}) == len(found) >= 5
    for what, other, rate in found:
        different = [name for name in type(cfg).model_fields if getattr(cfg, name) != getattr(other, name)]
        assert len(different) == (0 if what == "memory of twice the bandwidth" else 1), what
        assert rate == (2.0 if "bandwidth" in what or what.startswith("bus") else 1.0)


def mapped(tmp_path, model, *options):
    out = tmp_path / "r.json"
    assert main([str(model), "--out", str(tmp_path / "out"), "--json", str(out), *options]) == 0
    return json.loads(out.read_text())


def test_changes_are_what_a_command_would_tell(tmp_path, capsys) -> None:
    model = models.save_export(models.lenet(), tmp_path / "m.pt2", torch.zeros(2, 1, 24, 20))
    plain = mapped(tmp_path, model, "--config", str(TINY))
    advised = mapped(tmp_path, model, "--config", str(TINY), "--advise")
    table = capsys.readouterr().out
    assert not plain["advice"] and advised["totals"] == plain["totals"]
    by_name = {change["what"]: change for change in advised["advice"]}
    assert [c["cycles"] for c in advised["advice"]] == sorted(c["cycles"] for c in advised["advice"])
    assert all(name in table for name in by_name) and "If one thing" in (tmp_path / "out/report.html").read_text()

    fast = mapped(tmp_path, model, "--config", str(TINY), "--dram-bytes-per-cycle", "16")
    assert by_name["memory of twice the bandwidth"]["cycles"] == fast["totals"]["cycles_predicted"]
    values = tomllib.loads(TINY.read_text())
    text = TINY.read_text().replace(f"rows = {values['array']['rows']}", f"rows = {2 * values['array']['rows']}")
    (tmp_path / "tall.toml").write_text(text)
    tall = mapped(tmp_path, model, "--config", str(tmp_path / "tall.toml"))
    found = by_name["array of twice the rows"]
    assert found["cycles"] == tall["totals"]["cycles_predicted"] != plain["totals"]["cycles_predicted"]
    assert found["energy_pj"] == pytest.approx(tall["totals"]["energy_pj"])
    assert found["saved"] == pytest.approx(1 - found["cycles"] / plain["totals"]["cycles_predicted"])
