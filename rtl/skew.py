"""Delay lines at the edges of the array."""

from amaranth import Cat, Signal


def delay(m, value, cycles: int, name: str, reset_less: bool = False):
    """``value``, ``cycles`` clock cycles later."""
    for i in range(cycles):
        register = Signal(value.shape(), name=f"{name}_{i}", reset_less=reset_less)
        m.d.sync += register.eq(value)
        value = register
    return value


def staircase(m, lanes, step: int, name: str) -> list:
    """Lane ``i`` of ``lanes``, ``1 + i * step`` cycles later; data, so without reset."""
    return [delay(m, lane, 1 + i * step, f"{name}_{i}", reset_less=True) for i, lane in enumerate(lanes)]


def taps(m, flag, count: int, step: int, name: str) -> list:
    """The same for a flag that all lanes share: one line of registers, with reset, and ``count`` taps."""
    line = Signal(1 + (count - 1) * step, name=name)
    m.d.sync += line.eq(Cat(flag, line)[: len(line)])
    return [line[i * step] for i in range(count)]
