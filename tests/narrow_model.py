"""What arrays with ``[multiplier]`` compute from the bytes they read, and operands of the vector unit as bytes.

Bits are taken apart one by one here: nothing is shared with :mod:`dataflows.packing`.
"""

from __future__ import annotations

import numpy as np

from dataflows.config import Config
from dataflows.vocabulary import Dim

Job = dict[str, dict[str, int]]


def elements(raw: np.ndarray, width: int, *, bits: int | None = None, unsigned: bool = False) -> np.ndarray:
    """Operands of ``width`` bits in memory from bytes (..., bytes), int64 (..., 8 * bytes / width).

    Only the lowest ``bits`` of each count, by default all. One bit is +1 or -1.
    """
    planes = np.unpackbits(raw, axis=-1, bitorder="little").reshape(*raw.shape[:-1], -1, width).astype(np.int64)
    if width == 1:
        return 2 * planes[..., 0] - 1
    bits = bits or width
    places = 1 << np.arange(bits)
    places[-1] *= 1 if unsigned else -1
    return planes[..., :bits] @ places


def field(values: np.ndarray, width: int) -> np.ndarray:
    """Bytes (words, lanes * width / 8) of results (words, lanes); of one bit it says whether they are not negative."""
    kept = (values >= 0).astype(np.int64) if width == 1 else values.astype(np.int64)
    planes = kept[..., None] >> np.arange(width) & 1
    return np.packbits(planes.astype(np.uint8).reshape(len(values), -1), axis=-1, bitorder="little")


def stored(word: np.ndarray, lanes: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """The bytes of a word's first ``lanes`` operands; what is left of the last byte holds anything."""
    used = lanes * width
    raw = word[: -(-used // 8)].copy()
    if used % 8:
        mask = (1 << used % 8) - 1
        raw[-1] = raw[-1] & mask | int(rng.integers(256)) & ~mask & 255
    return raw


def narrow_sums(cfg: Config, input_job: Job, weight_job: Job, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Words of sums in the order in which they leave the array.

    Parameters
    ----------
    input_job, weight_job : dict
        Registers of the two jobs.
    x : uint8 array (words, bytes of an input word)
    w : uint8 array (words, bytes of a weight word)

    Returns
    -------
    int64 array (words, columns)
    """
    mode = input_job["precision"]
    shared = {name: value for name, value in mode.items() if name != "tail"}
    assert shared == weight_job["precision"], "INPUT and WEIGHT do not agree on widths"
    reduction = cfg.reduction(mode["a_bits"], mode["w_bits"])
    values = elements(x, reduction.a_width, bits=_bits(cfg, mode, "a"), unsigned=bool(mode["a_unsigned"]))
    weights = elements(w, reduction.w_width, bits=_bits(cfg, mode, "w"), unsigned=bool(mode["w_unsigned"]))
    assert cfg.multiplier is not None
    if cfg.multiplier.kind == "ternary":  # the lower bit says whether an operand counts at all
        values, weights = values * (values != -2), weights * (weights != -2)
    if "tail" in mode:
        values = _full(cfg, input_job, values)
    weights = weights.reshape(len(w), cfg.array.cols, reduction.products).transpose(0, 2, 1)
    pixels = int(np.prod([input_job[name]["count"] for name in cfg.dataflow.input_nest.levels[:3]]))
    if cfg.dataflow.temporal is Dim.PIXEL:
        tiles = weights.reshape(-1, reduction.depth, cfg.array.cols)
        return (values.reshape(len(tiles), pixels, reduction.depth) @ tiles).reshape(-1, cfg.array.cols)
    assert cfg.dataflow.temporal is Dim.REDUCTION and pixels == cfg.array.rows
    groups = weight_job["tile"]["count"] * weight_job["repeat"]["count"]
    assert not weight_job["word"]["count"] % reduction.steps, "weight words do not fill the last reduction word"
    chunks = weight_job["word"]["count"] // reduction.steps
    assert len(values) == groups * chunks * pixels, "there is not an input word per pixel and reduction word"
    left = values.reshape(groups, chunks, pixels, -1).transpose(0, 2, 1, 3).reshape(groups, pixels, -1)
    return (left @ weights.reshape(groups, -1, cfg.array.cols))[:, ::-1].reshape(-1, cfg.array.cols)


def _bits(cfg: Config, mode: dict[str, int], operand: str) -> int | None:
    """Bits of an operand that are multiplied: fusion units take it as it lies in memory."""
    return None if cfg.multiplier and cfg.multiplier.kind == "fusion" else mode[f"{operand}_bits"]


def _full(cfg: Config, job: Job, values: np.ndarray) -> np.ndarray:
    """Values (words, depth) with +1 behind the tail of each run's last word."""
    levels = cfg.dataflow.input_nest.levels
    counts = [job[name]["count"] for name in levels]
    inner = int(np.prod(counts[: levels.index("word")]))
    last = np.arange(len(values)) // inner % job["word"]["count"] == job["word"]["count"] - 1
    tail = job["precision"]["tail"]
    assert 1 <= tail <= values.shape[1], f"a tail of {tail} inputs in words of {values.shape[1]}"
    behind = np.arange(values.shape[1]) >= tail
    return np.where(last[:, None] & behind, 1, values)
