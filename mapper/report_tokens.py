"""Which tokens and heads were left behind each selection, for a few samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dataflows.network import Network
from dataflows.pruning import Select
from mapper.outcome import Outcome
from mapper.selections import candidates

WIDTH, HEIGHT, GAP = 270.0, 13.0, 3.0
"""Of a line of cells, and between lines."""


@dataclass(frozen=True)
class Line:
    """What is left behind a selection: layers that were observed since the one before, how many, and one path of all
    cells."""

    behind: str
    left: int
    y: float
    cells: str


@dataclass(frozen=True)
class Picture:
    """A sample: ``count`` tokens or heads before the first selection, a line for all of them and each selection."""

    sample: int
    kind: str
    count: int
    lines: list[Line]
    width: float = WIDTH
    line: float = HEIGHT

    @property
    def height(self) -> float:
        """Of all lines."""
        return len(self.lines) * (HEIGHT + GAP)


def pictures(outcome: Outcome) -> list[Picture]:
    """All pictures, those of tokens first; none without a run, or where nothing is selected."""
    run, network = outcome.run, outcome.program.network
    if run is None or not run.selections:
        return []
    result = []
    for heads in (False, True):
        selections = [x for x in network.layers if isinstance(x, Select) and x.heads == heads]
        if selections:
            count = candidates(network, selections[0])
            many = len(run.selections[selections[0].output])
            result += [_picture(network, selections, count, run.selections, sample) for sample in range(many)]
    return result


def _picture(
    network: Network, selections: Sequence[Select], count: int, found: Mapping[str, Sequence[Sequence[int]]],
    sample: int,
) -> Picture:  # fmt: skip
    """One sample."""
    producers = {layer.output: layer.name for layer in network.layers}
    lines = [Line("before", count, 0.0, _cells(range(count), count, 0.0))]
    for select in selections:
        numbers, y = found[select.output][sample], len(lines) * (HEIGHT + GAP)
        lines.append(Line(producers[select.observed[-1]], len(numbers), y, _cells(numbers, count, y)))
    return Picture(sample, "heads" if selections[0].heads else "tokens", count, lines)


def _cells(numbers: Sequence[int], count: int, y: float) -> str:
    """A path of a rectangle for each number; neighbours touch only where there is no room between them."""
    pitch = WIDTH / count
    width = pitch - min(1.0, pitch / 5)
    return "".join(f"M{number * pitch:.2f} {y:g}h{width:.2f}v{HEIGHT:g}h-{width:.2f}z" for number in numbers)
