"""cocotb side of the simulation benchmark: one program from start to interrupt, timed."""

import json
import os
import random
import time
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge
from cocotb.utils import get_sim_time
from cocotbext.axi import AxiLiteMaster, AxiRam

from sim.cocotb_axi import host_bus, memory_bus
from tests.system.cocotb_bench import Watch

PERIOD_NS = 2


def _channels(ram):
    """The five channels between accelerator and memory."""
    return (
        ram.read_if.ar_channel, ram.read_if.r_channel,
        ram.write_if.aw_channel, ram.write_if.w_channel, ram.write_if.b_channel,
    )  # fmt: skip


def _pauses(seed, share):
    """Random pauses, seeded."""
    rng = random.Random(seed)
    while True:
        yield rng.random() < share


@cocotb.test(timeout_time=10_000_000, timeout_unit="ns")
async def one_run(dut):
    folder = Path(os.environ["SPEED_FOLDER"])
    memory = (folder / "memory.bin").read_bytes()
    plan = json.loads((folder / "run.json").read_text())
    cocotb.start_soon(Clock(dut.clk, PERIOD_NS, unit="ns").start())
    dut.rst.value = 1
    host = AxiLiteMaster(host_bus(dut), dut.clk, dut.rst)
    ram = AxiRam(memory_bus(dut), dut.clk, dut.rst, size=1 << (len(memory) - 1).bit_length())
    for interface in (host.write_if, host.read_if, ram.write_if, ram.read_if):
        interface.log.setLevel("WARNING")
    ram.write(0, memory)
    if plan["stall"]:
        for number, channel in enumerate(_channels(ram)):
            channel.set_pause_generator(_pauses(number, plan["stall"]))
    if plan["watch"]:
        cocotb.start_soon(Watch(dut).run())
    await ClockCycles(dut.clk, 4)
    dut.rst.value = 0
    for address, value in plan["writes"]:
        await host.write(address, value.to_bytes(4, "little"))
    started, begun = time.perf_counter(), get_sim_time("ns")
    await host.write(plan["start"], (1).to_bytes(4, "little"))
    await RisingEdge(dut.irq)
    seconds, cycles = time.perf_counter() - started, (get_sim_time("ns") - begun) / PERIOD_NS
    (folder / "memory.bin").write_bytes(ram.read(0, len(memory)))
    (folder / "result.json").write_text(json.dumps({"cycles": cycles, "seconds": seconds}))
