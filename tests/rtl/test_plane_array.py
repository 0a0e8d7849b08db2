"""The array over the output plane against sums written out, over random kernels, strides and sizes."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from dataflows import config
from dataflows.formats import ACC_BITS
from dataflows.plane_order import PlaneOrder
from mapper.timing_plane import SUM, Sums
from rtl.plane_array import PlaneArray
from tests.rtl.compute_bench import WIDTHS, Word, idle, integers, put, simulate

SIZES = [(1, 1), (1, 4), (4, 1), (2, 3), (3, 2), (4, 4)]


def make_config(rows: int, cols: int, bits: int = 8, history: int = 64) -> config.Config:
    values = config.load("configs/tiny.toml").model_dump()
    values["array"] = {"rows": rows, "cols": cols, "dataflow": "output_stationary_plane"}
    values["numbers"] = {"act_bits": bits}
    values["stores"] = {"input": history}
    values["memory"]["acc_bytes"] = 2 * 64 * ACC_BITS[bits] // 8 * cols
    return config.parse(values, "test")


@dataclass
class Layer:
    """One job: ``sums`` output channels of one tile of a convolution."""

    order: PlaneOrder
    stride: tuple[int, int]
    dilation: tuple[int, int]
    channels: int
    sums: int

    @property
    def geometry(self) -> dict:
        o = self.order
        return {"kernel": {
            "rows": o.kernel_rows, "cols": o.kernel_cols, "fresh_rows": o.fresh_rows, "fresh_cols": o.fresh_cols,
            "channels": self.channels,
        }}  # fmt: skip


@dataclass
class Traffic:
    input: list[Word] = field(default_factory=list)
    weight: list[Word] = field(default_factory=list)
    sums: list[list[int]] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)  # steps of each sum


def draw(rng, rows, cols, history) -> Layer:
    kernel = [int(v) for v in rng.integers(1, 6, 2)]
    stride = [int(v) for v in rng.integers(1, 5, 2)]
    dilation = [1 if rng.random() < 0.8 else 2 for _ in kernel]
    fresh = [min(s, k) if d == 1 else k for s, k, d in zip(stride, kernel, dilation, strict=True)]
    if PlaneOrder(rows, cols, *kernel, *fresh).history > history:
        fresh[0] = kernel[0]
    order = PlaneOrder(rows, cols, *kernel, *fresh)
    return Layer(order, tuple(stride), tuple(dilation), int(rng.integers(1, 4)), int(rng.integers(1, 4)))


def image_of(rng, layer, bits) -> np.ndarray:
    """Input values under a tile, (channel, row, column)."""
    o, extent = layer.order, []
    for pes, kernel, s, d in zip(
        (o.rows, o.cols), (o.kernel_rows, o.kernel_cols), layer.stride, layer.dilation, strict=True
    ):
        extent.append((pes - 1) * s + (kernel - 1) * d + 1)
    return integers(rng, bits, layer.channels, *extent)


def stream_of(layer, image) -> np.ndarray:
    """Words of one sum, (word, element); what is never used is noise."""
    o, (sy, sx), (dy, dx) = layer.order, layer.stride, layer.dilation
    words = np.full((layer.channels, o.words * o.elements), 77)
    for ky, row in enumerate(o.places):
        for kx, place in enumerate(row):
            down, across = o.group(ky, kx)
            used = image[:, ky * dy :: sy, kx * dx :: sx][:, o.rows - down : o.rows, o.cols - across : o.cols]
            words[:, place : place + down * across] = used.reshape(layer.channels, -1)
    return words.reshape(-1, o.elements)


def make(rng, layers, bits) -> Traffic:
    """Words of all jobs, and the sums that follow."""
    traffic = Traffic()
    wrap = 1 << (ACC_BITS[bits] - 1)
    for layer in layers:
        o, (sy, sx), (dy, dx) = layer.order, layer.stride, layer.dilation
        image = image_of(rng, layer, bits)
        weights = integers(rng, bits, layer.sums, layer.channels, o.kernel_rows, o.kernel_cols)
        words = [Word([int(v) for v in word]) for _ in range(layer.sums) for word in stream_of(layer, image)]
        words[0].begin = words[-1].end = 1
        traffic.input += words
        coming = [Word([int(v)]) for v in weights.ravel()]
        for i in range(0, len(coming), len(coming) // layer.sums):
            coming[i].first = coming[i + len(coming) // layer.sums - 1].last = 1
        coming[0].begin = coming[-1].end = 1
        traffic.weight += coming
        for kernel in weights:
            total = np.zeros((o.rows, o.cols), np.int64)
            for ky in range(o.kernel_rows):
                for kx in range(o.kernel_cols):
                    seen = image[:, ky * dy :: sy, kx * dx :: sx][:, : o.rows, : o.cols]
                    total += (seen * kernel[:, ky, kx, None, None]).sum(axis=0)
            total = (total + wrap) % (2 * wrap) - wrap
            traffic.sums += total[::-1].tolist()
            traffic.lengths.append(layer.channels * o.steps)
    return traffic


def run(cfg, layers, traffic, gap=lambda i: 0, open_gap=lambda i: 0):
    """Feed all jobs; returns the words that come out and the cycles of weights, input words, opened jobs and sums."""
    dut = PlaneArray(cfg)
    out, times = [], {"weight": [], "input": [], "open": [], "sum": [], "latency": dut.latency}

    async def send(ctx):
        await put(ctx, dut.input, [word.payload() for word in traffic.input], gap)

    async def weigh(ctx):
        await put(ctx, dut.weight, [word.payload() for word in traffic.weight], gap)

    async def tell(ctx):
        await put(ctx, dut.geometry, [layer.geometry for layer in layers], gap)

    async def opener(ctx):
        for index in range(len(layers)):
            await idle(ctx, open_gap(index))
            ctx.set(dut.open, 1)
            await ctx.tick()
            ctx.set(dut.open, 0)

    async def watch(ctx):
        cycle = 0
        events = (dut.weight.valid & dut.weight.ready, dut.input.valid & dut.input.ready, dut.open, dut.o.valid)
        while True:
            _, _, *seen, word = await ctx.tick().sample(*events, dut.o.payload)
            for name, happened in zip(("weight", "input", "open", "sum"), seen, strict=True):
                times[name] += [cycle] * happened
            if seen[-1]:
                out.append(list(word))
            cycle += 1

    async def end(ctx):
        while len(out) < len(traffic.sums):
            await ctx.tick()
        await idle(ctx, 3 * cfg.array.rows + 5)  # nothing more may come

    simulate(dut, send, weigh, tell, opener, end, limit=40_000, background=(watch,))
    return out, times


@pytest.mark.parametrize("gaps", [False, True], ids=["steady", "gaps"])
@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize(("rows", "cols"), SIZES)
def test_sums(rows, cols, bits, gaps, rng):
    history = int(rng.choice([5, 12, 25]))
    layers = [draw(rng, rows, cols, history) for _ in range(5)]
    traffic = make(rng, layers, bits)
    options = {}
    if gaps:
        options = dict.fromkeys(("gap", "open_gap"), lambda i: int(rng.choice([0, 0, 0, 1, rng.integers(2, 12)])))
    out, times = run(make_config(rows, cols, bits, history), layers, traffic, **options)
    assert out == traffic.sums
    assert len(times["input"]) == len(traffic.input)
    begins = np.flatnonzero([word.begin for word in traffic.weight])
    assert all(opened < times["weight"][i] for opened, i in zip(times["open"], begins, strict=True))


@pytest.mark.parametrize("history", [1, 2, 3, 6, 7])
def test_history_of_exactly_the_steps_needed(history, rng):
    """The word that is written last is read in the cycle in which it is written again."""
    kernels = {1: (1, 2, 1, 1), 2: (2, 2, 1, 1), 3: (3, 3, 1, 1), 6: (4, 3, 2, 1), 7: (2, 7, 1, 2)}
    order = PlaneOrder(3, 3, *kernels[history])
    assert order.history == history
    layers = [Layer(order, (order.fresh_rows, order.fresh_cols), (1, 1), 3, 2)] * 2
    traffic = make(rng, layers, 8)
    assert run(make_config(3, 3, history=history), layers, traffic)[0] == traffic.sums


@pytest.mark.parametrize(("rows", "cols"), SIZES)
def test_one_step_per_cycle(rows, cols, rng):
    """No bubble within and between sums and jobs, but for sums shorter than the drain; sums leave in one go."""
    layers = [
        Layer(PlaneOrder(rows, cols, *kernel), stride, (1, 1), channels, 3)
        for kernel, stride, channels in (
            ((1, 1, 1, 1), (1, 1), 1), ((3, 3, 1, 1), (1, 1), 2), ((2, 1, 2, 1), (2, 1), 1), ((5, 4, 2, 3), (2, 3), 1)
        )
    ]  # fmt: skip
    traffic = make(rng, layers, 8)
    out, times = run(make_config(rows, cols), layers, traffic)
    assert out == traffic.sums
    cycle, step, free = times["weight"][0], 0, 0
    for number, length in enumerate(traffic.lengths):
        steps = list(range(cycle, cycle + length))
        steps[-1] = max(steps[-1], free)
        assert times["weight"][step : step + length] == steps
        leaves = times["sum"][rows * number : rows * (number + 1)]
        assert leaves == list(range(steps[-1] + times["latency"], steps[-1] + times["latency"] + rows))
        cycle, step, free = steps[-1] + 1, step + length, steps[-1] + rows


@pytest.mark.parametrize(("rows", "cols"), SIZES)
def test_timing_model_knows_every_transfer(rows, cols, rng):
    """Each job's weights, input words and last sum in the cycles that the prediction counts with."""
    layers = [draw(rng, rows, cols, 25) for _ in range(6)]
    traffic = make(rng, layers, 8)
    _, times = run(make_config(rows, cols, history=25), layers, traffic)
    weight = word = done = free = 0
    start = times["weight"][0]
    for layer in layers:
        takes = tuple(step for step, takes in enumerate(layer.order.takes) if takes)
        sums = Sums(layer.sums, layer.channels, layer.order.steps, takes, rows)
        weights, words = layer.sums * sums.length, layer.sums * layer.channels * len(takes)
        found = [sums.step(n, start, free) for n in range(weights)]
        assert times["weight"][weight : weight + weights] == found
        assert times["input"][word : word + words] == [sums.step(sums.word_step(n), start, free) for n in range(words)]
        weight, word, done = weight + weights, word + words, done + layer.sums * rows
        end = sums.last(layer.sums - 1, start, free)
        assert times["sum"][done - 1] == end + SUM + rows - 1
        start, free = end + 1, end + rows


def test_waits_for_the_accumulator(rng):
    layers = [draw(rng, 2, 2, 25) for _ in range(3)]
    traffic = make(rng, layers, 8)
    out, times = run(make_config(2, 2), layers, traffic, open_gap=lambda index: 300)
    assert out == traffic.sums
    assert len(times["open"]) == 3


def test_inputs_read_from_the_buffer():
    """A 3x3 kernel reads 100 instead of 576 elements per channel and sum, an 11x11 one of stride 4 1521, not 7744."""
    for kernel, stride, expected in ((3, 1, 100), (5, 1, 144), (11, 4, 39 * 39)):
        order = PlaneOrder(8, 8, kernel, kernel, stride, stride)
        assert order.new_elements == expected
        assert expected <= order.words * 64 < 1.35 * expected
        assert order.words == max(map(max, order.places)) // 64 + 1
