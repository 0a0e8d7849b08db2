"""What the row-stationary array computes, PE by PE from the words that each takes: no skew, no time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dataflows.config import Config


def identifiers(job: dict) -> np.ndarray:
    """For every bus word of a pass, (slot, input row): channel, column, row, slot, group, innermost first."""
    step, bus, sets = job["step"], job["bus"], job["sets"]
    groups = step["preload"] + step["positions"] - 1
    counts = (groups, sets["chained"], bus["rows"], step["fresh"])
    index = np.unravel_index(np.arange(int(np.prod(counts))), counts)
    return np.stack([index[1], index[2]])


def row_sums(cfg: Config, job: dict, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Words of sums in the order in which they leave the array.

    Parameters
    ----------
    job : dict
        Geometry registers ``step``, ``sets``, ``bus``.
    x : int64 array (bus words,)
    w : int64 array (weight words, PE rows)

    Returns
    -------
    int64 array (pass, position, unit, filter, all flat; PE columns)
    """
    step, sets, bus = job["step"], job["sets"], job["bus"]
    p, taps, positions = step["filters"], step["taps"], step["positions"]
    passes, across, columns, units = bus["passes"], bus["across"], sets["columns"], sets["units"]
    assert taps <= cfg.stores.input and taps * p <= cfg.stores.weight and p <= cfg.stores.output
    assert sets["kernel_rows"] * sets["chained"] * units <= cfg.array.rows and columns * across <= cfg.array.cols
    assert units <= taps, "sums of different units collide"
    w = w.reshape(passes, across, taps, p, cfg.array.rows)
    sums = np.zeros((passes, positions, units, p, cfg.array.cols), np.int64)
    for pe_row, col, taken in windows(job, x):
        unit = pe_row // (sets["kernel_rows"] * sets["chained"])
        sums[:, :, unit, :, col] += np.einsum("aot,atf->aof", taken, w[:, col // columns, :, :, pe_row])
    return sums.reshape(-1, cfg.array.cols)


def row_zeros(job: dict, x: np.ndarray) -> int:
    """Multiplications of a job whose input is zero."""
    return job["step"]["filters"] * sum(int((taken == 0).sum()) for _, _, taken in windows(job, x))


def windows(job: dict, x: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """For each PE in use its row, its column and its window words (pass, position, tap)."""
    step, sets, bus = job["step"], job["sets"], job["bus"]
    taps, fresh, positions = step["taps"], step["fresh"], step["positions"]
    slot, row = identifiers(job)
    x = x.reshape(bus["passes"], -1)
    starts = step["preload"] * fresh + np.arange(positions) * fresh - taps
    for pe_row in range(sets["kernel_rows"] * sets["chained"] * sets["units"]):
        sigma, ky = divmod(pe_row, sets["kernel_rows"])
        unit, chain = divmod(sigma, sets["chained"])
        for col in range(sets["columns"] * bus["across"]):
            oy = col % sets["columns"] + (unit * sets["columns"] if sets["folded"] else 0)
            wanted = sets["row_step"] * ky + sets["column_step"] * oy
            mine = x[:, (slot == chain) & (row == wanted)]
            assert mine.shape[1] == (step["preload"] + positions - 1) * fresh, "a PE waits for words that never come"
            yield pe_row, col, mine[:, starts[:, None] + np.arange(taps)]
