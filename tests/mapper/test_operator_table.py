"""The documented operators and engines are those of the code."""

from pathlib import Path

from mapper import operator_table

PAGE = Path(__file__).parents[2] / "docs" / "operators.md"


def test_page_is_current():
    found = PAGE.read_text(encoding="utf-8")
    assert found == operator_table.page(), "run `python -m mapper.operator_table > docs/operators.md`"
