"""Components that exist many times: one conversion, and one Verilog module, for all equal ones.

Amaranth builds a netlist for every instance of a component, which is what takes time in large arrays.
A class decorated with :func:`shared` is converted once per set of parameters while a :class:`Library` is open,
and placed as an ``Instance`` everywhere else. Without a library (in Amaranth's simulator) nothing changes.
Measured: a 32x32 grid of weight-stationary PEs to RTLIL takes 1.6 s instead of 14.9 s; a whole accelerator with
128x128 PEs to Verilog takes 43 s and 1.3 GB.
"""

import re
from collections.abc import Hashable
from contextlib import contextmanager
from contextvars import ContextVar

from amaranth import ClockSignal, Const, Elaboratable, Fragment, Instance, Module, ResetSignal, Value
from amaranth.back import rtlil
from amaranth.hdl import _ir, _nir
from amaranth.hdl._ast import SignalDict
from amaranth.lib.wiring import In

_library: ContextVar["Library | None"] = ContextVar("library", default=None)


def shared(*parameters: str):
    """Decorate a component class whose instances are equal if these attributes are.

    Parameters
    ----------
    parameters : str
        Attributes with hashable values; together they must decide everything about the component.
    """

    def decorate(cls):
        plain = cls.elaborate

        def elaborate(self, platform):
            library = _library.get()
            if library is None:
                return plain(self, platform)
            return library.place(self, plain, (cls, *(getattr(self, name) for name in parameters)))

        cls.elaborate = elaborate
        return cls

    return decorate


class Library:
    """Converts designs and remembers their shared components.

    Attributes
    ----------
    texts : list of str
        RTLIL of everything converted.
    kinds : dict
        Class name, in snake case, of the component behind each module.
    """

    def __init__(self):
        self.texts: list[str] = []
        self.kinds: dict[str, str] = {}
        self._modules: dict[Hashable, tuple[str, frozenset[str]]] = {}
        self._names: set[str] = set()

    def convert(self, component: Elaboratable, name: str) -> None:
        """Convert a component, as module ``name``, and all that is below it."""
        with self._open():
            self._convert(component, component, name)

    @contextmanager
    def _open(self):
        token = _library.set(self)
        try:
            yield
        finally:
            _library.reset(token)

    def place(self, component, elaborate, key: Hashable) -> Instance:
        """An instance of a shared component's module, which is converted first if it is new."""
        if key not in self._modules:
            base = _snake_case(type(component).__name__)
            name = base if base not in self._names else f"{base}_{len(self._names)}"
            self._names.add(name)  # before conversion: a component may hold others of its class
            self._modules[key] = name, self._convert(component, elaborate(component, None), name)
        name, ports = self._modules[key]
        connections = [(direction, path, value) for direction, path, value in _ports(component) if path in ports]
        clocking = (("i", "clk", ClockSignal()), ("i", "rst", ResetSignal()))
        return Instance(name, *connections, *(c for c in clocking if c[1] in ports))

    def _convert(self, component, elaborated, name) -> frozenset[str]:
        """Convert; returns the names of the module's ports."""
        ports = {path: (value, None) for _, path, value in _ports(component)}
        design = Fragment.get(elaborated, None).prepare(ports=ports, hierarchy=(name,))
        for fragment, info in design.fragments.items():
            for origin in fragment.origins or ():
                origin = getattr(origin, "_elaboratable_", origin)  # what a DomainRenamer holds
                if not isinstance(origin, Module):
                    self.kinds[".".join(info.name)] = _snake_case(type(origin).__name__)
                    break
        self.kinds[name] = _snake_case(type(component).__name__)
        text = _rtlil(design)
        self.texts.append(text)
        (top,) = re.findall(rf"^module \\{name}\n.*?^end$", text, re.MULTILINE | re.DOTALL)
        return frozenset(re.findall(r"^ *wire .*(?:input|output) \d+ +(?:signed +)?\\(\S+)$", top, re.MULTILINE))


def _rtlil(design: _ir.Design) -> str:
    """As ``rtlil.convert_fragment``, without initial contents of memories, which would take most of the time."""
    netlist = _ir.build_netlist(design)
    for cell in netlist.cells:
        if isinstance(cell, _nir.Memory):
            cell.init = ()
    empty = rtlil.EmptyModuleChecker(netlist)
    builder = rtlil.Design(emit_src=False)
    for index, module in enumerate(netlist.modules):
        if not empty.is_empty(index):
            text = builder.module(".".join(module.name))
            rtlil.ModuleEmitter(text, netlist, module, SignalDict(), empty_checker=empty).emit()
    return str(builder)


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _ports(component):
    """Flat ports of a component: (``i`` or ``o``, name, value)."""
    for path, member, value in component.signature.flatten(component):
        if isinstance(value, Const):  # ready of an always ready stream
            continue
        yield "i" if member.flow is In else "o", "__".join(map(str, path)), Value.cast(value)
