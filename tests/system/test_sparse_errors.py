"""Compressed streams that lie: a defined error, nothing written elsewhere, and a good run after a soft reset."""

import random
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from dataflows.isa import Error, Region, Unit
from mapper.program import encode
from sim.runner import Dram, Simulator
from tests.pruned_networks import pruned_input
from tests.system import sparse_regression as regression
from tests.system.illegal import illegal_words
from tests.system.pruned import Stream, configuration, pruned
from tests.system.session import QUICK, Patch, Session
from tests.system.small import prepare, verilog
from tests.system.sparse_regression import SHORT

STREAM = {Error.SPARSE_RUN, Error.SPARSE_POINTER}


@pytest.fixture
def session() -> Iterator[Session]:
    cfg = configuration()
    simulator = Simulator(cfg, verilog(cfg), dram=QUICK, seed=9)
    yield Session(simulator, case=pruned())
    simulator.close()


def walked(stream: Stream) -> list[tuple[int, int]]:
    """(PE, column) of all columns with entries whose activation is not zero."""
    lengths = np.diff(stream.pointers, axis=1)
    return [(int(pe), int(column)) for pe, column in np.argwhere((lengths > 0) & stream.lives)]


def number(value: int) -> bytes:
    """A pointer in memory."""
    return (value & 0xFFFF).to_bytes(2, "little")


def stops(session: Session, error: Error, pe: int, column: int, **run) -> None:
    """The run stops with that error of that PE and column; then a soft reset, and all is as new."""
    session.expect(session.run(**run), error, pe << 16 | column, Unit.SPARSE)
    session.recover()


def survives(session: Session, dram: Dram, patch: Patch) -> Error:
    """A run on damaged constants ends, writes nothing elsewhere, and a good one follows; returns its error."""
    result = session.run(dram=dram, patch=patch)
    if result.error is Error.NONE:
        session.case.check_untouched(session.memory, session.start)
        session.good()
    else:
        assert result.error in STREAM, result.message
        session.recover()
    return result.error


def test_the_stream_is_that_of_the_weights(session):
    """What these tests damage is what they mean to damage."""
    stream = Stream.of(session.case)
    weight = session.case.program.network.layers[0].weight[:, :, 0, 0]
    assert stream.pointers[:, -1].max() == stream.entries
    assert max(stream.places(pe) for pe in range(4)) == 8
    counts = [[np.count_nonzero(weight[pe::4, k]) for k in range(weight.shape[1])] for pe in range(4)]
    assert np.array_equal(np.diff(stream.pointers), counts)  # no padding: places are few
    assert 0 < stream.lives.sum() < stream.lives.size
    session.good()


def test_run_that_leaves_the_column(session):
    """By any number of rows, in any entry of a column: the first, the last, the only one."""
    stream, rng = Stream.of(session.case), random.Random(1)
    for pe, column in rng.sample(walked(stream), 12):
        first, end = stream.pointers[pe, column : column + 2]
        entry = rng.choice([first, end - 1, rng.randrange(first, end)])
        raw = [int(session.case.before[stream.entry_at(pe, e)]) for e in range(first, entry + 1)]
        place = sum((byte & 15) + 1 for byte in raw[:-1])  # of the entry, if its run were 0
        run = rng.choice([15, stream.places(pe) - place])
        stops(session, Error.SPARSE_RUN, pe, column, patch={stream.entry_at(pe, entry): bytes([raw[-1] & 0xF0 | run])})


def test_column_behind_the_entries(session):
    """Truncated: the stream ends before the column does."""
    stream, rng = Stream.of(session.case), random.Random(2)
    for pe, column in rng.sample(walked(stream), 8):
        end = rng.choice([stream.entries + 1, stream.entries + 1, 0xFFFF])
        patch = {stream.pointer_at(pe, column + 1): number(end)}
        stops(session, Error.SPARSE_POINTER, pe, column, patch=patch)


