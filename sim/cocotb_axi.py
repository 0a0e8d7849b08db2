"""cocotbext-axi on the accelerator's buses, for use inside cocotb tests."""

from __future__ import annotations

from typing import Any

from cocotbext.axi import AxiBus, AxiLiteBus


class _NoId:
    """Stands for an ID signal the design does not have: one bit, whatever is written to it reads back."""

    value: Any = 0

    def __init__(self) -> None:
        self.value = _Bit()

    def __len__(self) -> int:
        return 1

    def setimmediatevalue(self, value: Any) -> None:
        """Accept cocotbext-axi's initial value."""


class _Bit(int):
    """A zero with a length, as signal values have."""

    def __len__(self) -> int:
        return 1


class _WithIds:
    """A design handle whose ``m_axi`` bus seems to have the ID signals cocotbext-axi insists on."""

    def __init__(self, dut: Any) -> None:
        self._dut = dut
        for name in ("awid", "bid", "arid", "rid"):
            setattr(self, f"m_axi_{name}", _NoId())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dut, name)

    def __dir__(self) -> list[str]:
        return [*dir(self._dut), *self.__dict__]


def memory_bus(dut: Any) -> AxiBus:
    """The AXI4 master bus, to be given to ``AxiRam`` or ``AxiSlave``."""
    return AxiBus.from_prefix(_WithIds(dut), "m_axi")


def host_bus(dut: Any) -> AxiLiteBus:
    """The AXI4-Lite bus, to be given to ``AxiLiteMaster``."""
    return AxiLiteBus.from_prefix(dut, "s_axil")
