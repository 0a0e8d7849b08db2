"""Sorted columns of keys, and the largest and smallest products that a query has with what is left of them."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from dataflows.candidates import CODE_BITS, PRODUCT_BITS, column_bytes, entry_bytes, key_bits, tree_latency
from rtl.champion_tree import ChampionTree
from rtl.memory import BankMemory, write_layout

ENDS = ("upper", "lower")


def entry_layout(length: int) -> data.StructLayout:
    """An entry of a sorted column: an element, and the key it belongs to."""
    return data.StructLayout({"value": signed(CODE_BITS), "key": key_bits(length)})


def win_layout(length: int) -> data.StructLayout:
    """What wins at the ends of one kind: magnitude of the product and its key; ``some`` if it counts."""
    return data.StructLayout({"some": 1, "value": signed(PRODUCT_BITS), "key": key_bits(length)})


class SortedColumns(wiring.Component):
    """Memory of the columns, their ends, and the products at these.

    Parameters
    ----------
    length, columns : int
        Most keys, and columns.
    beat_bytes : int
        Bytes of a write, a power of two and at least those of an entry.

    Members
    -------
    write : In(stream of write_layout(beat_bytes), always ready)
        Whole beats of entries, at multiples of a beat, while nothing moves. Column c begins at byte
        ``c * column_bytes``; what lies behind the last one is dropped.
    query : In(columns x signed(8)), keys : In(range(length + 1))
        The query, and how many entries a column has; constant while ends move.
    set, set_column : In(1), In(range(columns))
        An end of this column is set to its first entry.
    move : In(1)
        The end whose product wins moves on, if the product counts.
    lower : In(1)
        ``set`` and ``move`` are for the lower end; else for the upper one.
    upper, lower_win : Out(win_layout(length))
        What wins: the largest product that is above 0, and the negative of the smallest that is below.

    Timing
    ------
    A set or a move is in what wins ``latency`` cycles later; at most one of them a cycle, and a move only when all
    before it are in what wins.
    """

    def __init__(self, length: int, columns: int, beat_bytes: int):
        self.length, self.columns, self.beat_bytes = length, columns, beat_bytes
        self.latency = 3 + tree_latency(columns)  # memory, entry, leaf, tree
        super().__init__({
            "write": In(stream.Signature(write_layout(beat_bytes), always_ready=True)),
            "query": In(data.ArrayLayout(signed(CODE_BITS), columns)),
            "keys": In(range(length + 1)),
            "set": In(1),
            "set_column": In(range(columns)),
            "move": In(1),
            "lower": In(1),
            "upper_win": Out(win_layout(length)),
            "lower_win": Out(win_layout(length)),
        })

    def elaborate(self, platform):
        m = Module()
        place_bits = key_bits(self.length)
        beat, size = self.beat_bytes, entry_bytes(self.length)
        pitch = column_bytes(self.length, beat)
        m.submodules.entries = memory = BankMemory(beat, self.columns * pitch // beat, beat)
        trees = [ChampionTree(self.columns, PRODUCT_BITS, place_bits) for _ in ENDS]
        number = range(self.length + 1)
        passed = [Signal(data.ArrayLayout(number, self.columns), name=f"{end}_passed", reset_less=True) for end in ENDS]
        for end, tree, win in zip(ENDS, trees, (self.upper_win, self.lower_win), strict=True):
            m.submodules[end] = tree
            m.d.comb += [win.some.eq(tree.best_value > 0), win.value.eq(tree.best_value), win.key.eq(tree.best_tag)]

        # The end that moves, and its entry.
        read = Signal()
        column = Signal(range(self.columns))
        count = Signal(number)
        winner, some = Signal(range(self.columns)), Signal()
        before = Signal(number)
        m.d.comb += [
            winner.eq(Mux(self.lower, trees[1].best_index, trees[0].best_index)),
            some.eq(Mux(self.lower, self.lower_win.some, self.upper_win.some)),
            before.eq(Mux(self.lower, passed[1][winner], passed[0][winner])),
            read.eq(self.set | self.move & some),
            column.eq(Mux(self.set, self.set_column, winner)),
            count.eq(Mux(self.set, 0, before + 1)),
        ]
        for lower, counts in enumerate(passed):
            with m.If(read & (self.lower == lower)):
                m.d.sync += counts[column].eq(count)
        element = Signal(signed(CODE_BITS))
        place = Signal(range(pitch // size))
        from_top = Signal()
        inner = exact_log2(beat // size)  # bits of an entry's place in a beat
        shown = Signal(max(1, inner), reset_less=True)
        first = self.write.p.address[exact_log2(beat) :]
        m.d.comb += [
            element.eq(self.query[column]),
            from_top.eq(self.lower == (element < 0)),
            place.eq(Mux(from_top, self.keys - 1 - count, count)),
            memory.read_enable.eq(read),
            memory.read_address.eq(Cat(place, column) >> inner),
            memory.write_enable.eq(self.write.valid & (first < self.columns * pitch // beat)),
            memory.write_address.eq(first),
            memory.write_data.eq(self.write.p.data.as_value()),
        ]
        with m.If(read):
            m.d.sync += shown.eq(place[:inner] if inner else 0)

        # A cycle later its entry, then its product, which goes into a leaf. An end that has passed all entries has
        # the product 0, which never counts.
        way = data.StructLayout({"column": range(self.columns), "lower": 1, "over": 1, "element": signed(CODE_BITS)})
        asked, come = Signal(way, reset_less=True), Signal(way, reset_less=True)
        valid = Signal(2)
        entry = Signal(entry_layout(self.length), reset_less=True)
        held = Signal(data.ArrayLayout(8 * size, beat // size))
        m.d.comb += held.as_value().eq(memory.read_data)
        product = Signal(signed(PRODUCT_BITS))
        m.d.sync += [
            valid.eq(Cat(read, valid[0])),
            asked.column.eq(column), asked.lower.eq(self.lower), asked.over.eq(count == self.keys),
            asked.element.eq(element), come.eq(asked), entry.eq(held[shown]),
        ]  # fmt: skip
        m.d.comb += product.eq(come.element * entry.value)
        for lower, tree in enumerate(trees):
            m.d.comb += [
                tree.write.eq(valid[1] & (come.lower == lower)),
                tree.index.eq(come.column),
                tree.value.eq(Mux(come.over, 0, -product if lower else product)),
                tree.tag.eq(entry.key),
            ]
        return m
