"""The networks of Bit Fusion (Sharma et al., ISCA 2018) on its configuration: its cycle rule, and whole networks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

from dataflows import config, isa
from dataflows.config import Config
from dataflows.network import Conv, MaxPool, Network, Reshape, Tensor, Window
from mapper.compile import Program, compile_network
from mapper.conv_plan import Options
from mapper.run import execute
from mapper.timing import predict
from sim.runner import Dram
from tests.bench.figures import FOLDER, Figure, shown
from tests.mixed_networks import Draw, Limits, mixed_input

CONFIG = "configs/bitfusion.toml"
BATCH = 16
RATE = 24
"""Bytes a cycle of the published engine's DRAM: 192 bits."""

LATENCY = 100
COMMAND = shown("-m", "tests.bench", "bitfusion")
IMAGE = (32, 32, 3)
SAME = Window((3, 3), padding=(1, 1, 1, 1))


@dataclass(frozen=True)
class Part:
    """One layer with weights: output channels, widths of inputs and weights (one bit takes two there).

    ``kernel`` is 3, or 1 for linear layers; ``pooled``: 2x2 maxima behind it.
    """

    name: str
    channels: int
    bits: tuple[int, int]
    kernel: int = 3
    pooled: bool = False


def _quantized(widths: tuple[int, int, int], first: tuple[int, int], hidden: int) -> tuple[Part, ...]:
    """Six convolutions, each second one pooled, and three linear layers; all of 2 bits but the first."""
    convolutions = [
        Part(f"conv{2 * stage + turn}", width, first if stage + turn == 0 else (2, 2), pooled=turn == 1)
        for stage, width in enumerate(widths) for turn in range(2)
    ]  # fmt: skip
    linear = [Part(f"fc{6 + number}", size, (2, 2), 1) for number, size in enumerate((hidden, hidden, 10))]
    return *convolutions, *linear


NETWORKS: dict[str, tuple[tuple[int, int, int], tuple[Part, ...]]] = {
    "svhn": (IMAGE, _quantized((64, 128, 256), (8, 2), 1024)),
    "cifar10": (IMAGE, _quantized((128, 256, 512), (8, 8), 1024)),
    "rnn": ((1, 1, 4096), (Part("matmul", 4096, (4, 4), 1),)),
}
"""Rows, columns and channels of the input, and the layers."""

PUBLISHED = {
    "svhn": (32_768, 294_912, 147_456, 147_456, 73_728, 73_728, 8_192, 2_048, 64),
    "cifar10": (131_072, 589_824, 294_912, 294_912, 147_456, 294_912, 16_384, 2_048, 64),
    "rnn": (131_072,),
}
"""Cycles of the layers without waits for memory, batch of 16."""

TOTALS = {"svhn": 1_317_523, "cifar10": 3_293_704, "rnn": 394_583}
"""Cycles of the networks, waits for memory included."""


def network(name: str, batch: int = BATCH) -> Network:
    """A network with random weights."""
    (height, width, channels), parts = NETWORKS[name]
    draw = Draw(0, Limits.of(config.load(CONFIG)))
    at = draw.tensor("x", (batch, height, width, channels), array=True, bits=parts[0].bits[0])
    for part, behind in zip(parts, (*parts[1:], None), strict=True):
        if part.kernel == 1 and at.shape[1] > 1:
            at = _flat(draw, at)
        window = SAME if part.kernel == 3 else Window()
        bits = behind.bits[0] if behind else 8
        at = draw.convolution(part.name, at, part.channels, 1, window, array=True, bits=bits, weight_bits=part.bits[1])
        if part.pooled:
            at = _pooled(draw, f"{part.name}_pool", at)
    return Network(name, draw.tensors, tuple(draw.layers), ("x",), (at.name,))


