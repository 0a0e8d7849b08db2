"""Mapping beside ZigZag's on the array, buffers and bandwidth of ws16: CPU time per distinct shape, predicted cycles.

ZigZag is installed into an environment of its own on first use. It maps each shape by itself for the least latency;
sums over a network count equal layers as often as they occur. Both sides count convolutions and linear layers only.
"""

from __future__ import annotations

import json
import subprocess
import time
import venv
from collections import Counter
from pathlib import Path
from typing import Any

from dataflows import config
from dataflows.network import Conv, Network
from mapper import load_model, map_model, quantize_model
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.conv_search import plan
from mapper.conv_shape import ConvShape
from tests.bench.figures import FOLDER, BenchError, Figure
from tests.bench.imagenet import exported

PACKAGES = ("zigzag-dse==3.9.1", "six")  # it imports six without asking for it
NETWORKS = ("resnet18", "resnet50")
CONFIG = "configs/ws16.toml"
DRIVER = Path(__file__).with_name("zigzag_driver.py")
FIELDS = ("inputs", "outputs", "height", "width", "out_height", "out_width", "kernel", "stride", "padding")

Shape = tuple[int, ...]


def interpreter() -> Path:
    """A Python that has ZigZag."""
    folder = FOLDER / "zigzag"
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        made = subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], capture_output=True, check=False)
        if made.returncode:
            raise BenchError(f"{PACKAGES[0]} cannot be installed: {made.stderr.decode()[-500:]}")
    return python


def shapes(network: Network) -> Counter[Shape]:
    """Distinct convolutions, as :data:`FIELDS`, and how often each occurs."""
    found: Counter[Shape] = Counter()
    for layer in network.layers:
        if isinstance(layer, Conv):
            (_, h, w, c), (_, oh, ow, oc) = (network.tensors[n].shape for n in (layer.inputs[0], layer.output))
            window = layer.window
            found[c, oc, h, w, oh, ow, window.kernel[0], window.stride[0], window.padding[0]] += 1
    return found


def by_zigzag(every: list[Shape]) -> dict[Shape, dict[str, float]]:
    """Cycles and CPU seconds of each shape."""
    cfg = config.load(Path(CONFIG))
    memory = cfg.memory
    question = {
        "rows": cfg.array.rows, "cols": cfg.array.cols, "bus_bits": cfg.bus.data_bits,
        "input_bytes": memory.input_bytes, "weight_bytes": memory.weight_bytes, "acc_bytes": memory.acc_bytes,
        "shapes": [{"name": f"layer{i}", **dict(zip(FIELDS, s, strict=True))} for i, s in enumerate(every)],
    }  # fmt: skip
    asked, told = FOLDER / "zigzag_question.json", FOLDER / "zigzag_answer.json"
    asked.write_text(json.dumps(question), encoding="utf-8")
    run = subprocess.run([interpreter(), "-I", DRIVER, asked, told], capture_output=True, timeout=3600, check=False)
    if run.returncode:
        raise BenchError(f"ZigZag: {run.stderr.decode()[-1000:]}")
    answer: list[dict[str, Any]] = json.loads(told.read_text(encoding="utf-8"))
    return dict(zip(every, answer, strict=True))


def searched(network: Network) -> float:
    """CPU seconds of the search for the plans of all layers, nothing known before."""
    cfg = config.load(Path(CONFIG))  # plans are remembered by configuration object
    started = time.process_time()
    for layer in network.layers:
        if isinstance(layer, Conv):
            plan(ConvShape.of(cfg, layer, network.tensors[layer.inputs[0]], network.tensors[layer.output]), Options())
    return time.process_time() - started


def compiled(network: Network) -> float:
    """CPU seconds from the quantized network to its program."""
    cfg = config.load(Path(CONFIG))
    started = time.process_time()
    compile_network(cfg, network, Options())
    return time.process_time() - started


def run() -> list[Figure]:
    """CPU time of both, and cycles of both."""
    command = "python -m tests.bench zigzag"
    quantized = {name: quantize_model(load_model(exported(name))) for name in NETWORKS}
    networks = {name: model.model.network for name, model in quantized.items()}
    counted = {name: shapes(network) for name, network in networks.items()}
    theirs = by_zigzag(list({s: None for counts in counted.values() for s in counts}))
    basis = [theirs[s]["seconds"] for s in counted["resnet18"]]
    each = sum(basis) / len(basis)
    found = [Figure("ZigZag, resnet18: CPU time per distinct shape", each, "s", "none", None, command)]
    for name, network in networks.items():
        counts = counted[name]
        for what, seconds in (("search", searched(network)), ("search and program", compiled(network))):
            title = f"{name}: {what}, CPU time per distinct shape"
            found.append(Figure(title, seconds / len(counts), "s", "ZigZag", each, command))
        found.append(Figure(f"{name}: distinct shapes", len(counts), "shapes", "none", None, command))
        other = sum(theirs[s]["cycles"] * count for s, count in counts.items())
        for options, title in (({"no_fuse": True}, "layer by layer"), ({}, "with reuse")):
            mapped = map_model(quantized[name], CONFIG, **options)
            cycles = sum(row.cycles for row in mapped.layers if row.op == "conv")
            found.append(Figure(f"{name}, {title}: predicted cycles", cycles, "cycles", "ZigZag", other, command))
            gap = max(row.search["gap"] for row in mapped.layers if row.search)
            found.append(Figure(f"{name}, {title}: optimality gap", gap, "", "goal", 0, command))
    return found
