"""Fixtures and settings for all tests."""

from pathlib import Path

import hypothesis
import numpy as np
import pytest

# The same examples on every run: a failure can be repeated, and a pass does not depend on luck.
hypothesis.settings.register_profile("stationary", derandomize=True, deadline=None, database=None, max_examples=40)
hypothesis.settings.load_profile("stationary")


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers that depend on the name of the test only."""
    return np.random.default_rng(list(request.node.nodeid.encode()))


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the repository."""
    return Path(__file__).parents[1]
