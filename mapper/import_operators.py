"""Every supported operator: importing this module fills the table that :func:`apply` looks at."""

from mapper import (
    import_arithmetic,
    import_attention,
    import_cells,
    import_einsum,
    import_functions,
    import_gates,
    import_pooling,
    import_products,
    import_pt2e,
    import_quantize,
    import_recurrent,
    import_resize,
    import_shapes,
    import_views,
)
from mapper.import_registry import OPERATORS, apply

SOURCES = (
    import_arithmetic, import_attention, import_cells, import_einsum, import_functions, import_gates, import_pooling,
    import_products, import_pt2e, import_quantize, import_recurrent, import_resize, import_shapes, import_views,
)  # fmt: skip
"""Modules that register operators; a new one is added here."""

__all__ = ["OPERATORS", "SOURCES", "apply"]
