"""Delay lines beside and at the edges of the array.

A line is one wide register that shifts by an element, which simulates much faster than a register per element.
"""

from amaranth import Cat, Signal


def delay(m, value, cycles: int, name: str, reset_less: bool = True):
    """``value``, ``cycles`` clock cycles later; valid bits ask for registers with a reset."""
    return taps(m, value, 1, name, first=cycles, reset_less=reset_less)[0]


def held_delay(m, value, cycles: int, enable, name: str, reset_less: bool = True):
    """``value``, ``cycles`` enabled cycles later; without an enable the line stands."""
    if not cycles:
        return value
    line = Signal(len(value) * cycles, name=name, reset_less=reset_less)
    with m.If(enable):
        m.d.sync += line.eq(Cat(value, line))
    return line[-len(value) :]


def taps(m, value, count: int, name: str, *, first: int = 0, step: int = 1, reset_less: bool = True) -> list:
    """``count`` taps of one line: number i is ``value``, ``first + i * step`` cycles later."""
    shape = value.shape()
    depth = first + (count - 1) * step
    line = Signal(shape.width * depth, name=name, reset_less=reset_less)
    elements = Cat(value, line)
    m.d.sync += line.eq(elements[: len(line)])
    slices = [elements[shape.width * (first + i * step) :][: shape.width] for i in range(count)]
    return [piece.as_signed() if shape.signed else piece for piece in slices]


def staircase(m, lanes, name: str, *, first: int = 0, step: int = 1) -> list:
    """Lane ``i`` of ``lanes``, ``first + i * step`` cycles later."""
    return [delay(m, lane, first + i * step, f"{name}_{i}") for i, lane in enumerate(lanes)]


def together(m, word, cycles: int, name: str) -> list:
    """The elements of a word (a view of an array), ``cycles`` clock cycles later, on one line."""
    now = Signal(len(word.as_value()), name=f"{name}_now")  # a signal: Amaranth converts a wide slice for each use
    late = Signal(word.shape(), name=f"{name}_late")
    m.d.comb += [now.eq(word.as_value()), late.as_value().eq(delay(m, now, cycles, name))]
    return list(late)
