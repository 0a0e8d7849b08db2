"""Random networks of mixed precision on the RTL of random arrays with ``[multiplier]``, bits and cycles."""

import pytest

from tests.system.mixed_regression import SHORT, run_case
from tests.system.regression import RESULTS, failures, surprises, table, write

KINDS = {str(shape["kind"]): number for number, shape in reversed(list(enumerate(SHORT)))}
"""First configuration of each kind."""


def check(number: int, cases: range) -> None:
    """Run cases of a configuration: right bits, and the cycles that were predicted."""
    outcomes = [run_case(number, case) for case in cases]
    print("\n" + table(outcomes))
    write(outcomes, RESULTS / f"mixed{number}.json")
    assert not any(o.failure for o in outcomes), failures(outcomes)
    assert not surprises(outcomes), "cycles differ from the prediction:\n" + table(surprises(outcomes))


@pytest.mark.parametrize(("kind", "cases"), [("fusion", 5), ("serial", 3), ("binary", 3)])
def test_mixed_precision(kind: str, cases: int) -> None:
    check(KINDS[kind], range(cases))


@pytest.mark.regress
@pytest.mark.parametrize("number", range(24))
def test_more_mixed_precision(number: int) -> None:
    check(number, range(5, 30))
