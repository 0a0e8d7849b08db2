"""The PE array of every dataflow against matrix products in NumPy."""

from dataclasses import replace

import numpy as np
import pytest
from amaranth.sim import Simulator

from dataflows.catalogue import get
from dataflows.sections import Numbers
from dataflows.vocabulary import Axis, Dataflow, Dim, Kind, Link
from rtl.drain import Transposer
from rtl.pe import check, links
from rtl.tree import AdderTree
from tests.rtl.array_bench import Traffic, anywhere, run
from tests.rtl.compute_bench import (
    DATAFLOWS,
    SIZES,
    WIDTHS,
    integers,
    make_config,
    put,
    simulate,
    tile,
)


def weight_stationary(rng, rows, cols, jobs, bits=8):
    """``jobs``: per job the numbers of input words of its tiles."""
    traffic = Traffic()
    for tiles in jobs:
        inputs, weights, sums = [], [], []
        for words in tiles:
            x, w = integers(rng, bits, words, rows), integers(rng, bits, rows, cols)
            inputs += tile(x)
            weights += tile(w)
            sums += (x @ w).tolist()
        traffic.add(inputs, weights, sums)
    return traffic


def output_stationary(rng, rows, cols, jobs, bits=8):
    """``jobs``: per job the numbers of chunks of its pixel groups."""
    traffic = Traffic()
    for groups in jobs:
        inputs, weights, sums = [], [], []
        for chunks in groups:
            x, w = integers(rng, bits, rows, chunks * rows), integers(rng, bits, chunks * rows, cols)
            for part in np.split(x, chunks, axis=1):
                inputs += tile(part)
            weights += tile(w)
            sums += (x @ w)[::-1].tolist()
        traffic.add(inputs, weights, sums)
    return traffic


def input_stationary(rng, rows, cols, jobs, bits=8):
    """``jobs``: per job the numbers of channel blocks of its tiles."""
    traffic = Traffic()
    for tiles in jobs:
        inputs, weights, sums = [], [], []
        for blocks in tiles:
            x, w = integers(rng, bits, cols, rows), integers(rng, bits, blocks * cols, rows)
            inputs += tile(x)
            weights += tile(w)
            sums += [row for part in np.split(w, blocks) for row in (x @ part.T).tolist()]
        traffic.add(inputs, weights, sums)
    return traffic


def no_local_reuse(rng, rows, cols, jobs, bits=8):
    """``jobs``: per job the numbers of pairs of words of its tiles; each pair has weights of its own."""
    traffic = Traffic()
    for tiles in jobs:
        inputs, weights, sums = [], [], []
        for words in tiles:
            x, w = integers(rng, bits, words, rows), integers(rng, bits, words, rows, cols)
            inputs += tile(x)
            weights += tile(w.reshape(words, -1))
            sums += np.einsum("mk,mkn->mn", x, w).tolist()
        traffic.add(inputs, weights, sums)
    return traffic


MAKE = {
    make.__name__: make for make in (weight_stationary, output_stationary, input_stationary, no_local_reuse)
}


def whole_chunks(rng, rows):
    """Gaps only where a chunk begins: an output-stationary array takes a chunk in consecutive cycles."""
    return lambda index: 0 if index % rows else int(rng.choice([0, 0, 1, rng.integers(2, 12)]))


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("gaps", [False, True], ids=["steady", "gaps"])
@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize(("rows", "cols"), SIZES)
def test_products(rows, cols, dataflow, gaps, bits, rng):
    jobs = [[1], [3, 1, 1], [2 * rows, rows + 1], [1, 2], [rows] * 3]
    traffic = MAKE[dataflow](rng, rows, cols, jobs, bits)
    options = {}
    if gaps:
        gap = whole_chunks(rng, rows) if dataflow == "output_stationary" else anywhere(rng)
        options = {"input_gap": gap, "weight_gap": gap, "open_gap": anywhere(rng)}
    cfg = make_config(rows, cols, dataflow, bits=bits)
    out, times = run(cfg, traffic, **options)
    assert out == traffic.sums

    moving = cfg.dataflow.moving.value
    began = [t for t, word in zip(times[moving], getattr(traffic, moving), strict=True) if word.begin]
    assert all(opened < start for opened, start in zip(times["open"], began, strict=True))


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize(("rows", "cols"), SIZES)
def test_latency(rows, cols, dataflow, rng):
    cfg = make_config(rows, cols, dataflow)
    traffic = MAKE[dataflow](rng, rows, cols, [[1]])
    out, times = run(cfg, traffic)
    assert out == traffic.sums
    moving = times[cfg.dataflow.moving.value]
    start = moving[-1] if cfg.dataflow.output_transposed or cfg.dataflow.output.kind is Kind.DRAIN else moving[0]
    assert times["sum"][0] == start + times["latency"]
    assert times["sum"] == list(range(times["sum"][0], times["sum"][0] + len(traffic.sums)))


