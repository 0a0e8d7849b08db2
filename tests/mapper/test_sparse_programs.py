"""Programs for the sparse engine, executed by the functional model, give the golden model's bits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dataflows import config, isa
from dataflows.config import Config
from dataflows.network import Conv, Network
from mapper import engines
from mapper.compile import Program, compile_network
from mapper.conv_plan import Options
from mapper.sparse_cost import costed
from mapper.sparse_plan import SparsePlan
from mapper.sparse_search import candidates
from sim import golden
from tests.mapper.test_programs import execute
from tests.random_layers import activation, random_input
from tests.random_sparse import classifier, engine, linear, mask_of, sparse_network
from tests.sparse_model import StoppedError


def check(network: Network, cfg: Config, seed: int = 0, *, fuse: bool = True, rate: float = 8) -> Program:
    """Compile, execute, compare every tensor that leaves the chip."""
    program = compile_network(cfg, network, Options(bytes_per_cycle=rate, engine="sparse"), fuse=fuse)
    x = random_input(network, seed)
    found, wanted = execute(program, x), golden.run(network, {"x": x})
    for entry in program.schedule:
        np.testing.assert_array_equal(found[entry.output], wanted[entry.output], err_msg=f"{network.name} {entry}")
    return program


def plans(program: Program) -> list[SparsePlan]:
    """Plans of the layers that ran on the sparse engine."""
    return [entry.plan for entry in program.schedule if isinstance(entry.plan, SparsePlan)]


def single(rows: int, columns: int, density: float, images: int = 1, bits: int = 8, seed: int = 0) -> Network:
    """One layer."""
    rng = np.random.default_rng([rows, columns, images, seed])
    x = activation(rng, "x", (images, 1, 1, columns), bits)
    layer, target = linear(rng, "fc", x, mask_of(rng, rows, columns, density), 15)
    return Network("single", {"x": x, target.name: target}, (layer,), ("x",), (target.name,))


@pytest.mark.parametrize("seed", range(24))
def test_random_networks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cols = int(rng.choice([1, 2, 3, 4, 8]))
    flow = ("weight_stationary", "output_stationary", "input_stationary", "no_local_reuse")[seed % 4]
    cfg = engine(
        pes=cols * int(rng.integers(1, 5)), cols=cols, rows=int(rng.integers(1, 9)), dataflow=flow,
        run_bits=int(rng.integers(1, 9)), code_bits=int(rng.integers(4, 9)), accumulators=int(rng.integers(8, 65)),
        codebooks=int(rng.integers(1, 4)),
    )  # fmt: skip
    program = check(sparse_network(seed, images=int(rng.integers(1, 4))), cfg, seed)
    assert plans(program)


@pytest.mark.parametrize("seed", range(100, 116))
def test_random_networks_in_little_memory(seed: int) -> None:
    cfg = engine(weight_bytes=64, pointer_bytes=48, accumulators=2, acc_bytes=192, input_bytes=32, param_bytes=64)
    check(sparse_network(seed, images=1 + seed % 3, most=24), cfg, seed)


@pytest.mark.parametrize("seed", range(200, 212))
def test_random_networks_of_16_bits(seed: int) -> None:
    cfg = engine(bits=16, code_bits=4 + seed % 5, weight_bytes=128 if seed % 2 else 4096)
    check(sparse_network(seed, images=1 + seed % 2, bits=16, most=40), cfg, seed)


@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 2), (4, 4), (5, 3), (2, 61), (61, 2)])
def test_small_layers(rows: int, columns: int, density: float) -> None:
    """Fewer rows than PEs, fewer columns than elements of a word."""
    check(single(rows, columns, density, images=2), config.load("configs/eie4.toml"))


def test_one_vector_adds_up_in_the_engine() -> None:
    cfg = engine(weight_bytes=512, pointer_bytes=256)
    (plan,) = plans(program := check(single(90, 300, 0.2), cfg))
    assert len(plan.column_tiles) > 1 and len(plan.row_tiles) == 1 and plan.adds_in_engine
    drains = [job.registers["mode"]["drain"] for job in program.jobs if job.index in program.sparse]
    assert drains == [0] * (len(drains) - 1) + [23]


def test_weights_pass_once_for_a_batch() -> None:
    """Tiles of columns that do not fit together: every tile is loaded once, its sums add up in the accumulators."""
    cfg = engine(weight_bytes=512, pointer_bytes=256)
    (plan,) = plans(program := check(single(90, 300, 0.2, images=5), cfg, rate=1))
    assert len(plan.column_tiles) > 1 and plan.group == 5 and not plan.resident
    keeps = [job.registers["mode"]["keep"] for job in program.jobs if job.unit.name == "ACC"]
    assert keeps[:5] == [0] * 5 and set(keeps[5:]) == {1}
    assert sum("entries" in job.note for job in program.jobs) == len(plan.column_tiles)


def test_weights_that_fit_stay_for_a_batch() -> None:
    cfg = engine(weight_bytes=4096, pointer_bytes=1024, acc_bytes=64 * 16)
    (plan,) = plans(program := check(single(100, 240, 0.2, images=9), cfg))
    assert plan.resident and len(plan.groups) > 1
    assert sum(job.note.startswith("entries") for job in program.jobs) == len(plan.row_tiles) * len(plan.column_tiles)


def test_row_tiles() -> None:
    """More rows than sums in the engine, with one vector and with several, in tiles of columns as well."""
    cfg = engine(accumulators=5)
    for images in (1, 3):
        (plan,) = plans(check(single(75, 100, 0.3, images), cfg))
        assert len(plan.row_tiles) == 4
    (plan,) = plans(check(single(75, 100, 0.3, 3), engine(accumulators=5, weight_bytes=128, pointer_bytes=128)))
    assert len(plan.row_tiles) >= 4 and len(plan.column_tiles) > 1


def test_several_pixels_are_vectors() -> None:
    rng = np.random.default_rng(3)
    x = activation(rng, "x", (2, 3, 2, 21))
    layer, target = linear(rng, "point", x, mask_of(rng, 14, 21, 0.3), 15)
    (plan,) = plans(check(Network("pixels", {"x": x, target.name: target}, (layer,), ("x",), (target.name,)), engine()))
    assert plan.vectors == 12


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_convolution_on_the_array_then_sparse_layers(seed: int, fuse: bool) -> None:
    program = check(classifier(seed, images=1 + seed % 3), config.load("configs/eie4.toml"), seed, fuse=fuse)
    assert [entry.engine for entry in program.schedule] == ["array", "sparse", "sparse"]


def test_what_jobs_walk() -> None:
    """``Program.sparse``: every column of every row of every vector once."""
    network = single(75, 100, 0.3, 3)
    program = check(network, engine(accumulators=5, weight_bytes=128, pointer_bytes=128))
    weight = network.layers[0].weight[:, :, 0, 0]  # type: ignore[attr-defined]
    walked = np.zeros((3, 100), np.int64)
    for index, job in program.sparse.items():
        assert program.jobs[index].registers["columns"]["count"] == job.lengths.shape[1] and job.tensor == "x"
        walked[job.sample, job.first_column : job.first_column + job.lengths.shape[1]] += job.lengths.sum(axis=0)
    assert (walked >= np.count_nonzero(weight, axis=0)).all()
    assert (walked == walked[0]).all()




def stopped(target: str, change: Callable[[np.ndarray], None]) -> StoppedError:
    """How the model stops when the bytes of a LOAD job's constants are others."""
    cfg = config.load("configs/eie4.toml")
    program = compile_network(cfg, single(30, 8, 1.0), Options(engine="sparse"))
    assert len(plans(program)[0].column_tiles) == 1
    job = next(job for job in program.jobs if job.note.startswith(target))
    size = job.registers["row"]["bytes"]
    change(program.constants[job.registers["source"]["address"] :][:size])
    with pytest.raises(StoppedError) as caught:
        execute(program, np.full((1, 1, 1, 8), 100, np.int8))
    return caught.value


