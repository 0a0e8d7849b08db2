"""The C header and the register map say what a configuration has, and nothing that it does not have."""

from pathlib import Path

import pytest

from dataflows import config, isa
from rtl.documents import c_header, parameters, registers_markdown

CONFIGS = sorted(Path("configs").glob("*.toml"))


def defined(cfg):
    """Macros of the header, without the prefix."""
    words = [line.split() for line in c_header(cfg).splitlines() if line.startswith("#define")]
    assert len({line[1] for line in words}) == len(words)
    return {line[1].removeprefix(f"{cfg.name.upper()}_"): line[2] for line in words if len(line) > 2}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_header_has_every_unit_and_target(path):
    cfg = config.load(path)
    found, text = defined(cfg), registers_markdown(cfg)
    assert {name for name in found if name.startswith("UNIT_")} == {f"UNIT_{unit.name}" for unit in isa.units(cfg)}
    targets = {name for name in found if name.startswith("TARGET_")}
    assert targets == {f"TARGET_{target.name}" for target in isa.targets(cfg)}
    for unit, registers in isa.units(cfg).items():
        assert found[f"UNIT_{unit.name}"] == f"{unit.value}u" and f"## Unit {unit.value}: {unit.name}" in text
        for number, register in enumerate(registers):
            assert found[f"{unit.name}_{register.name.upper()}"] == f"{number}u"
    assert found["HASH"] == f"0x{cfg.hash}ULL"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
@pytest.mark.parametrize(("title", "unit"), [("SPARSE", "SPARSE"), ("ATTENTION", "ROWS")])
def test_parameters_of_engines(path, title, unit):
    cfg = config.load(path)
    found, written, section = parameters(cfg), defined(cfg), getattr(cfg, title.lower())
    named = {name for name in found if name.startswith(f"{title}_")}
    assert bool(named) == (section is not None)
    for key, value in section.model_dump().items() if section else ():
        assert found[f"{title}_{key.upper()}"][0] == value and written[f"{title}_{key.upper()}"] == f"{value}u"
    assert all(meaning for _, meaning in found.values())
    assert (f"UNIT_{unit}" in written) == (section is not None)
    assert ("ROWS_SOFTMAX" in written) == (cfg.attention is not None)
