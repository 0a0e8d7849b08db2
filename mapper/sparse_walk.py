"""Time in the sparse engine: when activations are broadcast, and when PEs walk their columns.

Everything follows from how many entries a column has in each PE, and from which activations are not zero. Times are
cycles; the constants are pipeline depths of the RTL.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

PICK = 1  # word offered to the engine, to the broadcast of its first activation
WALK = 3  # broadcast, to the first cycle of the column's walk, if nothing is before it
AHEAD = 1  # columns out of a queue whose pointers are read while another one is walked
ROOM = -1  # first cycle of a walk, to the broadcast that takes the place in the queue of what is read ahead next
IDLE = 6  # behind the last cycle of a walk, to all sums there


@dataclass(frozen=True)
class Walk:
    """What one SPARSE job does, in cycles from the first one in which a word is offered to it.

    Attributes
    ----------
    broadcasts : (activations that are not zero,) ints
        When each is broadcast.
    words : (words,) ints
        When each word of activations is taken: the last of it is found.
    starts : (activations that are not zero, pes) ints
        First cycle of each walk.
    end : int
        Behind the last cycle of the last walk; 0 where nothing is walked.
    """

    broadcasts: Ints
    words: Ints
    starts: Ints
    end: int


def offers(mask: NDArray[np.bool_], word: int) -> tuple[Ints, Ints]:
    """Cycles of detection: for each activation that is not zero, and for each word's last, if nothing holds it up.

    A word takes a cycle for each of its activations that is not zero, and one if there is none.
    """
    count = -(-mask.size // word)
    padded = np.zeros(count * word, np.int64)
    padded[: mask.size] = mask
    each = padded.reshape(count, word)
    found = each.sum(axis=1)
    behind = np.cumsum(np.maximum(found, 1))
    first = behind - np.maximum(found, 1)
    return (first[:, None] + np.cumsum(each, axis=1) - each)[each > 0], behind - 1


def walk(lengths: Ints, mask: NDArray[np.bool_], *, queue: int, word: int) -> Walk:
    """One job: its broadcasts, and the columns that PEs walk.

    A block of as many broadcasts as a queue and the stages behind it hold is worked out at once: whether they find room
    depends on walks of the block before only.

    Parameters
    ----------
    lengths : (pes, columns) ints
        Entries of each PE and column.
    mask : (columns,) bool
        Activations that are not zero.
    queue : int
        Places in front of each PE.
    word : int
        Activations of a word.
    """
    slots, last = offers(mask, word)
    taken = np.maximum(lengths[:, mask].T, 1).astype(np.int64)  # (broadcasts, pes)
    count, pes = taken.shape
    block = queue + AHEAD
    gaps = np.diff(slots, append=slots[-1:] + 1) - 1  # words of zeros behind an activation
    found, late = np.zeros(count, np.int64), np.zeros(count, np.int64)  # how late they are found, and broadcast
    starts = np.zeros((count, pes), np.int64)
    room = np.zeros(block, np.int64)  # when each broadcast of the block finds a place
    held, free = 0, np.zeros(pes, np.int64)  # cycles that detection is late; when PEs are done with what is before
    for first in range(0, count, block):
        part = slice(first, min(first + block, count))
        slot = slots[part] + PICK
        full = room[: len(slot)] - slot
        # What is found while a broadcast waits is broadcast behind it; words of zeros pass meanwhile.
        behind = np.maximum.accumulate(np.maximum(np.concatenate([[held], full - gaps[part]]), held))
        found[part] = behind[:-1]
        late[part] = np.maximum(full, found[part])
        held = int(behind[-1])
        done = np.cumsum(taken[part], axis=0)
        before = done - taken[part]
        ready = np.maximum((slot + late[part])[:, None] + WALK - before, free)
        starts[part] = np.maximum.accumulate(ready, axis=0) + before
        free = starts[part.stop - 1] + taken[part.stop - 1]
        room = starts[part].max(axis=1) + ROOM
    end = int(free.max()) if count else 0
    words = last + np.concatenate([[0], found])[np.searchsorted(slots, last, side="right")]
    return Walk(slots + PICK + late, words, starts, end)
