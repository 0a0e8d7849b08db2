"""Energy of layers, from what their jobs move and multiply; every number of it is in :mod:`mapper.energy_table`.

Queues, control, host registers, clocks and leakage are not counted, nor are multiplications by padding; so this is the
energy of data movement and products, as the tools of the field count it. Ratios between choices hold better than
picojoules.
"""

from __future__ import annotations

from dataflows.config import Config
from dataflows.vocabulary import Kind, Operand
from mapper.accesses import Traffic, memories
from mapper.energy_table import DRAM, REGISTER, DramKind, sram_byte
from mapper.plan_energy import product

MULTIPLIERS, REGISTERS, DRAM_PLACE = "multipliers", "PE registers", "DRAM"


def register_bytes(cfg: Config) -> int:
    """Bytes that a PE of the array reads and writes in its registers and stores for a product.

    Follows from the links: what is passed on is read and written, what stays is read, sums that are kept or passed on
    are read and written, wires and adder trees have none.
    """
    flow, found = cfg.dataflow, 0
    widths = {Operand.INPUT: cfg.act_bytes, Operand.WEIGHT: cfg.act_bytes, Operand.OUTPUT: cfg.numbers.acc_bits // 8}
    for operand, size in widths.items():
        link = flow.link(operand)
        stays = link.kind is Kind.LOAD or (link.store and operand is not Operand.OUTPUT)
        moves = link.kind is Kind.DRAIN or link.delay > 0 or link.store
        found += size if stays else 2 * size if moves else 0
    return found


def on_chip(
    cfg: Config, macs: int, bits: tuple[int, int], traffic: Traffic, engine: str, in_windows: int = 0
) -> dict[str, float]:
    """Picojoules of a layer on the chip, by place.

    Parameters
    ----------
    cfg : Config
    macs : int
    bits : (int, int)
        Widths of inputs and weights.
    traffic : Counter
        Bytes by memory and direction.
    engine : str
        What multiplies: the array's PEs have registers.
    in_windows : int
        MACs in windows of the vector unit behind the array.
    """
    found = {MULTIPLIERS: macs * product(*bits)}
    if engine.startswith("array"):
        found[REGISTERS] = (macs - in_windows) * register_bytes(cfg) * REGISTER.pj
    sizes = memories(cfg)
    for (place, write), count in sorted(traffic.items()):
        memory = sizes[place]
        found[place] = found.get(place, 0.0) + count * sram_byte(memory.size, memory.word, write=write)
    return {place: value for place, value in found.items() if value}


def of_dram(bytes_moved: int, dram: DramKind) -> dict[str, float]:
    """Picojoules of bytes on the bus, both ways."""
    return {DRAM_PLACE: bytes_moved * 8 * DRAM[dram].pj} if bytes_moved else {}
