"""Speed of simulation: the fast runner by array size, C++ builds, and cocotb with cocotbext-axi on the same program."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
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

CONFIGS = ("tiny", "ws8", "ws16", "ws32", "diannao", "eyeriss")
CYCLES = 200_000
"""A speed is measured over at least this many cycles."""

GOAL = 30
REPEATS = 3
COMMAND = shown("-m", "tests.bench", "simulation")


def convolutional(size: int, channels: tuple[int, int], kernel: int, bits: int = 8) -> Network:
    """One convolution on ``size`` x ``size`` pixels of ``bits`` bits, padded to keep the size."""
    rng = np.random.default_rng(0)
    x = activation(rng, "x", (1, size, size, channels[0]), bits)
    border = kernel // 2
    conv, y = convolution(rng, "conv", x, channels[1], 1, Window((kernel, kernel), padding=(border,) * 4))
    return Network("speed", {t.name: t for t in (x, y)}, (conv,), (x.name,), (y.name,))


BUSY = {bits: convolutional(28, (48, 48), 3, bits) for bits in (8, 16)}
"""By width of operands: keeps every array busy."""

PROGRAMS = {"convolution": convolutional(16, (48, 48), 3), "linear layer": convolutional(1, (1024, 512), 1)}
"""One with little traffic on the buses, and one that reads a beat in almost every cycle."""

STALL = 0.2
"""Share of cycles in which a channel of the memory pauses, where it pauses at all; the same on both sides."""

RIVALS = {
    "cocotb with cocotbext-axi": {"watch": False, "stall": 0.0},
    "cocotb with cocotbext-axi, bus rules checked": {"watch": True, "stall": 0.0},
    "cocotb with cocotbext-axi, random pauses": {"watch": False, "stall": STALL},
    "cocotb with cocotbext-axi, random pauses, bus rules checked": {"watch": True, "stall": STALL},
}
"""``watch``: the rules of the bus are checked in every cycle, as the fast runner always does; ``stall``: random pauses
on all channels of the memory, on both sides, as in the regressions."""


def compiled(cfg: Config, network: Network) -> Program:
    """The network's program."""
    return compile_network(cfg, network, Options(bytes_per_cycle=cfg.bus_bytes))


def speed(cfg: Config, network: Network, stall: float = 0.0) -> float:
    """Cycles per second of the fast runner; ``stall``: share of paused cycles on every channel of the memory."""
    program = compiled(cfg, network)
    work = sum(network.macs(layer) for layer in network.layers) // cfg.multipliers
    samples = -(-CYCLES // max(work, program.constants.size // cfg.bus_bytes))
    inputs = np.concatenate([random_input(network, 0)] * samples)
    dram = Dram(read_stall=stall, write_stall=stall)
    run = execute(program, {"x": inputs}, dram=dram, build_root=FOLDER / "rtl")
    if run.mismatches:
        raise AssertionError(f"{cfg.name} disagrees with the golden model: {run.mismatches[0]}")
    return run.cycles_per_second


def cocotb_speed(cfg: Config, network: Network, options: dict[str, float]) -> float:
    """Cycles per second of the same program under cocotb, host and memory by cocotbext-axi; ``options``: see RIVALS."""
    program = compiled(cfg, network)
    image = Image.of(program)
    memory = image.memory(0)
    inputs = {"x": random_input(network, 0)}
    image.write(memory, "x", inputs["x"])
    wide = {f"BASE_{region.name}": base for region, base in image.bases.items()} | {"MARK": image.marks}
    address = {register.name: register.address for register in isa.HOST_REGISTERS}
    writes = [(address["IRQ_ENABLE"], 1), (address["PROGRAM_WORDS"], len(program.words))]
    writes += [(address[f"{name}_LOW"], value) for name, value in wide.items()]
    with tempfile.TemporaryDirectory(prefix="cocotb-speed-") as name:
        folder = Path(name)
        memory.tofile(folder / "memory.bin")
        (folder / "run.json").write_text(json.dumps({"writes": writes, "start": address["CONTROL"], **options}))
        verilog = emit(cfg, FOLDER / "rtl" / cfg.name) / f"{cfg.name}.v"
        run_cocotb(cfg, verilog, "tests.bench.cocotb_speed", {"SPEED_FOLDER": name}, timeout=1200)
        result = json.loads((folder / "result.json").read_text())
        found = image.read(np.fromfile(folder / "memory.bin", np.uint8), "conv_out")
        if not np.array_equal(found, golden.run(network, inputs)["conv_out"]):
            raise AssertionError(f"{cfg.name} under cocotb disagrees with the golden model")
    return result["cycles"] / result["seconds"]


def best(measure: Callable[..., float], *arguments: object) -> float:
    """The best of some measurements: what else the machine does only ever slows one down."""
    return max(measure(*arguments) for _ in range(REPEATS))


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
            busy = BUSY[cfg.numbers.act_bits]
            kind = "" if cfg.dataflow.matrix else f" {cfg.dataflow.title}, {cfg.numbers.act_bits} bits"
            array = f"{cfg.array.rows}x{cfg.array.cols}{kind}"
            note = " (and Verilator's runtime, once)" if name == CONFIGS[0] else ""
            figures += [
                Figure(f"{array}: C++ build{note}", build_seconds(cfg, Path(cache)), "s", "none", None, COMMAND),
                Figure(f"{array}: fast runner", best(speed, cfg, busy), "cycles/s", "none", None, COMMAND),
            ]
    cfg = config.load("configs/ws16.toml")
    for program, network in PROGRAMS.items():
        fasts = {stall: best(speed, cfg, network, stall) for stall in (0.0, STALL)}
        for other, options in RIVALS.items():
            fast, slow = fasts[options["stall"]], best(cocotb_speed, cfg, network, options)
            name = f"16x16, {program}: fast runner (goal: {GOAL} x)"
            figures.append(Figure(name, fast, "cycles/s", other, slow, COMMAND))
    return figures
