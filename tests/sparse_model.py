"""Functional model of the sparse engine: a job walks the compressed columns that lie in its memories."""

from __future__ import annotations

import numpy as np

from dataflows import isa
from dataflows.config import Config


class StoppedError(Exception):
    """The accelerator stops with an error: ``error`` and what ERROR_INFO holds."""

    def __init__(self, error: isa.Error, pe: int, column: int):
        super().__init__(f"{error.name}: PE {pe}, column {column}")
        self.error, self.info = error, pe << 16 | column


def walk(
    cfg: Config, job: dict, memory: dict[isa.Target, np.ndarray], x: np.ndarray, sums: np.ndarray
) -> None:
    """One SPARSE job.

    Parameters
    ----------
    memory : entries, pointers and codebooks as bytes, by target
    x : int array (columns,) of activations
    sums : int64 array (accumulators, pes), added to; sum of row ``i`` in ``[i // pes, i % pes]``
    """
    pes, beat = cfg.sparse.pes, cfg.bus_bytes
    columns, weights, rows, mode = (job[name] for name in ("columns", "weights", "rows", "mode"))
    values = x[: columns["count"]] - mode["zero"]
    active = np.flatnonzero(values)
    book = memory[isa.Target.CODEBOOK][mode["codebook"] * cfg.codebook_pitch :][: cfg.act_bytes << cfg.sparse.code_bits]
    book = book.view(f"<i{cfg.act_bytes}").astype(np.int64)
    faults = []
    for pe in range(pes):
        start = pe * cfg.sparse_pointer_pitch + columns["pointers"] * beat
        pointer = memory[isa.Target.POINTERS][start:][: isa.POINTER_BYTES * (columns["count"] + 1)].view("<u2")
        first, end = pointer[active].astype(np.int64), pointer[active + 1].astype(np.int64)
        wrong = active[(end < first) | (end > weights["entries"])]
        if wrong.size:
            faults.append((int(wrong[0]), pe, isa.Error.SPARSE_POINTER))
            continue
        length = end - first
        before = np.cumsum(length) - length
        inside = np.arange(length.sum()) - np.repeat(before, length)
        number = np.repeat(first, length) + inside
        start = pe * cfg.sparse_weight_pitch + weights["word"] * beat
        size = cfg.entry_bytes
        raw = memory[isa.Target.ENTRIES][start + number[:, None] * size + np.arange(size)]
        entry = raw.view(f"<u{size}")[:, 0].astype(np.int64) if len(raw) else np.zeros(0, np.int64)
        steps = np.cumsum((entry & (1 << cfg.sparse.run_bits) - 1) + 1)
        gone = np.concatenate([[0], steps])[np.repeat(before, length)]
        place = steps - gone - 1
        beyond = place >= rows["full"] + (pe < rows["extra"])
        if beyond.any():
            faults.append((int(np.repeat(active, length)[beyond][0]), pe, isa.Error.SPARSE_RUN))
            continue
        code = entry >> cfg.sparse.run_bits & (1 << cfg.sparse.code_bits) - 1
        np.add.at(sums[:, pe], place, book[code] * np.repeat(values[active], length))
    if faults:
        column, pe, error = min(faults)
        raise StoppedError(error, pe, column)
