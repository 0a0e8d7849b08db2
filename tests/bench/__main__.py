"""``python -m tests.bench [topic ...]``: run benchmarks, write ``build/bench/<topic>.json``, print a table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table

from dataflows.errors import InputError
from tests.bench import (
    a3,
    approximate,
    area,
    bert,
    bitfusion,
    bits,
    compression,
    conv56,
    dataflows,
    decode,
    demo,
    diannao,
    eie,
    eie_alexnet,
    eie_cycles,
    eie_density,
    eie_mlp,
    eie_model,
    eie_queue,
    every_dataflow,
    eyeriss,
    fusion,
    generation,
    gpt2,
    imagenet,
    onnx_models,
    pruning,
    quantization,
    resnet18,
    reuse,
    serial,
    simulation,
    topk,
    transformer_error,
    zigzag,
)
from tests.bench.figures import Figure, write

TOPICS: dict[str, Callable[[], list[Figure]]] = {
    "resnet18": resnet18.run,
    "conv56": conv56.run,
    "imagenet": imagenet.run,
    "reuse": reuse.run,
    "zigzag": zigzag.run,
    "generation": generation.run,
    "simulation": simulation.run,
    "onnx": onnx_models.run,
    "demo": demo.run,
    "demo_transformer": demo.transformer,
    "compression": compression.run,
    "eyeriss": eyeriss.run,
    "diannao": diannao.run,
    "dataflows": dataflows.run,
    "every_dataflow": every_dataflow.run,
    "eie": eie.run,
    "eie_queue": eie_queue.run,
    "eie_density": eie_density.run,
    "eie_model": eie_model.run,
    "eie_mlp": eie_mlp.run,
    "eie_alexnet": eie_alexnet.run,
    "eie_cycles": eie_cycles.run,
    "serial": serial.run,
    "area": area.run,
    "bits": bits.run,
    "quantization": quantization.run,
    "fusion": fusion.run,
    "bitfusion": bitfusion.run,
    "topk": topk.run,
    "transformer_error": transformer_error.run,
    "bert": bert.run,
    "gpt2": gpt2.run,
    "decode": decode.run,
    "a3": a3.run,
    "pruning": pruning.run,
    "approximate": approximate.run,
}


def number(value: float) -> str:
    """Counts in full, everything else with four digits."""
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 10_000 else f"{value:.4g}"


def table(topic: str, figures: Sequence[Figure]) -> Table:
    """Figures of one topic with their ratios."""
    result = Table(title=topic, title_justify="left")
    for heading in ("figure", "value", "unit", "baseline", "its value", "ratio"):
        result.add_column(heading, justify="right" if heading in ("value", "its value", "ratio") else "left")
    for f in figures:
        compared = "" if f.baseline_value is None else number(f.baseline_value)
        ratio = "" if f.ratio is None else f"{f.ratio:.3g}"
        result.add_row(f.name, number(f.value), f.unit, f.baseline, compared, ratio)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the topics named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("topics", nargs="*", metavar="topic", help=", ".join(TOPICS))
    topics = parser.parse_args(argv).topics or list(TOPICS)
    for unknown in (t for t in topics if t not in TOPICS):
        parser.error(f"there is no topic {unknown!r}; the topics are {', '.join(TOPICS)}")
    console = Console(width=None if sys.stdout.isatty() else 140)
    for topic in topics:
        try:
            figures = TOPICS[topic]()
        except InputError as error:  # a tool that is missing
            print(f"error: {topic}: {error}", file=sys.stderr)
            return 2
        path = write(topic, figures)
        console.print(table(topic, figures))
        console.print(f"{path}\n", markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
