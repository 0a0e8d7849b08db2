"""Random networks of mixed precision on the RTL of random arrays with ``[multiplier]``, bits and cycles."""

import pytest

from tests.system.mixed_regression import SHORT, run_case
from tests.system.regression import RESULTS, failures, surprises, table, write

FUSION = [number for number, shape in enumerate(SHORT) if shape["kind"] == "fusion"]


def check(number: int, cases: range) -> None:
    """Run cases of a configuration: right bits, and the cycles that were predicted."""
    outcomes = [run_case(number, case) for case in cases]
    print("\n" + table(outcomes))
    write(outcomes, RESULTS / f"mixed{number}.json")
    assert not any(o.failure for o in outcomes), failures(outcomes)
    assert not surprises(outcomes), "cycles differ from the prediction:\n" + table(surprises(outcomes))


@pytest.mark.parametrize("number", FUSION[:1])
def test_mixed_precision(number: int) -> None:
    check(number, range(5))


@pytest.mark.regress
@pytest.mark.parametrize("number", [number for number in range(24) if number % 7 == 0])
def test_more_mixed_precision(number: int) -> None:
    check(number, range(5, 30))
