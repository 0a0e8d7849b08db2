"""The documented operators are those of the code."""

from pathlib import Path

from mapper.onnx_table import table

PAGE = Path(__file__).parents[2] / "docs" / "onnx.md"


def test_table_is_current():
    text = PAGE.read_text(encoding="utf-8")
    found = text.partition("<!-- table -->\n")[2].partition("<!-- end of table -->")[0]
    assert found == table(), "put what `python -m mapper.onnx_table` prints between the marks of docs/onnx.md"
