"""The search for plans is exact: branch and bound against brute force, and bounds that are bounds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from dataflows.network import Window
from mapper.accesses import ACCUMULATORS, INPUTS, WEIGHTS, accesses
from mapper.compile import compile_network
from mapper.conv_cost import costed, least_cycles
from mapper.conv_plan import ConvPlan, Options
from mapper.conv_search import NEAR, candidates, plan
from mapper.conv_shape import ConvShape
from mapper.objectives import OBJECTIVES
from mapper.plan_accesses import plan_accesses
from mapper.search import choose, energy, value
from tests.mapper.test_conv_plan import OPTIONS, one_layer, shapes
from tests.mapper.test_programs import FLOWS, small

CASES = [(flow, seed) for flow in FLOWS for seed in range(3)]


@dataclass(frozen=True)
class Point:
    """A plan of two numbers, with a bound that is ``tight`` times its cost."""

    shape: ConvShape
    cycles: float
    dram_bytes: int
    tight: float = 1
    on_chip: float = 0


def a_shape() -> ConvShape:
    return shapes(0, small("weight_stationary", 4, 4))[0]


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("near", [0.0, 0.05])
def test_branch_and_bound_is_brute_force(objective, near):
    """Random spaces with many ties, any bounds that are bounds."""
    rng, shape = np.random.default_rng(3), a_shape()
    for _ in range(50):
        numbers = rng.integers(1, 40, (int(rng.integers(1, 60)), 2))
        points = [Point(shape, float(c), int(b), rng.uniform(0, 1)) for c, b in numbers]
        found = choose(points, lambda p: p, objective, bound=lambda p: value(p, objective) * p.tight, near=near)
        least = min(value(p, objective) for p in points)
        equal = [p for p in points if value(p, objective) <= least * (1 + near)]
        assert found is not None
        best, search = found
        assert best in equal
        assert (best.dram_bytes, best.cycles) == min((p.dram_bytes, p.cycles) for p in equal)
        assert search.candidates == len(points) >= search.costed >= 1 and search.summary["exact"]
    assert choose([], lambda p: p) is None


def test_tight_bounds_leave_plans_out():
    points = [Point(a_shape(), float(c), 1) for c in range(1, 100)]
    found = choose(points, lambda p: p, bound=lambda p: p.cycles)
    assert found is not None and found[1].costed == 1


@pytest.mark.parametrize(("flow", "seed"), CASES)
def test_bounds_are_bounds(flow, seed):
    cfg = small(flow, 4, 4, lean=seed % 2 == 1)
    for shape in shapes(seed, cfg):
        for options in (OPTIONS, Options(0, 2)):
            assert all(least_cycles(c, options) <= costed(c, options).cycles for c in candidates(shape))


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(("flow", "seed"), CASES)
def test_no_plan_of_the_space_is_better(flow, seed, objective):
    """Against all plans that fit, costed one by one."""
    cfg = small(flow, 4, 4, lean=seed % 2 == 1)
    options, near = replace(OPTIONS, objective=objective), NEAR if objective == "cycles" else 0
    for shape in shapes(seed, cfg):
        chosen = plan(shape, options)
        every = [costed(c, options) for c in candidates(shape)]
        least = min(value(p, objective) for p in every)
        equal = [p for p in every if value(p, objective) <= least * (1 + near)]
        assert value(chosen, objective) <= least * (1 + near)
        assert energy(chosen) == min(map(energy, equal))
        assert chosen.search is not None and chosen.search.gap == 0 and chosen.search.candidates == len(every)


def test_equal_shapes_are_searched_once():
    """What is known is taken with the weights of the layer at hand; another memory is another question."""
    shape = a_shape()
    other = replace(shape, layer=replace(shape.layer, name="other", weight=shape.layer.weight // 2))
    first, second, third = plan(shape, Options(7)), plan(other, Options(7)), plan(shape, Options(8))
    assert first.search is not None and second.search is not None and third.search is not None
    assert [p.search.reused for p in (first, second, third) if p.search] == [False, True, False]
    assert second.shape is other and replace(second, shape=shape, search=first.search) == first


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("case", range(6))
def test_accesses_of_a_plan_are_those_of_its_jobs(flow, case):
    """Exactly where tiles are alike; tiles at the border count as full ones."""
    rng = np.random.default_rng([FLOWS.index(flow), case])
    channels, outputs, size = (int(n) for n in rng.integers(1, 30, 3))
    kernel = int(rng.choice([1, 3]))
    network = one_layer(channels, outputs, Window((kernel, kernel), (1, 1), (kernel // 2,) * 4), size=size)
    cfg = small(flow, 4, 4, lean=case % 2 == 1)
    program = compile_network(cfg, network, replace(OPTIONS, objective="energy"))
    p = program.schedule[0].plan
    assert isinstance(p, ConvPlan)
    found, counted = plan_accesses(p, 0, 0), accesses(program)[0]
    even = sum(t.size == p.tile for t in p.tiles()) == p.tile_count
    for place in ((INPUTS, False), (WEIGHTS, False), (ACCUMULATORS, True), (ACCUMULATORS, False)):
        assert found[place] == counted[place] if even else counted[place] <= found[place] <= 2 * counted[place], place