def test_fewer_entries_than_the_pointers_say(session):
    stream = Stream.of(session.case)
    alive = np.flatnonzero(stream.lives)
    for entries in (0, 1, int(stream.pointers[:, alive[len(alive) // 2]].min())):
        broken = [(column, pe) for column in alive for pe in range(4) if stream.pointers[pe, column + 1] > entries]
        registers = dict(stream.job.registers)
        registers["weights"] = {**registers["weights"], "entries": entries}
        jobs = [replace(job, registers=registers) if job is stream.job else job for job in session.case.program.jobs]
        result = session.run(words=encode(configuration(), jobs))
        assert result.error is Error.SPARSE_POINTER, result.message
        info = session.simulator.read("ERROR_INFO")
        first = {pe: min(column for column, p in broken if p == pe) for _, pe in broken}
        assert first[info >> 16] == info & 0xFFFF, f"{info:#x}"
        session.recover()


def test_column_that_ends_before_it_begins(session):
    stream, rng = Stream.of(session.case), random.Random(3)
    places = [(pe, column) for pe in range(4) for column in np.flatnonzero(stream.lives) if stream.pointers[pe, column]]
    for pe, column in rng.sample(places, 8):
        begin = int(stream.pointers[pe, column])
        patch = {stream.pointer_at(pe, int(column) + 1): number(rng.choice([begin - 1, 0]))}
        stops(session, Error.SPARSE_POINTER, pe, int(column), patch=patch)


def test_columns_that_are_skipped_may_hold_anything(session):
    """Neither pointers nor entries of a column are read whose activation is zero, in all vectors."""
    stream = Stream.of(session.case)
    place = session.case.place("x")
    x = session.case.before[place.start : place.stop].view(np.int8).reshape(2, -1)
    silent = (x == session.case.program.network.tensors["x"].zero).all(axis=0)
    patch = {}
    for pe, column in np.argwhere(np.diff(stream.pointers, axis=1) > 0):
        if silent[column]:
            for entry in range(stream.pointers[pe, column], stream.pointers[pe, column + 1]):
                patch[stream.entry_at(pe, entry)] = b"\xff"
    assert patch
    session.good(patch=patch)


@pytest.mark.parametrize("what", ["pointers", "entries", "both"])
def test_random_bytes(session, what):
    """Whatever is there, it ends: with an error of the stream or, where nothing is wrong enough, with wrong sums."""
    stream, rng = Stream.of(session.case), random.Random(what)
    pointers = [stream.pointer_at(pe, k) for pe in range(4) for k in range(stream.pointers.shape[1])]
    entries = [stream.entry_at(pe, e) for pe in range(4) for e in range(stream.pointers[pe, -1])]
    errors = set()
    for turn in range(15):
        share = rng.choice([0.01, 0.1, 1])
        stall = rng.choice([0.0, 0.5])
        patch = {at: rng.randbytes(2) for at in pointers if what != "entries" and rng.random() < share}
        patch |= {at: rng.randbytes(1) for at in entries if what != "pointers" and rng.random() < share}
        dram = Dram(latency=rng.choice([1, 20, 300]), read_stall=stall, write_stall=stall, seed=turn)
        errors.add(survives(session, dram, patch))
    assert errors & STREAM


@pytest.mark.parametrize("number", range(1, len(SHORT)))
def test_random_constants(number):
    """Other engines and networks, anything wrong with anything loaded: entries of two bytes, unused bits, tiles."""
    cfg, rng, errors = regression.configuration(number), random.Random(number), set()
    simulator = Simulator(cfg, verilog(cfg), dram=QUICK, seed=3)
    for case in range(5):
        program = regression.compiled(number, case)[0]
        session = Session(simulator, case=prepare(program, pruned_input(program.network, case), case))
        session.good()
        for turn in range(6):
            share = rng.choice([0.002, 0.02, 0.3, 1])
            patch = {at: rng.randbytes(1) for at in session.case.region(Region.CONSTANT) if rng.random() < share}
            stall = rng.choice([0.0, 0.5])
            dram = Dram(latency=rng.choice([1, 20, 300]), read_stall=stall, write_stall=stall, seed=turn)
            errors.add(survives(session, dram, patch))
    simulator.close()
    assert errors & STREAM


def test_soft_reset_at_any_time(session):
    """Half-made sums of the engine, its queues and activations in flight are gone afterwards."""
    rng = random.Random(5)
    shortest = session.good(Dram(latency=1))
    for turn in range(40):
        stall = rng.choice([0.0, 0.3, 0.7])
        dram = Dram(latency=rng.choice([1, 20, 200]), read_stall=stall, write_stall=stall, seed=turn)
        session.simulator.configure(dram)
        session.memory[:] = session.case.before
        session.simulator.write("IRQ_CLEAR", 1)
        session.simulator.write("CONTROL", 1)
        assert not session.simulator.model.run(rng.randrange(1, shortest - 50)), "done before the reset"
        session.simulator.write("CONTROL", rng.choice([2, 3]))
        session.drained(0)
        assert session.simulator.read("ERROR") == 0
        session.case.check_untouched(session.memory)
        session.good(dram)


@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_read_errors(session, stall):
    """The memory fails in the middle of the stream."""
    stream = Stream.of(session.case)
    for at in (stream.pointer_at(2, 5), stream.entry_at(0, 0), stream.entry_at(3, int(stream.pointers[3, -1]) - 1)):
        beat = configuration().bus_bytes
        where = range(at // beat * beat, at // beat * beat + beat)
        dram = Dram(latency=50, read_stall=stall, write_stall=stall, seed=at, fail_reads=where)
        result = session.run(dram=dram)
        session.expect(result, Error.READ_RESPONSE, session.simulator.read("ERROR_INFO"))
        session.recover()


def test_illegal_commands(session):
    """Also those that only the engine's registers have, and with engine jobs on their way."""
    length = len(session.case.program.words)
    for turn, (name, word) in enumerate(illegal_words(configuration()).items()):
        words = session.case.program.words.copy()
        words[[length // 3, length // 2, length - 1][turn % 3]] = word
        result = session.run(words)
        assert result.error is Error.ILLEGAL_COMMAND, f"{name}: {result.error.name}"
        session.expect(result, Error.ILLEGAL_COMMAND, word & 0xFFFF_FFFF, word >> 56 & 15)
        session.recover()


@pytest.mark.parametrize("seed", range(4))
def test_random_stalls_change_no_bit(session, seed):
    rng = random.Random(seed)
    session.case = pruned(seed)
    session.memory = session.case.before.copy()
    for turn in range(3):
        dram = Dram(
            latency=rng.choice([1, 7, 100, 300]), bytes_per_cycle=rng.choice([None, 4, 2.5]),
            read_stall=rng.choice([0.0, 0.1, 0.5, 0.9]), write_stall=rng.choice([0.0, 0.1, 0.5, 0.9]),
            seed=100 * seed + turn,
        )  # fmt: skip
        assert session.good(dram) == session.good(dram), "the same memory gives other cycles"