def _flat(draw: Draw, at: Tensor) -> Tensor:
    """All of an image as channels."""
    flat = Tensor("flat", (at.shape[0], 1, 1, at.size // at.shape[0]), at.scale, at.zero, at.bits)
    draw.tensors["flat"] = flat
    draw.layers.append(Reshape("flatten", (at.name,), "flat", at.lowest, at.highest))
    return flat


def _pooled(draw: Draw, name: str, at: Tensor) -> Tensor:
    """Maxima of 2x2 pixels."""
    n, height, width, channels = at.shape
    out = replace(at, name=name, shape=(n, height // 2, width // 2, channels))
    draw.tensors[name] = out
    draw.layers.append(MaxPool(name, (at.name,), name, out.lowest, out.highest, Window((2, 2), (2, 2))))
    return out


def law(cfg: Config, net: Network, layer: Conv) -> int:
    """The published rule: images x pixels x taps x ceil(channels / (rows x products)) x ceil(filters / columns).

    A layer whose whole kernel fits a few words of the array (the first one) is a product of matrices.
    """
    n, height, width, filters = net.tensors[layer.output].shape
    _, _, _, channels = net.tensors[layer.inputs[0]].shape
    depth = cfg.reduction(net.tensors[layer.inputs[0]].bits, layer.weight_bits).depth
    kh, kw = layer.window.kernel
    words = ceil(kh * kw * channels / depth) if channels <= 4 else kh * kw * ceil(channels / depth)
    return n * height * width * words * ceil(filters / cfg.array.cols)


def layouts(net: Network) -> dict[str, str]:
    """Layouts with which the array works as the published one does."""
    first, *others = (layer.name for layer in net.layers if isinstance(layer, Conv))
    image = net.tensors["x"].shape[1] > 1
    return {first: "stacked" if image else "taps", **dict.fromkeys(others, "taps")}


def array_cycles(program: Program) -> dict[str, int]:
    """Cycles in which a word of inputs enters the array, by layer: words of its INPUT jobs."""
    levels, names = program.cfg.dataflow.input_nest.levels, {e.index: e.layer.name for e in program.schedule}
    found: dict[str, int] = {}
    for job in program.jobs:
        if job.unit is isa.Unit.INPUT:
            words = 1
            for level in levels:
                words *= job.registers.get(level, {}).get("count", 1)
            found[names[job.layer]] = found.get(names[job.layer], 0) + words
    return found


def compiled(cfg: Config, net: Network, *, published: bool) -> Program:
    """The program, with the published way through the kernels or the fastest one."""
    layout = layouts(net) if published else None
    return compile_network(cfg, net, Options(LATENCY, RATE, layout=layout))


def run() -> list[Figure]:
    """Array cycles by layer beside the rule, and cycles of the networks on the RTL beside the published totals."""
    cfg = config.load(CONFIG)
    figures = []
    for name, rule in PUBLISHED.items():
        net = network(name)
        for published in (True, False):
            way = "taps" if published else "own layouts"
            program = compiled(cfg, net, published=published)
            busy = array_cycles(program)
            for (layer, cycles), expected in zip(busy.items(), rule, strict=True):
                title = f"{name} {layer}, {way}: array cycles"
                figures.append(Figure(title, cycles, "cycles", "published rule", expected, COMMAND))
            inputs = {"x": mixed_input(net, 0)}
            result = execute(program, inputs, dram=Dram(LATENCY, RATE), build_root=FOLDER / "rtl")
            predicted = predict(program, LATENCY, RATE).cycles
            title = f"{name}, {way}"
            figures += [
                Figure(f"{title}: array cycles", sum(busy.values()), "cycles", "published", sum(rule), COMMAND),
                Figure(f"{title}: cycles", result.cycles, "cycles", "published", TOTALS[name], COMMAND),
                Figure(f"{title}: predicted cycles", predicted, "cycles", "measured", result.cycles, COMMAND),
                Figure(f"{title}: wrong values", len(result.mismatches), "values", "goal", 0, COMMAND),
                Figure(f"{title}: simulation", result.seconds, "s", "none", None, COMMAND),
            ]
    return figures
