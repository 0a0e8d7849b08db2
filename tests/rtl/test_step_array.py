"""The output-stationary array of serial, look-up, binary and ternary multipliers against matrix products in NumPy."""

import itertools

import numpy as np
import pytest
from amaranth.sim import Simulator

from dataflows.config import load
from rtl.arrays import array_of
from rtl.documents import lint_waivers
from rtl.emit import component_verilog, emit
from rtl.step_sequencer import PieceCounter
from sim import verilator
from tests.rtl.array_bench import Traffic, anywhere, run
from tests.rtl.compute_bench import make_config
from tests.rtl.test_emit import _lint
from tests.rtl.test_fusion_array import numbers, words

KINDS = {
    "stripes": ((2, 3), {"kind": "serial_input", "lanes": 8}),
    "weights_serial": ((3, 4), {"kind": "serial_weight", "lanes": 8, "bits": 5}),
    "loom": ((4, 4), {"kind": "serial", "lanes": 16}),
    "one_row": ((1, 4), {"kind": "serial", "lanes": 8, "bits": 3}),
    "unpu": ((4, 4), {"kind": "table", "lanes": 8}),
    "xnor": ((4, 8), {"kind": "binary", "lanes": 16}),
    "ternary": ((5, 4), {"kind": "ternary", "lanes": 8}),
}
"""Size and multiplier of each small array."""

PUBLISHED = ("stripes", "loom", "unpu", "xnor", "ternary", "bismo")


