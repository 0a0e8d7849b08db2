"""Sorted columns of keys, and the largest and smallest products that a query has with what is left of them."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dataflows.candidates import CODE_BITS, PRODUCT_BITS, tree_latency
from rtl.champion_tree import ChampionTree
from rtl.memory import BankMemory

ENDS = ("upper", "lower")


def key_bits(length: int) -> int:
    """Width of a key's number."""
    return max(1, (length - 1).bit_length())


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

    Members
    -------
    write, column, place, entry : In(1), In(range(columns)), In(key_bits), In(entry_layout(length))
        Entries of columns, while nothing moves.
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

    def __init__(self, length: int, columns: int):
        self.length, self.columns = length, columns
        self.latency = 3 + tree_latency(columns)  # memory, entry, leaf, tree
        super().__init__({
            "write": In(1),
            "column": In(range(columns)),
            "place": In(key_bits(length)),
            "entry": In(entry_layout(length)),
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
        entry_bytes = -(-(CODE_BITS + place_bits) // 8)
        m.submodules.entries = memory = BankMemory(entry_bytes, self.columns << place_bits, entry_bytes)
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
        place = Signal(place_bits)
        from_top = Signal()
        m.d.comb += [
            element.eq(self.query[column]),
            from_top.eq(self.lower == (element < 0)),
            place.eq(Mux(from_top, self.keys - 1 - count, count)),
            memory.read_enable.eq(read),
            memory.read_address.eq(Cat(place, column)),
            memory.write_enable.eq(self.write),
            memory.write_address.eq(Cat(self.place, self.column)),
            memory.write_data.eq(self.entry.as_value()),
        ]

        # A cycle later its entry, then its product, which goes into a leaf. An end that has passed all entries has
        # the product 0, which never counts.
        way = data.StructLayout({"column": range(self.columns), "lower": 1, "over": 1, "element": signed(CODE_BITS)})
        asked, come = Signal(way, reset_less=True), Signal(way, reset_less=True)
        valid = Signal(2)
        entry = Signal(entry_layout(self.length), reset_less=True)
        product = Signal(signed(PRODUCT_BITS))
        m.d.sync += [
            valid.eq(Cat(read, valid[0])),
            asked.column.eq(column), asked.lower.eq(self.lower), asked.over.eq(count == self.keys),
            asked.element.eq(element), come.eq(asked), entry.eq(memory.read_data),
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
