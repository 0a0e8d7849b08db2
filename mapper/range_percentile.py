"""The range between two quantiles."""

from __future__ import annotations

import numpy as np

from mapper.histogram import Histogram, Range, Wanted


def percentile(found: Histogram, wanted: Wanted) -> Range:
    """Cut what lies outside ``100 - percentile`` and ``percentile`` percent of the values; resolution: a bin."""
    part, total = wanted.percentile / 100, np.cumsum(found.counts)
    if not total[-1]:
        return found.low, found.high
    first = int(np.searchsorted(total, (1 - part) * total[-1], side="right"))
    last = int(np.searchsorted(total, part * total[-1], side="left"))
    return found.low + found.width * first, found.low + found.width * (min(last, len(total) - 1) + 1)
