"""Host registers: the AXI4-Lite slave."""

from amaranth import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config
from rtl.axi import lite_members

OKAY = 0b00
SLVERR = 0b10

PULSES = ("CONTROL", "IRQ_CLEAR")
"""Registers that hold nothing: what is written is there for one cycle."""

HASH = ("HASH_LOW", "HASH_HIGH")
"""Registers that are constants of the configuration."""


def register_bits(register: isa.HostRegister) -> int:
    """Bits a writable register holds; the others read as zero."""
    flags = {"CONTROL": 2, "IRQ_CLEAR": 1, "IRQ_ENABLE": 1}
    return flags.get(register.name, 8 if register.name.endswith("_HIGH") else 32)


class HostRegisters(wiring.Component):
    """Every register of ``isa.HOST_REGISTERS`` at its address.

    Parameters
    ----------
    cfg : Config

    Members
    -------
    bus : AXI4-Lite slave
        Write address and data may come in any order. An address without a register gives SLVERR; a write to a
        read-only register is ignored; the two lowest address bits are ignored.
    <name of a writable register> : Out
        Its contents; of ``control`` and ``irq_clear`` what is written, for one cycle.
    <name of a read-only register> : In(32)
        Its value, except the hash.

    Timing
    ------
    Response two cycles after the address (and data). One transfer every two cycles in each direction.
    """

    def __init__(self, cfg: Config):
        self.cfg = cfg
        values = {
            r.name.lower(): Out(register_bits(r)) if r.access == "rw" else In(32)
            for r in isa.HOST_REGISTERS
            if r.name not in HASH
        }
        super().__init__({"bus": Out(wiring.Signature(lite_members(isa.HOST_ADDRESS_BITS))), **values})

    def elaborate(self, platform):
        m = Module()
        self._write(m)
        self._read(m)
        return m

    def _write(self, m):
        bus = self.bus
        address = Signal(isa.HOST_ADDRESS_BITS - 2, name="write_address", reset_less=True)
        data = Signal(32, name="write_data", reset_less=True)
        strobe = Signal(4, name="write_strobe", reset_less=True)
        have_address = Signal()
        have_data = Signal()
        m.d.comb += [bus.awready.eq(~have_address), bus.wready.eq(~have_data)]
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [address.eq(bus.awaddr[2:]), have_address.eq(1)]
        with m.If(bus.wvalid & bus.wready):
            m.d.sync += [data.eq(bus.wdata), strobe.eq(bus.wstrb), have_data.eq(1)]
        with m.If(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        mask = Signal(32)
        m.d.comb += mask.eq(Cat(bit.replicate(8) for bit in strobe))
        with m.If(have_address & have_data & (~bus.bvalid | bus.bready)):
            m.d.sync += [have_address.eq(0), have_data.eq(0), bus.bvalid.eq(1), bus.bresp.eq(SLVERR)]
            with m.Switch(address):
                for register in isa.HOST_REGISTERS:
                    with m.Case(register.address // 4):
                        m.d.sync += bus.bresp.eq(OKAY)
                        if register.access != "rw":
                            continue
                        held = getattr(self, register.name.lower())
                        if register.name in PULSES:
                            m.d.comb += held.eq(data & mask)
                        else:
                            m.d.sync += held.eq((held & ~mask) | (data & mask))

    def _read(self, m):
        bus = self.bus
        address = Signal(isa.HOST_ADDRESS_BITS - 2, name="read_address", reset_less=True)
        pending = Signal(name="read_pending")
        m.d.comb += bus.arready.eq(~pending)
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += [address.eq(bus.araddr[2:]), pending.eq(1)]
        with m.If(bus.rready):
            m.d.sync += bus.rvalid.eq(0)
        with m.If(pending & (~bus.rvalid | bus.rready)):
            m.d.sync += [pending.eq(0), bus.rvalid.eq(1), bus.rresp.eq(SLVERR), bus.rdata.eq(0)]
            with m.Switch(address):
                for register in isa.HOST_REGISTERS:
                    with m.Case(register.address // 4):
                        m.d.sync += [bus.rresp.eq(OKAY), bus.rdata.eq(self._value(register))]

    def _value(self, register):
        if register.name in PULSES:
            return 0
        if register.name in HASH:
            return self.cfg.hash_value >> (32 * HASH.index(register.name)) & 0xFFFF_FFFF
        return getattr(self, register.name.lower())