def config(name):
    (rows, cols), unit = KINDS[name]
    fill = 1 if unit["kind"] == "binary" else 2
    return make_config(rows, -(-cols * fill // 8) * 8 // fill, "output_stationary", multiplier=unit)


def operands(rng, bits, unsigned, *shape):
    """Random numbers with many at the ends of the range; what binary and ternary operands can be."""
    if bits == 1:
        return rng.choice([-1, 1], shape)
    return numbers(rng, bits, unsigned, *shape)


def add_job(cfg, traffic, rng, pair, signs, groups, draw=operands):
    """A job of one precision; ``groups``: reduction words of each group of pixels."""
    reduction = cfg.reduction(*pair)
    told = dict(zip(("a_bits", "w_bits", "a_unsigned", "w_unsigned"), (*pair, *signs), strict=True))
    inputs, weights, sums = [], [], []
    for count in groups:
        x = draw(rng, pair[0], signs[0], cfg.array.rows, count * reduction.depth)
        w = draw(rng, pair[1], signs[1], count * reduction.depth, cfg.array.cols)
        if cfg.multiplier.kind == "ternary":
            x, w = np.maximum(x, -1), np.maximum(w, -1)
        for part in np.split(x, count, axis=1):
            inputs += words(rng, part, pair[0], cfg.input_read_bytes, **told)
        steps = w.reshape(count * reduction.steps, reduction.products, -1).transpose(0, 2, 1)  # step: column, product
        weights += words(rng, steps.reshape(len(steps), -1), pair[1], cfg.weight_read_bytes, **told)
        sums += (x @ w)[::-1].tolist()
    traffic.add(inputs, weights, sums)


def every_precision(cfg, rng, most):
    """Jobs of up to ``most`` pairs of widths, in random order, signed or not, of one to three reduction words a sum."""
    pairs = [(a, w) for a in cfg.operand_bits for w in cfg.operand_bits]
    several = [(3, 5), (5, 7), (7, 3), (8, 8), (2, 2), (8, 2), (2, 8)]  # at least half of these
    if len(pairs) > most:
        chosen = [pair for pair in several if pair in pairs][: most // 2]
        pairs = chosen + [pairs[i] for i in rng.choice(len(pairs), most - len(chosen), replace=False)]
    traffic, law = Traffic(), []
    narrow = cfg.multiplier.kind in ("binary", "ternary")
    for index in rng.permutation(2 * len(pairs)):
        pair, signs = pairs[index // 2], [0, 0] if narrow else rng.integers(0, 2, 2).tolist()
        groups = [1, int(rng.integers(1, 4))] if index % 2 else [1]
        add_job(cfg, traffic, rng, pair, signs, groups)
        law += [(count, cfg.reduction(*pair)) for count in groups]
    return traffic, law


def whole_words(cfg, law, rng):
    """Gaps of both streams, only where a reduction word begins: there an array may wait."""
    inputs, weights = [], []
    for count, reduction in law:
        for _ in range(count):
            inputs += [anywhere(rng)(0), *[0] * (cfg.array.rows - 1)]
            weights += [anywhere(rng)(0), *[0] * (reduction.steps - 1)]
    return {"input_gap": inputs.__getitem__, "weight_gap": weights.__getitem__, "open_gap": anywhere(rng)}


@pytest.mark.parametrize("name", KINDS)
def test_products_of_every_precision(name, rng):
    cfg = config(name)
    traffic, law = every_precision(cfg, rng, most=12)
    out, times = run(cfg, traffic, **whole_words(cfg, law, rng))
    assert out == traffic.sums
    began = [t for t, word in zip(times["input"], traffic.input, strict=True) if word.begin]
    assert all(opened < start for opened, start in zip(times["open"], began, strict=True))


@pytest.mark.parametrize("name", KINDS)
def test_takes_steps_times_cycles(name, rng):
    """A group takes its reduction words' steps x cycles, whatever comes before it; sums leave at their time."""
    cfg = config(name)
    traffic, law = every_precision(cfg, rng, most=6)
    out, times = run(cfg, traffic)
    assert out == traffic.sums
    rows = cfg.array.rows
    start, sums = times["input"][0], []
    inputs, weights = [], []
    for count, reduction in law:
        assert reduction.word_cycles >= rows
        for _ in range(count):
            inputs += range(start, start + rows)
            weights += range(start, start + reduction.word_cycles, reduction.cycles)
            start += reduction.word_cycles
        sums += range(start - 1 + times["latency"], start - 1 + times["latency"] + rows)
    assert (times["input"], times["weight"], times["sum"]) == (inputs, weights, sums)


@pytest.mark.parametrize("name", ["stripes", "loom", "unpu"])
def test_most_negative_operands(name, rng):
    def lowest(rng, bits, unsigned, *shape):
        return np.full(shape, (1 << bits) - 1 if unsigned else -(1 << bits - 1))

    cfg, traffic = config(name), Traffic()
    for pair, *signs in [((8, 8), 0, 0), ((2, 2), 0, 0), ((8, 8), 1, 1), ((3, 7), 0, 1), ((7, 2), 1, 0)]:
        add_job(cfg, traffic, rng, pair, signs, [2], lowest)
    assert run(cfg, traffic)[0] == traffic.sums


def test_order_of_pieces_is_that_of_the_law():
    """One step after the other, for every pair of numbers of pieces."""
    law = config("loom").law
    dut, cases = PieceCounter(), list(itertools.product(range(1, 9), repeat=2))

    async def bench(ctx):
        for a_bits, w_bits in cases:
            order = list(law.order(a_bits, w_bits))
            for cycle in order:
                ctx.set(dut.first, cycle.first)
                ctx.set(dut.a_top, a_bits - 1)
                ctx.set(dut.w_top, w_bits - 1)
                found = [ctx.get(port) for port in (dut.a, dut.w, dut.shift, dut.last)]
                assert found == [cycle.a, cycle.w, cycle.shift, cycle is order[-1]], (a_bits, w_bits, cycle)
                await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(bench)
    sim.run()


@pytest.mark.parametrize("name", KINDS)
def test_lint_clean(name, tmp_path):
    """The array alone; nobody reads all of what its streams say."""
    (tmp_path / "small.v").write_text(component_verilog(array_of(config(name)), "small"), encoding="utf-8")
    ends = "lint_off -rule UNUSEDSIGNAL -file \"*\" -match \"*put__payload*'*\"\n"
    ends += "lint_off -rule UNUSEDSIGNAL -file \"*\" -match \"*weight__payload*'*\"\n"
    (tmp_path / "small.vlt").write_text(lint_waivers("small") + ends, encoding="utf-8")
    arguments = ["--lint-only", "-Wall", "--top-module", "small", "small.vlt", "small.v"]
    result = verilator.run(arguments, tmp_path)
    assert result.returncode == 0 and not result.stderr, result.stderr[:3000]


@pytest.mark.parametrize(
    "name", ["xnor", *(pytest.param(name, marks=pytest.mark.regress) for name in PUBLISHED if name != "xnor")]
)
def test_published_configurations_are_lint_clean(name, tmp_path):
    cfg = load(f"configs/{name}.toml")
    _lint(cfg, emit(cfg, tmp_path))
