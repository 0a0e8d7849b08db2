"""The timing law of :class:`~rtl.row_array.RowArray` as a program, for streams that never starve."""

from collections import Counter

from dataflows.config import Config
from tests.rtl.row_bench import Geometry


class Stream:
    """Words of one operand: when they enter, and when those of a unit (a group, or the filters of a pass) have.

    ``room``: words of the store. ``units``: per job the number of units, the words of one, how many of them must find
    room, and whether all must find it at once.
    """

    def __init__(self, room: int, units: list[tuple[int, int, int, bool]]):
        self.room = room
        self.units = units
        self.taken: list[int] = []  # cycles in which plans are taken
        self.times: list[int] = []
        self.complete: list[int] = []
        self.freed: Counter[int] = Counter()  # words that are free from a cycle on
        self.held = 0
        self.left = 0

    def work(self, cycle: int, valid: list[int]) -> None:
        """One cycle; ``valid``: cycles from which plans are valid."""
        self.held -= self.freed[cycle]
        if not self.left:
            job = len(self.taken)
            if job < len(valid) and valid[job] <= cycle and cycle not in self.times[-1:]:
                self.taken.append(cycle)
                number, size, _, _ = self.units[job]
                self.left = number * size
            return
        _, size, kept, at_once = self.units[len(self.taken) - 1]
        index = -self.left % size
        need = (kept if at_once else 1) if index < (1 if at_once else kept) else 0
        if need == 0 or self.held + need <= self.room:
            self.held += need
            self.left -= 1
            self.times.append(cycle)
            if index == size - 1:
                self.complete.append(cycle)


def law(cfg: Config, geometries: list[Geometry], opens: list[int]) -> dict[str, list[int]]:
    """Cycles of transfers, "geometry", "input", "weight" and "sum".

    Geometries are offered from cycle 0 on; ``opens`` are the cycles of ``open``.
    """
    rows = cfg.array.rows
    walk = 1 + max(rows, cfg.array.cols)
    inputs = Stream(
        3 * cfg.stores.input,
        [(g.groups * g.passes, g.chained * g.rows * g.fresh, g.fresh, True) for g in geometries],
    )
    weights = Stream(
        cfg.stores.weight,
        [(g.passes, g.across * g.taps * g.filters, g.taps * g.filters, False) for g in geometries],
    )
    offered, valid, steps, sums = [0], [walk], [], []
    groups = passes = 0  # that earlier passes have used
    earliest = cycle = 0

    def advance() -> None:
        nonlocal cycle
        inputs.work(cycle, valid)
        weights.work(cycle, valid)
        taken = (inputs.taken, weights.taken, steps)
        if len(offered) < len(geometries) and all(len(t) == len(offered) for t in taken):
            offered.append(max(t[-1] for t in taken) + 1)
            valid.append(offered[-1] + walk)
        cycle += 1

    for job, g in enumerate(geometries):
        while len(valid) <= job or cycle < max(valid[job], earliest - 1):
            advance()
        steps.append(cycle)
        length, skew = g.taps * g.filters, rows - 1 + g.filters * (g.units - 1)
        advance()
        for number in range(g.passes * g.positions):
            position = number % g.positions
            ends = position == g.positions - 1

            def present(stream: Stream, count: int) -> bool:
                return len(stream.complete) >= count and stream.complete[count - 1] < cycle

            while not (
                cycle >= earliest
                and present(inputs, groups + g.preload + position)
                and present(weights, passes + 1)
                and opens[job] < cycle
            ):
                advance()
            sums += [
                cycle + (g.taps - 1 + u) * g.filters + f + rows + 4 for u in range(g.units) for f in range(g.filters)
            ]
            inputs.freed[cycle + length + skew + 1] = g.fresh * (g.preload if ends else 1)
            if ends:
                weights.freed.update(range(cycle + 2 + skew, cycle + 2 + skew + length))
                groups += g.groups
                passes += 1
            earliest = cycle + length
        earliest += skew + 4
    return {"geometry": offered, "input": inputs.times, "weight": weights.times, "sum": sums}
