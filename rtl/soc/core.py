"""LiteX core: the emitted Verilog behind an AXI4-Lite slave, an AXI4 master and an interrupt."""

from pathlib import Path

from litex.gen import LiteXModule
from litex.soc.integration.soc import SoCRegion
from litex.soc.interconnect import axi
from litex.soc.interconnect.csr_eventmanager import EventManager, EventSourceLevel
from migen import ClockSignal, Instance, ResetSignal, Signal

from dataflows import isa
from dataflows.config import Config
from rtl.axi import ADDRESS_BITS
from rtl.emit import emit

REGISTER_BYTES = 1 << isa.HOST_ADDRESS_BITS
"""Address range of the registers."""

_FULL = {
    "ar": ("addr", "len", "size", "burst", "cache", "prot"), "r": ("data", "resp"),
    "aw": ("addr", "len", "size", "burst", "cache", "prot"), "w": ("data", "strb"), "b": ("resp",),
}  # fmt: skip
_LITE = {"aw": ("addr", "prot"), "w": ("data", "strb"), "b": ("resp",), "ar": ("addr", "prot"), "r": ("data", "resp")}
_ANSWERS = ("r", "b")
_LAST = ("r", "w")


class Stationary(LiteXModule):
    """An accelerator as a core of LiteX.

    Parameters
    ----------
    platform : litex.build.generic_platform.GenericPlatform
        Gets the Verilog as a source.
    cfg : Config
    folder : path
        Where the Verilog is written, or is already: one folder per configuration.
    address_width : int
        Of the master, up to 40 bits.

    Attributes
    ----------
    bus : axi.AXILiteInterface
        Slave: the host registers, 32 bits of data.
    dma : axi.AXIInterface
        Master: ``cfg.bus.data_bits`` wide, incrementing bursts, one identifier.
    ev : EventManager
        ``ev.done``: a program has ended, well or not. The level stays until the host masks or clears it in the
        accelerator's own registers.
    """

    def __init__(self, platform, cfg: Config, folder: str | Path, address_width: int = 32):
        self.cfg = cfg
        self.bus = axi.AXILiteInterface(data_width=32, address_width=32)
        self.dma = axi.AXIInterface(data_width=cfg.bus.data_bits, address_width=address_width, id_width=1)
        self.ev = EventManager()
        self.ev.done = EventSourceLevel()
        self.ev.finalize()
        ports = {"i_clk": ClockSignal("sys"), "i_rst": ResetSignal("sys"), "o_irq": self.ev.done.trigger}
        for channel, fields in _FULL.items():
            ports |= self._channel("m_axi", self.dma, channel, fields, driven=channel not in _ANSWERS)
            if channel in _LAST:
                direction = "i" if channel in _ANSWERS else "o"
                ports[f"{direction}_m_axi_{channel}last"] = getattr(self.dma, channel).last
        for channel, fields in _LITE.items():
            ports |= self._channel("s_axil", self.bus, channel, fields, driven=channel in _ANSWERS)
        for channel in ("ar", "aw"):
            address = Signal(ADDRESS_BITS, name=f"m_axi_{channel}addr")  # the bus may have fewer address bits
            ports[f"o_m_axi_{channel}addr"] = address
            self.comb += getattr(self.dma, channel).addr.eq(address)
            ports[f"i_s_axil_{channel}addr"] = getattr(self.bus, channel).addr[: isa.HOST_ADDRESS_BITS]
        self.specials += Instance(cfg.name, **ports)
        platform.add_source(str(emit(cfg, folder) / f"{cfg.name}.v"))

    @staticmethod
    def _channel(prefix: str, bus, channel: str, fields: tuple[str, ...], driven: bool) -> dict:
        """Ports of one channel; ``driven``: the accelerator drives its payload and valid."""
        forward, backward = ("o", "i") if driven else ("i", "o")
        endpoint = getattr(bus, channel)
        ports = {f"{forward}_{prefix}_{channel}{field}": _field(endpoint, field) for field in fields}
        ports[f"{forward}_{prefix}_{channel}valid"] = endpoint.valid
        ports[f"{backward}_{prefix}_{channel}ready"] = endpoint.ready
        return ports

    def attach(self, soc, name: str, origin: int | None = None) -> None:
        """Connect to a system: registers and memory through its buses, the interrupt if it has a processor.

        Parameters
        ----------
        soc : litex.soc.integration.soc.SoC
            ``soc.<name>`` must be this core.
        name : str
            Of the region and of the interrupt.
        origin : int
            Address of the registers; LiteX chooses one without it.
        """
        soc.bus.add_slave(name, self.bus, SoCRegion(origin=origin, size=REGISTER_BYTES, cached=False))
        getattr(soc, "dma_bus", soc.bus).add_master(f"{name}_dma", self.dma)
        if soc.irq.enabled:
            soc.irq.add(name, use_loc_if_exists=True)


def _field(endpoint, field: str):
    """A payload signal; AXI4-Lite interfaces may have no ``prot``, which the accelerator does not look at."""
    return getattr(endpoint, field) if hasattr(endpoint, field) else 0
