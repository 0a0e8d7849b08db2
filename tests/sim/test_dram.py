"""The DRAM model keeps its contract (``sim/native/dram.hpp``): exact times, order, data, error responses."""

import numpy as np
import pytest

from dataflows.config import Config, load
from dataflows.errors import InputError
from sim.model import Dram, Model
from tests.sim.toy import EARLY_ADDRESS, READ, SCRATCH, WRITE, toy_model, transfer

SIZE = 1 << 16


@pytest.fixture(scope="module", params=[64, 512])
def cfg(request) -> Config:
    base = load("configs/tiny.toml")
    return base.model_copy(update={"bus": base.bus.model_copy(update={"data_bits": request.param})})


@pytest.fixture(scope="module")
def shared_model(cfg, tmp_path_factory) -> Model:
    return toy_model(cfg, tmp_path_factory.mktemp("toy"))


@pytest.fixture
def model(shared_model) -> Model:
    shared_model.reset()
    return shared_model


@pytest.fixture
def memory(model, rng) -> np.ndarray:
    memory = rng.integers(0, 256, SIZE, dtype=np.uint8)
    model.attach(memory)
    return memory


@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize("latency", [1, 2, 100])
@pytest.mark.parametrize("share", [1.0, 0.5, 0.3125, 0.7, 1.75, 2.0])
@pytest.mark.parametrize(("beats", "burst"), [(1, 1), (63, 8), (40, 1)])
def test_one_direction_is_exact(model, latency, share, beats, burst):
    """Beat i moves floor(i * width / rate) cycles after the first, and never two in a cycle."""
    width = model.bus_bytes
    model.configure(Dram(latency=latency, bytes_per_cycle=share * width))
    last = int((beats - 1) * max(1.0, 1 / share) + 1e-9)
    read = transfer(model, beats, burst, READ)
    assert read["first_r"] == read["first_ar"] + latency
    assert read["last_r"] == read["first_r"] + last
    write = transfer(model, beats, burst, WRITE, target=4096)
    assert write["first_w"] == write["first_aw"] + 1
    assert write["last_w"] == write["first_w"] + last
    assert write["last_b"] == write["last_w"] + latency


@pytest.mark.parametrize("latency", [1, 30])
def test_both_directions_share_the_rate(model, memory, latency):
    """At the bus's width, n beats in and n out take 2n cycles of the server: not fewer, and hardly more."""
    width, beats = model.bus_bytes, 60
    expected = memory[: beats * width].copy()
    model.configure(Dram(latency=latency))
    times = transfer(model, beats, 8 if width == 64 else 16, READ | WRITE, 0, 1 << 15)
    assert 2 * beats - 1 <= times["last_w"] - times["first_ar"] <= 2 * beats + latency + 20
    assert (memory[1 << 15 :][: beats * width] == expected).all()


def test_twice_the_rate_serves_both_at_once(model, memory):
    width, beats = model.bus_bytes, 60
    model.configure(Dram(latency=10, bytes_per_cycle=2 * width))
    times = transfer(model, beats, 8, READ | WRITE, 0, 1 << 15)
    assert times["last_w"] - times["first_ar"] <= beats + 10 + 20
    assert (memory[1 << 15 :][: beats * width] == memory[: beats * width]).all()


@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize("latency", [1, 7])
def test_late_write_data_holds_its_place(model, latency):
    """Addresses arrive as R0 W0 R1 W1 ..., reads first; W(i) needs R(i)'s data, so R(i+1) waits for all of that."""
    beats = 9
    model.configure(Dram(latency=latency))
    times = transfer(model, beats, 1, READ | WRITE | EARLY_ADDRESS, 0, 1 << 15)
    assert times["first_ar"] == times["first_aw"]
    assert times["first_w"] == times["first_r"] + 1
    assert times["last_r"] == times["first_r"] + (beats - 1) * (latency + 2)


def test_writes_are_seen_after_their_response(model, memory):
    """Reads offered between a write's data and its response get the old bytes, so shifting by 4 beats is a move."""
    width, beats = model.bus_bytes, 20
    expected = memory[: beats * width].copy()
    model.configure(Dram(latency=50))
    transfer(model, beats, 1, READ | WRITE, 0, 4 * width)
    assert (memory[4 * width :][: beats * width] == expected).all()


def test_stalls_delay_and_keep_the_data(model, memory):
    width, beats = model.bus_bytes, 64
    expected = memory[: beats * width].copy()
    calm = Dram(latency=5)
    seen = {}
    for name, dram in {
        "calm": calm,
        "a": Dram(latency=5, read_stall=0.5, write_stall=0.5, seed=1),
        "again": Dram(latency=5, read_stall=0.5, write_stall=0.5, seed=1),
        "b": Dram(latency=5, read_stall=0.5, write_stall=0.5, seed=2),
        "read": Dram(latency=5, read_stall=0.9, seed=1),
    }.items():
        memory[1 << 15 :] = 0
        model.reset()
        model.configure(dram)
        seen[name] = transfer(model, beats, 8, READ | WRITE, 0, 1 << 15)
        assert (memory[1 << 15 :][: beats * width] == expected).all()
    assert seen["a"] == seen["again"] != seen["b"]
    assert seen["a"]["last_r"] > seen["calm"]["last_r"] + beats // 2  # half the beats take another cycle, on average
    assert seen["read"]["last_r"] > seen["calm"]["last_r"] + 5 * beats


def test_error_responses(model, memory):
    width = model.bus_bytes
    before = memory.copy()
    model.configure(Dram(latency=3, fail_reads=range(5 * width, 5 * width + 1)))
    assert transfer(model, 5, 4, READ)["error"] == 0
    assert transfer(model, 6, 4, READ)["error"] == 1
    model.reset()
    model.configure(Dram(latency=3, fail_writes=range((1 << 15) + 3 * width, (1 << 15) + 4 * width)))
    assert transfer(model, 8, 4, WRITE, 0, 1 << 15)["error"] == 2
    changed = np.flatnonzero(memory != before) // width - (1 << 15) // width
    assert 3 not in changed  # the beat that failed was not written
    assert {0, 1, 2} <= set(changed.tolist())


def test_counters(model, memory):
    before = model.counters()
    model.configure(Dram())
    transfer(model, 37, 16 if model.bus_bytes == 8 else 8, READ | WRITE, 0, 1 << 15)
    counted = {name: value - before[name] for name, value in model.counters().items()}
    bursts = -(-37 // (16 if model.bus_bytes == 8 else 8))
    assert counted["read_beats"] == counted["write_beats"] == 37
    assert counted["read_bytes"] == counted["write_bytes"] == 37 * model.bus_bytes
    assert counted["read_bursts"] == counted["write_bursts"] == bursts
    assert memory.size == SIZE


def test_initial_values_are_random_and_repeat(cfg, tmp_path):
    values = [toy_model(cfg, tmp_path, seed).read(SCRATCH) for seed in (1, 1, 2)]
    assert values[0] == values[1] != values[2]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"latency": 0}, "latency must be at least 1 cycle, not 0"),
        ({"bytes_per_cycle": 0}, "bytes per cycle must be between"),
        ({"read_stall": 1.0}, "read_stall must be at least 0 and below 1, not 1.0"),
    ],
)
def test_unusable_settings(values, message):
    with pytest.raises(InputError, match=message):
        Dram(**values)