@pytest.mark.parametrize("words", [1, 2, 4, 5, 9])
@pytest.mark.parametrize(("rows", "cols"), [(4, 4), (1, 3), (3, 1)])
def test_weight_stationary_takes_max_of_load_and_words(rows, cols, words, rng):
    """A tile takes max(M, R) cycles; with M = R both streams run without a single bubble, over jobs too."""
    traffic = weight_stationary(rng, rows, cols, [[words] * 3, [words] * 2, [words], [words]])
    out, times = run(make_config(rows, cols, "weight_stationary"), traffic)
    assert out == traffic.sums
    begins = [t for t, word in zip(times["input"], traffic.input, strict=True) if word.first]
    assert set(np.diff(begins)) == {max(words, rows)}
    for index, start in enumerate(begins):
        assert times["input"][index * words : (index + 1) * words] == list(range(start, start + words))
    # Loading hides behind the tile before: the next weights begin to enter with the first input word.
    assert times["weight"][rows : rows + 1] == [begins[0]]


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize(("rows", "cols"), [(4, 4), (1, 3), (5, 3)])
def test_input_stationary_has_no_bubbles(rows, cols, blocks, rng):
    traffic = input_stationary(rng, rows, cols, [[blocks] * 3, [blocks] * 2])
    out, times = run(make_config(rows, cols, "input_stationary"), traffic)
    assert out == traffic.sums
    for name in ("weight", "sum"):
        assert set(np.diff(times[name])) <= {1}


@pytest.mark.parametrize("chunks", [1, 3])
@pytest.mark.parametrize(("rows", "cols"), [(4, 4), (1, 3), (5, 3)])
def test_output_stationary_has_no_bubbles(rows, cols, chunks, rng):
    traffic = output_stationary(rng, rows, cols, [[chunks] * 3, [chunks] * 2])
    out, times = run(make_config(rows, cols, "output_stationary"), traffic)
    assert out == traffic.sums
    for name in ("input", "weight"):
        assert set(np.diff(times[name])) <= {1}


@pytest.mark.parametrize(("rows", "cols"), [(4, 4), (1, 3), (5, 3), (17, 1)])
def test_no_local_reuse_takes_a_pair_every_cycle(rows, cols, rng):
    """No bubble between tiles or jobs; the trees add four numbers per register."""
    traffic = no_local_reuse(rng, rows, cols, [[1, 2, 1], [3], [1], [1]])
    out, times = run(make_config(rows, cols, "no_local_reuse"), traffic)
    assert out == traffic.sums
    for name in ("input", "weight", "sum"):
        assert set(np.diff(times[name])) == {1}
    assert times["latency"] == 3 + {1: 0, 4: 1, 5: 2, 17: 3}[rows]  # edge, operand and product registers; the tree


@pytest.mark.parametrize("count", [2, 3, 4, 5, 16, 21])
@pytest.mark.parametrize("sum_bits", [9, 10, 32])
def test_tree_adds_modulo(count, sum_bits, rng):
    """One sum per cycle, of numbers at the ends of their range too; narrow sums wrap around."""
    dut = AdderTree(count, 8, sum_bits)
    numbers = integers(rng, 8, 30, count)
    numbers[3:5] = [[-128], [127]]
    wanted = [int(v + (1 << (sum_bits - 1))) % (1 << sum_bits) - (1 << (sum_bits - 1)) for v in numbers.sum(axis=1)]
    out = []

    async def bench(ctx):
        for step in range(len(numbers) + dut.latency):
            for port, number in zip(dut.i, numbers[min(step, len(numbers) - 1)], strict=True):
                ctx.set(port, int(number))
            if step >= dut.latency:
                out.append(ctx.get(dut.o))
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(bench)
    sim.run()
    assert out == wanted


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_waits_for_the_accumulator(dataflow, rng):
    """Long waits for each opened job, with all operands at hand."""
    traffic = MAKE[dataflow](rng, 3, 3, [[2], [1, 1], [1]])
    out, times = run(make_config(3, 3, dataflow), traffic, open_gap=lambda index: 70)
    assert out == traffic.sums
    assert len(times["open"]) == 3


@pytest.mark.parametrize("lanes", [1, 2, 3, 8])
@pytest.mark.parametrize("gaps", [False, True], ids=["steady", "gaps"])
def test_transposer(lanes, gaps, rng):
    blocks = rng.integers(-(2**31), 2**31, (6, lanes, lanes))
    dut = Transposer(make_config(lanes, lanes, "input_stationary"))
    out = []

    async def send(ctx):
        await put(ctx, dut.i, blocks.reshape(-1, lanes).tolist(), anywhere(rng) if gaps else lambda i: 0)

    async def receive(ctx):
        while len(out) < 6 * lanes:
            _, _, valid, word = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            if valid:
                out.append(list(word))

    simulate(dut, send, receive, limit=2000)
    assert out == blocks.transpose(0, 2, 1).reshape(-1, lanes).tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input": Link(Kind.FORWARD, Axis.EAST, 2)}, "delay of input must be 1 register per hop, not 2"),
        (
            {
                "rows": Dim.CHANNEL,
                "cols": Dim.REDUCTION,
                "input": Link(Kind.FORWARD, Axis.SOUTH),
                "output": Link(Kind.SUM, Axis.EAST),
            },
            "output must travel south",
        ),
        (
            {
                "input": Link(Kind.FORWARD, Axis.EAST, 0),
                "weight": Link(Kind.PRIVATE, Axis.BOTH, 0),
            },
            "delay of output must be 0 registers per hop, not 1",
        ),
    ],
)
def test_refuses_what_it_cannot_build(change, message):
    with pytest.raises(ValueError, match=message):
        check(replace(get("weight_stationary"), **change))


def test_description_alone_decides():
    """Another name and the same links are the same hardware."""
    flow = get("weight_stationary")
    twin = Dataflow("twin", "", "", flow.rows, flow.cols, flow.input, flow.weight, flow.output)
    assert links(twin, Numbers()) == links(flow, Numbers())
