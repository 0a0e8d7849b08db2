"""Cycles of a program, from its commands and tokens, without simulating cycle by cycle.

Every unit is a process that goes through its own commands; jobs take the time their counts say, bursts share the DRAM
in the order of their addresses, and semaphores tie the units together exactly as in the hardware.  The constants
in ``timing_*.py`` are pipeline depths of the RTL in cycles; ``tests/system`` holds the result against measured cycles.
"""

from __future__ import annotations

from dataflows import isa
from mapper.compile import Program
from mapper.timing_array import array
from mapper.timing_commands import decode, front
from mapper.timing_load import Loader
from mapper.timing_machine import Machine, Prediction, Span
from mapper.timing_store import Writer

__all__ = ["Prediction", "Span", "predict"]


def predict(program: Program, latency: int, bytes_per_cycle: float) -> Prediction:
    """Timeline of a program on a DRAM of fixed latency and bandwidth.

    Parameters
    ----------
    program : Program
    latency : int
        Cycles from a read address to its first data, and from the last write data to the response.
    bytes_per_cycle : float
        Shared by reads and writes.
    """
    machine = Machine(program, latency, bytes_per_cycle)
    processes = [decode(machine), Loader(machine).run(), array(machine), Writer(machine).run()]
    for process in processes + [front(machine, unit) for unit in isa.Unit]:
        machine.kernel.schedule(0, process)
    machine.kernel.run()
    left = [u.name for u in isa.Unit if machine.popped[u] < len(machine.words[u])]
    if left:
        raise AssertionError(f"the program would never end: {', '.join(left)} wait for ever")
    return machine.result
