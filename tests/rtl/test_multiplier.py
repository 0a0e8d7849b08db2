"""Multipliers of all kinds in Verilator: every pair of operands, every width, sums of packed products, PEs, lint."""

import gc
import itertools

import numpy as np
import pytest

from dataflows.errors import InputError
from dataflows.multipliers import Law
from rtl.documents import lint_waivers
from rtl.fusion import FusionMultiplier
from rtl.serial import SerialMultiplier
from rtl.table import TableMultiplier
from sim import verilator
from tests.rtl.multiplier_bench import KINDS, PES, emitted, law, simulate, stimulus

FLEXIBLE = [name for name in KINDS if name not in ("fixed", "binary", "ternary")]
"""Kinds that take operands of several widths, signed or not."""

SIGNS = list(itertools.product((False, True), repeat=2))
EVERYWHERE = 300_000
"""Cycles up to which every lane gets every pair of operands; beyond, the lanes share them."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("multipliers")


def _range(bits, is_signed):
    low = -(2 ** (bits - 1)) if is_signed else 0
    return low, low + 2**bits - 1


def _extreme(rng, shape, bits, is_signed):
    """Random numbers, a third of them the least or the greatest."""
    low, high = _range(bits, is_signed)
    return rng.choice([low, high], shape) if rng.random() < 0.3 else np.where(
        rng.random(shape) < 0.3, rng.choice([low, high], shape), rng.integers(low, high, shape, endpoint=True)
    )  # fmt: skip


def _pairs(rng, name, bits, signs):
    """Every pair of operands: (steps, products) of each."""
    values = [np.arange(low, high + 1) for low, high in map(_range, bits, signs)]
    pairs = np.array(list(itertools.product(*values)))
    products, cycles = law(name).products(*bits), law(name).cycles(*bits)
    if len(pairs) * cycles <= EVERYWHERE:
        lanes = np.stack([rng.permutation(pairs) for _ in range(products)], axis=1)
    else:
        pairs = rng.permutation(pairs)
        lanes = np.resize(pairs, (-(-len(pairs) // products), products, 2))
    return lanes[..., 0], lanes[..., 1]


def _check(folder, name, a, w, bits, signs):
    found, _ = simulate(folder, name, stimulus(name, a, w, bits, signs))
    np.testing.assert_array_equal(found, (a * w).sum(axis=1))


def test_lint_clean(tmp_path):
    (tmp_path / "multipliers.v").write_text(emitted()[1], encoding="utf-8")
    bench = "lint_off -rule UNUSEDSIGNAL -file \"*\" -match \"*'word*'*\"\n"  # bits of its bytes
    (tmp_path / "multipliers.vlt").write_text(lint_waivers("multipliers") + bench, encoding="utf-8")
    arguments = ["--lint-only", "-Wall", "--top-module", "multipliers", "multipliers.vlt", "multipliers.v"]
    result = verilator.run(arguments, tmp_path)
    assert result.returncode == 0 and not result.stderr, result.stderr[:3000]


@pytest.mark.parametrize("name", FLEXIBLE)
def test_every_pair_of_operands(name, folder, rng):
    widths = range(1, 9) if name == "fusion" else (1, 2, 3, 4, 8)
    for bits, signs in itertools.product(itertools.product(widths, repeat=2), SIGNS):
        _check(folder, name, *_pairs(rng, name, bits, signs), bits, signs)


@pytest.mark.parametrize(("name", "bits"), [("fixed", 8), ("ternary", 2)])
def test_every_pair_of_one_width(name, bits, folder, rng):
    a, w = _pairs(rng, name, (bits, bits), (True, True))
    if name == "ternary":
        a, w = np.where(a == -2, 0, a), np.where(w == -2, 0, w)
    _check(folder, name, a, w, (bits, bits), (True, True))


def test_ternary_takes_the_fourth_code_as_zero(folder):
    shape = (2, law("ternary").lanes)
    found, _ = simulate(folder, "ternary", stimulus("ternary", np.full(shape, -2), np.full(shape, -1), (2, 2), (1, 1)))
    assert not found.any()


def test_binary_numbers_that_the_mask_leaves(folder, rng):
    lanes = law("binary").lanes
    a, w, mask = rng.integers(0, 2, (3, 4000, lanes))
    mask[0], mask[1], w[2], mask[2] = 0, 1, a[2], 1
    records = stimulus("binary", a, w, (1, 1), (False, False))
    records["mask"][:, 0] = (mask.astype(np.uint64) << np.arange(lanes, dtype=np.uint64)).sum(axis=1)
    records["count"][:, 0] = mask.sum(axis=1)
    found, _ = simulate(folder, "binary", records)
    np.testing.assert_array_equal(found, (mask * (2 * a - 1) * (2 * w - 1)).sum(axis=1))
    assert found[0] == 0 and found[2] == lanes


@pytest.mark.parametrize("name", FLEXIBLE)
def test_sums_of_extreme_operands(name, folder, rng):
    """All widths up to the widest, 16 bits where the kind has them."""
    for _ in range(60):
        bits = tuple(int(rng.integers(1, most, endpoint=True)) for most in (law(name).a_max, law(name).w_max))
        signs = SIGNS[rng.integers(4)]
        shape = (100, law(name).products(*bits))
        a, w = (_extreme(rng, shape, b, s) for b, s in zip(bits, signs, strict=True))
        _check(folder, name, a, w, bits, signs)


@pytest.mark.parametrize("bits", [(16, 16), (16, 8), (8, 16), (16, 2), (4, 16), (9, 11)])
@pytest.mark.parametrize("name", ["fusion", "leaf4"])
def test_sixteen_bits_over_several_cycles(name, bits, folder, rng):
    assert law(name).cycles(*bits) == (1 + (bits[0] > 8)) * (1 + (bits[1] > 8))
    for signs in SIGNS:
        shape = (500, law(name).products(*bits))
        a, w = (_extreme(rng, shape, b, s) for b, s in zip(bits, signs, strict=True))
        a[0], w[0] = _range(bits[0], signs[0])[0], _range(bits[1], signs[1])[0]
        _check(folder, name, a, w, bits, signs)


@pytest.mark.parametrize("name", PES)
def test_sums_of_steps_in_a_pe(name, folder, rng):
    """Sums of several steps wrap around at 32 bits and leave in the drain register."""
    bits = (law(name).a_max, law(name).w_max)
    sums, steps = 40, 7
    shape = (sums * steps, law(name).products(*bits))
    signs = (name != "binary",) * 2
    a, w = (_extreme(rng, shape, b, s) for b, s in zip(bits, signs, strict=True))
    records = stimulus(name, a, w, bits, signs)
    if name == "binary":
        records["mask"], records["count"] = 2**shape[1] - 1, shape[1]
        a, w = 2 * a - 1, 2 * w - 1
    records = records.reshape(sums, -1)
    records["begin"][:, : records.shape[1] // steps], records["last"][:, -1] = 1, 1
    _, outputs = simulate(folder, name, records)
    expected = (a * w).reshape(sums, -1).sum(axis=1)
    expected = (expected + 2**31) % 2**32 - 2**31
    ends = np.arange(1, sums + 1) * records.shape[1]
    np.testing.assert_array_equal(outputs[ends], expected)


def test_drain_of_a_pe(folder, rng):
    records = np.zeros((50, 1), stimulus("fixed", *np.zeros((2, 1, 1), int), (8, 8), SIGNS[0]).dtype)
    records["drain"], records["mask"][:, 0] = 1, rng.integers(0, 2**32, 50)
    _, outputs = simulate(folder, "fixed", records)
    np.testing.assert_array_equal(outputs[:49], records["mask"][1:, 0].astype(np.uint32).view(np.int32))


def test_laws():
    """Published rates: products per step and cycles of a step."""
    expected = {
        "fusion": {(8, 8): (1, 1), (4, 4): (4, 1), (2, 2): (16, 1), (8, 2): (4, 1), (4, 8): (2, 1), (16, 16): (1, 4)},
        "leaf4": {(8, 8): (1, 1), (4, 4): (4, 1), (2, 2): (4, 1), (16, 8): (1, 2)},
        "stripes": {(8, 8): (8, 8), (5, 8): (8, 5), (1, 2): (8, 1)},
        "weights_serial": {(8, 8): (3, 8), (8, 1): (3, 1)},
        "bismo": {(8, 8): (16, 64), (4, 2): (16, 8), (1, 1): (16, 1)},
        "temporal": {(8, 8): (3, 16), (4, 4): (3, 4), (3, 2): (3, 2)},
        "binary": {(1, 1): (61, 1)},
    }
    for name, rates in expected.items():
        for bits, rate in rates.items():
            assert (law(name).products(*bits), law(name).cycles(*bits)) == rate, (name, bits)


@pytest.mark.parametrize(("bits", "words"), [((9, 8), "operand a has 9 bits"), ((8, 0), "operand w has 0 bits")])
def test_widths_that_a_kind_lacks(bits, words):
    with pytest.raises(InputError, match=f"{words}, but this multiplier takes 1 to 8"):
        Law((1,), (8,), 8, 8).cycles(*bits)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_parts_that_do_not_fit():
    for make, words in (
        (lambda: FusionMultiplier(3), "leaf must be 2 or 4 bits, not 3"),
        (lambda: SerialMultiplier(4, 2, 4), "pieces must be equal or one of them 8 bits, not 2 and 4"),
        (lambda: TableMultiplier(6), "lanes must be a multiple of 4, not 6"),
    ):
        with pytest.raises(ValueError, match=words):
            make()
    gc.collect()  # what was not finished goes here, and says that it was never used
