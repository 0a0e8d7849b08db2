"""Rings hand out memory that nobody uses; loads come early, in order, and not before their data."""

import random

import pytest

from mapper.pipeline import AHEAD, Load, Ring, Step, run

# -- rings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_ring_gives_free_aligned_memory(seed):
    rng = random.Random(seed)
    ring = Ring(64, granule=rng.choice([1, 4, 8]))
    live: list[tuple[int, int, int]] = []
    given = 0
    for step in range(300):
        amount, last_use = rng.randrange(1, 30), step + rng.randrange(6)
        start = ring.take(amount, step, last_use)
        live = [x for x in live if x[2] >= step]
        if start is None:
            continue
        given += 1
        assert start % ring.granule == 0 and start >= 0 and start + amount <= ring.size
        assert all(start + amount <= a or b <= start for a, b, _ in live)
        live.append((start, start + amount, last_use))
    assert given > 100


def test_ring_goes_round():
    ring = Ring(10)
    assert [ring.take(4, step, step) for step in range(5)] == [0, 4, 0, 4, 0]


def test_ring_waits_for_what_is_in_use():
    ring = Ring(10)
    assert ring.take(6, 0, 3) == 0
    assert ring.take(6, 1, 1) is None
    assert ring.take(4, 1, 9) == 6
    assert ring.take(6, 3, 3) is None
    assert ring.take(6, 4, 4) == 0


def test_ring_does_not_wrap_within_a_reserved_set():
    ring = Ring(12)
    assert ring.take(4, 0, 0) == 0
    assert ring.take(4, 1, 9, reserve=12) == 0  # 4 to 12 would be too short for the set
    assert ring.take(4, 2, 9) == 4
    assert ring.take(4, 3, 9) == 8


@pytest.mark.parametrize("amount", [11, 100])
def test_ring_refuses_more_than_it_has(amount):
    assert Ring(10).take(amount, 0, 0) is None
    assert Ring(12, granule=8).take(9, 0, 0) is None


# -- steps -----------------------------------------------------------------------------------------------


class Recorder:
    """Steps whose loads and work are written down in the order in which they are emitted."""

    def __init__(self) -> None:
        self.events: list[tuple] = []

    def load(self, key, size=1, memory="a", *, bound=False) -> Load:
        return Load(key, memory, size, lambda at: self.events.append(("load", key, at)), layer_bound=bound)

    def step(self, number: int, *loads: Load, layer=0) -> Step:
        return Step(layer, loads, lambda at: self.events.append(("step", number, at)))

    def order(self) -> list[tuple]:
        return [event[:2] for event in self.events]


def test_loads_run_ahead_as_far_as_memory_goes():
    r = Recorder()
    run([r.step(i, r.load(f"w{i}")) for i in range(4)], {"a": Ring(2)})
    assert r.order() == [
        ("load", "w0"), ("load", "w1"), ("step", 0), ("load", "w2"), ("step", 1), ("load", "w3"), ("step", 2),
        ("step", 3),
    ]  # fmt: skip


def test_loads_run_ahead_no_further_than_the_window():
    r = Recorder()
    run([r.step(i, r.load(i)) for i in range(3 * AHEAD)], {"a": Ring(10_000)})
    for number in range(3 * AHEAD):
        before = r.order()[: r.order().index(("step", number))]
        assert sum(kind == "load" for kind, _ in before) == min(number + AHEAD, 3 * AHEAD)


def test_shared_loads_are_emitted_once_and_stay():
    r = Recorder()
    steps = [r.step(i, r.load("shared", 2), r.load(f"own{i}")) for i in range(4)]
    run([*steps, r.step(4, r.load("next", 4))], {"a": Ring(6)})
    assert r.order().count(("load", "shared")) == 1
    assert [at for kind, _, at in r.events if kind == "step"] == [[0, 2], [0, 3], [0, 4], [0, 5], [0]]
    assert r.order()[-3:] == [("step", 3), ("load", "next"), ("step", 4)]


def test_loads_of_activations_wait_for_their_layer():
    r = Recorder()
    steps = [
        r.step(0, r.load("w0", memory="w"), r.load("x0", bound=True)),
        r.step(1, r.load("w1", memory="w"), r.load("x1", bound=True)),
        r.step(2, r.load("w2", memory="w"), r.load("x2", bound=True), layer=1),
    ]
    run(steps, {"w": Ring(10), "a": Ring(10)})
    order = r.order()
    assert order.index(("load", "w2")) < order.index(("step", 0))  # weights of the next layer come early
    assert order.index(("load", "x1")) < order.index(("step", 0))
    assert order.index(("step", 1)) < order.index(("load", "x2")) < order.index(("step", 2))


def test_a_load_that_finds_no_room_holds_up_its_own_memory_only():
    r = Recorder()
    last = (r.load("a2", 1), r.load("b", memory="b"))
    steps = [r.step(0, r.load("a0", 4)), r.step(1, r.load("a1", 4)), r.step(2, *last)]
    run(steps, {"a": Ring(5), "b": Ring(1)})
    assert r.order()[:2] == [("load", "a0"), ("load", "b")]
    assert [key for kind, key in r.order() if kind == "load" and key != "b"] == ["a0", "a1", "a2"]


@pytest.mark.parametrize("seed", range(20))
def test_random_steps_find_their_loads_in_place(seed):
    """At each step its loads are where it is told, and nothing was loaded over them since."""
    rng = random.Random(seed)
    r = Recorder()
    size = 64  # a load is used in three steps at most, so six loads and the gap at the end may be alive
    keys = [(k, rng.randrange(1, 8), rng.choice("ab"), rng.random() < 0.5) for k in range(60)]
    steps, layer = [], 0
    for number in range(80):
        layer += rng.random() < 0.2
        some = sorted(rng.sample(range(len(keys)), 2)) if rng.random() < 0.3 else [rng.randrange(len(keys))]
        loads = [r.load((number // 3, *keys[k]), keys[k][1], keys[k][2], bound=keys[k][3]) for k in some]
        steps.append(r.step(number, *loads, layer=layer))
    run(steps, {"a": Ring(size), "b": Ring(size)})
    place: dict[tuple, int] = {}
    for kind, what, at in r.events:
        if kind == "load":
            span = range(at, at + what[2])
            for other, start in list(place.items()):
                if other[3] == what[3] and start < span.stop and span.start < start + other[2]:
                    del place[other]
            place[what] = at
        else:
            assert [place[load.key] for load in steps[what].loads] == at
    assert [what for kind, what, _ in r.events if kind == "step"] == list(range(80))


def test_a_step_that_cannot_fit_is_named():
    r = Recorder()
    with pytest.raises(AssertionError, match="plan of layer 3 does not fit the a memory: big"):
        run([r.step(0, r.load("big", 11), layer=3)], {"a": Ring(10)})


def test_loads_that_must_not_come_too_early() -> None:
    """With ``ahead`` a load is emitted that many steps before its own at most, and those behind it wait as well."""
    done: list[str] = []

    def load(i: int) -> Load:
        return Load(i, "m", 1, lambda _: done.append(f"load {i}"), ahead=2)

    steps = [Step(0, (load(i),), lambda _, i=i: done.append(f"step {i}")) for i in range(6)]
    run(steps, {"m": Ring(100)})
    assert done[:4] == ["load 0", "load 1", "load 2", "step 0"]
    for i in range(1, 4):
        assert done.index(f"step {i - 1}") < done.index(f"load {i + 2}") < done.index(f"step {i}")
