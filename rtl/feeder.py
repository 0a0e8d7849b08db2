"""The edges of the array where operands enter: joins the two streams, adds flags, makes the skew."""

from amaranth import Cat, Module, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dataflows.config import Config
from dataflows.vocabulary import Axis, Kind, Operand
from rtl.drain import drain_windows
from rtl.fusion_edge import FusionEdge, precision
from rtl.job import job_credit
from rtl.operands import word_stream
from rtl.pe import PE, edge, flags, links, sum_cycles
from rtl.skew import delay, staircase, taps, together


class Feeder(wiring.Component):
    """Takes words from both operand streams when the array can use them, and drives the array's west and north edges.

    *A loaded operand* (weight- and input-stationary): one tile of it is ahead of the moving one. The first moving
    word of a tile waits until the last stationary word has entered in an earlier cycle; stationary words of the next
    tile enter from the cycle of that first moving word on. Gaps are allowed anywhere in both streams.

    *Drained outputs* (output-stationary): words enter in pairs, in chunks of ``rows``. A chunk starts when both
    streams have a word; within a chunk both must have a word in every cycle, because each row shifts its own word at
    a fixed rate. ``first`` and ``last`` of the weight stream mark the borders of the sums, each of whole chunks.

    *Nothing stays* (no-local-reuse): words enter in pairs. Gaps are allowed anywhere in both streams.

    The first word of a job of the moving stream waits for an opened accumulator job.

    Parameters
    ----------
    cfg : Config

    Members
    -------
    input, weight : In(word_stream)
    open : In(1)
        The accumulator has opened one more job.
    <name>_o : Out, one per row, column or PE
        The edge of each link except the output, and of each flag.
    emit : Out(1)
        Column 0 has a sum to hand out at the south edge, in this cycle.

    Timing
    ------
    A word that is transferred in cycle t is at lane i of the edge in cycle ``t + latency + i``, or in
    ``t + latency`` where words take no time from PE to PE.
    """

    latency = 1

    def __init__(self, cfg: Config):
        self.cfg = cfg
        wires = {n: wire for n, wire in links(cfg.dataflow, cfg.numbers, cfg.multiplier).items() if n != "output"}
        bits = flags(cfg.dataflow, cfg.multiplier)
        self.axes = {name: line.axis for name, line in (wires | bits).items()}
        ports = {
            "input": In(word_stream(cfg, Operand.INPUT)),
            "weight": In(word_stream(cfg, Operand.WEIGHT)),
            "open": In(1),
            "emit": Out(1),
        }
        for name, axis in self.axes.items():
            shape = unsigned(bits[name].bits) if name in bits else wires[name].shape
            ports[f"{name}_o"] = Out(shape).array(edge(axis, cfg.array.rows, cfg.array.cols))
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        flow = self.cfg.dataflow
        moving = self.input if flow.moving is Operand.INPUT else self.weight
        begin = Signal()
        allowed = Signal()
        credit = job_credit(m, self.open, begin)
        m.d.comb += [
            begin.eq(moving.valid & moving.ready & moving.payload.begin),
            allowed.eq(~moving.payload.begin | (credit != 0)),
        ]
        if flow.output.kind is Kind.DRAIN:
            self._join(m, allowed)
        elif flow.stationary is None:
            self._pair(m, allowed)
        else:
            self._interlock(m, moving, allowed)
        return m

    def _drive(self, m, name, lanes):
        for port, lane in zip(getattr(self, f"{name}_o"), lanes, strict=True):
            m.d.comb += port.eq(lane)

    def _step(self, name):
        """Skew between neighbouring lanes of the edge where ``name`` enters."""
        return self.cfg.dataflow.skew[0 if self.axes[name] is Axis.EAST else 1]

    def _lanes(self, m, name, lanes):
        """Drive an edge with values of its own for each lane."""
        self._drive(m, name, staircase(m, lanes, name, first=self.latency, step=self._step(name)))

    def _flag(self, m, name, flag):
        """Drive an edge with one flag."""
        count = len(getattr(self, f"{name}_o"))
        lanes = taps(m, flag, count, name, first=self.latency, step=self._step(name), reset_less=False)
        self._drive(m, name, lanes)

    def _interlock(self, m, moving, allowed):
        """One stationary tile ahead of the moving words."""
        stationary = self.weight if moving is self.input else self.input
        rows = self.cfg.array.rows
        words = self.cfg.dataflow.load_cycles(rows, self.cfg.array.cols)
        place = Signal(words, init=1)  # one-hot: place in the stationary tile
        full = Signal()  # the next tile is in the shadow registers or on its way there
        load, swap = Signal(), Signal()
        m.d.comb += [
            moving.ready.eq(allowed & (full | ~moving.payload.first)),
            swap.eq(moving.valid & moving.ready & moving.payload.first),
            stationary.ready.eq(~full | swap),
            load.eq(stationary.valid & stationary.ready),
        ]
        self._emit(m, moving.valid & moving.ready)
        with m.If(load):
            m.d.sync += place.eq(Cat(place[-1], place)[:words])
        with m.If(load & place[-1]):
            m.d.sync += full.eq(1)
        with m.Elif(swap):
            m.d.sync += full.eq(0)
        for operand in (Operand.INPUT, Operand.WEIGHT):
            self._lanes(m, operand.value, self._take_apart(m, operand))
        self._flag(m, "swap", swap)
        if self.cfg.multiplier:
            self._flag(m, "precision", precision(m, moving.payload))
        # Word i of a tile stays in row (or column) i, where it comes i cycles after it entered.
        self._lanes(m, "load", [load & here for here in place])

    def _take_apart(self, m, operand):
        """Lanes of an operand's word."""
        word = getattr(self, operand.value).payload
        if self.cfg.multiplier is None:
            return list(word.data)
        number = (Operand.INPUT, Operand.WEIGHT).index(operand)
        m.submodules[f"{operand.value}_edge"] = apart = FusionEdge(
            self.cfg.multiplier, number, len(getattr(self, f"{operand.value}_o"))
        )
        m.d.comb += [
            apart.i.as_value().eq(word.data.as_value()), apart.a_bits.eq(word.a_bits), apart.w_bits.eq(word.w_bits),
        ]
        return list(apart.o)

    def _emit(self, m, taken):
        """Each moving word that is taken makes a sum."""
        cycles = self.latency + sum_cycles(self.cfg.dataflow, self.cfg.array.rows)
        m.d.comb += self.emit.eq(delay(m, taken, cycles, "emitted", reset_less=False))

    def _both(self, m, allowed):
        """Take a word of each stream at a time; returns when."""
        take = Signal()
        m.d.comb += [
            take.eq(self.input.valid & self.weight.valid & allowed),
            self.input.ready.eq(self.weight.valid & allowed),
            self.weight.ready.eq(self.input.valid & allowed),
        ]
        return take

    def _pair(self, m, allowed):
        """Pairs of words, each for itself."""
        self._emit(m, self._both(m, allowed))
        for operand in (Operand.INPUT, Operand.WEIGHT):
            word = getattr(self, operand.value).payload.data
            self._drive(m, operand.value, together(m, word, self.latency, operand.value))

    def _join(self, m, allowed):
        """Chunks of ``rows`` pairs of words."""
        rows = self.cfg.array.rows
        take, close = self._both(m, allowed), Signal()
        chunk = Signal(rows, init=1)  # one-hot: place in the chunk
        weight = self.weight.payload
        m.d.comb += close.eq(take & weight.last)
        with m.If(take):
            m.d.sync += chunk.eq(Cat(chunk[-1], chunk)[:rows])
        self._serialize(m, take, chunk)
        self._lanes(m, Operand.WEIGHT.value, list(weight.data))
        self._flag(m, "first", take & weight.first)
        self._flag(m, "last", close)

        windows = drain_windows(m, delay(m, close, self.latency + rows, "closed", reset_less=False), rows)
        self._drive(m, "shift", windows)
        m.d.comb += self.emit.eq(delay(m, windows[-1], PE.latency - 1, "emitted", reset_less=False))

    def _serialize(self, m, take, chunk):
        """Row r takes word r of each chunk and shifts it out: the time the words take to come is the skew.

        Zeros follow, so that nothing is added to the sums while the next chunk is waited for.
        """
        lanes = []
        bits = self.cfg.numbers.act_bits
        for row in range(self.cfg.array.rows):
            shifter = Signal(bits * self.cfg.input_elements, name=f"shifter_{row}", reset_less=True)
            with m.If(take & chunk[row]):
                m.d.sync += shifter.eq(self.input.payload.data.as_value())
            with m.Else():
                m.d.sync += shifter.eq(shifter >> bits)
            lanes.append(shifter[:bits].as_signed())
        self._drive(m, Operand.INPUT.value, lanes)
