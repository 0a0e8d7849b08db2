"""The golden model: what every network must compute, to the bit, in plain NumPy.

It is independent evidence: it shares no code with the hardware or the mapper, only the data structures of
``dataflows.network``.  The rules it follows are written down in ``docs/numerics.md``.
"""

from sim.golden.network import decisions, run, run_layer
from sim.golden.observed import candidates_found, selected_from, values_kept
from sim.golden.quality import dequantize, sqnr

__all__ = ["candidates_found", "decisions", "dequantize", "run", "run_layer", "selected_from", "sqnr", "values_kept"]
