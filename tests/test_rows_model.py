"""The functional model of the row engine against the golden model, and jobs that lead words through it."""

from fractions import Fraction

import numpy as np
import pytest

from dataflows import isa
from dataflows.isa import Rows, Target
from sim.golden import norms, softmax
from sim.golden.requantize import round_shift
from sim.golden.top_k import largest
from tests import rows_model
from tests.attention_configs import small_attention
from tests.isa_model import Machine, rhe

CFG = small_attention(4, 8)
LANES = CFG.lanes


VALUES = small_attention(4, 8, attention={
    "row_elements": 64, "scales": 64, "tables": 2, "indices": 128, "pruning": True, "values": True,
})  # fmt: skip
"""The same, which can leave out values of single keys."""


def machine(position=0, cfg=CFG):
    """With a DRAM of 4 KiB, in which all regions begin at 0."""
    dram = np.random.default_rng(1).integers(0, 256, 4096, np.uint8)
    return Machine(cfg, dram, dict.fromkeys(isa.Region, 0), position)


def registers(unit, cfg=CFG, **values):
    """Registers of a job, 0 where nothing is told, counts 1."""
    job = {r.name: {f.name: int(f.name == "count") for f in r.fields} for r in isa.units(cfg)[unit]}
    for name, fields in values.items():
        job[name] |= fields
    return job


