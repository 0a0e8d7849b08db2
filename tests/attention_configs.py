"""Small configurations with a row engine."""

from dataflows import config
from dataflows.config import Config


def small_attention(rows: int = 4, cols: int = 8, *, row_elements: int = 64, size: int = 1, **more: dict) -> Config:
    """A weight-stationary array with rows of up to ``row_elements`` and memories of ``size`` times little."""
    kib = 1024 * size
    word = 2 * config.ceil_pow2(max(16, rows, cols))
    entry = 8 * config.ceil_pow2(cols)

    def whole(count: int, granule: int) -> int:
        return -(-count // granule) * granule

    values = {
        "name": f"attention{rows}x{cols}",
        "array": {"rows": rows, "cols": cols, "dataflow": "weight_stationary"},
        "memory": {
            "input_bytes": whole(8 * kib, word),
            "weight_bytes": whole(8 * kib, word),
            "acc_bytes": 256 * size * cols * 4,
            "operand_bytes": whole(4 * kib, word),
            "param_bytes": whole(2 * kib, entry),
        },
        "bus": {"data_bits": 64},
        "attention": {"row_elements": whole(row_elements, cols), "scales": 64 * size, "tables": 2, "indices": 128},
        **more,
    }
    return config.parse(values, "small attention")
