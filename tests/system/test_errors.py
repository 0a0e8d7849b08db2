"""Whatever stops a program: reason, nothing written elsewhere, soft reset, and a good run on the same instance."""

import random
from collections.abc import Iterator

import numpy as np
import pytest

from dataflows import isa
from dataflows.config import parse
from dataflows.isa import Error, Op, Region
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.run import execute
from sim.runner import Dram, SimulationError, Simulator
from tests.random_layers import random_input
from tests.system import regression
from tests.system.illegal import illegal_words
from tests.system.session import BUSY, ERROR, QUICK, RESETTING, Session
from tests.system.small import ROOT, WATCHDOG_CYCLES, configuration, network, small, verilog

ARRAYS = (configuration(), *(regression.configuration(number) for number in (1, 2, 9, 13, 16)))
"""One of every dataflow; all but the first are built for the random regression, too."""


@pytest.fixture
def simulator(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    cfg = getattr(request, "param", configuration())
    instance = Simulator(cfg, verilog(cfg), dram=QUICK, seed=9)
    yield instance
    instance.close()


@pytest.mark.parametrize("place", ["first", "early", "middle", "last"])
def test_illegal_commands(simulator, place):
    session = Session(simulator)
    length = len(session.case.program.words)
    position = {"first": 0, "early": 1, "middle": length // 2, "last": length - 1}[place]
    for name, word in illegal_words(configuration()).items():
        if place == "first" and name == "second HASH":
            continue
        words = session.case.program.words.copy()
        words[position] = word
        result = session.run(words)
        assert result.error is Error.ILLEGAL_COMMAND, f"{name}: {result.error.name}"
        session.expect(result, Error.ILLEGAL_COMMAND, word & 0xFFFF_FFFF, word >> 56 & 15)
        session.recover()


def test_program_of_another_configuration(simulator):
    session = Session(simulator)
    values = configuration().model_dump()
    values["memory"]["acc_bytes"] *= 2
    other = parse(values, "test")
    words = compile_network(other, network(), Options(bytes_per_cycle=other.bus_bytes)).words
    result = session.run(words)
    session.expect(result, Error.HASH_MISMATCH, other.hash_value & 0xFFFF_FFFF)
    assert result.dram["write_beats"] == 0
    assert not any(result.counters[f"{unit.name}_BUSY"] for unit in isa.units(configuration()))
    session.recover()


def test_every_bit_of_the_hash_counts(simulator):
    session = Session(simulator)
    for bit in range(56):
        words = session.case.program.words.copy()
        words[0] ^= np.uint64(1 << bit)
        session.expect(session.run(words), Error.HASH_MISMATCH, int(words[0]) & 0xFFFF_FFFF)
        simulator.write("CONTROL", 2)
        session.drained(0)
    session.good()


def test_program_without_hash(simulator):
    session = Session(simulator)
    words = session.case.program.words[1:]
    result = session.run(words)
    session.expect(result, Error.ILLEGAL_COMMAND, int(words[0]) & 0xFFFF_FFFF, int(words[0]) >> 56 & 15)
    assert not any(result.counters[f"{unit.name}_BUSY"] for unit in isa.units(configuration()))
    session.recover()


def test_program_without_end(simulator):
    session = Session(simulator)
    length = len(session.case.program.words)
    for count in (0, 1, 2, length // 3, length - 1):
        session.expect(session.run(count=count), Error.PROGRAM_END, count)
        session.recover()


@pytest.mark.parametrize("unit", isa.units(configuration()), ids=lambda unit: unit.name)
def test_waiting_for_ever(simulator, unit):
    """Nothing else runs: the reason names exactly who waits for what."""
    session = Session(simulator)
    semaphores = configuration().control.semaphores
    for semaphore in (0, unit + 3, semaphores - 1):
        taken = Op.START << 60 | unit << 56 | 1 << semaphore
        counted = Op.WAIT << 60 | unit << 56 | semaphore << 48 | 200
        for word in (taken, counted):
            words = np.array([session.case.program.words[0], word, Op.END << 60], np.uint64)
            result = session.run(words)
            session.expect(result, Error.TIMEOUT, 1 << semaphore | 1 << 16 + unit)
            assert WATCHDOG_CYCLES < result.cycles < WATCHDOG_CYCLES + 300
            assert result.counters[f"SEMAPHORE_{semaphore}_WAIT"] > WATCHDOG_CYCLES - 300
            session.recover()


@pytest.mark.parametrize("unit", isa.units(configuration()), ids=lambda unit: unit.name)
def test_waiting_for_ever_in_the_middle(simulator, unit):
    """Others go on until they wait too, and queues fill up behind them."""
    session = Session(simulator)
    words = session.case.program.words
    semaphore = configuration().control.semaphores - 1
    for position in (1, len(words) // 2):
        result = session.run(np.insert(words, position, Op.WAIT << 60 | unit << 56 | semaphore << 48 | 255))
        assert result.error is Error.TIMEOUT, result.message
        held_up = simulator.read("ERROR_INFO")
        assert held_up >> semaphore & 1 and held_up >> 16 + unit & 1, f"ERROR_INFO {held_up:#x}"
        session.recover()


def test_memory_slower_than_the_watchdog(simulator):
    """Slow is no error until the limit; beyond it the bus is still drained before the reset."""
    session = Session(simulator)
    slow = session.good(Dram(latency=WATCHDOG_CYCLES - 50))
    assert slow > 5 * WATCHDOG_CYCLES
    session.expect(session.run(dram=Dram(latency=3 * WATCHDOG_CYCLES)), Error.TIMEOUT, 0)
    assert simulator.read("STATUS") == BUSY | ERROR, "drained without the answers"
    simulator.write("CONTROL", 2)
    for request in (1, 2, 3):
        simulator.write("CONTROL", request)
        assert simulator.read("STATUS") & (BUSY | RESETTING) == BUSY | RESETTING
    session.drained(0)
    session.good()


def _beats(where: range) -> list[range]:
    """First, last and some beats of a range of addresses."""
    beat = configuration().bus_bytes
    starts = sorted({where.start // beat * beat, (where.stop - 1) // beat * beat, *random.Random(1).sample(where, 6)})
    return [range(start // beat * beat, start // beat * beat + beat) for start in starts]


def _latency(beat: range) -> int:
    """Short, or so long that the bus is still draining when the error has been read."""
    return random.Random(beat.start).choice([5, 50, 1200])


def _fails(session: Session, dram: Dram, error: Error, where: range, longest: int) -> None:
    """The run stops with the address of a burst that covers ``where``."""
    result = session.run(dram=dram)
    info = session.simulator.read("ERROR_INFO")
    session.expect(result, error, info)
    beat = configuration().bus_bytes
    assert info < where.stop and where.start < info // beat * beat + longest * beat, f"{info:#x} for {where}"
    session.recover()


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize("what", ["program", "constants", "input", "between layers"])
def test_read_errors(simulator, what, stall):
    session = Session(simulator)
    case = session.case
    where = {
        "program": case.region(Region.PROGRAM),
        "constants": case.loaded_constants,
        "input": case.place("x"),
        "between layers": case.place("conv_out"),
    }[what]
    for beat in _beats(where):
        dram = Dram(latency=_latency(beat), read_stall=stall, write_stall=stall, seed=beat.start, fail_reads=beat)
        _fails(session, dram, Error.READ_RESPONSE, beat, configuration().bus.max_read_burst)


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize("what", ["conv_out", "total", "out", "marks"])
def test_write_errors(simulator, what, stall):
    session = Session(simulator)
    for beat in _beats(session.case.mark_table if what == "marks" else session.case.place(what)):
        dram = Dram(latency=_latency(beat), read_stall=stall, write_stall=stall, seed=beat.start, fail_writes=beat)
        _fails(session, dram, Error.WRITE_RESPONSE, beat, configuration().bus.max_write_burst)


@pytest.mark.parametrize("simulator", ARRAYS, indirect=True, ids=lambda cfg: cfg.array.dataflow)
def test_soft_reset_at_any_time(simulator):
    """Nothing that was in any unit of any array shows afterwards; start and reset in one write is a reset."""
    session = Session(simulator, seed=1)
    rng = random.Random(5)
    shortest = session.good(Dram(latency=1))
    for turn in range(100):
        stall = rng.choice([0.0, 0.3, 0.7])
        dram = Dram(latency=rng.choice([1, 20, 200]), read_stall=stall, write_stall=stall, seed=turn)
        simulator.configure(dram)
        session.memory[:] = session.case.before
        simulator.write("IRQ_CLEAR", 1)
        simulator.write("CONTROL", 1)
        assert not simulator.model.run(rng.randrange(1, shortest - 50)), "done before the reset"
        simulator.write("CONTROL", rng.choice([2, 3]))
        session.drained(0)
        assert simulator.read("ERROR") == 0
        session.case.check_untouched(session.memory)
        if turn % 2 == 0:
            session.good(dram)


def test_start_in_the_error_state(simulator):
    """Is ignored: only a soft reset leads out, the runner's own included."""
    session = Session(simulator)
    result = session.run(count=5)
    session.expect(result, Error.PROGRAM_END, 5)
    session.drained(ERROR)
    for name, value in (("PROGRAM_WORDS", len(session.case.program.words)), ("IRQ_CLEAR", 1), ("CONTROL", 1)):
        simulator.write(name, value)
    session.drained(ERROR)
    session.expect(result, Error.PROGRAM_END, 5)
    session.good()


@pytest.mark.parametrize("seed", range(8))
def test_random_stalls_change_no_bit(simulator, seed):
    rng = random.Random(seed)
    session = Session(simulator, seed)
    for turn in range(3):
        dram = Dram(
            latency=rng.choice([1, 7, 100, 300]),
            bytes_per_cycle=rng.choice([None, 4, 2.5]),
            read_stall=rng.choice([0.0, 0.1, 0.5, 0.9]),
            write_stall=rng.choice([0.0, 0.1, 0.5, 0.9]),
            seed=100 * seed + turn,
        )
        assert session.good(dram) == session.good(dram), "the same memory gives other cycles"


def test_errors_reach_the_user():
    """A run through the mapper says what stopped it."""
    case = small()
    inputs = {"x": random_input(case.program.network, 0)}
    bad = Dram(fail_writes=case.place("total"))
    with pytest.raises(SimulationError, match=r"the accelerator stopped with WRITE_RESPONSE.*ERROR_INFO 0x0000"):
        execute(case.program, inputs, dram=bad, build_root=ROOT / "build" / "test")
