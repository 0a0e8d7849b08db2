"""Random configurations and layers on the RTL against the golden model, cycles predicted beside measured."""

import pytest

from dataflows.network import Conv
from tests.system.regression import RESULTS, SHORT, draw, failures, run_case, surprises, table, write

CONFIGURATIONS = range(len(SHORT))
LIKE_OTHERS = (4, 5, 6, 7, 8, 12)
"""Configurations that differ from their neighbours in sizes alone: they run in the regression only."""

CASES = range(13)


@pytest.mark.parametrize(
    "number", [pytest.param(n, marks=[pytest.mark.regress] if n in LIKE_OTHERS else []) for n in CONFIGURATIONS]
)
def test_random_layers(number: int) -> None:
    outcomes = [run_case(number, case) for case in CASES]
    print("\n" + table(outcomes))
    write(outcomes, RESULTS / f"{number}.json")
    assert not any(o.failure for o in outcomes), failures(outcomes)
    assert not surprises(outcomes), "cycles differ from the prediction:\n" + table(surprises(outcomes))


def test_the_cases_reach_every_kind_of_layer() -> None:
    convs = []
    for number in CONFIGURATIONS:
        for case in CASES:
            convs += [layer for layer in next(draw(number, case)[2]).layers if isinstance(layer, Conv)]
    assert {k for c in convs for k in c.window.kernel} == set(range(1, 8))
    assert {s for c in convs for s in c.window.stride} == {1, 2, 3}
    assert {d for c in convs for d in c.window.dilation} == {1, 2, 3}
    assert any(c.groups == 1 for c in convs) and any(c.groups == len(c.bias) > 1 for c in convs)
    assert any(1 < c.groups < len(c.bias) for c in convs)
    assert any(any(c.window.padding) for c in convs)
