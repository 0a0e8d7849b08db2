"""Convolutions of packed operands: programs for every kind of multiplier, against the golden model's bits."""

from dataclasses import replace

import numpy as np
import pytest

from dataflows import config
from dataflows.config import Config
from dataflows.errors import InputError
from dataflows.network import Add, Conv, Layer, Network, Tensor, Window
from mapper.compile import Program, compile_network
from mapper.conv_plan import Options
from mapper.image import Image
from sim import golden
from tests.isa_model import Machine
from tests.random_layers import window

KIB = 1024

KINDS = {
    "fusion": {"kind": "fusion"}, "coarse": {"kind": "fusion", "leaf": 4},
    "serial_input": {"kind": "serial_input", "lanes": 8}, "serial_weight": {"kind": "serial_weight", "lanes": 16},
    "serial": {"kind": "serial", "lanes": 32, "bits": 4}, "table": {"kind": "table", "lanes": 8},
    "binary": {"kind": "binary", "lanes": 16}, "ternary": {"kind": "ternary", "lanes": 8},
}  # fmt: skip


def configuration(case: str, rows: int, *, lean: bool) -> Config:
    """A small accelerator; ``lean``: so little memory that everything is tiled."""
    flow = "weight_stationary" if KINDS[case]["kind"] == "fusion" else "output_stationary"
    sizes = {"input_bytes": KIB // 2, "weight_bytes": 2 * KIB, "acc_bytes": KIB, "operand_bytes": KIB // 2}
    factor = 1 if lean else 16
    return config.parse(
        {
            "name": "small",
            "array": {"rows": rows, "cols": 8, "dataflow": flow},
            "multiplier": KINDS[case],
            "memory": {name: factor * size for name, size in sizes.items()} | {"param_bytes": KIB},
            "bus": {"data_bits": 64},
        },
        case,
    )


def tensor(cfg: Config, rng: np.random.Generator, name: str, shape: tuple[int, ...], widths: tuple[int, ...]) -> Tensor:
    """A tensor of one of some widths, its zero point anywhere."""
    bits = int(rng.choice(widths))
    if bits == 1:
        return Tensor(name, shape, 1.0, 0, 1)
    ternary = cfg.multiplier.kind == "ternary" and bits == 2
    t = Tensor(name, shape, float(np.float32(rng.uniform(0.01, 0.2))), 0, bits, ternary)
    return replace(t, zero=int(rng.choice([t.lowest, t.highest, 0])))


def convolution(
    cfg: Config, rng: np.random.Generator, name: str, source: Tensor, target: Tensor, groups: int, w: Window
) -> Conv:
    """A layer with random weights of a random width, its most negative ones included."""
    bits = int(rng.choice(cfg.operand_bits))
    shape = (target.shape[3], source.shape[3] // groups, *w.kernel)
    limit = 1 << bits - 1
    weight = rng.integers(-1 if cfg.multiplier.kind == "ternary" else -limit, limit, shape)
    if bits == 1:
        weight = rng.choice([-1, 1], shape)
    reach = max(2.0, np.sqrt(np.prod(shape[1:])) * limit * (1 << source.bits - 1) / 2)
    scale = rng.uniform(0.5, 2.0, shape[0]) * target.highest / reach
    weight_scale = (scale * target.scale / source.scale).astype(np.float32)
    bias = rng.integers(-int(reach), int(reach) + 1, shape[0]).astype(np.int32)
    return Conv(
        name, (source.name,), target.name, target.lowest, target.highest, weight.astype(np.int8), weight_scale,
        bias, w, groups, bits,
    )  # fmt: skip


def random_network(cfg: Config, seed: int) -> Network:
    """A convolution of any shape and widths; perhaps a second one that is added to it, perhaps one behind."""
    rng = np.random.default_rng(seed)
    images, height, width = int(rng.choice([1, 1, 2])), int(rng.integers(1, 9)), int(rng.integers(1, 9))
    channels, outputs, groups = int(rng.integers(1, 41)), int(rng.integers(1, 25)), 1
    w = window(rng, height, width) if rng.random() < 0.8 else Window()
    if rng.random() < 0.3:
        groups = int(rng.integers(2, 4))
        whole = 8 if cfg.operand_bits == (1,) else 1
        channels, outputs = groups * whole * int(rng.integers(1, 4)), groups * whole * int(rng.integers(1, 4))
    operands, stored = cfg.operand_bits, tuple(b for b in range(1, 9) if 1 << (b - 1).bit_length() in cfg.containers)
    source = tensor(cfg, rng, "x", (images, height, width, channels), operands)
    shape = (images, *w.output_size(height, width), outputs)
    kind = rng.choice(["alone", "add", "behind"])
    several = tuple(b for b in stored if b > 1)
    mid = tensor(cfg, rng, "mid", shape, {"alone": stored, "add": several, "behind": operands}[kind])
    tensors, layers = [source, mid], [convolution(cfg, rng, "conv", source, mid, groups, w)]
    result: Layer = layers[0]
    if kind == "behind":
        out = tensor(cfg, rng, "out", (*shape[:3], int(rng.integers(1, 20))), stored)
        result = convolution(cfg, rng, "next", mid, out, 1, Window())
        tensors, layers = [*tensors, out], [*layers, result]
    elif kind == "add":
        other, out = (tensor(cfg, rng, name, shape, several) for name in ("other", "out"))
        result = Add("add", ("mid", "other"), "out", out.lowest, out.highest)
        first = convolution(cfg, rng, "side", source, other, groups, w)
        tensors, layers = [*tensors, other, out], [first, *layers, result]
    named = {t.name: t for t in tensors}
    return Network(f"packed{seed}", named, tuple(layers), ("x",), (result.output,))


def wide_layer(cfg: Config, seed: int, outputs: int) -> Network:
    """A layer of few channels whose rows are whole strips of some outputs, with padding on every side."""
    rng = np.random.default_rng(seed)
    kernel, stride = (int(rng.integers(3, 8)), int(rng.choice([1, 3, 5, 7]))), tuple(map(int, rng.integers(1, 4, 2)))
    padding = tuple(int(rng.integers(0, 4)) for _ in range(4))
    width = outputs * int(rng.integers(1, 5)) * stride[1] + kernel[1] - 1 - padding[1] - padding[3]
    images, height, channels = int(rng.choice([1, 2])), int(rng.integers(7, 16)), int(rng.integers(1, 4))
    source = Tensor("x", (images, height, max(1, width), channels), 0.1, -1, 2)
    w = Window(kernel, stride, padding)
    out = tensor(cfg, rng, "out", (source.shape[0], *w.output_size(*source.shape[1:3]), 5), (2, 8))
    layer = convolution(cfg, rng, "conv", source, out, 1, w)
    layer = replace(layer, weight=rng.integers(-2, 2, layer.weight.shape).astype(np.int8), weight_bits=2)
    return Network(f"wide{seed}", {"x": source, "out": out}, (layer,), ("x",), ("out",))


def random_codes(cfg: Config, t: Tensor, seed: int) -> np.ndarray:
    """Values over the whole range."""
    rng = np.random.default_rng(seed)
    if t.bits == 1:
        return rng.choice([-1, 1], t.shape).astype(np.int8)
    x = rng.integers(t.lowest, t.highest + 1, t.shape)
    x[rng.random(t.shape) < 0.1] = t.lowest
    return x.astype(np.int8)


def compiled(cfg: Config, network: Network, **options: object) -> Program:
    """The program under some options."""
    return compile_network(cfg, network, Options(bytes_per_cycle=cfg.bus_bytes, **options))


def check(cfg: Config, network: Network, seed: int, **options: object) -> None:
    """Compile, execute, compare every tensor that leaves the chip."""
    program = compiled(cfg, network, **options)
    image = Image.of(program)
    memory = image.memory(seed)
    x = random_codes(cfg, network.tensors["x"], seed)
    image.write(memory, "x", x)
    guards = image.guards(memory).copy()
    machine = Machine(cfg, memory, image.bases)
    machine.run(program.words)
    assert not machine.out, "bytes left in the stream to STORE"
    expected = golden.run(network, {"x": x})
    for entry in program.schedule:
        note = f"{cfg} {network.tensors} {entry.layer}"
        np.testing.assert_array_equal(image.read(memory, entry.output), expected[entry.output], err_msg=note)
    assert np.array_equal(guards, image.guards(memory)), "written outside"


@pytest.mark.parametrize("case", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_random_layers(case, seed):
    cfg = configuration(case, 1 + seed % 5, lean=seed % 3 == 0)
    check(cfg, random_network(cfg, seed), seed)


@pytest.mark.parametrize("layout", ["rows", "taps", "stacked", "strips1"])
@pytest.mark.parametrize("case", ["fusion", "serial", "binary"])
def test_every_layout(case, layout):
    cfg = configuration(case, 3, lean=False)
    for seed in range(100, 102):
        check(cfg, random_network(cfg, seed), seed, layout=layout)


@pytest.mark.parametrize("outputs", [1, 2, 4])
def test_strips(outputs):
    found = []
    for seed in range(6):
        cfg = configuration("fusion", 12, lean=seed % 2 == 0)
        network = wide_layer(cfg, seed, outputs)
        check(cfg, network, seed, layout=f"strips{outputs}")
        found += [entry.plan.layout for entry in compiled(cfg, network, layout=f"strips{outputs}").schedule]
    assert found.count(f"strips{outputs}") >= 3


def test_widths_that_the_hardware_lacks():
    cfg = configuration("serial", 3, lean=False)
    network = random_network(cfg, 1)
    source = replace(network.tensors["x"], bits=8)
    with pytest.raises(InputError, match=r"inputs \(x\) of 8 bits; the multipliers of small \(serial\) take 2, 3, 4"):
        compile_network(cfg, replace(network, tensors=network.tensors | {"x": source}), Options())
    cfg = configuration("binary", 3, lean=False)
    source = replace(source, bits=4)
    with pytest.raises(InputError, match="tensor x has 4 bits, 4 in memory, but small has elements of 1, 8"):
        compile_network(cfg, replace(network, tensors=network.tensors | {"x": source}), Options())
