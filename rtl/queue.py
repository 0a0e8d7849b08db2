"""A stream queue over one block memory."""

from amaranth import Module, Value
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out


class Queue(wiring.Component):
    """First in, first out, with valid/ready at both ends.

    Parameters
    ----------
    shape : shape-like
        Payload.
    depth : int
        Entries it holds, at least 2. One of them sits in the output register of the memory.

    Members
    -------
    i : In(stream of shape)
    o : Out(stream of shape)
    level : Out(range(depth + 1))
        Entries held.

    Timing
    ------
    One transfer per cycle at each end, ``latency`` cycles apart. ``i.ready`` and ``o.valid`` are functions
    of registers.
    """

    latency = 2

    def __init__(self, shape, depth: int):
        if depth < 2:
            raise ValueError(f"Queue depth must be at least 2, not {depth}")
        self.depth = depth
        super().__init__({
            "i": In(stream.Signature(shape)),
            "o": Out(stream.Signature(shape)),
            "level": Out(range(depth + 1)),
        })

    def elaborate(self, platform):
        m = Module()
        payload = Value.cast(self.i.payload)
        m.submodules.fifo = fifo = SyncFIFOBuffered(width=len(payload), depth=self.depth)
        m.d.comb += [
            fifo.w_data.eq(payload),
            fifo.w_en.eq(self.i.valid),
            self.i.ready.eq(fifo.w_rdy),
            Value.cast(self.o.payload).eq(fifo.r_data),
            self.o.valid.eq(fifo.r_rdy),
            fifo.r_en.eq(self.o.ready),
            self.level.eq(fifo.level),
        ]
        return m
