"""Zero eliminator: order, gaps, ends of runs, stalls on both sides, full throughput."""

import gc

import numpy as np
import pytest
from amaranth.sim import Simulator

from rtl.zero_eliminator import ZeroEliminator

BITS = 12


def eliminate(parallel, words, stall=0.0, seed=0, allowed=None):
    """What comes out for words (elements, keep, last): words (elements, last) and the cycles of all transfers.

    With ``allowed``, what is not kept is spare, and as many of these elements are kept.
    """
    dut = ZeroEliminator(parallel, BITS, 0 if allowed is None else 1000)
    rng = np.random.default_rng(seed)
    results, given, taken = [], [], []
    runs = sum(last for *_, last in words)
    cycle = 0

    async def bench(ctx):
        nonlocal cycle
        left = list(words)
        offered = False
        if allowed is not None:
            ctx.set(dut.allow, 1)
            ctx.set(dut.allowed, allowed)
            await ctx.tick()
            ctx.set(dut.allow, 0)
        while sum(last for _, last in results) < runs:
            assert cycle < 40 * len(words) + 100, "no last word"
            offered = bool(left) and (offered or rng.random() >= stall)
            if offered:
                elements, keep, last = left[0]
                mask = sum(int(bit) << lane for lane, bit in enumerate(keep))
                payload = {"data": [int(e) for e in elements], "keep": mask, "last": int(last)}
                ctx.set(dut.i.payload, payload | ({} if allowed is None else {"spare": ~mask & (1 << parallel) - 1}))
            ready = rng.random() >= stall
            ctx.set(dut.i.valid, offered)
            ctx.set(dut.o.ready, ready)
            if offered and ctx.get(dut.i.ready):
                given.append(cycle)
                left.pop(0)
                offered = False
            if ready and ctx.get(dut.o.valid):
                out = dut.o.payload
                results.append(([ctx.get(out.data[lane]) for lane in range(ctx.get(out.count))], ctx.get(out.last)))
                taken.append(cycle)
            await ctx.tick()
            cycle += 1

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(bench)
    sim.run()
    return results, given, taken


def dense(parallel, words):
    """The same in Python."""
    results, waiting = [], []
    for elements, keep, last in words:
        waiting += [int(e) for e, k in zip(elements, keep, strict=True) if k]
        if len(waiting) >= parallel:
            results.append((waiting[:parallel], int(last and len(waiting) == parallel)))
            whole, waiting = len(waiting) == parallel, waiting[parallel:]
            if whole and last:
                continue
        if last:
            results.append((waiting, 1))
            waiting = []
    return results


def random_words(rng, parallel, count):
    """Runs of words of any density, often all or nothing."""
    words = []
    while len(words) < count:
        length, density = int(rng.integers(1, 7)), rng.choice([0.0, 0.2, 0.5, 0.9, 1.0])
        for number in range(length):
            words.append((rng.integers(1 << BITS, size=parallel), rng.random(parallel) < density, number == length - 1))
    return words


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("parallel", [1, 2, 8, 16, 32])
def test_random_runs(parallel, stall, rng):
    words = random_words(rng, parallel, 40)
    assert eliminate(parallel, words, stall)[0] == dense(parallel, words)


@pytest.mark.parametrize(("parallel", "allowed"), [(1, 1), (4, 0), (4, 30), (8, 1000), (32, 30)])
def test_spares(parallel, allowed, rng):
    words = random_words(rng, parallel, 25)
    left, kept = allowed, []
    for elements, keep, last in words:
        spare = ~keep & (np.cumsum(~keep) <= left)
        left -= spare.sum()
        kept.append((elements, keep | spare, last))
    assert eliminate(parallel, words, 0.3, allowed=allowed)[0] == dense(parallel, kept)


def test_every_mask_behind_every_rest():
    """All 64 pairs of what waits and what comes, with the run ending there or in the next word."""
    words = []
    for waiting in range(4):
        for mask in range(16):
            for goes_on in (False, True):
                base = len(words) * 4
                words.append((range(base, base + 4), [lane < waiting for lane in range(4)], False))
                words.append((range(base + 4, base + 8), [mask >> lane & 1 for lane in range(4)], not goes_on))
                if goes_on:
                    words.append((range(base + 8, base + 12), [1, 0, 1, 1], True))
    assert eliminate(4, words)[0] == dense(4, words)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize("parallel", [4, 32])
def test_latency_and_throughput(parallel):
    """A word per cycle; only a run that ends with two words takes a cycle more."""
    full = (range(parallel), [True] * parallel, False)
    words = [full] * 9 + [(range(parallel), [True] * parallel, True)]
    _, given, taken = eliminate(parallel, words)
    latency = ZeroEliminator(parallel, BITS).latency
    assert given == list(range(10)) and taken == [cycle + latency for cycle in given]
    whole_end = (*full[:2], True)
    words = [(range(parallel), [True] + [False] * (parallel - 1), False), whole_end, full, whole_end]
    results, given, taken = eliminate(parallel, words)
    assert results == dense(parallel, words)
    assert taken == [1 + latency, 2 + latency, 3 + latency, 4 + latency]
    gc.collect()


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize("parallel", [0, 3, 12])
def test_parallel_is_a_power_of_two(parallel):
    with pytest.raises(ValueError, match=f"must be a power of two, not {parallel}"):
        ZeroEliminator(parallel, BITS)
    gc.collect()
