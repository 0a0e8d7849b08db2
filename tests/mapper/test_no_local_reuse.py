"""The law of the no-local-reuse array: cycles of AlexNet's layers on DianNao's configuration."""

from math import ceil

import numpy as np
import pytest

from dataflows import config
from dataflows.isa import Unit
from dataflows.network import Network, Window
from mapper.compile import Program, compile_network
from mapper.conv_plan import Options
from mapper.timing import predict
from mapper.timing_bus import iterations
from tests.random_layers import activation, convolution

CFG = config.load("configs/diannao.toml")
LATENCY = 100


def compiled(size: int, channels: int, filters: int, kernel: int, stride: int = 1, padding: int = 0) -> Program:
    """The program of one convolution."""
    rng = np.random.default_rng(0)
    x = activation(rng, "x", (1, size, size, channels), CFG.numbers.act_bits)
    window = Window((kernel, kernel), (stride, stride), padding=(padding,) * 4)
    conv, y = convolution(rng, "conv", x, filters, 1, window)
    network = Network("one", {t.name: t for t in (x, y)}, (conv,), (x.name,), (y.name,))
    return compile_network(CFG, network, Options(LATENCY, CFG.bus_bytes))


def law(program: Program) -> int:
    """``Ox Oy ceil(M/16) K^2 ceil(C/16)``, as DianNao's loops run."""
    (conv,) = program.network.layers
    _, height, width, filters = program.network.tensors[conv.output].shape
    _, channels, *kernel = conv.weight.shape
    blocks = ceil(filters / CFG.array.cols) * ceil(channels / CFG.array.rows)
    return height * width * blocks * int(np.prod(kernel))


def words(program: Program) -> int:
    """Pairs of operand words that enter the array, one per cycle."""
    found = {
        unit: sum(iterations(job, nest.levels) for job in program.jobs if job.unit is unit)
        for unit, nest in ((Unit.INPUT, CFG.dataflow.input_nest), (Unit.WEIGHT, CFG.dataflow.weight_nest))
    }
    assert found[Unit.INPUT] == found[Unit.WEIGHT]
    return found[Unit.INPUT]


def fill(program: Program) -> int:
    """What cannot be hidden: the first tile and its weights on their way in, the last sums on their way out."""
    plan = program.schedule[0].plan
    weights = plan.chunk_words * plan.shape.word_bytes(1)
    sums = plan.shape.grid(plan.tile).words * plan.blocks
    return ceil((plan.tile_bytes + weights) / CFG.bus_bytes) + sums + 6 * LATENCY


@pytest.mark.parametrize(
    "layer",
    [(13, 256, 384, 3, 1, 1), (13, 192, 192, 3, 1, 1), (27, 48, 128, 5, 1, 2), (13, 192, 128, 3, 1, 1)],
    ids=str,
)
def test_dense_layers_take_the_law_and_a_fill(layer):
    program = compiled(*layer)
    cycles = predict(program, LATENCY, CFG.bus_bytes).cycles
    assert words(program) == law(program)
    assert law(program) < cycles <= law(program) + fill(program)
    assert cycles < 1.03 * law(program)


def test_alexnet_c3():
    """The number that the published loops give by hand."""
    assert law(compiled(13, 256, 384, 3, 1, 1)) == 13 * 13 * 24 * 9 * 16 == 584_064


@pytest.mark.parametrize("layer", [(227, 3, 96, 11, 4, 0), (20, 10, 32, 3, 1, 1), (9, 40, 16, 5, 2, 2)], ids=str)
def test_dense_reductions_beat_the_law(layer):
    """Kernel columns, and rows where that helps, are one run with the channels: fewer words than rows of channels."""
    program = compiled(*layer)
    (conv,) = program.network.layers
    pixels = words(program) / (ceil(len(conv.bias) / CFG.array.cols) * program.schedule[0].plan.words)
    height, width = program.network.tensors[conv.output].shape[1:3]
    assert pixels == height * width
    assert words(program) < law(program)
