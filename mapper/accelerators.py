"""The accelerators of a command, and what is refused about them before any work."""

from __future__ import annotations

from pathlib import Path

from dataflows import config
from dataflows.config import Config
from dataflows.errors import InputError
from mapper.options import Arguments
from mapper.precision import counted, resolve, usual

MARGIN = 256
"""Cycles between two bus transfers beside what the memory takes for one."""

Accelerators = list[tuple[Path, Config]]
"""Configurations with their files."""


def accelerators(arguments: Arguments) -> Accelerators:
    """Every configuration asked for; their names must differ, they name folders. Raises :class:`InputError`."""
    found = [(path, config.load(path)) for path in arguments.configs]
    names = [cfg.name for _, cfg in found]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two configurations are called {name!r}; give each its own name to compare them")
    _check_widths(arguments, found)
    _check_clusters(arguments, found)
    for _, cfg in found if arguments.run else ():
        check_patience(cfg, arguments)
    return found


def _check_widths(arguments: Arguments, accelerators: Accelerators) -> None:
    """Refuse widths that a configuration lacks, and configurations for different networks."""
    (_, first), *others = accelerators
    for _, cfg in accelerators:
        for wanted in arguments.bits.values:
            resolve(wanted, cfg)
    for _, cfg in others:
        if cfg.operand_bits != first.operand_bits and usual(cfg) != usual(first):
            raise InputError(
                f"{first.name} takes operands of {counted(usual(first).a_bits)} and {cfg.name} of {usual(cfg).a_bits}; "
                "map configurations of different widths one by one"
            )


def _check_clusters(arguments: Arguments, accelerators: Accelerators) -> None:
    """Refuse more clusters than the codes of a sparse engine tell apart."""
    most = max(arguments.cluster.values, default=0)
    for _, cfg in accelerators:
        if cfg.sparse and most > 1 << cfg.sparse.code_bits:
            raise InputError(
                f"--cluster {arguments.cluster.text}: {cfg.name} has codes of {cfg.sparse.code_bits} bits, which tell "
                f"{1 << cfg.sparse.code_bits} clusters apart; ask for fewer, or raise sparse.code_bits in its file"
            )


def check_patience(cfg: Config, arguments: Arguments) -> None:
    """Refuse a memory so slow that the accelerator takes it for a deadlock."""
    wait = arguments.latency + cfg.bus_bytes / (arguments.bytes_per_cycle or cfg.bus_bytes) + MARGIN
    if wait > cfg.control.watchdog_cycles:
        raise InputError(
            f"{cfg.name} would stop with a timeout: this memory makes it wait {arguments.latency} cycles and more, its "
            f"control.watchdog_cycles is {cfg.control.watchdog_cycles}; raise that, or lower --dram-latency"
        )
