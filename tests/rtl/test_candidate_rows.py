"""Jobs that search: their lists, how many they find, and their cycles."""

import numpy as np
import pytest

from dataflows import candidates
from dataflows.candidates import entry_bytes
from rtl.candidate_rows import CandidateRows
from sim.golden.candidates import greedy_scores
from tests.rtl.axi_model import simulate
from tests.rtl.row_engine_bench import make_config


def image(cfg, keys):
    """Sorted columns of keys (keys, columns) as beats."""
    order = np.argsort(keys, axis=0, kind="stable")
    size, pitch = entry_bytes(cfg.candidates), cfg.candidate_column_bytes
    entries = np.zeros((keys.shape[1], pitch // size), f"<u{size}")
    entries[:, : len(keys)] = ((order << 8) | (np.take_along_axis(keys, order, axis=0) & 255)).T
    return entries.view(np.uint8).reshape(-1, cfg.bus_bytes).tolist()


async def load(ctx, cfg, port, keys):
    """A beat per cycle."""
    ctx.set(port.valid, 1)
    for number, beat in enumerate(image(cfg, keys)):
        ctx.set(port.payload, {"address": cfg.bus_bytes * number, "data": beat, "first": 0, "count": cfg.bus_bytes})
        await ctx.tick()
    ctx.set(port.valid, 0)


def words_of(values, lanes, rng):
    """Elements as words; lanes behind the last one hold anything."""
    filled = rng.integers(-(2**15), 2**15, -(-len(values) // lanes) * lanes)
    filled[: len(values)] = values
    return filled.reshape(-1, lanes).tolist()


def cases(rng, length, columns):
    """(keys, query, steps): all, none and some candidates, one key, fewer channels than columns."""
    keys, query = (rng.integers(-128, 128, shape) for shape in ((length, columns), columns))
    yield abs(keys) | 1, abs(query) | 1, length * columns
    yield -abs(keys), abs(query), length
    for count, depth in ((length, columns), (1, columns), (length, 1), (max(1, length // 2), columns - 1)):
        yield rng.integers(-128, 128, (count, depth)), rng.integers(-128, 128, depth), int(rng.integers(1, 2 * count))


@pytest.mark.parametrize(("lanes", "length", "columns"), [(4, 21, 7), (2, 40, 3), (4, 16, 8)])
def test_lists_and_cycles(lanes, length, columns, rng):
    cfg = make_config(lanes, pruning=True, values=True, candidates=length, candidate_columns=columns)
    dut = CandidateRows(cfg)
    written = {}

    async def lists(ctx):
        ctx.set(dut.list.ready, 1)
        async for *_, valid, entry in ctx.tick().sample(dut.list.valid, dut.list.payload):
            if valid:
                written[entry.index] = entry.value

    async def testbench(ctx):
        for case, (keys, query, steps) in enumerate(cases(rng, length, columns)):
            await load(ctx, cfg, dut.columns, keys)
            words, slot, depth = words_of(query, lanes, rng), case % 2, len(query)
            registers = {"blocks": len(words), "tail": depth - (len(words) - 1) * lanes, "count": len(keys)}
            ctx.set(dut.job.payload, {**registers, "steps": steps, "place": 50, "slot": slot})
            ctx.set(dut.job.valid, 1)
            written.clear()
            await ctx.tick()
            ctx.set(dut.job.valid, 0)
            ctx.set(dut.i.valid, 1)
            for word in words:
                ctx.set(dut.i.payload, word)
                assert ctx.get(dut.i.ready)
                await ctx.tick()
            ctx.set(dut.i.valid, 0)
            spent = 1
            while ctx.get(dut.busy):
                await ctx.tick()
                spent += 1
            found = np.flatnonzero(greedy_scores(query[np.newaxis], keys, steps)[0] > 0).tolist()
            assert case > 1 or len(found) == (len(keys) if case == 0 else 0)
            assert written == {50 + i: v for i, v in enumerate([max(1, len(found)), *(found or [0])])}
            assert ctx.get(dut.found[slot]) == len(found)
            assert spent == candidates.job_cycles(len(keys), columns, steps, found, lanes, length)

    simulate(dut, [testbench], [lists], cycles=60_000)
