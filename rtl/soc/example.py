"""A LiteX system: interconnect, memory, the accelerator as slave and master, and a port for a host outside."""

import os
from pathlib import Path

from litex.build.generic_platform import GenericPlatform, Pins
from litex.soc.integration.soc_core import SoCMini
from litex.soc.interconnect import axi
from migen import ClockDomain

from dataflows.config import Config
from rtl.soc.core import Stationary

CLOCK_HZ = 100e6
ORIGIN = 0x9000_0000
"""Of the registers."""

MEMORY = 0x4000_0000

_PINS = [("clk", 0, Pins(1)), ("rst", 0, Pins(1))]


class ExampleSoC(SoCMini):
    """Main memory at :data:`MEMORY`, the accelerator's registers at :data:`ORIGIN`; an AXI4-Lite master is the host."""

    def __init__(self, platform, cfg: Config, folder: Path, bus: str, memory_bytes: int):
        self.mem_map = {**SoCMini.mem_map, "main_ram": MEMORY}
        super().__init__(
            platform, CLOCK_HZ, bus_standard=bus, bus_data_width=32, ident=f"stationary {cfg.name} {cfg.hash}",
            integrated_main_ram_size=memory_bytes,
        )  # fmt: skip
        self.cd_sys = ClockDomain()
        self.comb += [self.cd_sys.clk.eq(platform.request("clk")), self.cd_sys.rst.eq(platform.request("rst"))]
        host = axi.AXILiteInterface(data_width=32, address_width=32)
        platform.add_extension(host.get_ios("host"))
        self.comb += host.connect_to_pads(platform.request("host"), mode="slave")
        self.bus.add_master("host", host)
        platform.add_extension([("irq", 0, Pins(1))])
        self.stationary = Stationary(platform, cfg, folder)
        self.stationary.attach(self, "stationary", ORIGIN)
        self.comb += platform.request("irq").eq(self.stationary.ev.done.trigger)


def elaborate(cfg: Config, folder: Path, bus: str, memory_bytes: int) -> list[Path]:
    """Write the system's Verilog; returns all files that belong to it, the top module's last."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    platform = GenericPlatform("", _PINS, name="system")
    soc = ExampleSoC(platform, cfg, folder / "rtl", bus, memory_bytes)
    soc.finalize()
    top = folder / "system.v"
    output = platform.get_verilog(soc, name="system")
    here = Path.cwd()
    os.chdir(folder)  # contents of memories are written beside the Verilog, by relative names
    try:
        output.write(str(top))
    finally:
        os.chdir(here)
    return [Path(name) for name, *_ in platform.sources] + [top]
