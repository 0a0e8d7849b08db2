"""The functional model of narrow operands against matrix products of the numbers that were packed."""

import numpy as np
import pytest

from dataflows import config
from dataflows.packing import pack, unpack
from tests.isa_model import Machine
from tests.narrow_model import elements, field, narrow_sums, stored

CASES = [
    ("ws16_fusion", 2, 2), ("ws16_fusion", 3, 8), ("ws16_fusion", 8, 4), ("stripes", 3, 8), ("loom", 5, 3),
    ("unpu", 8, 2), ("bismo", 4, 3), ("xnor", 1, 1), ("ternary", 2, 2),
]  # fmt: skip


def draw(rng: np.random.Generator, bits: int, shape: tuple[int, ...], kind: str) -> np.ndarray:
    """Numbers over the whole range, the most negative ones often."""
    if bits == 1:
        return rng.choice(np.array([-1, 1], np.int8), shape)
    least = -1 if kind == "ternary" else -(1 << bits - 1)
    values = rng.integers(least, 1 << bits - 1, shape).astype(np.int8)
    values[rng.random(shape) < 0.2] = least
    return values


@pytest.mark.parametrize(("name", "a_bits", "w_bits"), CASES)
def test_sums_are_those_of_the_matrices(name: str, a_bits: int, w_bits: int) -> None:
    cfg, rng = config.load(f"configs/{name}.toml"), np.random.default_rng(a_bits + 8 * w_bits)
    reduction, rows, cols = cfg.reduction(a_bits, w_bits), cfg.array.rows, cfg.array.cols
    kind = cfg.multiplier.kind
    turned = cfg.array.dataflow == "output_stationary"
    pixels, chunks, groups = (rows, 3, 2) if turned else (5, 1, 2)
    depth = chunks * reduction.depth
    tail = int(rng.integers(1, reduction.depth + 1)) if kind == "binary" else reduction.depth
    a = draw(rng, a_bits, (groups, pixels, depth), kind)
    w = draw(rng, w_bits, (groups, depth, cols), kind)
    words = a.reshape(groups, pixels, chunks, -1).transpose(0, 2, 1, 3)  # a word per chunk and pixel
    steps = w.reshape(groups, -1, reduction.products, cols).transpose(0, 1, 3, 2)
    precision = {"a_bits": a_bits, "w_bits": w_bits, "a_unsigned": 0, "w_unsigned": 0}
    counts = dict.fromkeys(cfg.dataflow.input_nest.levels, 1) | {"x": pixels, "word": chunks}
    input_job = {level: {"count": count} for level, count in counts.items()}
    weight_job = {
        "word": {"count": chunks * reduction.steps}, "tile": {"count": groups}, "repeat": {"count": 1},
        "precision": precision,
    }  # fmt: skip
    input_job["precision"] = precision | ({"tail": tail} if kind == "binary" else {})
    found = narrow_sums(
        cfg, input_job, weight_job, pack(words.reshape(-1, reduction.depth), a_bits),
        pack(steps.reshape(-1, cols * reduction.products), w_bits),
    )  # fmt: skip
    if kind == "binary":
        a[..., depth - reduction.depth + tail :] = 1
    wanted = a.astype(np.int64) @ w.astype(np.int64)
    np.testing.assert_array_equal(found, (wanted[:, ::-1] if turned else wanted).reshape(-1, cols))


@pytest.mark.parametrize("bits", range(1, 9))
def test_operands_are_those_of_the_packing(bits: int) -> None:
    rng, width = np.random.default_rng(bits), 1 << (bits - 1).bit_length()
    values = draw(rng, bits, (9, 16), "")
    raw = pack(values, bits)
    np.testing.assert_array_equal(elements(raw, width), values)
    np.testing.assert_array_equal(elements(raw, width, bits=bits), values)
    np.testing.assert_array_equal(field(values, width), raw)
    np.testing.assert_array_equal(unpack(field(values, width), 16, bits), values)
    cut = np.array([stored(word, 5, width, rng) for word in raw])
    assert cut.shape == (9, -(-5 * width // 8))
    np.testing.assert_array_equal(unpack(cut, 5, bits), values[:, :5])


def test_unsigned_operands_have_no_sign() -> None:
    raw = np.array([[0xF1, 0x8E]], np.uint8)
    np.testing.assert_array_equal(elements(raw, 4, unsigned=True), [[1, 15, 14, 8]])
    np.testing.assert_array_equal(elements(raw, 4, bits=3), [[1, -1, -2, 0]])


def test_machine_has_the_registers() -> None:
    cfg = config.load("configs/xnor.toml")
    machine = Machine(cfg, np.zeros(64, np.uint8), {})
    assert machine._width({"formats": {"source": 3, "addend": 3, "result": 0}}, "result") == 1
    with pytest.raises(AssertionError, match="no operands of 4 bits"):
        machine._width({"formats": {"result": 2}}, "result")
