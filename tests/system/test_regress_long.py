"""The long random regression: 1,008 cases on 48 configurations, 336 more on 16 with a sparse engine.

Cases already done with this code are not run again.

``build/test/regress/`` holds a file per configuration and ``progress.txt``, a line per configuration that is done.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system import sparse_regression
from tests.system.regression import Outcome, failures, run_case, surprises, table, write

CONFIGURATIONS = range(48)
SPARSE = range(16)
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
    for name in ("random_layers", "pruned_networks", "sparsity"):
        digest.update((root / f"tests/{name}.py").read_bytes())
    return digest.hexdigest()


def regress(run: Callable[[int, int], Outcome], number: int, name: str) -> None:
    """All cases of a configuration, unless they are done; ``name`` is that of its file."""
    path, code = FOLDER / f"{name}.json", sources()
    if path.exists() and json.loads(path.read_text(encoding="utf-8"))["sources"] == code:
        return
    outcomes = [run(number, case) for case in CASES]
    print("\n" + table(outcomes))
    assert not any(o.failure for o in outcomes), failures(outcomes)
    late = surprises(outcomes)
    assert not late, "cycles differ from the prediction:\n" + table(late)
    write(outcomes, path, sources=code)
    with (FOLDER / "progress.txt").open("a", encoding="utf-8") as file:
        seconds = sum(o.seconds for o in outcomes)
        file.write(f"{code[:8]} configuration {name}: {len(outcomes)} cases, {seconds:.0f} s, no mismatch\n")


@pytest.mark.regress
@pytest.mark.parametrize("number", CONFIGURATIONS)
def test_random_layers(number: int) -> None:
    regress(run_case, number, str(number))


@pytest.mark.regress
@pytest.mark.parametrize("number", SPARSE)
def test_random_pruned_layers(number: int) -> None:
    regress(sparse_regression.run_case, number, f"sparse{number}")
