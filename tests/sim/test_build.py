"""The build cache, the tools it needs, and lint."""

import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from dataflows.errors import InputError
from sim import verilator
from sim.build import CACHE, build
from sim.build import _cached as cached

GOOD = "module {0}(input clk, input [3:0] d, output reg [3:0] q);\n  always @(posedge clk) q <= d{1};\nendmodule\n"


def test_illegal_verilog_is_refused_with_the_reason(tmp_path):
    path = tmp_path / "bad.v"
    path.write_text("module bad(input a; endmodule")
    with pytest.raises(InputError, match=r"bad.v: Verilator refused it:(.|\n)*syntax error"):
        build(path, "bad", cache=tmp_path / "cache")
    assert not [p for p in (tmp_path / "cache").iterdir() if p.is_dir()]  # nothing half-made stays


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"none\.v: cannot be read as Verilog: No such file"):
        build(tmp_path / "none.v", "none")


def test_same_text_is_found_and_other_text_is_built(tmp_path):
    made = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "file").write_text("x")

    first = cached(tmp_path, "", [b"text", b"flags"], make)
    assert cached(tmp_path, "", [b"text", b"flags"], make) == first
    assert len(made) == 1
    others = {cached(tmp_path, "", parts, make) for parts in ([b"Text", b"flags"], [b"text", b""], [b"textflags", b""])}
    assert len(others | {first}) == 4
    assert (first / "file").read_text() == "x"


def test_a_failed_build_leaves_nothing(tmp_path):
    def fail(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        cached(tmp_path, "", [b"a"], fail)
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == []


def _slowly(folder: Path) -> None:
    time.sleep(0.2)
    (folder / f"made-by-{os.getpid()}").touch()


def _build_once(cache: Path) -> list[str]:
    return sorted(p.name for p in cached(cache, "", [b"shared"], _slowly).iterdir())


def test_parallel_processes_build_once(tmp_path):
    with ProcessPoolExecutor(3) as pool:
        contents = list(pool.map(_build_once, [tmp_path] * 3))
    assert contents[0] == contents[1] == contents[2]
    assert len(contents[0]) == 1


@pytest.mark.parametrize(
    ("present", "message"),
    [
        ([], "perl was not found, and Verilator needs it; install it"),
        (["perl"], "no C\\+\\+ compiler was found .*; install one"),
        (["perl", "g++"], "make was not found; install it"),
    ],
)
def test_missing_tool_is_named_in_one_line(tmp_path, monkeypatch, present, message):
    for name in present:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    path = tmp_path / "good.v"
    path.write_text(GOOD.format("good", ""))
    with pytest.raises(InputError, match=message) as caught:
        build(path, "good", cache=CACHE)
    assert "\n" not in str(caught.value)


def test_compiler_named_by_the_user_is_missing(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InputError, match="named by CXX, 'no-such-compiler', was not found"):
        verilator.check_tools()


def test_lint(tmp_path):
    clean, dirty = tmp_path / "clean.v", tmp_path / "dirty.v"
    clean.write_text(GOOD.format("clean", ""))
    dirty.write_text(GOOD.format("dirty", " + 8'd1"))
    assert verilator.lint(clean, "clean") == ""
    assert "WIDTH" in verilator.lint(dirty, "dirty")


def test_comments_at_the_top_do_not_count(monkeypatch, tmp_path):
    keys = []
    monkeypatch.setattr("sim.build._cached", lambda cache, prefix, parts, make: keys.append(parts) or cache)
    text = GOOD.format("good", "")
    for comment in ("", "// made by generator 1\n", "// made by generator 2\n// or so\n", "wire x; // 1\n"):
        (tmp_path / "good.v").write_text(comment + text)
        build(tmp_path / "good.v", "good", cache=tmp_path)
    assert keys[0] == keys[1] == keys[2] != keys[3]


def test_compiler_that_does_not_work(monkeypatch, tmp_path):
    verilog = tmp_path / "good.v"
    verilog.write_text(GOOD.format("good", ""))
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(InputError, match=r"the C\+\+ compiler .*false failed on .*; it said: nothing"):
        build(verilog, "good", cache=tmp_path)
    noise = tmp_path / "noise"
    noise.write_bytes(b"\0")
    noise.chmod(0o755)
    monkeypatch.setenv("CXX", str(noise))
    with pytest.raises(InputError, match="noise cannot be run: Exec format error; another can be named by CXX"):
        build(verilog, "good", cache=tmp_path)
