"""The law of the row engine's cycles as a program: :class:`rtl.rows.RowsEngine` states it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Job:
    """What a job's time depends on."""

    softmax: bool
    rows: int
    blocks: int
    transfers: tuple[int, ...] = ()  # that bring each word of a row: one each, if there is nothing here
    decides: bool = False


@dataclass
class Times:
    """Cycles in which things happen."""

    begun: list[int] = field(default_factory=list)  # jobs
    taken: list[int] = field(default_factory=list)  # jobs
    come: list[int] = field(default_factory=list)  # words, or elements of columns
    words: list[int] = field(default_factory=list)  # words that are complete
    read: list[int] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    scales: list[int] = field(default_factory=list)
    decided: list[int] = field(default_factory=list)
    done: list[int] = field(default_factory=list)


def law(
    engine, jobs: Sequence[Job], offered: Callable[[int, int], int], come: Callable[[int, int], int],
    leaves: Callable[[int], int], decided: Callable[[int], int],
) -> Times:  # fmt: skip
    """Times of everything.

    Parameters
    ----------
    engine
        The numbers: an instance of RowsEngine.
    jobs : sequence of Job
    offered, come : (number, cycle) to cycle
        Cycle in which job ``number`` is offered first, if the one before was taken in ``cycle`` (-1 for the first);
        words likewise.
    leaves, decided : cycle to cycle
        First cycle from there on in which the sink of words, or that of decisions, is ready.
    """
    times = Times()
    rows: list[int] = []  # first reads
    finished, divided, read_norm = -engine.FINISH_INTERVAL, [], -engine.SWITCH_CYCLES
    end = -1  # last word of the job before is taken
    for number, job in enumerate(jobs):
        earliest = max(offered(number, times.taken[-1] if number else -1), times.begun[-1] + 1 if number else 0)
        if number >= engine.JOBS:
            earliest = max(earliest, times.done[number - engine.JOBS] + 1)
        times.taken.append(earliest)
        times.begun.append(max(earliest + engine.PREPARE, end))
        for _ in range(job.rows):
            for block in range(job.blocks):
                room = times.begun[-1] + 1
                if len(times.words) >= engine.ring_words:
                    room = max(room, times.read[len(times.words) - engine.ring_words] + 1)
                if not block and len(rows) >= engine.ROWS:
                    room = max(room, rows[-engine.ROWS] + 1)
                for _ in range(job.transfers[block] if job.transfers else 1):
                    number_come = len(times.come)
                    times.come.append(max(come(number_come, times.come[-1] if number_come else -1), room))
                times.words.append(times.come[-1])
            end = times.words[-1]
            ready = end + engine.collect_latency
            if not job.softmax:
                finished = max(ready, finished + engine.FINISH_INTERVAL)
                ready = finished + engine.FINISH_LATENCY
            else:
                ready = max(ready, read_norm + engine.SWITCH_CYCLES)
                if len(divided) >= engine.SCALED_ROWS:
                    ready = max(ready, divided[-engine.SCALED_ROWS] + 1)
            for block in range(job.blocks):
                at = max(ready, times.read[-1] + 1 if times.read else 0)
                if len(times.read) >= engine.QUEUE_WORDS:
                    at = max(at, times.left[-engine.QUEUE_WORDS] + 1)
                if not block:
                    rows.append(at)
                times.read.append(at)
                at += engine.SOFTMAX_LATENCY if job.softmax else engine.NORM_LATENCY
                times.left.append(leaves(max(at, times.left[-1] + 1 if times.left else 0)))
            if job.softmax:
                at = times.read[-1] + engine.total_latency
                divided.append(max(at, divided[-1] + engine.DIVIDE_INTERVAL if divided else 0))
                times.scales.append(divided[-1] + engine.DIVIDE_LATENCY)
            else:
                read_norm = times.read[-1]
        last = max(times.left[-1], times.scales[-1] if job.softmax else 0)
        if job.decides:
            at = max(divided[-1] + engine.DECISION_LATENCY, times.decided[-1] + 1 if times.decided else 0)
            times.decided.append(decided(at))
            last = max(last, times.decided[-1])
        times.done.append(max(last, times.done[-1] if times.done else 0) + 1)
    return times
