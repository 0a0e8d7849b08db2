"""The sparse engine in the timing model: what its cycles depend on, and that they add up."""

from dataclasses import replace

import numpy as np
import pytest

from dataflows import config
from dataflows.network import Network
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.sparse_cycles import engine_cycles
from mapper.sparse_plan import SparseJob
from mapper.table import layer_cycles, rows
from mapper.timing import predict
from mapper.timing_sparse import Masks
from sim import golden
from tests.random_layers import activation, random_input
from tests.random_sparse import linear, sparse_network
from tests.sparsity import independent

CFG = config.load("configs/eie4.toml")


def one_layer(images=1, columns=200, rows=60):
    """A network of one layer of 30 % density."""
    rng = np.random.default_rng(4)
    x = activation(rng, "x", (images, 1, 1, columns), 8)
    layer, target = linear(rng, "fc", x, independent(rng, (rows, columns), 0.3), 15)
    return Network("one", {"x": x, target.name: target}, (layer,), ("x",), (target.name,))


def compiled(network, latency=50):
    return compile_network(CFG, network, Options(latency, 8, "sparse"))


def test_masks_are_those_of_the_golden_integers():
    network = one_layer(images=3)
    job = SparseJob(0, "x", 2, 16, np.ones((4, 40), np.int64))
    values = np.full((3, 1, 1, 200), network.tensors["x"].zero, np.int8)
    values[2, 0, 0, [15, 16, 55, 56]] += 1
    assert np.flatnonzero(Masks({"x": values}).of(network, job)).tolist() == [0, 39]


@pytest.mark.parametrize("share", [0, 0.3, 1])
def test_masks_are_drawn_at_the_expected_share(share):
    network = one_layer(columns=4000)
    job = SparseJob(0, "x", 0, 0, np.ones((4, 4000), np.int64))
    found = Masks(zeros={"x": share}).of(network, job)
    assert found.mean() == pytest.approx(1 - share, abs=0.03)
    assert np.array_equal(found, Masks(zeros={"x": share}).of(network, job))
    part = replace(job, first_column=100, lengths=job.lengths[:, :50])
    assert np.array_equal(Masks(zeros={"x": share}).of(network, part), found[100:150])


def test_more_zeros_take_fewer_cycles_and_none_take_what_the_array_of_pes_needs():
    program = compiled(one_layer(images=4), latency=1)
    cycles = [predict(program, 1, 64, zeros={"x": share}).cycles for share in (0, 0.5, 1)]
    assert cycles == sorted(cycles, reverse=True) and len(set(cycles)) == 3
    dense = [
        engine_cycles(job.lengths, np.ones(job.lengths.shape[1], bool), queue=CFG.sparse.queue, word=CFG.input_elements)
        for job in program.sparse.values()
    ]
    assert sum(dense) < cycles[0] < sum(dense) + 700


@pytest.mark.parametrize("seed", range(12))
def test_busy_cycles_and_stalls_add_up(seed):
    network = sparse_network(seed, images=2)
    program = compiled(network)
    found = predict(program, 50, 8, golden.run(network, {"x": random_input(network, seed)}))
    expected = layer_cycles(program, found.layer_end, found.cycles)
    for index, stalls in found.stalls.items():
        assert min(stalls.values()) >= 0 and found.array_busy[index] >= 0
        assert sum(stalls.values()) + found.array_busy[index] == expected[index]


def test_rows_are_sums_over_the_batches_that_are_predicted():
    program = compiled(one_layer())
    few, many = (predict(program, 50, 8, zeros={"x": share}) for share in (0.9, 0.1))
    (row,) = rows(program, [few, many], 2, None, {}, {}, [Masks()])
    assert row.cycles_predicted == few.cycles + many.cycles == row.array_busy + sum(row.stalls.values())
    (scaled,) = rows(program, [few, many], 6, None, {}, {}, [Masks()])
    assert scaled.cycles_predicted == 3 * row.cycles_predicted
