"""Pages of the reference, made from what is declared in the code."""

import io
import pkgutil
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from dataflows import isa
from dataflows.config import json_schema, load
from rtl.documents import registers_markdown

PACKAGES = ("dataflows", "mapper", "rtl", "sim", "sim.golden")
"""Packages whose modules have a page each."""

GROUPS = {
    "mapper": ("graph", "import", "lower", "report", "sparse", "timing"),
    "rtl": ("plane", "row", "rows", "sparse", "vector"),
}
"""First words of names of modules that share a page."""

PUBLIC = "mapper.api"

ABSENT = ("__main__",)
"""Modules that need more than the project itself, or do something when they are imported."""


def pages(root: Path) -> dict[str, str]:
    """Contents of all pages by file name."""
    found = {"reference/configuration.md": configuration(), "reference/command_line.md": command_line()}
    found["reference/registers.md"] = host_registers()
    for path in sorted((root / "configs").glob("*.toml")):
        found[f"reference/registers/{path.stem}.md"] = registers_markdown(load(path))
    return found | modules()


def configuration() -> str:
    """Every field of a configuration file, from its schema."""
    schema = json_schema()
    lines = ["# Configuration files", ""]
    lines += ["Fields of `configs/*.toml`; `configs/schema.json` is the same for editors.", ""]
    lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
    sections = []
    for name, field in schema["properties"].items():
        reference = _reference(field)
        if reference:
            sections.append((name, reference, field))
        else:
            lines.append(_field(name, field, schema))
    for name, reference, field in sections:
        section = schema["$defs"][reference]
        lines += ["", f"## [{name}]", "", field.get("description") or section.get("description", ""), ""]
        lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
        lines += [_field(key, value, schema) for key, value in section["properties"].items()]
    return "\n".join([*lines, ""])


def _reference(field: dict[str, Any]) -> str | None:
    """Name of the section that a field is, if it is one."""
    for choice in (field, *field.get("anyOf", ()), *field.get("allOf", ())):
        if "$ref" in choice:
            return str(choice["$ref"]).rsplit("/", 1)[1]
    return None


def _field(name: str, field: dict[str, Any], schema: dict[str, Any]) -> str:
    """A row of a table of fields."""
    kinds = [field, *field.get("anyOf", ())]
    allowed = [str(value) for kind in kinds for value in kind.get("enum", ())]
    kind = ", ".join(allowed) or " or ".join(dict.fromkeys(k["type"] for k in kinds if k.get("type", "null") != "null"))
    default = "" if field.get("default") is None else f"`{field['default']}`"
    meaning = " ".join(str(field.get("description", "")).split()).replace("|", "\\|")
    return f"| `{name}` | {kind or _reference(field) or ''} | {default} | {meaning} |"


def command_line() -> str:
    """What ``--help`` prints."""
    lines = ["# Command line"]
    for module in ("mapper.options", "rtl.__main__"):
        command = f"python -m {module.split('.')[0]}"
        text = io.StringIO()
        entry = import_module(module)
        with redirect_stdout(text), suppress(SystemExit):
            getattr(entry, "parse" if hasattr(entry, "parse") else "main")(["--help"])
        lines += ["", f"## {command}", "", "```text", text.getvalue().rstrip(), "```"]
    return "\n".join([*lines, ""])


def host_registers() -> str:
    """Registers that every accelerator has, and links to those of the units."""
    lines = ["# Registers", ""]
    lines += ["Declared once, in `dataflows/isa.py`: RTL, mapper, disassembler, C header, this page come from it.", ""]
    lines += ["## Host registers", "", "AXI4-Lite, 32 bits; the same in every configuration.", ""]
    lines += ["| address | name | access | meaning |", "|---|---|---|---|"]
    lines += [f"| 0x{r.address:03x} | {r.name} | {r.access} | {r.doc} |" for r in isa.HOST_REGISTERS]
    lines += ["", "## Parameters, commands and registers of units", "", "By configuration:", ""]
    return "\n".join([*lines, "```{toctree}", ":maxdepth: 1", ":glob:", "", "registers/*", "```", ""])


def modules() -> dict[str, str]:
    """Pages of modules: one per package and group, with a section each; the public functions have one of their own."""
    groups: dict[str, list[str]] = {}
    for package in PACKAGES:
        for name in _modules(package):
            groups.setdefault(_group(package, name), []).append(name)
    found = {"reference/api.md": _page("mapper", [PUBLIC], "Python interface")}
    for group, names in groups.items():
        found[f"reference/modules/{group}.md"] = _page(group.split("-")[0], names, group.replace("-", ": "))
    return found


def _group(package: str, name: str) -> str:
    """Page of a module: its package, and the first word of its name, where many have that."""
    first = name.rsplit(".", 1)[1].split("_")[0]
    return f"{package}-{first}" if first in GROUPS.get(package, ()) else package


def _page(package: str, names: list[str], title: str) -> str:
    """A page of some modules."""
    lines = [f"# {title}", ""]
    if title == package:
        lines += [f"```{{eval-rst}}\n.. automodule:: {package}\n   :no-index:\n```", ""]
    for name in names:
        options = "   :members:\n   :show-inheritance:"
        lines += [f"## {name}", "", f"```{{eval-rst}}\n.. automodule:: {name}\n{options}\n```", ""]
    return "\n".join(lines)


def _modules(package: str) -> Iterator[str]:
    """Modules of a package, without those of its packages."""
    for module in pkgutil.iter_modules(import_module(package).__path__):
        name = f"{package}.{module.name}"
        if not module.ispkg and name not in (*ABSENT, PUBLIC) and module.name not in ABSENT:
            yield name
