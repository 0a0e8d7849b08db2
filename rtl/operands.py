"""Streams of operand words, from the buffers to the array."""

from amaranth import Module, Signal, signed, unsigned
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config
from dataflows.vocabulary import Operand
from rtl.drain import sum_stream
from rtl.job import geometry_layout

PRECISION = {"a_bits": 4, "w_bits": 4, "a_unsigned": 1, "w_unsigned": 1}
"""What a word says about itself where ``[multiplier]`` lets widths differ: fields of register ``precision``, bits."""


def container_code(m: Module, bits, name: str) -> Signal:
    """Binary logarithm of the container of operands of ``bits`` bits, a value of four bits from 1 to 8."""
    code = Signal(2, name=name)
    with m.Switch(bits):
        with m.Case(1):
            m.d.comb += code.eq(0)
        with m.Case(2):
            m.d.comb += code.eq(1)
        with m.Case(3, 4):
            m.d.comb += code.eq(2)
        with m.Default():
            m.d.comb += code.eq(3)
    return code


def operand_stream(elements: int, bits: int) -> stream.Signature:
    """Stream of operand words of ``elements`` signed numbers of ``bits`` bits.

    ``first`` and ``last`` mark the borders of a tile, ``begin`` and ``end`` those of a job.
    """
    return _words(data.ArrayLayout(signed(bits), elements), {})


def word_stream(cfg: Config, operand: Operand) -> stream.Signature:
    """Stream of the words of inputs or weights in a configuration.

    Without ``[multiplier]`` an :func:`operand_stream`. With it ``data`` is ``*_read_bytes`` bytes as they lie in the
    buffer, and each word says its precision (:data:`PRECISION`).
    """
    if cfg.multiplier:
        count = cfg.input_read_bytes if operand is Operand.INPUT else cfg.weight_read_bytes
        return _words(data.ArrayLayout(unsigned(8), count), PRECISION)
    if operand is Operand.INPUT:
        return operand_stream(cfg.input_elements, cfg.numbers.act_bits)
    return operand_stream(cfg.weight_elements, cfg.numbers.weight_bits)


def array_ports(cfg: Config) -> dict:
    """Ports that every array has.

    Members
    -------
    input, weight : In(word_stream)
    geometry : In(stream of geometry_layout), only where :func:`dataflows.isa.geometry` has registers
    open : In(1)
        The accumulator has opened one more job.
    o : Out(sum_stream)
    """
    geometry = {"geometry": In(stream.Signature(geometry_layout(cfg)))} if isa.geometry(cfg) else {}
    return {
        "input": In(word_stream(cfg, Operand.INPUT)),
        "weight": In(word_stream(cfg, Operand.WEIGHT)),
        **geometry,
        "open": In(1),
        "o": Out(sum_stream(cfg)),
    }


def _words(word: data.ArrayLayout, more: dict[str, int]) -> stream.Signature:
    return stream.Signature(data.StructLayout({"data": word, "first": 1, "last": 1, "begin": 1, "end": 1, **more}))
