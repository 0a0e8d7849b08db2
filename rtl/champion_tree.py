"""The largest of many numbers that stay until they are replaced one by one, and which it is."""

from amaranth import Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dataflows.candidates import TREE_RADIX, tree_latency
from rtl.shared import shared


@shared("count", "bits", "tag_bits")
class ChampionTree(wiring.Component):
    """Finds the largest of ``count`` leaves: of equal ones that of the lowest tag, then the lowest leaf.

    Parameters
    ----------
    count : int
        Leaves, at least 2.
    bits, tag_bits : int
        Of their values, which are signed, and of their tags.

    Members
    -------
    write, index, value, tag : In(1), In(range(count)), In(signed(bits)), In(tag_bits)
        A leaf that is replaced.
    best_index, best_value, best_tag : Out
        The largest.

    Timing
    ------
    A write is in what is shown ``1 + latency`` cycles later: the leaf, and a register behind every two comparisons.
    """

    def __init__(self, count: int, bits: int, tag_bits: int):
        self.count, self.bits, self.tag_bits = count, bits, tag_bits
        self.latency = tree_latency(count)
        super().__init__({
            "write": In(1), "index": In(range(count)), "value": In(signed(bits)), "tag": In(tag_bits),
            "best_index": Out(range(count)), "best_value": Out(signed(bits)), "best_tag": Out(tag_bits),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        shapes = (signed(self.bits), self.tag_bits, range(self.count))
        nodes = []
        for leaf in range(self.count):
            value = Signal(shapes[0], name=f"value_{leaf}", reset_less=True)
            tag = Signal(shapes[1], name=f"tag_{leaf}", reset_less=True)
            with m.If(self.write & (self.index == leaf)):
                m.d.sync += [value.eq(self.value), tag.eq(self.tag)]
            nodes.append((value, tag, Const(leaf, shapes[2])))
        for stage in range(self.latency):
            groups = [nodes[i : i + TREE_RADIX] for i in range(0, len(nodes), TREE_RADIX)]
            nodes = []
            for number, group in enumerate(groups):
                while len(group) > 1:
                    pairs = [group[i : i + 2] for i in range(0, len(group), 2)]
                    name = f"{stage}_{number}_{len(pairs)}"
                    group = [self._better(m, pair, f"{name}_{i}") for i, pair in enumerate(pairs)]
                kept = [Signal(shape, name=f"best_{stage}_{number}_{i}", reset_less=True)
                        for i, shape in enumerate(shapes)]  # fmt: skip
                m.d.sync += [to.eq(part) for to, part in zip(kept, group[0], strict=True)]
                nodes.append(kept)
        best = (self.best_value, self.best_tag, self.best_index)
        m.d.comb += [to.eq(part) for to, part in zip(best, nodes[0], strict=True)]
        return m

    def _better(self, m, pair, name):
        """The node that wins, of a pair or alone."""
        if len(pair) == 1:
            return pair[0]
        left, right = pair
        first = Signal(name=f"first_{name}")
        m.d.comb += first.eq((left[0] > right[0]) | (left[0] == right[0]) & (left[1] <= right[1]))
        winner = [Signal.like(part, name=f"winner_{name}_{i}") for i, part in enumerate(left)]
        m.d.comb += [to.eq(Mux(first, a, b)) for to, a, b in zip(winner, left, right, strict=True)]
        return winner
