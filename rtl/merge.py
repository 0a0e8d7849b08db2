"""Rewrites RTLIL text: one module for all equal ones, without what nobody uses, under readable names.

Amaranth writes one module per instance, named by its path, with a wire per field of every struct, and initial
values for all registers and memories. Here

* initial values go: what needs one has a reset, and what has none must not depend on one (a simulator may then
  start it at random);
* wires that only repeat others, and inputs that nothing reads, go;
* ports that are named after nets of the whole design get numbers;
* modules are compared from the leaves up, with the types of their cells already replaced, and duplicates dropped;
* what remains is named after its component's class.

The number of modules of an accelerator is thereby the same for every size of its array.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

_MODULE = re.compile(r"^module \\(\S+)\n(.*?)^end\n", re.MULTILINE | re.DOTALL)
_INITIAL = re.compile(r"^ *attribute \\init [^\n]*\n|^  cell \$meminit_v2 .*?^  end\n", re.MULTILINE | re.DOTALL)
_ATTRIBUTE = re.compile(r"^ *attribute .*\n", re.MULTILINE)
_CELL = re.compile(r"^  cell \\(\S+) (\S+)\n(.*?)^  end\n", re.MULTILINE | re.DOTALL)
_CELL_KEY = re.compile(r"^    (?:connect|parameter) \S+", re.MULTILINE)
_CONNECTION = re.compile(r"^    connect \\(\S+)(.*\n)", re.MULTILINE)
_WIRE = re.compile(r"^  wire width \d+ (?:(input|output) \d+ +)?(?:signed )?(\S+)\n\n?", re.MULTILINE)
_PORT_NUMBER = re.compile(r"(?<=put )\d+")
_NET_PORT = re.compile(r"(?<=put )\d+ +(?:signed )?\\(port\$\S+)")
_ALIAS = re.compile(r"^connect (\S+) .*\n", re.MULTILINE)
_NAME = re.compile(r"(?<=\s)[\\$]\S+")


@dataclass
class _Module:
    """A module that is kept: its text between ``module`` and ``end``, and the paths that it stands for."""

    body: str
    paths: list[str] = field(default_factory=list)


def merge(text: str, top: str, kinds: dict[str, str], ports_of_top: Iterable[str] = ()) -> str:
    """Rewrite a design.

    Parameters
    ----------
    text : str
        RTLIL of all modules.
    top : str
        Top module; keeps its name and its ports. All other names begin with it.
    kinds : dict
        Class name, in snake case, of each module's component.
    ports_of_top : iterable of str
        Ports of the top module in the order that is wanted.

    Returns
    -------
    str
        RTLIL, every module before those that use it.
    """
    bodies = dict(_MODULE.findall(_INITIAL.sub("", text)))
    canonical: dict[str, str] = {}  # each module: the one that stands for it
    ports: dict[str, dict[str, str | None]] = {}  # each module: ports with a new name, or none any more
    by_text: dict[str, str] = {}
    kept: dict[str, _Module] = {}
    for name in _leaves_first(bodies, top):
        body = _CELL.sub(lambda cell: _rewire(cell, canonical, ports), _ATTRIBUTE.sub("", bodies[name]))
        body, numbered = _number_ports(body)
        body, dropped = _prune(body, keep_inputs=name == top)
        ports[name] = {old: None if new in dropped else new for old, new in numbered.items()} | dict.fromkeys(dropped)
        canonical[name] = by_text.setdefault(_comparable(body), name)
        kept.setdefault(canonical[name], _Module(body)).paths.append(name)
    for number, port in enumerate(ports_of_top, start=1):
        own = re.compile(rf"(?<=put )\d+(?= +(?:signed )?\\{port}\n)")
        kept[top].body = own.sub(str(number), kept[top].body)
    names = _names(kept, top, kinds)
    result = []
    for name, module in kept.items():
        body = _CELL.sub(lambda cell: f"  cell \\{names[cell[1]]} {cell[2]}\n{cell[3]}  end\n", module.body)
        result.append(f"module \\{names[name]}\n{body}end\n\n")
    return "".join(result)


def _leaves_first(bodies: dict[str, str], top: str) -> list[str]:
    order: dict[str, None] = {}

    def visit(name: str) -> None:
        if name not in order:
            for cell in _CELL.finditer(bodies[name]):
                visit(cell[1])
            order[name] = None

    visit(top)
    return list(order)


def _rewire(cell: re.Match[str], canonical: dict[str, str], ports: dict[str, dict[str, str | None]]) -> str:
    """A cell with the module that stands for its type, and that module's ports in alphabetical order."""
    changed = ports[cell[1]]

    def connection(match: re.Match[str]) -> str:
        name = changed.get(match[1], match[1])
        return "" if name is None else f"    connect \\{name}{match[2]}"

    connections = sorted(_CONNECTION.sub(connection, cell[3]).splitlines(keepends=True))
    return f"  cell \\{canonical[cell[1]]} {cell[2]}\n{''.join(connections)}  end\n"


def _number_ports(body: str) -> tuple[str, dict[str, str]]:
    """Ports that are called ``port$<net>$<bit>`` become ``port_0``, ``port_1``, ..."""
    numbered = {name: f"port_{index}" for index, name in enumerate(_NET_PORT.findall(body))}
    if numbered:
        new = {f"\\{name}": f"\\{number}" for name, number in numbered.items()}
        body = _NAME.sub(lambda name: new.get(name[0], name[0]), body)
    return body, numbered


def _prune(body: str, keep_inputs: bool) -> tuple[str, set[str]]:
    """Remove wires that nothing reads; also says which of them were inputs."""
    dropped: set[str] = set()
    while True:
        uses = Counter(_NAME.findall(_CELL_KEY.sub("", body)))
        driven = Counter(_ALIAS.findall(body))
        unused = {}
        for direction, name in _WIRE.findall(body):
            is_port = direction == "output" or (direction == "input" and keep_inputs)
            if not is_port and uses[name] == 1 + driven[name]:
                unused[name] = direction
        if not unused:
            return body, dropped
        dropped |= {name.removeprefix("\\") for name, direction in unused.items() if direction}
        body = _ALIAS.sub(lambda alias, gone=unused: "" if alias[1] in gone else alias[0], body)
        body = _WIRE.sub(lambda wire, gone=unused: "" if wire[2] in gone else wire[0], body)


def _comparable(body: str) -> str:
    """The text without the order of its wires and the numbers of its ports."""
    wires = sorted(_PORT_NUMBER.sub("", wire[0]).strip() for wire in _WIRE.finditer(body))
    return "\n".join(wires) + _WIRE.sub("", body)


def _names(kept: dict[str, _Module], top: str, kinds: dict[str, str]) -> dict[str, str]:
    """The class if it has one module; else the path of a single instance, or the class and a number."""
    kind = {name: kinds.get(name, name.rsplit(".", 1)[-1]) for name in kept}
    per_kind = Counter(kind.values())
    numbers: Counter[str] = Counter()
    names = {top: top}
    for name, module in kept.items():
        if name == top:
            continue
        label = kind[name]
        if per_kind[label] > 1 and len(module.paths) == 1:
            label = name.removeprefix(f"{top}.").replace(".", "_")
        elif per_kind[label] > 1:
            numbers[label] += 1
            label = f"{label}_{numbers[label]}"
        while f"{top}_{label}" in names.values():
            label += "_"
        names[name] = f"{top}_{label}"
    return names
