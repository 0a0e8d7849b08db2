"""Jobs of the row-stationary array: random geometries, their words, and their sums in plain NumPy."""

from dataclasses import dataclass, replace

import numpy as np

from dataflows import config
from dataflows.formats import ACC_BITS
from tests.rtl.compute_bench import Word, integers, job


@dataclass(frozen=True)
class Geometry:
    """One job: sets of ``kernel_rows`` x ``columns`` PEs; a PE has ``filters`` filters of ``kernel`` x ``channels``."""

    filters: int = 1
    kernel: int = 1
    channels: int = 1
    stride: int = 1
    positions: int = 1
    kernel_rows: int = 1
    chained: int = 1
    units: int = 1
    columns: int = 1
    across: int = 1
    row_step: int = 1
    column_step: int = 1
    folded: int = 0
    passes: int = 1

    @property
    def taps(self):
        return self.kernel * self.channels

    @property
    def fresh(self):
        return min(self.stride, self.kernel) * self.channels

    @property
    def preload(self):
        return -(-self.kernel // self.stride)

    @property
    def groups(self):
        return self.preload + self.positions - 1

    @property
    def rows(self):
        """Input rows of a group."""
        columns = self.columns * (self.units if self.folded else 1)
        return self.row_step * (self.kernel_rows - 1) + self.column_step * (columns - 1) + 1

    def registers(self):
        """Payload of the geometry stream."""
        return {
            "step": {
                "filters": self.filters, "taps": self.taps, "fresh": self.fresh, "preload": self.preload,
                "positions": self.positions,
            },
            "sets": {
                "kernel_rows": self.kernel_rows, "chained": self.chained, "units": self.units,
                "columns": self.columns, "row_step": self.row_step, "column_step": self.column_step,
                "folded": self.folded,
            },
            "bus": {"rows": self.rows, "across": self.across, "passes": self.passes},
        }  # fmt: skip


def make_config(rows, cols, bits=8, inputs=6, weights=24, sums=8, gating=False):
    """A small accelerator with these stores."""
    return config.parse(
        {
            "name": "small",
            "array": {"rows": rows, "cols": cols, "dataflow": "row_stationary", "zero_gating": gating},
            "stores": {"input": inputs, "weight": weights, "output": sums},
            "memory": {
                "input_bytes": 4096, "weight_bytes": 4096, "operand_bytes": 4096, "param_bytes": 8192,
                "acc_bytes": 128 * ACC_BITS[bits] // 8 * cols,
            },
            "numbers": {"act_bits": bits},
            "bus": {"data_bits": 64},
        },
        "test",
    )  # fmt: skip


def random_geometry(rng, cfg, **fixed):
    """What fits the array and the stores; ``fixed`` fields are as given."""
    rows, cols, stores = cfg.array.rows, cfg.array.cols, cfg.stores

    def upto(limit):
        return int(rng.choice([1, limit, rng.integers(1, limit + 1)]))

    kernel = fixed.get("kernel") or upto(min(5, stores.input))
    channels = fixed.get("channels") or upto(stores.input // kernel)
    kernel_rows = fixed.get("kernel_rows") or upto(min(5, rows))
    chained = fixed.get("chained") or upto(rows // kernel_rows)
    columns = fixed.get("columns") or upto(cols)
    values = {
        "kernel": kernel,
        "channels": channels,
        "filters": upto(min(stores.output, stores.weight // (kernel * channels))),
        "stride": upto(4),
        "positions": int(rng.integers(1, 6)),
        "kernel_rows": kernel_rows,
        "chained": chained,
        "units": upto(min(rows // (kernel_rows * chained), kernel * channels)),
        "columns": columns,
        "across": upto(cols // columns),
        "row_step": upto(3),
        "column_step": upto(4),
        "folded": int(rng.integers(2)),
        "passes": int(rng.integers(1, 4)),
    }
    return replace(Geometry(), **(values | fixed))


@dataclass
class Job:
    """Words of one job and what they must give: sums, and how many products have a zero input."""

    geometry: Geometry
    input: list[Word]
    weight: list[Word]
    sums: list[list[int]]
    zeros: int


def make_job(rng, cfg, g, zeros=0.0):
    """Random data for a geometry, a share ``zeros`` of the inputs being zero."""
    bits, rows, cols = cfg.numbers.act_bits, cfg.array.rows, cfg.array.cols
    before = g.preload * min(g.stride, g.kernel) - g.kernel  # columns of the first group that no window has
    width = before + max(g.kernel, g.stride) + g.stride * (g.positions - 1)
    x = integers(rng, bits, g.passes, g.chained, g.rows, width, g.channels)
    x = np.where(rng.random(x.shape) < zeros, 0, x)
    own = 1 if g.folded else g.units
    shape = (g.passes, g.across, own, g.filters, g.chained, g.kernel_rows, g.kernel, g.channels)
    w = integers(rng, bits, *shape)

    pitch, some = g.stride, min(g.stride, g.kernel)
    inputs = [
        Word([int(v)])
        for image in x
        for group in range(g.groups)
        for v in image[:, :, group * pitch : group * pitch + some].ravel()
    ]
    weights = []
    for n, side, kx, c, f in np.ndindex(g.passes, g.across, g.kernel, g.channels, g.filters):
        word = integers(rng, bits, rows)  # rows not in use get anything
        for u, slot, ky in np.ndindex(g.units, g.chained, g.kernel_rows):
            word[(u * g.chained + slot) * g.kernel_rows + ky] = w[n, side, 0 if g.folded else u, f, slot, ky, kx, c]
        weights.append(Word([int(v) for v in word]))

    sums, zero = [], 0
    for n, position, u in np.ndindex(g.passes, g.positions, g.units):
        words = np.zeros((g.filters, cols), dtype=np.int64)
        for side, oy in np.ndindex(g.across, g.columns):
            first = g.column_step * (oy + (u * g.columns if g.folded else 0))
            left = before + position * g.stride
            taken = first + g.row_step * np.arange(g.kernel_rows)
            part = x[n][:, taken, left : left + g.kernel]
            words[:, side * g.columns + oy] = np.einsum("skxc,fskxc->f", part, w[n, side, 0 if g.folded else u])
            zero += int((part == 0).sum()) * g.filters
        sums += words.tolist()
    return Job(g, job(inputs), job(weights), sums, zero)
