"""Models quantized to few bits as programs of every kind of multiplier: the functional model gives the golden bits."""

import numpy as np
import pytest

from dataflows.config import load
from dataflows.network import Conv
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.samples import quantize_input, random_samples
from tests.mapper import models
from tests.mapper.test_bits import Mixed, imported, quantized
from tests.mapper.test_programs import check_program
from tests.mapper.test_signs import Binary, Narrow, signs

CASES = [
    ("ws16_fusion", "8,conv1=4/2,right=2/8,fc=4/ternary"), ("bitfusion", "3/ttq"), ("loom", "5/3"),
    ("stripes", "8,left=2/2,joined=7/5"), ("unpu", "8/binary"), ("ternary", ""),
]  # fmt: skip


@pytest.mark.parametrize(("name", "spec"), CASES)
def test_model_of_few_bits(name: str, spec: str, tmp_path) -> None:
    graph = imported(models.seeded(Mixed()), tmp_path, (1, 3, 8, 8))
    samples = random_samples(graph, 6, seed=3)
    cfg = load(f"configs/{name}.toml")
    network = quantized(graph, cfg, spec, samples)
    program = compile_network(cfg, network, Options(bytes_per_cycle=cfg.bus_bytes))
    (source,) = network.inputs
    wild = {source: 3 * samples[source][:1]}  # beyond what was seen when ranges were chosen
    check_program(program, quantize_input(network, source, wild[source]))


@pytest.mark.parametrize(("name", "model", "size"), [("xnor", Binary, 8), ("ternary", Narrow, 14)])
def test_model_of_signs(name: str, model: type[Binary], size: int, tmp_path, rng: np.random.Generator) -> None:
    graph = imported(model(), tmp_path, (1, 8, size, size))
    samples = {graph.inputs[0]: signs(rng, 5, 8, size, size)}
    cfg = load(f"configs/{name}.toml")
    network = quantized(graph, cfg, "", samples)
    assert {layer.weight_bits for layer in network.layers if isinstance(layer, Conv)} <= set(cfg.operand_bits)
    program = compile_network(cfg, network, Options(bytes_per_cycle=cfg.bus_bytes))
    (source,) = network.inputs
    check_program(program, quantize_input(network, source, samples[source][:1]))
