"""Length of Huffman codes: what a stream of symbols takes, given how often each occurs.

Nothing decodes such streams in hardware; the sizes are reported, as in Deep Compression (Han et al., 2016).
"""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.integer[Any]]


def lengths(counts: Counts) -> NDArray[np.int64]:
    """Bits of the code of every symbol, 0 for those that do not occur. A symbol that is alone has one bit."""
    used = [int(symbol) for symbol in np.flatnonzero(counts)]
    result = np.zeros(len(counts), np.int64)
    if len(used) == 1:
        result[used] = 1
    above: dict[int, int] = {}  # node of the tree -> the node it was joined under
    heap = [(int(counts[symbol]), symbol) for symbol in used]
    heapq.heapify(heap)
    fresh = len(counts)
    while len(heap) > 1:
        (a, first), (b, second) = heapq.heappop(heap), heapq.heappop(heap)
        above[first] = above[second] = fresh
        heapq.heappush(heap, (a + b, fresh))
        fresh += 1
    depth = {fresh - 1: 0}
    for node in sorted(above, reverse=True):  # a node's number is below that of the one above it
        depth[node] = depth[above[node]] + 1
        if node < len(counts):
            result[node] = depth[node]
    return result


def bits(counts: Counts) -> int:
    """Bits of all symbols together."""
    return int((lengths(counts) * counts).sum())
