"""Emitted Verilog: lint, size, merging, companions, cache, and the command line."""

import json
import re
import shutil
import subprocess
import sys

import pytest
from amaranth import Module
from amaranth.back import rtlil
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from dataflows import catalogue, isa
from dataflows.config import Config, load, parse
from dataflows.sections import Multiplier, Numbers
from rtl import emit as emitter
from rtl.__main__ import main
from rtl.array import Grid
from rtl.arrays import array_of
from rtl.emit import emit, is_current
from rtl.merge import merge
from rtl.shared import Library
from sim import verilator

MODULE = re.compile(r"^module (\S+?)\(", re.MULTILINE)


def _config(rows: int, cols: int, dataflow: str = "weight_stationary", **sections: dict) -> Config:
    values = load("configs/tiny.toml").model_dump()
    values["array"] = {"rows": rows, "cols": cols, "dataflow": dataflow}
    values["memory"] = {
        "input_bytes": 4096, "weight_bytes": 4096, "operand_bytes": 4096, "acc_bytes": 96 * 4 * cols,
        "param_bytes": 4096,
    }
    values["stores"] = {operand.value: 20 for operand in catalogue.get(dataflow).stores}
    values["name"] = "".join(word[0] for word in dataflow.split("_")) + f"{rows}x{cols}"
    for name, section in sections.items():
        values[name] = (values[name] or {}) | section
    return parse(values, "test")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The tiny configuration and the folder it was emitted to."""
    cfg = load("configs/tiny.toml")
    return cfg, emit(cfg, tmp_path_factory.mktemp("tiny"))


def _lint(cfg, folder):
    arguments = ["--lint-only", "-Wall", "--top-module", cfg.name, f"{cfg.name}.vlt", f"{cfg.name}.v"]
    result = verilator.run(arguments, folder)
    assert result.returncode == 0 and not result.stderr, result.stderr[:3000]


def test_tiny_is_lint_clean(tiny):
    _lint(*tiny)


@pytest.mark.parametrize(
    "size", [pytest.param((1, 1), id="1x1", marks=pytest.mark.regress), pytest.param((3, 5), id="3x5")]
)
@pytest.mark.parametrize("dataflow", catalogue.NAMES)
def test_odd_sizes_of_every_dataflow_are_lint_clean(dataflow, size, tmp_path):
    cfg = _config(*size, dataflow)
    _lint(cfg, emit(cfg, tmp_path))


@pytest.mark.parametrize(("dataflow", "bus"), [(name, 64) for name in catalogue.NAMES] + [("output_stationary", 256)])
def test_wide_operands_are_lint_clean(dataflow, bus, tmp_path):
    wide = {"act_bits": 16, "weight_bits": 16, "acc_bits": 48}
    cfg = _config(3, 5, dataflow, numbers=wide, bus={"data_bits": bus})
    _lint(cfg, emit(cfg, tmp_path))


@pytest.mark.parametrize(("leaf", "bus"), [pytest.param(2, 64, marks=pytest.mark.regress), (4, 256)])
def test_fusion_units_are_lint_clean(leaf, bus, tmp_path):
    values = _config(3, 4, bus={"data_bits": bus}).model_dump(exclude_none=True)
    cfg = parse(values | {"multiplier": {"kind": "fusion", "leaf": leaf}}, "test")
    _lint(cfg, emit(cfg, tmp_path))


@pytest.mark.parametrize(("cols", "bits", "words"), [(1, 64, 3), (5, 128, 100)])
def test_windows_are_lint_clean(cols, bits, words, tmp_path):
    cfg = _config(2, cols, vector={"window_words": words}, bus={"data_bits": bits})
    folder = emit(cfg, tmp_path)
    _lint(cfg, folder)
    text = (folder / f"{cfg.name}.v").read_text()
    assert MODULE.findall(text).count(f"{cfg.name}_window_lane") == 1
    assert len(re.findall(rf"^  {cfg.name}_window_lane \S+ \($", text, re.M)) == cols
    assert f"_WINDOW_WORDS {words}u" in (folder / f"{cfg.name}.h").read_text()


def test_no_windows_no_hardware_for_them(tiny):
    cfg, folder = tiny
    text = (folder / "tiny.v").read_text()
    assert cfg.vector is None and "window_lane" not in text and "from_window" not in text


def test_wide_bus_is_lint_clean(tmp_path):
    cfg = _config(2, 2, bus={"data_bits": 512}, control={"semaphores": 12})
    _lint(cfg, emit(cfg, tmp_path))


@pytest.mark.parametrize(("depth", "bits"), [(1, 16), (33, 8)])
def test_zero_gating_and_any_stores_are_lint_clean(depth, bits, tmp_path):
    stores = {"input": depth, "weight": depth, "output": depth}
    array = {"zero_gating": True}
    memory = {"acc_bytes": 96 * 6 * 3, "param_bytes": 8192}
    numbers = {"act_bits": bits, "weight_bits": bits, "acc_bits": 3 * bits if bits == 16 else 32}
    cfg = _config(2, 3, "row_stationary", stores=stores, array=array, memory=memory, numbers=numbers)
    _lint(cfg, emit(cfg, tmp_path))


def test_a_real_mistake_is_not_waived(tiny, tmp_path):
    """The waivers leave lint its teeth: an undriven and an unused signal are still found."""
    cfg, folder = tiny
    for suffix in ("v", "vlt"):
        shutil.copy(folder / f"{cfg.name}.{suffix}", tmp_path)
    path = tmp_path / f"{cfg.name}.v"
    path.write_text(path.read_text().replace("endmodule", "wire lost; wire used = lost;\nendmodule", 1))
    result = verilator.run(["--lint-only", "-Wall", "--top-module", cfg.name, f"{cfg.name}.vlt", path.name], tmp_path)
    assert "UNDRIVEN" in result.stderr and "'used'" in result.stderr


def test_ports_have_plain_names(tiny):
    cfg, folder = tiny
    text = (folder / f"{cfg.name}.v").read_text()
    ports = set(re.split(r"\s*,\s*", re.search(rf"^module {cfg.name}\((.*?)\);", text, re.MULTILINE | re.DOTALL)[1]))
    assert {"clk", "rst", "irq", "m_axi_araddr", "m_axi_wstrb", "s_axil_awaddr", "s_axil_rresp"} <= ports
    assert all(re.fullmatch(r"clk|rst|irq|(m_axi|s_axil)_[a-z]+", port) for port in ports), ports
    assert len(ports) == 3 + 29 + 19


def test_no_initial_values(tiny):
    """A simulator may start every register and memory at random."""
    cfg, folder = tiny
    text = (folder / f"{cfg.name}.v").read_text()
    assert not re.search(r"^\s*initial\b", text, re.MULTILINE)
    assert not re.search(r"^\s*reg (?!\\\$auto\$).*=", text, re.MULTILINE)  # Yosys starts its processes by such a one


@pytest.mark.parametrize("dataflow", catalogue.NAMES)
def test_modules_do_not_grow_with_the_array(dataflow):
    modules = []
    for rows, cols in ((3, 4), (9, 7)):
        library = Library()
        library.convert(array_of(_config(rows, cols, dataflow)), "array")
        modules.append(set(_types(merge("".join(library.texts), "array", library.kinds))))
    assert modules[0] == modules[1]
    assert {"pe", "row"} <= {name.rsplit("_", 1)[-1] for name in modules[0]}


def test_units_of_one_kind_share_modules(tiny):
    """Six command queues and all vector lanes are one module each."""
    cfg, folder = tiny
    text = (folder / f"{cfg.name}.v").read_text()
    names = MODULE.findall(text)
    assert len(names) == len(set(names)) < 80
    assert f"{cfg.name}_vector_lane" in names and len(re.findall(r"^  tiny_vector_lane \S+ \($", text, re.M)) == 4


def test_text_is_the_same_on_every_run(tiny):
    cfg, folder = tiny
    script = "from rtl.emit import verilog; from dataflows.config import load; import sys; " \
        "sys.stdout.write(verilog(load('configs/tiny.toml')))"
    environment = {"PYTHONHASHSEED": "12345", "PYTHONPATH": "."}
    again = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert again.stdout.splitlines()[1:] == (folder / f"{cfg.name}.v").read_text().splitlines()[1:]


FUSED = ["brick", "fusion_tree_4", "fusion_tree", "fusion_unit", "fusion_pe", "row", "grid"]


@pytest.mark.parametrize(
    ("unit", "names"),
    [(None, ["pe", "row", "grid"]), (Multiplier(kind="fusion"), FUSED)],
    ids=["fixed", "fusion"],
)
def test_large_grids_are_converted_once_per_module(unit, names):
    """What keeps generation fast: the number of netlists does not depend on the size."""
    for rows, cols in ((4, 4), (24, 24)):
        library = Library()
        library.convert(Grid(catalogue.get("weight_stationary"), Numbers(), rows, cols, unit), "grid")
        assert [re.search(r"^module \\(\S+)", text, re.MULTILINE)[1] for text in library.texts] == names
        assert "".join(library.texts).count(r"cell \row ") == rows
        assert "".join(library.texts).count(rf"cell \{names[-3]} ") == cols


# -- merging ---------------------------------------------------------------------------------------


class Adder(wiring.Component):
    """Adds a constant, registered."""

    def __init__(self, constant):
        self.constant = constant
        super().__init__({"i": In(8), "o": Out(8)})

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.o.eq(self.i + self.constant)
        return m


class Pair(wiring.Component):
    """Two adders in a row."""

    def __init__(self, first, second):
        self.first, self.second = first, second
        super().__init__({"i": In(8), "o": Out(8)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.a = a = Adder(self.first)
        m.submodules.b = b = Adder(self.second)
        m.d.comb += [a.i.eq(self.i), b.i.eq(a.o), self.o.eq(b.o)]
        return m


class Chain(wiring.Component):
    """Pairs in a row."""

    def __init__(self, *constants):
        self.constants = constants
        super().__init__({"i": In(8), "o": Out(8)})

    def elaborate(self, platform):
        m = Module()
        value = self.i
        for index, pair in enumerate(self.constants):
            m.submodules[f"pair_{index}"] = stage = Pair(*pair)
            m.d.comb += stage.i.eq(value)
            value = stage.o
        m.d.comb += self.o.eq(value)
        return m


def _merged(*constants):
    library = Library()
    library.convert(Chain(*constants), "top")
    return merge("".join(library.texts), "top", library.kinds)


def _types(text):
    return {
        name: re.findall(r"^  cell \\(\S+) ", body, re.MULTILINE)
        for name, body in re.findall(r"^module \\(\S+)\n(.*?)^end\n", text, re.MULTILINE | re.DOTALL)
    }


def test_equal_modules_become_one_and_different_ones_stay():
    types = _types(_merged((1, 2), (1, 2), (2, 1)))
    assert len(types) == 5  # top, two kinds of adders, two kinds of pairs
    first, second, third = types["top"]
    assert first == second != third
    assert types[first] == types[third][::-1]
    assert len(set(types[first])) == 2


def test_one_constant_more_is_one_module_more():
    same, other = _types(_merged((7, 7), (7, 7))), _types(_merged((7, 7), (7, 9)))
    assert len(same) == 3 and len(other) == 5
    assert set(same) == {"top", "top_pair", "top_adder"}


def test_merged_text_is_what_the_unmerged_text_computes():
    """Follow the cells of the merged text and add up the constants that are found at the leaves."""
    pairs = [(1, 2), (3, 2), (1, 2), (250, 0)]
    text = _merged(*pairs)
    types = _types(text)
    constants = {
        name: int(match[1], 2)
        for name, body in re.findall(r"^module \\(\S+)\n(.*?)^end\n", text, re.MULTILINE | re.DOTALL)
        if (match := re.search(r"connect \\B \d+'([01]+)", body))
    }
    constants |= {name: 0 for name in types if not types[name] and name not in constants}
    leaves = [constants[leaf] for pair in types["top"] for leaf in types[pair]]
    assert leaves == [constant for pair in pairs for constant in pair]


def test_shared_components_simulate_as_they_are():
    """Without a library a shared component is a plain component."""
    dut = Grid(catalogue.get("weight_stationary"), Numbers(), 1, 1)
    sim = Simulator(dut)
    sim.add_clock(1e-9)
    seen = []

    async def bench(ctx):
        ctx.set(dut.input_i[0], 5)
        for _ in range(3):
            await ctx.tick()
        seen.append(ctx.get(dut.input_i[0]))

    sim.add_testbench(bench)
    sim.run()
    assert seen == [5]
    assert "cell \\pe " not in rtlil.convert(Grid(catalogue.get("weight_stationary"), Numbers(), 1, 1), emit_src=False)


# -- companions and cache --------------------------------------------------------------------------


def test_header_compiles_and_says_what_isa_says(tiny, tmp_path):
    cfg, folder = tiny
    compiler = shutil.which("gcc") or shutil.which("g++") or shutil.which("clang")
    names = {f"TINY_REG_{r.name}": r.address for r in isa.HOST_REGISTERS}
    names |= {f"TINY_OP_{op.name}": op.value for op in isa.Op}
    names |= {"TINY_ROWS": 4, "TINY_HASH": cfg.hash_value, "TINY_PARAM_ENTRY_BYTES": cfg.param_entry_bytes}
    names |= {"TINY_ACT_BYTES": 1, "TINY_PARAM_LANE_BYTES": 8}
    for unit, registers in isa.units(cfg).items():
        for number, register in enumerate(registers):
            names[f"TINY_{unit.name}_{register.name.upper()}"] = number
            low = 0
            for field in register.fields:
                names[f"TINY_{unit.name}_{register.name.upper()}_{field.name.upper()}_LOW"] = low
                low += field.bits
    checks = [f'_Static_assert({name} == {value}ULL, "{name}");' for name, value in names.items()]
    source = tmp_path / "check.c"
    source.write_text("\n".join(['#include "tiny.h"', '#include "tiny.h"', *checks, ""]))
    command = [compiler, "-x", "c", "-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I", folder, source]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_documents_name_every_register(tiny):
    cfg, folder = tiny
    text = (folder / "registers.md").read_text()
    for register in isa.HOST_REGISTERS:
        assert f"| 0x{register.address:03x} | {register.name} |" in text
    for unit, registers in isa.units(cfg).items():
        assert f"## Unit {unit.value}: {unit.name}" in text
        assert all(f"| {number} | {register.name} |" in text for number, register in enumerate(registers))
    assert json.loads((folder / "config.json").read_text()) == cfg.resolved()


def test_nothing_is_done_twice(tiny, monkeypatch):
    cfg, folder = tiny

    def refuse(_):
        raise AssertionError("generated again")

    monkeypatch.setattr(emitter, "verilog", refuse)
    assert emit(cfg, folder) == folder
    renamed = parse({**cfg.model_dump(), "clock_mhz": 250.0}, "test")
    assert not is_current(renamed, folder)  # same hash, but config.json would differ
    monkeypatch.setattr(emitter, "generator_hash", lambda: "0" * 14)
    assert not is_current(cfg, folder)


@pytest.mark.parametrize("name", ["tiny.v", "tiny.vlt", "tiny.h", "config.json", "registers.md", "stationary.c"])
def test_a_file_that_is_gone_is_made_again(tiny, tmp_path, name):
    cfg, folder = tiny
    for path in folder.iterdir():
        shutil.copy(path, tmp_path)
    assert is_current(cfg, tmp_path)
    (tmp_path / name).unlink()
    assert not is_current(cfg, tmp_path)


def test_a_failed_run_overwrites_nothing(tiny, monkeypatch, tmp_path):
    cfg, folder = tiny
    for path in folder.iterdir():
        shutil.copy(path, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(_):
        raise RuntimeError("no Verilog today")

    monkeypatch.setattr(emitter, "generator_hash", lambda: "0" * 14)
    monkeypatch.setattr(emitter, "verilog", fail)
    with pytest.raises(RuntimeError, match="no Verilog today"):
        emit(cfg, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


# -- command line ----------------------------------------------------------------------------------


def test_command_line_writes_a_folder_per_design(tiny, monkeypatch, tmp_path, capsys):
    _, folder = tiny
    text = (folder / "tiny.v").read_text()
    monkeypatch.setattr(emitter, "verilog", lambda _: text)
    for expected in (r"\d+\.\d", "up to date"):
        assert main(["configs/tiny.toml", "--out", str(tmp_path)]) == 0
        assert re.search(rf"tiny.*16.*{expected}", capsys.readouterr().out)
    assert (tmp_path / "tiny" / "tiny.v").read_text() == text


def test_command_line_refuses_in_one_line(capsys, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("mine")
    for arguments, words in (
        (["configs/absent.toml"], "no such configuration file"),
        (["configs/tiny.toml", "configs/tiny.toml"], "two configurations are called 'tiny'"),
        (["configs/tiny.toml", "--out", str(blocked)], "cannot be written: Not a directory"),
    ):
        assert main(["--out", str(tmp_path), *arguments]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and error.startswith("error: ") and words in error
        assert [path.name for path in tmp_path.iterdir()] == ["file"] and blocked.read_text() == "mine"
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2


def test_schema_is_json(capsys):
    assert main(["--schema"]) == 0
    assert "array" in json.loads(capsys.readouterr().out)["properties"]


@pytest.mark.parametrize(
    ("cols", "bits", "run_bits"),
    [(5, 128, 5), *(pytest.param(*sizes, marks=pytest.mark.regress) for sizes in ((1, 64, 3), (20, 512, 1)))],
)
def test_codec_is_lint_clean(cols, bits, run_bits, tmp_path):
    cfg = _config(2, cols, codec={"run_bits": run_bits, "blocks": 50}, bus={"data_bits": bits})
    folder = emit(cfg, tmp_path)
    _lint(cfg, folder)
    text = (folder / f"{cfg.name}.v").read_text()
    assert MODULE.findall(text).count(f"{cfg.name}_decoder") == 1
    assert f"_BLOCKS {cfg.codec.blocks}u" in (folder / f"{cfg.name}.h").read_text()


def test_no_codec_no_hardware_for_it(tiny):
    cfg, folder = tiny
    text = (folder / "tiny.v").read_text()
    assert cfg.codec is None and "coded" not in text and "compressor" not in text


ENGINES = {
    "wide": (3, 4, {
        "numbers": {"act_bits": 16, "weight_bits": 16, "acc_bits": 48}, "bus": {"data_bits": 128}, "sparse": {
            "pes": 8, "queue": 1, "run_bits": 5, "code_bits": 6, "codebooks": 3, "accumulators": 20,
            "weight_bytes": 512, "pointer_bytes": 128,
        },
    }),
    "odd": (3, 5, {"bus": {"data_bits": 256}, "sparse": {
        "pes": 10, "queue": 7, "run_bits": 3, "code_bits": 2, "codebooks": 1, "accumulators": 2, "weight_bytes": 160,
        "pointer_bytes": 96,
    }}),
    "single": (1, 1, {"sparse": {"pes": 1, "queue": 2, "weight_bytes": 8, "pointer_bytes": 8}}),
}  # fmt: skip
"""Rows and columns of the array, and sections, of configurations with a sparse engine."""


@pytest.mark.parametrize(
    "name", ["eie4", "odd", *(pytest.param(name, marks=pytest.mark.regress) for name in ("wide", "single"))]
)
def test_sparse_engine_is_lint_clean(name, tmp_path):
    cfg = load("configs/eie4.toml")
    if name != "eie4":
        rows, cols, sections = ENGINES[name]
        cfg = _config(rows, cols, **sections)
    folder = emit(cfg, tmp_path)
    _lint(cfg, folder)
    modules = MODULE.findall((folder / f"{cfg.name}.v").read_text())
    assert modules.count(f"{cfg.name}_sparse_pe") == modules.count(f"{cfg.name}_column_walker") == 1


def test_no_sparse_engine_no_hardware_for_it(tiny):
    cfg, folder = tiny
    assert "sparse" not in (folder / f"{cfg.name}.v").read_text()


@pytest.mark.parametrize("cols", [pytest.param(1, marks=pytest.mark.regress), 5])
def test_row_engine_is_lint_clean(cols, tmp_path):
    rows = {"row_elements": 5 * 16 if cols == 5 else 16, "scales": 17, "tables": 3, "indices": 16}
    cfg = _config(2, cols, attention=rows, bus={"data_bits": 256 if cols == 5 else 64})
    folder = emit(cfg, tmp_path)
    _lint(cfg, folder)
    modules = MODULE.findall((folder / f"{cfg.name}.v").read_text())
    assert modules.count(f"{cfg.name}_lane_table") == modules.count(f"{cfg.name}_row_scales") == 1


def test_no_attention_no_hardware_for_it(tiny):
    cfg, folder = tiny
    text = (folder / f"{cfg.name}.v").read_text()
    assert not any(name in text for name in ("row_scales", "table", "gather", "row_words", "to_rows", "by_row"))
