"""Models quantized by ONNX Runtime: how many integers of the golden model are those of its kernels."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from tests.bench.figures import Figure
from tests.mapper import onnx_models as models
from tests.mapper.test_onnx_quantized import compared, first_differences

COMMAND = "python -m tests.bench onnx"
SAMPLES = 128

FORMS = tuple(product(("QDQ", "QOperator"), (True, False), ("QUInt8", "QInt8"), (False, True)))
"""Form of the file, scales of weights per channel, type of activations, symmetric activations."""


def run() -> list[Figure]:
    """All quantized tensors of every network in every form, as they come out of the whole network."""
    figures: list[Figure] = []
    with TemporaryDirectory() as folder:
        for name in models.NETWORKS:
            figures += _figures(name, list(_differences(name, Path(folder))))
            exact = list(_powers_of_two(name, Path(folder)))
            wrong = sum(int((d != 0).sum()) for d in exact)
            figures.append(Figure(f"{name}: scales are powers of two, other integers", wrong, "", "goal", 0, COMMAND))
    return figures


def _differences(name: str, folder: Path) -> Iterator[list[NDArray[np.int64]]]:
    """Differences of all tensors in steps, for each form."""
    for form in FORMS:
        model = models.quantized(models.NETWORKS[name](), folder / "q.onnx", *form)
        yield compared(model, folder / "shown.onnx", models.samples(model, SAMPLES))


def _powers_of_two(name: str, folder: Path) -> Iterator[NDArray[np.int64]]:
    """The same with scales that are powers of two, against nodes as ONNX defines them and kernels on integers."""
    for kind, plain in product(("QUInt8", "QInt8"), (True, False)):
        model = models.quantized(models.NETWORKS[name](), folder / "q.onnx", "QDQ", True, kind)
        model = models.powers_of_two(model)
        yield from compared(model, folder / "shown.onnx", models.samples(model, SAMPLES), plain)


def _figures(name: str, forms: list[list[NDArray[np.int64]]]) -> list[Figure]:
    flat = [difference for differences in forms for difference in differences]
    total, wrong = sum(d.size for d in flat), sum(int((d != 0).sum()) for d in flat)
    rows = (
        ("integers compared", total, "", "", None),
        ("other than ONNX Runtime's", 100 * wrong / total, "%", "goal", 0.01),
        ("largest difference that a layer makes", max(map(first_differences, forms)), "steps", "goal", 1),
        ("largest difference that comes of them", max(int(np.abs(d).max()) for d in flat), "steps", "", None),
    )
    return [Figure(f"{name}: {what}", value, *rest, COMMAND) for what, value, *rest in rows]
