"""Layers that an accelerator has nothing for run on the host, between programs."""

import numpy as np
import pytest

from dataflows import config, isa
from dataflows.attention import Lookup
from dataflows.errors import InputError
from dataflows.network import Network, Tensor
from mapper import table
from mapper.calibrate import observe
from mapper.compile import Program, compile_network
from mapper.conv_plan import Options
from mapper.image import Image
from mapper.quantize import quantize
from mapper.samples import quantize_input
from mapper.timing import predict
from mapper.timing_sparse import Masks
from sim import golden
from tests.attention_networks import random_input, random_transformer
from tests.decoder_networks import random_decoder
from tests.isa_model import Machine
from tests.mapper.test_families import imported
from tests.mapper.test_programs import small

TINY = config.load("configs/tiny.toml")


def network_of(name, tmp_path):
    """A family's integer network and an input of it."""
    _, graph, examples = imported(name, tmp_path / "model.pt2")
    samples = {name: graph.held(name, e.numpy()) for name, e in zip(graph.inputs, examples, strict=True)}
    network = quantize(graph, observe(graph, samples))
    return network, {n: quantize_input(network, n, x) for n, x in samples.items()}


def execute(program, inputs):
    """Every tensor that leaves the chip, after a run of the functional model and of the host."""
    image = Image.of(program)
    memory = image.memory(5)
    for name, x in inputs.items():
        image.write(memory, name, x)
    for part in program.sequence:
        if isinstance(part, Program):
            start = image.bases[isa.Region.PROGRAM] + part.offset
            np.testing.assert_array_equal(memory[start:][: part.words.nbytes].view("<u8"), part.words)
            machine = Machine(program.cfg, memory, image.bases)
            machine.run(part.words)
            machine.finished()
        else:
            values = {name: image.read(memory, name) for name in part.layer.inputs}
            image.write(memory, part.output, golden.run_layer(program.network, part.layer, values))
    return {entry.output: image.read(memory, entry.output) for entry in program.schedule}


def check(program, inputs):
    """What the model computes is what the golden model says."""
    found, wanted = execute(program, inputs), golden.run(program.network, inputs)
    for name, value in found.items():
        np.testing.assert_array_equal(value, wanted[name], err_msg=name)


@pytest.mark.parametrize("name", ["mobilenet_v3", "yolo", "vit", "cells"])
def test_programs_with_layers_on_the_host(name, tmp_path):
    network, inputs = network_of(name, tmp_path)
    program = compile_network(TINY, network, Options())
    assert program.host and {e.layer.name for e in program.schedule if e.engine == "host"} == set(program.host)
    check(program, inputs)
    found = predict(program, 100, TINY.bus_bytes)
    parts = [predict(p, 100, TINY.bus_bytes).cycles for p in program.sequence if isinstance(p, Program)]
    assert found.cycles == sum(parts) and set(found.layer_end) == {e.index for e in program.schedule}
    ends = [found.layer_end[entry.index] for entry in program.schedule]
    assert ends == sorted(ends) and ends[-1] == found.cycles
    jobs = [job.index for job in program.jobs]
    assert jobs == list(range(len(jobs))) and {span.job for span in found.spans} == set(jobs)


def test_a_network_without_them_is_one_program(tmp_path):
    network, inputs = network_of("unet", tmp_path)
    program = compile_network(TINY, network, Options())
    assert not program.host and program.sequence == (program,)
    check(program, inputs)


def test_nothing_runs_on_the_accelerator(rng):
    x = Tensor("x", (1, 1, 1, 8), 1.0, 0)
    layer = Lookup("look", ("x",), "y", table=np.arange(-128, 128, dtype=np.int8))
    network = Network("n", {"x": x, "y": Tensor("y", x.shape, 1.0, 0)}, (layer,), ("x",), ("y",))
    with pytest.raises(InputError, match=r"no layer of the model runs on the accelerator; layer look, .*tables"):
        compile_network(TINY, network, Options())


def test_compressed_activations_are_plain_where_the_host_reads_them(tmp_path):
    network, _ = network_of("mobilenet_v3", tmp_path)
    base = TINY.model_dump()
    base["codec"] = {"run_bits": 4, "level_bits": 8, "blocks": 1024}
    cfg = config.parse(base, "test")
    program = compile_network(cfg, network, Options())
    host = {name for x in network.layers if x.name in program.host for name in (*x.inputs, x.output)}
    assert host and not host & set(program.blocks)


def test_decoders_do_not_wait_for_the_host():
    network = random_decoder(1)
    with pytest.raises(InputError, match=r"would run on the host .* caches"):
        compile_network(TINY, network, Options())


def test_rows_of_the_table(tmp_path):
    """Layers on the host have no cycles and no utilization, and their MACs use no multipliers."""
    network, _ = network_of("vit", tmp_path)
    program = compile_network(TINY, network, Options())
    rows = table.rows(program, [predict(program, 100, TINY.bus_bytes)], 1, None, {}, {}, [Masks()])
    host = [row for row in rows if row.on_host]
    assert {row.name for row in host} == set(program.host) and any(row.macs for row in host)
    assert all((row.cycles, row.utilization, row.dram_read_bytes) == (0, None, 0) for row in host)
    total = table.totals(program, rows, 1, None)
    macs, cycles = sum(row.macs for row in rows if not row.on_host), sum(row.cycles for row in rows)
    assert total["utilization"] == macs / (cycles * TINY.multipliers) and total["macs"] == network_macs(network)
    assert cycles == total["cycles_predicted"]


def network_macs(network):
    """Dense MACs of all layers."""
    return sum(network.macs(layer) for layer in network.layers)


@pytest.mark.parametrize("seed", range(12))
def test_random_transformers_without_their_units(seed):
    """Attention, norms and tables between layers of the array, of three dataflows."""
    network = random_transformer(seed)
    flow = ("weight_stationary", "output_stationary", "input_stationary")[seed % 3]
    try:
        program = compile_network(small(flow, 3, 5), network, Options(), fuse=seed % 2 == 0)
    except InputError as error:
        assert "no layer of the model runs on the accelerator" in str(error)
        return
    check(program, {network.inputs[0]: random_input(network, seed)})
