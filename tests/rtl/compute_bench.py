"""Configurations, stream ends and random bytes for the tests of the compute path."""

from dataclasses import dataclass

import numpy as np
from amaranth.sim import Simulator

from dataflows import config
from dataflows.formats import ACC_BITS

SIZES = [(1, 1), (1, 3), (3, 1), (2, 5), (4, 4), (5, 3)]
WIDTHS = [8, 16]
DATAFLOWS = ["weight_stationary", "output_stationary", "input_stationary", "no_local_reuse"]


def make_config(
    rows: int, cols: int, dataflow: str, acc_words: int = 64, bits: int = 8, multiplier: dict | None = None
) -> config.Config:
    """A small accelerator for operands of ``bits`` bits; ``acc_words`` in each accumulator bank."""
    return config.parse(
        {
            "name": "small",
            **({"multiplier": multiplier} if multiplier else {}),
            "array": {"rows": rows, "cols": cols, "dataflow": dataflow},
            "memory": {
                "input_bytes": 4096,
                "weight_bytes": 4096,
                "acc_bytes": 2 * acc_words * ACC_BITS[bits] // 8 * cols,
                "operand_bytes": 4096,
                "param_bytes": 4096,
            },
            "numbers": {"act_bits": bits},
            "bus": {"data_bits": 64},
        },
        "test",
    )


def integers(rng: np.random.Generator, bits: int, *shape: int) -> np.ndarray:
    """Random signed numbers of ``bits`` bits, a quarter of them at the ends of the range."""
    limit = 1 << (bits - 1)
    values = rng.integers(-limit, limit, shape)
    return np.where(rng.random(shape) < 0.25, rng.choice([-limit, limit - 1], shape), values)


@dataclass
class Word:
    """One transfer of an operand stream."""

    data: list[int]
    first: int = 0
    last: int = 0
    begin: int = 0
    end: int = 0

    def payload(self) -> dict:
        return vars(self)


def tile(rows: np.ndarray) -> list[Word]:
    """The rows of a matrix as the words of one tile."""
    words = [Word([int(v) for v in row]) for row in rows]
    words[0].first = words[-1].last = 1
    return words


def job(words: list[Word]) -> list[Word]:
    """Mark the first and the last word of a job."""
    words[0].begin = words[-1].end = 1
    return words


async def idle(ctx, cycles: int) -> None:
    """Let clock cycles pass. (A simulation that ends within a ``repeat`` or ``until`` would warn.)"""
    for _ in range(cycles):
        await ctx.tick()


async def put(ctx, port, payloads, gap=lambda index: 0):
    """Send payloads, ``gap(i)`` idle cycles before number i."""
    for index, payload in enumerate(payloads):
        ctx.set(port.valid, 0)
        await idle(ctx, gap(index))
        ctx.set(port.payload, payload)
        ctx.set(port.valid, 1)
        ready = False
        while not ready:
            _, _, ready = await ctx.tick().sample(port.ready)
    ctx.set(port.valid, 0)


def simulate(dut, *benches, limit: int, background=()) -> None:
    """Run until all testbenches have ended; fail after ``limit`` cycles."""

    async def watchdog(ctx):
        for _ in range(limit):
            await ctx.tick()
        raise TimeoutError(f"no end after {limit} cycles")

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    for bench in benches:
        sim.add_testbench(bench)
    for bench in (watchdog, *background):
        sim.add_testbench(bench, background=True)
    sim.run()
