"""A PE of the sparse engine: multiplies the columns of its rows by the activations that come."""

from amaranth import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, exact_log2

from dataflows import isa
from dataflows.config import Config
from rtl.shared import shared
from rtl.skew import delay
from rtl.sparse_memory import BeatMemory
from rtl.sparse_queue import ShortQueue, activation_layout
from rtl.sparse_sums import SparseSums
from rtl.sparse_walker import BASE_BITS, ColumnWalker


def sparse_error_layout() -> data.StructLayout:
    """What a PE has found wrong first, if anything: ``run`` or ``pointer`` is set, and says in which column."""
    return data.StructLayout({"run": 1, "pointer": 1, "column": unsigned(isa.COUNT_BITS)})


@shared("cfg")
class SparsePE(wiring.Component):
    """Memories, queue, column walker, multiplier and sums of the rows that lie in one PE.

    An activation of column k adds ``codebook[code] * value`` at the place of every entry of the column. Entries of code
    0 add nothing. A place is the one of the entry before plus ``run`` + 1, beginning at -1 in each column.

    Parameters
    ----------
    cfg : Config
        Must have ``sparse``.

    Members
    -------
    write_entries, write_pointers, write_codebook : In(1)
        Write ``write_data`` to beat ``write_beat`` of a memory; codebook k begins at byte ``k * codebook_pitch``.
        Not to what a running job reads.
    write_beat : In(24), write_data : In(bus bits)
    pointers, word, entries : In(24)
        Of the job: beat of its pointers, beat of its entries, number of its entries.
    rows : In(range(accumulators + 1))
        Rows of the job in this PE; the engine limits it to ``accumulators``.
    codebook : In(range(max(codebooks, 2)))
    bank : In(1)
        Bank of sums that is added to. This and the four above must be constant unless ``idle``.
    i : In(stream of activation_layout)
        ``ready``: the queue is not full, or gives an activation to the walker in this cycle. It is a function of
        registers, so a broadcast may wait until it is set in all PEs.
    drain : In(1), drain_place : In(range(accumulators))
        Reads a sum of the other bank, and clears it.
    drained : Out(signed(acc_bits))
        That sum, one cycle later; held until the next one or until ``bank`` has changed.
    idle : Out(1)
        Nothing is queued or in flight: all sums can be drained, by changing ``bank`` in the same cycle. The cycle in
        which an activation is taken does not count yet.
    walked : Out(1)
        An entry is walked in this cycle.
    clearing : Out(1)
        Sums are being cleared after a reset, for ``accumulators`` cycles; no activation may come, nothing be drained.
    error : Out(sparse_error_layout)
        Stays until a reset. Neither the entry nor anything behind it adds anything; activations are still taken.

    Timing
    ------
    Activation i taken in cycle ``arrival[i]`` (``valid`` and ``ready``) of a column of n[i] entries, padding included,
    is walked in cycles ``start[i]`` to ``finish[i] - 1``::

        start[i]  = max(finish[i - 1], arrival[i] + 3)
        finish[i] = start[i] + max(1, n[i])

    It leaves the queue in cycle ``max(arrival[i] + 1, start[i - 1] - 1)`` (the pointer stage behind the queue holds one
    more), so ``ready`` is set in cycle t if of the activations taken before t fewer than ``queue`` have not left before
    t, or one leaves in t. ``idle`` comes back in cycle ``finish`` of the last activation + ``latency`` = 6.
    """

    start = ShortQueue.latency + ColumnWalker.start
    latency = ColumnWalker.latency + BeatMemory.latency + SparseSums.latency

    def __init__(self, cfg: Config):
        self.cfg = cfg
        sparse = cfg.sparse
        super().__init__({
            "write_entries": In(1),
            "write_pointers": In(1),
            "write_codebook": In(1),
            "write_beat": In(BASE_BITS),
            "write_data": In(cfg.bus.data_bits),
            "pointers": In(BASE_BITS),
            "word": In(BASE_BITS),
            "entries": In(BASE_BITS),
            "rows": In(range(sparse.accumulators + 1)),
            "codebook": In(range(max(sparse.codebooks, 2))),
            "bank": In(1),
            "i": In(stream.Signature(activation_layout(cfg))),
            "drain": In(1),
            "drain_place": In(range(sparse.accumulators)),
            "drained": Out(signed(cfg.numbers.acc_bits)),
            "idle": Out(1),
            "walked": Out(1),
            "clearing": Out(1),
            "error": Out(sparse_error_layout()),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.cfg
        m.submodules.queue = queue = ShortQueue(activation_layout(cfg), cfg.sparse.queue)
        m.submodules.walker = walker = ColumnWalker(cfg)
        m.submodules.sums = sums = SparseSums(cfg)
        for name in ("write_entries", "write_pointers", "write_beat", "write_data", "pointers", "word", "entries"):
            m.d.comb += getattr(walker, name).eq(getattr(self, name))
        wiring.connect(m, queue.o, walker.i)
        busy = Signal(self.latency)  # bit n: a column was walked n + 1 cycles ago
        m.d.sync += busy.eq(Cat(walker.moving, busy))
        m.d.comb += [
            queue.i.valid.eq(self.i.valid),
            queue.i.payload.eq(self.i.payload),
            self.i.ready.eq(queue.i.ready),
            self.walked.eq(walker.walking),
            self.idle.eq(~(queue.o.valid | walker.moving | busy.any())),
            sums.bank.eq(self.bank),
            sums.drain.eq(self.drain),
            sums.drain_place.eq(self.drain_place),
            self.drained.eq(sums.drained),
            self.clearing.eq(sums.clearing),
        ]
        self._multiply(m, walker, sums, self._place(m, walker))
        return m

    def _place(self, m, walker):
        """Place of the entry, a register; and whether it may be added to, one cycle after the walker's output."""
        entry = walker.o
        rows = self.cfg.sparse.accumulators
        place = Signal(bits_for(rows - 1 + (1 << self.cfg.sparse.run_bits)), reset_less=True)
        next_place = Signal.like(place, name="next_place")
        m.d.comb += next_place.eq(Mux(entry.first, 0, place + 1) + entry.run)
        beyond, adds = Signal(), Signal()
        column = Signal.like(entry.column, name="column", reset_less=True)
        m.d.sync += [
            beyond.eq(walker.valid & (next_place >= self.rows)),
            adds.eq(walker.valid & (entry.code != 0)),
        ]
        with m.If(walker.valid):
            m.d.sync += [place.eq(next_place), column.eq(entry.column)]
        failed = Signal()
        m.d.comb += failed.eq(self.error.run | self.error.pointer)
        with m.If(~failed):
            m.d.sync += [self.error.run.eq(beyond), self.error.pointer.eq(walker.bad & ~beyond)]
            m.d.sync += self.error.column.eq(Mux(beyond, column, walker.bad_column))
        allowed = Signal()
        m.d.comb += allowed.eq(adds & ~beyond & ~failed)
        return place, allowed

    def _multiply(self, m, walker, sums, located):
        """Codebook, weight, product: one stage each behind the walker."""
        cfg = self.cfg
        place, allowed = located
        bits = cfg.numbers.weight_bits
        word_bits = min(cfg.bus.data_bits, bits << cfg.sparse.code_bits)
        low = exact_log2(word_bits // bits)
        beats = cfg.sparse.codebooks * cfg.codebook_pitch // cfg.bus_bytes
        m.submodules.codebooks = codebook = BeatMemory(bits, cfg.bus.data_bits, word_bits, beats)
        index = Signal(low, reset_less=True)
        m.d.sync += index.eq(walker.o.code)
        m.d.comb += [
            codebook.write.eq(self.write_codebook),
            codebook.write_beat.eq(self.write_beat),
            codebook.write_data.eq(self.write_data),
            codebook.read.eq(walker.valid),
            codebook.beat.eq(Cat(walker.o.code[low:], self.codebook)),
            codebook.index.eq(index),
        ]
        weight = Signal(signed(bits), reset_less=True)
        product = Signal(sums.product.shape(), reset_less=True)
        value = delay(m, walker.o.value, 2, "value")
        with m.If(allowed):
            m.d.sync += [weight.eq(codebook.o), sums.place.eq(place)]
        m.d.sync += sums.add.eq(allowed)
        with m.If(sums.add):
            m.d.sync += product.eq(weight * value)
        m.d.comb += sums.product.eq(product)
