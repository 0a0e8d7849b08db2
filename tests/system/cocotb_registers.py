"""cocotb side of ``test_bus``: the AXI4-Lite registers of the whole accelerator."""

import random

import cocotb
import numpy as np
from cocotbext.axi import AxiResp

from dataflows import isa
from tests.system.cocotb_bench import ADDRESS, PERIOD_NS, Bench
from tests.system.small import configuration

EMPTY = np.zeros(4096, np.uint8)
PULSES = {"CONTROL", "IRQ_CLEAR"}
LIMIT = {"timeout_time": 40_000 * PERIOD_NS, "timeout_unit": "ns"}


def reset_value(name: str) -> int:
    value = configuration().hash_value
    return {"HASH_LOW": value & 0xFFFF_FFFF, "HASH_HIGH": value >> 32}.get(name, 0)


def held_bits(name: str) -> int:
    """Bits a writable register keeps."""
    if name in PULSES:
        return 0
    if name == "IRQ_ENABLE":
        return 1
    return 0xFF if name.endswith("_HIGH") else 0xFFFF_FFFF


async def check_all(bench: Bench, written: dict[str, int]) -> None:
    for register in isa.HOST_REGISTERS:
        expected = written.get(register.name, reset_value(register.name))
        found = await bench.read(register.name)
        assert found == expected, f"{register.name} is {found:#x}, not {expected:#x}"


async def begin(dut, seed: int, *, pauses: bool = True) -> tuple[Bench, random.Random]:
    rng = random.Random(seed)
    bench = await Bench.begin(dut, EMPTY)
    if pauses:
        bench.pause_randomly(rng)
    return bench, rng


@cocotb.test(**LIMIT)
async def reset_values(dut):
    """Registers start with random bits in simulation: only a reset gives these values."""
    bench, _ = await begin(dut, 1)
    await check_all(bench, {})
    assert not dut.irq.value


@cocotb.test(**LIMIT)
async def writable_registers_hold_and_read_only_ones_do_not(dut):
    """Writing all of them in random order, read back afterwards: no two share bits."""
    bench, rng = await begin(dut, 2)
    for value in (None, 0xFFFF_FFFF, 0, None):
        written = {}
        for register in rng.sample(isa.HOST_REGISTERS, len(isa.HOST_REGISTERS)):
            data = rng.getrandbits(32) if value is None else value
            if register.name == "CONTROL":
                data &= ~3  # neither start nor reset; its other bits mean nothing
            await bench.write(register.name, data)
            if register.access == "rw":
                written[register.name] = data & held_bits(register.name)
        await check_all(bench, written)
    await bench.reset()
    await check_all(bench, {})


@cocotb.test(**LIMIT)
async def byte_strobes(dut):
    """Any run of bytes, in one register or across several, changes these bytes only."""
    bench, rng = await begin(dut, 3)
    names = [r.name for r in isa.HOST_REGISTERS if r.name.startswith("BASE_")]
    first = ADDRESS[names[0]]
    assert [ADDRESS[name] for name in names] == list(range(first, first + 4 * len(names), 4))
    mask = np.frombuffer(b"".join(held_bits(name).to_bytes(4, "little") for name in names), np.uint8)
    model = np.zeros(4 * len(names), np.uint8)
    for _ in range(60):
        start = rng.randrange(len(model))
        data = rng.randbytes(min(rng.choice([1, 1, 2, 3, 4, 9]), len(model) - start))
        answer = await bench.write_raw(first + start, data)
        assert answer.resp == AxiResp.OKAY
        model[start : start + len(data)] = np.frombuffer(data, np.uint8)
        model &= mask
    answer = await bench.read_raw(first, len(model))
    assert bytes(answer.data) == model.tobytes()


@cocotb.test(**LIMIT)
async def addresses_without_register(dut):
    """Answer SLVERR to both kinds of access, and change nothing."""
    bench, rng = await begin(dut, 4)
    await bench.write("BASE_OUTPUT_LOW", 0x1234_5678)
    end = 1 << isa.HOST_ADDRESS_BITS
    unmapped = range(4 * len(isa.HOST_REGISTERS), end, 4)
    assert unmapped, "every address has a register"
    for address in rng.sample(unmapped, len(unmapped)):
        answer = await bench.write_raw(address, b"\xff\xff\xff\xff")
        assert answer.resp == AxiResp.SLVERR, f"write to {address:#x} answered {answer.resp!r}"
        answer = await bench.read_raw(address)
        assert answer.resp == AxiResp.SLVERR, f"read of {address:#x} answered {answer.resp!r}"
    await check_all(bench, {"BASE_OUTPUT_LOW": 0x1234_5678})


@cocotb.test(**LIMIT)
async def address_and_data_in_any_order(dut):
    """The write happens when both are there, and not before."""
    bench, rng = await begin(dut, 5, pauses=False)
    interface = bench.host.write_if
    for late in (interface.w_channel, interface.aw_channel) * 4:
        value = rng.getrandbits(32)
        late.pause = True
        access = cocotb.start_soon(bench.write_raw(ADDRESS["MARK_LOW"], value.to_bytes(4, "little")))
        await bench.cycles(rng.randrange(4, 12))
        assert not access.done()
        assert await bench.read("MARK_LOW") != value, "written with half of the request"
        late.pause = False
        assert (await access).resp == AxiResp.OKAY
        assert await bench.read("MARK_LOW") == value


@cocotb.test(**LIMIT)
async def reads_and_writes_at_once(dut):
    """Both directions go on side by side, each in order."""
    bench, rng = await begin(dut, 6)
    names = [f"BASE_{region.name}_LOW" for region in isa.Region]
    values = {name: rng.getrandbits(32) for name in names}

    async def write_all() -> None:
        for name in names * 4:
            await bench.write(name, values[name])

    async def read_all() -> None:
        for name in names * 4:
            assert await bench.read(name) in (0, values[name])
            assert await bench.read("HASH_LOW") == reset_value("HASH_LOW")

    tasks = [cocotb.start_soon(write_all()), cocotb.start_soon(read_all())]
    for task in tasks:
        await task
    await check_all(bench, values)
