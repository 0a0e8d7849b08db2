"""Delay lines beside and at the edges of the array.

A line is one wide register that shifts by an element, which simulates much faster than a register per element.
"""

from amaranth import Cat, Signal


def delay(m, value, cycles: int, name: str, reset_less: bool = True):
    """``value``, ``cycles`` clock cycles later; valid bits ask for registers with a reset."""
    return taps(m, value, 1, name, first=cycles, reset_less=reset_less)[0]


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
    """Lane ``i`` of ``lanes``, ``first + i * step`` cycles later; without steps they share a line."""
    if not step:
        shape = lanes[0].shape()
        line = delay(m, Cat(lanes), first, name)
        pieces = [line[i * shape.width :][: shape.width] for i in range(len(lanes))]
        return [piece.as_signed() if shape.signed else piece for piece in pieces]
    return [delay(m, lane, first + i * step, f"{name}_{i}") for i, lane in enumerate(lanes)]
