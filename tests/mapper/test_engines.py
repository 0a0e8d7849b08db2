"""Choice of the engine: the faster one, or the one asked for, or a message that says why not."""

from __future__ import annotations

import re

import numpy as np
import pytest

from dataflows import config
from dataflows.errors import InputError
from dataflows.network import Conv, Network, Tensor
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.engines import resolved
from mapper.options import parse
from mapper.sparse_search import sparse_plan
from tests import sparsity
from tests.random_layers import activation, convolution, window
from tests.random_sparse import engine, linear, mask_of

EIE4 = config.load("configs/eie4.toml")


def network(density: float = 0.1, values: int = 15, images: int = 1) -> Network:
    """A convolution, a layer of many values and two of few."""
    rng = np.random.default_rng(4)
    tensors = {"x": (source := activation(rng, "x", (images, 1, 1, 50)))}
    layers: list[Conv] = []
    for name, rows, most in (("many", 40, 100), ("fc1", 60, values), ("fc2", 80, values)):
        layer, source = linear(rng, name, source, mask_of(rng, rows, source.shape[3], density), most)
        layers.append(layer)
        tensors[source.name] = source
    return Network("engines", tensors, tuple(layers), ("x",), (source.name,))


def chosen(engine: object, cfg: config.Config = EIE4, **kind: object) -> list[str]:
    """Engine of every layer."""
    options = Options(bytes_per_cycle=8, engine=engine)  # type: ignore[arg-type]
    return [entry.engine for entry in compile_network(cfg, network(**kind), options).schedule]  # type: ignore[arg-type]


def test_what_is_asked_for() -> None:
    assert chosen("array") == ["array"] * 3
    assert chosen("sparse") == ["array", "sparse", "sparse"]  # what has no codebook stays
    assert chosen({"fc1": "sparse", "fc2": "array"}) == ["array", "sparse", "array"]
    assert chosen({"2": "sparse", "fc1": "array"}) == ["array", "array", "sparse"]


def test_the_faster_one() -> None:
    assert chosen("auto", density=0.05) == ["array", "sparse", "sparse"]
    wide = engine(cols=8, rows=16, pes=8, weight_bytes=1024)
    assert chosen("auto", wide, density=1.0, images=16) == ["array"] * 3
    assert chosen("auto", config.load("configs/tiny.toml")) == ["array"] * 3


@pytest.mark.parametrize(
    ("engine", "cfg", "wanted"),
    [
        ({"many": "sparse"}, EIE4, r"--engine many=sparse: .* \d+ values .* codes for 15; --cluster 16"),
        ({"fc9": "sparse"}, EIE4, "no layer for --engine: 'fc9'.* fc1"),
        ({"fc1": "fast"}, EIE4, "must be auto, array or sparse, not 'fast'"),
        ("sparse", config.load("configs/tiny.toml"), "no section .sparse.; configs/eie64.toml has"),
        ({"fc1": "sparse"}, config.load("configs/tiny.toml"), "'tiny' has no sparse engine"),
    ],
)
def test_what_cannot_be(engine: object, cfg: config.Config, wanted: str) -> None:
    with pytest.raises(InputError, match=wanted):
        chosen(engine, cfg)


def test_layers_with_kernel_run_on_the_array() -> None:
    rng = np.random.default_rng(5)
    x = activation(rng, "x", (1, 6, 6, 4))
    conv, out = convolution(rng, "conv", x, 5, 1, window(rng, 6, 6))
    net = Network("conv", {"x": x, out.name: out}, (conv,), ("x",), (out.name,))
    with pytest.raises(InputError, match="linear layers"):
        compile_network(EIE4, net, Options(engine={"conv": "sparse"}))
    assert compile_network(EIE4, net, Options(engine="sparse")).schedule[0].engine == "array"


@pytest.mark.parametrize("key", ["memory.acc_bytes", "memory.param_bytes"])
def test_layers_that_fit_no_tiling(key: str) -> None:
    """The message names the layer and what is too small; with the size it asks for, the layer fits."""
    name = key.split(".")[1]
    sizes = {"acc_bytes": 2 * 4 * 4, "param_bytes": 4 * 8}
    cfg = engine(64, cols=4, **{name: sizes[name]})
    layer = next(la for la in network().layers if la.name == "fc2")
    assert isinstance(layer, Conv)
    source = network().tensors[layer.inputs[0]]
    with pytest.raises(InputError, match=f"layer fc2: .* bytes of {re.escape(key)}") as caught:
        sparse_plan(cfg, layer, source, Options())
    need = int(re.findall(r"needs (\d+) bytes", str(caught.value))[0])
    assert sparse_plan(engine(64, cols=4, **{name: need}), layer, source, Options())


def test_plans_of_large_layers() -> None:
    """AlexNet's first classifier layer as EIE has it: fits on chip in one tile, or in tiles loaded beside the work."""
    cfg = config.load("configs/eie64.toml")
    rng = np.random.default_rng(6)
    weight = sparsity.weights(rng, sparsity.independent(rng, (4096, 9216), 0.09), 15).astype(np.int8)
    source, width = Tensor("x", (1, 1, 1, 9216), 0.1, 0), 4096
    layer = Conv("fc6", ("x",), "y", weight=weight[:, :, None, None], weight_scale=np.ones(width, np.float32))
    plan = sparse_plan(cfg, layer, source, Options(100, 8), 0.35)
    assert len(plan.row_tiles) == 1 and plan.dram_bytes < 6e6
    assert plan.cycles > plan.dram_bytes / 8  # the bus decides


def test_a_tile_is_what_one_load_brings() -> None:
    fields = EIE4.model_dump()
    fields["sparse"] |= {"pes": 256, "weight_bytes": 1 << 17, "pointer_bytes": 1 << 14, "code_bits": 8}
    fields["memory"] |= {"param_bytes": 1 << 16, "acc_bytes": 1 << 18}
    weight = np.random.default_rng(0).integers(1, 16, (4096, 2400, 1, 1)).astype(np.int8)
    layer = Conv("fc", ("x",), "y", -128, 127, weight, np.ones(4096, np.float32), np.zeros(4096, np.int32))
    plan = sparse_plan(config.parse(fields, "test"), layer, Tensor("x", (1, 1, 1, 2400), 1.0, 0), Options())
    assert len(plan.column_tiles) > 1
    assert all(256 * size < 1 << 24 for sizes in plan.entry_segments for size in sizes)


def test_engines_on_the_command_line() -> None:
    def engine(*words: str) -> object:
        return parse(["m.pt2", *words]).engine

    assert engine() == "auto" and engine("--engine", "sparse") == "sparse"
    assert engine("--engine", "fc1=sparse,2=array") == {"fc1": "sparse", "2": "array"}
    for wrong in ("fast", "fc1", "fc1=", "=sparse", "fc1=sparse,", "fc1=fast"):
        with pytest.raises(InputError, match=r"--engine: must be auto, array, sparse, or LAYER=ENGINE,.* not"):
            engine("--engine", wrong)
    arguments = parse(["m.pt2", "--engine", "fc1=sparse,2=array"])
    assert "--engine fc1=sparse,2=array" in arguments.reproduce(arguments.configs[0], "fc1")


def test_layers_by_number_get_their_names() -> None:
    assert resolved(network(), {"2": "sparse", "fc1": "auto"}) == {"fc2": "sparse", "fc1": "auto"}