def send(m, rows):
    """Rows of elements as words of VECTOR, noise behind their ends."""
    for row in rows:
        blocks = -(-len(row) // LANES)
        padded = np.random.default_rng(len(row)).integers(-(1 << 15), 1 << 15, blocks * LANES)
        padded[: len(row)] = row
        m.engine.words.extend(padded.reshape(blocks, LANES).tolist())


@pytest.mark.parametrize("length", [1, 7, 8, 61])
@pytest.mark.parametrize("causal", [False, True])
def test_softmax_job(length, causal, rng):
    m, count, valid = machine(), 9, int(rng.integers(0, length + 1))
    rows = rng.integers(-(1 << 15), 1 << 15, (count, length)) >> rng.integers(0, 12, (count, 1))
    rows[0], rows[1] = -(1 << 15), 5
    send(m, rows)
    mode = {"kind": Rows.SOFTMAX, "blocks": -(-length // 8), "tail": (length - 1) % 8 + 1, "causal": int(causal)}
    scale = {"multiplier": 0xABCDEF, "shift": 30, "entry": 3}
    m.engine.job(registers(isa.Unit.ROWS, mode=mode, count={"rows": count, "valid": valid}, scale=scale))
    seen = np.arange(length) < valid + np.arange(count)[:, None] * causal
    codes, sums = softmax.numerators(rows, seen)
    np.testing.assert_array_equal(np.array(m.engine.out).reshape(count, length), codes)
    multiplier, shift = softmax.row_scale(sums, 0xABCDEF, 30)
    found = m.engine.scales[3 : 3 + count]
    assert [f for f, _ in found] == multiplier.tolist()
    assert [s for (f, s) in found if f] == [s for f, s in zip(multiplier, shift, strict=True) if f]


@pytest.mark.parametrize("kind", [Rows.LAYER_NORM, Rows.RMS_NORM])
@pytest.mark.parametrize("length", [1, 8, 43])
def test_norm_job(kind, length, rng):
    m, count, epsilon, shift = machine(), 6, int(rng.integers(0, 1000)), 21
    rows = rng.integers(-128, 128, (count, length))
    rows[0], rows[1] = -128, 17
    gain, bias = rng.integers(-(1 << 15) + 1, 1 << 15, length), rng.integers(-(1 << 29), 1 << 29, length)
    blocks = -(-length // LANES)
    raw = np.zeros((blocks * LANES, 8), np.uint8)
    raw[:length, :4] = bias.astype("<i4").view(np.uint8).reshape(-1, 4)
    raw[:length, 4:6] = gain.astype("<i2").view(np.uint8).reshape(-1, 2)
    start = 2 * CFG.gain_entry_bytes
    m.memory[Target.GAIN][start:][: raw.size] = raw.ravel()
    send(m, rows)
    m.engine.job(registers(
        isa.Unit.ROWS, mode={"kind": kind, "blocks": blocks, "tail": (length - 1) % 8 + 1}, count={"rows": count},
        scale={"shift": shift}, epsilon={"value": epsilon},
        gain={"block": 2, "zero_x": -9, "zero": 4, "low": -120, "high": 100},
    ))  # fmt: skip
    deviation, square = norms.statistics(rows + 9, epsilon, centered=kind is Rows.LAYER_NORM)
    wanted = round_shift(norms.normalized(deviation, square) * gain + bias, shift) + 4
    found = np.array(m.engine.out, np.uint8).view(np.int8).reshape(count, length)
    np.testing.assert_array_equal(found, np.clip(wanted, -120, 100))


def test_gathered_load(rng):
    """Rows of three times two pieces, chosen by a list that is loaded itself."""
    m, rows = machine(), np.array([7, 0, 2, 2], "<u2")
    m.dram[:8] = rows.view(np.uint8)
    m.load(registers(
        isa.Unit.LOAD, row={"bytes": 8}, destination={"address": 10, "target": Target.INDEX}, segment={"bytes": 8},
    ))  # fmt: skip
    m.load(registers(
        isa.Unit.LOAD, source={"address": 100}, row={"bytes": 3}, row_a={"count": 2, "step": 16},
        row_b={"count": 3, "step": 5}, row_c={"count": 3, "step": 300}, gather={"indexed": 1, "first": 6},
        destination={"address": 5, "target": Target.OPERAND}, segment={"bytes": 54},
    ))  # fmt: skip
    wanted = [
        m.dram[100 + 300 * index + 21 * b + 16 * a :][:3] for index in rows[1:] for b in range(3) for a in range(2)
    ]
    np.testing.assert_array_equal(m.memory[Target.OPERAND][5:59], np.concatenate(wanted))


def test_tokens_of_a_position(rng):
    m = machine(position=5)
    m.load(registers(
        isa.Unit.LOAD, source={"address": 100}, row={"bytes": 3}, row_c={"count": 4, "step": 30},
        gather={"indexed": 1, "positioned": 1, "first": 9},
        destination={"address": 0, "target": Target.OPERAND}, segment={"bytes": 12},
    ))  # fmt: skip
    wanted = [m.dram[100 + 30 * (5 + token) :][:3] for token in range(4)]
    np.testing.assert_array_equal(m.memory[Target.OPERAND][:12], np.concatenate(wanted))
    m.out.extend([1, 2, 3])
    m.store(registers(isa.Unit.STORE, target={"address": 1000}, row={"bytes": 3}, mode={"pitch": 40}))
    assert m.dram[1200:1203].tolist() == [1, 2, 3]


def test_halves_of_codes(rng):
    """Both planes, stored and loaded again, add up to the codes."""
    m, words = machine(), rng.integers(-100, 100, (2, LANES))
    sums = np.zeros(LANES + 3, np.int64)
    for half in (isa.Nibbles.HIGH, isa.Nibbles.LOW):
        vector(m, words, nibbles=half)
        assert len(m.out) == 6  # 8 and 3 codes
        m.store(registers(isa.Unit.STORE, target={"address": 7}, row={"bytes": 6}))
        m.load(registers(
            isa.Unit.LOAD, source={"address": 7}, row={"bytes": 6}, gather={"nibbles": half},
            destination={"target": Target.INPUT}, segment={"bytes": 12},
        ))  # fmt: skip
        sums += m.memory[Target.INPUT][: LANES + 3].view(np.int8)
    codes = np.clip(np.rint((words + 1) * 1.5) + 10, -100, 90).ravel()[: LANES + 3]
    np.testing.assert_array_equal(sums, codes)


@pytest.mark.parametrize("floor", [None, 3000, 65536])
def test_values_of_a_head(floor, rng):
    """What is left of the numerators, times the values that are loaded, is the product of all that stays."""
    m, keys, keep, size = machine(cfg=VALUES), 21, 9, 6
    scores = rng.integers(-1500, 1500, (5, keys))
    mode = {"blocks": 3, "tail": 5}
    for half in (scores[:2], scores[2:]):  # two jobs
        send(m, half)
        m.engine.job(registers(
            isa.Unit.ROWS, VALUES, mode={"kind": Rows.SOFTMAX, **mode}, count={"rows": len(half), "valid": keys},
            values={"observe": 1, "fresh": len(half) == 2, "largest": floor is not None, "least": 9},
        ))  # fmt: skip
    codes = np.array(m.engine.out).reshape(5, keys)
    assert not ((codes > 0) & (codes < 9)).any()
    m.engine.out.clear()
    m.engine.job(registers(
        isa.Unit.ROWS, VALUES, mode={"kind": Rows.SELECT_VALUES}, select={"count": keys, "keep": keep, "place": 40},
        values={"by_floor": floor is not None, "floor": floor or 0},
    ))  # fmt: skip
    columns = softmax.probabilities(codes, codes.sum(axis=1))
    stays = largest(columns.sum(axis=0), keep) if floor is None else columns.max(axis=0) > floor
    count = keep if floor is None else keys
    send(m, codes)
    m.engine.job(registers(
        isa.Unit.ROWS, VALUES, mode={"kind": Rows.PACK, **mode}, count={"rows": 5}, values={"count": count},
    ))  # fmt: skip
    packed = np.array(m.engine.out).reshape(5, count)
    m.load(registers(
        isa.Unit.LOAD, VALUES, source={"address": 256}, row={"bytes": size}, row_c={"count": count, "step": size},
        gather={"indexed": 1, "first": 40, "counted": 1}, destination={"target": Target.OPERAND},
        segment={"bytes": size}, segment_c={"count": count, "step": size},
    ))  # fmt: skip
    loaded = m.memory[Target.OPERAND][: count * size].view(np.int8).reshape(count, size).astype(int)
    values = m.dram[256:][: keys * size].view(np.int8).reshape(keys, size).astype(int)
    assert floor != 65536 or not stays.any()
    np.testing.assert_array_equal(packed @ loaded, codes * stays @ values)


@pytest.mark.parametrize(("above", "wanted"), [(0, False), (1, True)])
def test_decisions(above, wanted):
    """Rows of a position that come one element per word; what is predicated is done if a sum is above the limit."""
    m = machine(position=2)
    m.engine.words.extend([[5] + [99] * 7] * 12)  # two rows of six equal elements, of which 4 and 5 count
    m.engine.job(registers(
        isa.Unit.ROWS, mode={"kind": Rows.SOFTMAX, "blocks": 1, "tail": 6, "causal": 1, "positioned": 1, "column": 1,
        "decide": 1}, count={"rows": 2, "valid": 2}, scale={"multiplier": 1 << 23}, epsilon={"value": 5 * 127 - above},
    ))  # fmt: skip
    assert list(m.engine.out) == [127] * 4 + [0] * 2 + [127] * 5 + [0]
    for unit in isa.units(CFG):
        assert m.executed(unit, 1 << 49) is m.executed(unit, 1 << 49 | 1 << 50) is wanted
        assert m.executed(unit, 0)
        with pytest.raises(AssertionError, match="for ever for a decision"):
            m.executed(unit, 1 << 49)


def vector(m, words, **mode):
    """A VECTOR job over accumulator words of two blocks, with multiplier 3/2 and bias 1."""
    m.acc[: len(words)] = words
    entry = np.zeros((CFG.param_entry_bytes // 8, 8), np.uint8)
    entry[:, 0], entry[:, 4], entry[:, 7] = 1, 3, 1
    m.memory[Target.PARAM][: entry.size] = entry.ravel()
    m.vector(registers(
        isa.Unit.VECTOR, mode={"broadcast": 1, **mode}, param={"entry": 0, "blocks": 2, "tail": 3},
        requantize={"zero": 10, "low": -100, "high": 90}, acc_block={"count": len(words), "step": 1},
    ))  # fmt: skip


def test_wide_words_go_to_the_row_engine(rng):
    m, words = machine(), rng.integers(-30_000, 30_000, (4, LANES))
    vector(m, words, rows=1, wide=1)
    wanted = np.clip(np.rint((words + 1) * 1.5), -(1 << 15), (1 << 15) - 1)
    np.testing.assert_array_equal(np.array(m.engine.words), wanted)
    assert not m.out


def test_codes_go_to_the_row_engine(rng):
    m, words = machine(), rng.integers(-100, 100, (4, LANES))
    vector(m, words, rows=1)
    np.testing.assert_array_equal(np.array(m.engine.words), np.clip(np.rint((words + 1) * 1.5) + 10, -100, 90))


def test_pixels_have_scales_of_their_own(rng):
    m, words = machine(), rng.integers(-100, 100, (4, LANES))
    m.engine.scales[0], m.engine.scales[1] = (1, 0), (1, 1)
    vector(m, words, by_row=1)
    wanted = np.clip(np.rint(words / np.array([1, 1, 2, 2])[:, None]) + 10, -100, 90)
    rows = np.array(m.out, np.uint8).view(np.int8).reshape(2, LANES + 3)
    np.testing.assert_array_equal(rows[:, :LANES], wanted[::2])
    np.testing.assert_array_equal(rows[:, LANES:], wanted[1::2, :3])


def test_codes_are_looked_up(rng):
    m, words = machine(), rng.integers(-100, 100, (2, LANES))
    table = rng.integers(-128, 128, 256).astype(np.int8)
    m.memory[Target.TABLE][256:] = np.roll(table, 128).view(np.uint8)
    vector(m, words, table=1, slot=1)
    codes = np.clip(np.rint((words + 1) * 1.5) + 10, -100, 90).astype(int)
    np.testing.assert_array_equal(np.array(m.out, np.uint8).view(np.int8), table[codes.ravel()[: LANES + 3] + 128])


def test_words_that_nobody_has_sent():
    with pytest.raises(AssertionError, match="would wait for ever"):
        machine().engine.job(registers(
            isa.Unit.ROWS, mode={"blocks": 1, "tail": 1}, count={"rows": 1, "valid": 1},
        ))  # fmt: skip


def test_numerators_end_where_they_are_zero():
    assert len(rows_model.POWERS) == 2046 and rows_model.POWERS[-1] == 1


@pytest.mark.parametrize("bits", [40, 61, 70])
def test_rounding(bits, rng):
    """Of products that fit 64 bits and of those that do not, at every shift, ties included."""
    half = [(2 * int(v) + 1) << s >> 1 for s in range(64) for v in rng.integers(-3, 4, 4)]
    wide = [int(v) << bits - 31 for v in rng.integers(-(1 << 31), 1 << 31, 256)]
    for numbers in (half, wide):
        values = np.array([v for v in numbers for _ in range(4)], dtype=object)
        shifts = rng.integers(0, 64, values.size)
        wanted = [round(Fraction(v, 1 << int(s))) for v, s in zip(values, shifts, strict=True)]
        assert rhe(values, shifts).tolist() == wanted
