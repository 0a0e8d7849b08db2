"""The long random regression: 1,008 cases on 48 configurations; those already done with this code are not run again.

``build/test/regress/`` holds a file per configuration and ``progress.txt``, a line per configuration that is done.
"""

import hashlib
import json
from pathlib import Path

import pytest

from tests.system.regression import failures, run_case, surprises, table, write

CONFIGURATIONS = range(48)
CASES = range(21)
FOLDER = Path("build/test/regress")


def sources() -> str:
    """Hash of everything a result depends on."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[2]
    for folder in ("dataflows", "rtl", "mapper", "sim", "tests/system"):
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in (".py", ".cpp", ".hpp"):
                digest.update(path.name.encode() + b"\0" + path.read_bytes())
    digest.update((root / "tests/random_layers.py").read_bytes())
    return digest.hexdigest()


@pytest.mark.regress
@pytest.mark.parametrize("number", CONFIGURATIONS)
def test_random_layers(number: int) -> None:
    path, code = FOLDER / f"{number}.json", sources()
    if path.exists() and json.loads(path.read_text(encoding="utf-8"))["sources"] == code:
        return
    outcomes = [run_case(number, case) for case in CASES]
    print("\n" + table(outcomes))
    assert not any(o.failure for o in outcomes), failures(outcomes)
    late = surprises(outcomes)
    assert not late, "cycles differ from the prediction:\n" + table(late)
    write(outcomes, path, sources=code)
    with (FOLDER / "progress.txt").open("a", encoding="utf-8") as file:
        seconds = sum(o.seconds for o in outcomes)
        file.write(f"{code[:8]} configuration {number}: {len(outcomes)} cases, {seconds:.0f} s, no mismatch\n")
