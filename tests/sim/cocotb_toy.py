"""cocotb side of ``test_cocotb_runner``: the toy between cocotbext-axi's host and memory."""

import os
import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, with_timeout
from cocotbext.axi import AxiLiteMaster, AxiRam

from sim.cocotb_axi import host_bus, memory_bus
from tests.sim.toy import ADDRESS, READ, WRITE


@cocotb.test()
async def copies(dut):
    """A copy through cocotbext-axi's memory."""
    cocotb.start_soon(Clock(dut.clk, 2, unit="ns").start())
    dut.rst.value = 1
    host = AxiLiteMaster(host_bus(dut), dut.clk, dut.rst)
    ram = AxiRam(memory_bus(dut), dut.clk, dut.rst, size=1 << 16)
    for _ in range(4):
        await RisingEdge(dut.clk)
    dut.rst.value = 0
    data = random.Random(1).randbytes(8 * 37)
    ram.write(0, data)
    for name, value in {
        "IRQ_ENABLE": 1, "BASE_CONSTANT_LOW": 0, "BASE_OUTPUT_LOW": 4096, "PROGRAM_WORDS": 37, "BASE_ACTIVATION_LOW": 8,
        "BASE_ACTIVATION_HIGH": READ | WRITE, "CONTROL": 1,
    }.items():  # fmt: skip
        await with_timeout(host.write_dword(ADDRESS[name], value), 1, "us")
    await with_timeout(RisingEdge(dut.irq), 10, "us")
    assert ram.read(4096, len(data)) == data


@cocotb.test()
async def obeys_the_environment(dut):
    """Fails, or hangs, when it is told to."""
    behaviour = os.environ.get("TOY_BEHAVIOUR", "")
    while behaviour == "hang":
        cocotb.start_soon(Clock(dut.clk, 2, unit="ns").start())
        await RisingEdge(dut.clk)
    assert behaviour != "fail", "told to fail"