def test_run_that_leaves_its_column() -> None:
    """30 rows on 4 PEs: PE 2 has 7 places, so its seventh entry of a column is the last that may be."""

    def longer(entries: np.ndarray) -> None:
        entries.reshape(4, -1)[2, 5 * 7 + 6] += 1  # the last of column 5 of PE 2

    error = stopped("entries", longer)
    assert (error.error, error.info) == (isa.Error.SPARSE_RUN, 2 << 16 | 5)


def test_columns_behind_the_entries_and_backwards() -> None:
    def behind(pointers: np.ndarray) -> None:
        pointers.reshape(4, -1)[3].view("<u2")[8] += 60  # the end of the last column

    def backwards(pointers: np.ndarray) -> None:
        pointers.reshape(4, -1)[1].view("<u2")[6] = 10  # column 5 begins at 40

    error = stopped("pointers", behind)
    assert (error.error, error.info) == (isa.Error.SPARSE_POINTER, 3 << 16 | 7)
    error = stopped("pointers", backwards)
    assert (error.error, error.info) == (isa.Error.SPARSE_POINTER, 1 << 16 | 5)


@pytest.mark.parametrize("seed", range(8))
def test_plans_that_fit(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only the cheapest one gives the right bits."""
    rng = np.random.default_rng(seed)
    images, rows, columns = int(rng.integers(1, 7)), int(rng.integers(1, 120)), int(rng.integers(1, 120))
    cfg = engine(
        weight_bytes=8 * int(rng.integers(4, 60)), pointer_bytes=8 * int(rng.integers(2, 20)),
        accumulators=int(rng.integers(4, 20)), input_bytes=32 * int(rng.integers(2, 20)),
    )  # fmt: skip
    network = single(rows, columns, float(rng.choice([0.1, 0.3, 1.0])), images, seed=seed)
    layer = network.layers[0]
    assert isinstance(layer, Conv)
    options, tried = Options(bytes_per_cycle=8, engine="sparse"), set()
    fitting = list(candidates(cfg, layer, images, 0.5))
    for i in rng.permutation(len(fitting))[:6]:
        plan = costed(fitting[i], options, 0.5)
        monkeypatch.setattr(engines, "sparse_plan", lambda *_, found=plan: found)
        assert plans(check(network, cfg, seed))[0].group == plan.group
        tried.add((plan.group, len(plan.row_tiles), len(plan.column_tiles), plan.resident))
    assert len(tried) > 1
