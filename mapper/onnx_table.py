"""The table of ONNX operators in ``docs/onnx.md``, made from what is registered.

``python -m mapper.onnx_table`` prints it.
"""

from __future__ import annotations

import inspect
from collections import defaultdict

from mapper.import_operators import OPERATORS
from mapper.onnx_operators import HANDLERS, SOURCES
from mapper.onnx_registry import TARGETS

TITLES = {
    "onnx_layers": "layers, arithmetic, functions", "onnx_pooling": "pooling, means",
    "onnx_shapes": "shapes, parts, maps", "onnx_attention": "softmax, norms", "onnx_quantize": "QDQ",
    "onnx_integer": "QOperator", "onnx_qonnx": "QONNX", "onnx_recurrent": "recurrent layers",
}  # fmt: skip
"""What each module imports."""


def table() -> str:
    """Markdown: a row per module, ONNX's own operators first; operators without an importer underneath are left out."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, handler in HANDLERS.items():
        if all(target in OPERATORS for target in TARGETS[name]):
            domain, _, operator = name.rpartition(".")
            module = inspect.getmodule(handler)
            assert module is not None
            found[module.__name__.rpartition(".")[2]][domain].append(operator)
    lines = ["| | importer | ONNX | other domains |", "|---|---|---|---|"]
    for source in SOURCES:
        module_name = source.__name__.rpartition(".")[2]
        domains = found[module_name]
        named = sorted((domain, ", ".join(sorted(names))) for domain, names in domains.items() if domain)
        others = "; ".join(f"{domain}: {names}" for domain, names in named)
        own = ", ".join(sorted(domains[""]))
        lines.append(f"| {TITLES[module_name]} | `mapper/{module_name}.py` | {own} | {others} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
