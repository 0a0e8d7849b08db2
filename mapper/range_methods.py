"""How the range of an activation is chosen: every method of ``--calibration-method``.

A method is a function from a histogram of the values and what the tensor is like to the range that it shall have. A new
one is a file of its own and an entry here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mapper.clipping import least_error
from mapper.histogram import Histogram, Range, Wanted
from mapper.range_entropy import entropy
from mapper.range_percentile import percentile


@dataclass(frozen=True)
class RangeMethod:
    """One method.

    Attributes
    ----------
    meaning : str
        For ``--help``.
    choose : function
        From the distribution of a tensor to its range; None: everything that was seen.
    narrow : bool
        Whether it is for tensors of 4 bits and less, too; these take the range of least squared error otherwise.
    """

    meaning: str
    choose: Callable[[Histogram, Wanted], Range] | None = None
    narrow: bool = False


METHODS = {
    "minmax": RangeMethod("everything that was seen"),
    "percentile": RangeMethod("without the outermost values", percentile),
    "entropy": RangeMethod("least Kullback-Leibler divergence, as TensorRT and MXNet have it", entropy, narrow=True),
    "mse": RangeMethod("least squared error", least_error, narrow=True),
}
