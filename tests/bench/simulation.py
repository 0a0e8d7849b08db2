"""Speed of simulation: the fast runner by array size, C++ builds, and cocotb with cocotbext-axi on the same program."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import numpy as np

from dataflows import config, isa
from dataflows.config import Config
from dataflows.network import Network, Window
from mapper.compile import Program, compile_network
from mapper.conv_plan import Options
from mapper.run import Image, execute
from rtl.emit import emit
from sim import golden
from sim.build import build
from sim.cocotb_runner import run_cocotb
from sim.runner import Dram
from tests.bench.figures import FOLDER, Figure, shown
from tests.random_layers import activation, convolution, random_input

CONFIGS = ("tiny", "ws8", "ws16", "ws32")
CYCLES = 500_000
"""A speed is measured over at least this many cycles."""

GOAL = 30
COMMAND = shown("-m", "tests.bench", "simulation")


def network(size: int) -> Network:
    """A 3x3 convolution of 48 channels on ``size`` x ``size`` pixels."""
    rng = np.random.default_rng(0)
    x = activation(rng, "x", (1, size, size, 48))
    conv, y = convolution(rng, "conv", x, 48, 1, Window((3, 3), padding=(1, 1, 1, 1)))
    return Network("speed", {t.name: t for t in (x, y)}, (conv,), (x.name,), (y.name,))


def compiled(cfg: Config, size: int) -> Program:
    """The network's program."""
    return compile_network(cfg, network(size), Options(bytes_per_cycle=cfg.bus_bytes))


def speed(cfg: Config, size: int) -> float:
    """Cycles per second of the fast runner."""
    program = compiled(cfg, size)
    macs = sum(program.network.macs(layer) for layer in program.network.layers)
    samples = -(-CYCLES * cfg.multipliers // macs)
    inputs = np.concatenate([random_input(program.network, 0)] * samples)
    run = execute(program, {"x": inputs}, dram=Dram(), build_root=FOLDER / "rtl")
    if run.mismatches:
        raise AssertionError(f"{cfg.name} disagrees with the golden model: {run.mismatches[0]}")
    return run.cycles_per_second


def cocotb_speed(cfg: Config, size: int) -> float:
    """Cycles per second of the same program under cocotb, host and memory by cocotbext-axi, nothing else watched."""
    program = compiled(cfg, size)
    image = Image.of(program)
    memory = image.memory(0)
    inputs = {"x": random_input(program.network, 0)}
    image.view(memory, "x")[...] = inputs["x"]
    wide = {f"BASE_{region.name}": base for region, base in image.bases.items()} | {"MARK": image.marks}
    address = {register.name: register.address for register in isa.HOST_REGISTERS}
    writes = [(address["IRQ_ENABLE"], 1), (address["PROGRAM_WORDS"], len(program.words))]
    writes += [(address[f"{name}_LOW"], value) for name, value in wide.items()]
    with tempfile.TemporaryDirectory(prefix="cocotb-speed-") as name:
        folder = Path(name)
        memory.tofile(folder / "memory.bin")
        (folder / "run.json").write_text(json.dumps({"writes": writes, "start": address["CONTROL"]}))
        verilog = emit(cfg, FOLDER / "rtl" / cfg.name) / f"{cfg.name}.v"
        run_cocotb(cfg, verilog, "tests.bench.cocotb_speed", {"SPEED_FOLDER": name}, timeout=1200)
        result = json.loads((folder / "result.json").read_text())
        found = image.view(np.fromfile(folder / "memory.bin", np.uint8), "conv_out")
        if not np.array_equal(found, golden.run(program.network, inputs)["conv_out"]):
            raise AssertionError(f"{cfg.name} under cocotb disagrees with the golden model")
    return result["cycles"] / result["seconds"]


def build_seconds(cfg: Config, cache: Path) -> float:
    """Verilator and the C++ compiler on an accelerator that is not in the cache."""
    verilog = emit(cfg, FOLDER / "rtl" / cfg.name) / f"{cfg.name}.v"
    started = time.perf_counter()
    build(verilog, cfg.name, cache=cache)
    return time.perf_counter() - started


def run() -> list[Figure]:
    """Speeds, build times, and the ratio to cocotb."""
    figures = []
    with tempfile.TemporaryDirectory(prefix="builds-") as cache:
        for name in CONFIGS:
            cfg = config.load(f"configs/{name}.toml")
            array = f"{cfg.array.rows}x{cfg.array.cols}"
            note = " (and Verilator's runtime, once)" if name == CONFIGS[0] else ""
            figures += [
                Figure(f"{array}: C++ build{note}", build_seconds(cfg, Path(cache)), "s", "none", None, COMMAND),
                Figure(f"{array}: fast runner", speed(cfg, 28), "cycles/s", "none", None, COMMAND),
            ]
    cfg = config.load("configs/ws16.toml")
    fast, slow = speed(cfg, 16), cocotb_speed(cfg, 16)
    figures += [
        Figure("16x16, same program: fast runner", fast, "cycles/s", "cocotb with cocotbext-axi", slow, COMMAND),
        Figure("16x16, same program: fast runner over cocotb", fast / slow, "1", "goal", GOAL, COMMAND),
    ]
    return figures
