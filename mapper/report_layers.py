"""What the report draws of every layer: its cycles, useful and lost, its traffic, its place under the roof."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from dataflows.attention import Append, Embedding, Norm, Slice
from dataflows.formats import pitch
from dataflows.network import AvgPool, Conv, MaxPool, Tensor, Window
from dataflows.pruning import Gather, HeadConv, Select
from mapper.compile import Scheduled
from mapper.outcome import Outcome
from mapper.packed import weight_bits
from mapper.sparse_summary import SparseSummary
from mapper.table import Row

GAIN_BYTES = 6
"""Gain and bias of a norm's channel."""

HUES = 8
"""Colours that layers take in turn."""


@dataclass(frozen=True)
class Reason:
    """What cycles went into: the key is that of ``Row.stalls`` where the timing model tells it."""

    key: str
    label: str
    meaning: str


USEFUL = Reason("useful", "MACs", "the cycles that the layer's MACs take on all multipliers of its engine")
PARTIAL = Reason("partial", "idle PEs", "the array works, on fewer rows or columns than it has")
STALLS = (
    Reason("dram", "DRAM", "the array waits for operands from DRAM"),
    Reason("weights", "weights", "the array waits for weights"),
    Reason("write_back", "write-back", "the array waits for room for its sums: results are still on their way out"),
    Reason("vector", "vector unit", "the array waits for the vector unit"),
    Reason("rows", "row engine", "the array waits for softmax or norms"),
    Reason("commands", "commands", "the array waits for commands"),
    Reason("fill", "fill and drain", "the array fills or drains, or its tiles are rounded up"),
    Reason("imbalance", "imbalance", "PEs of the sparse engine wait for those with more entries, or for activations"),
)
BANDWIDTH = Reason(
    "bandwidth", "DRAM bandwidth", "the layer's bytes take so much longer on the bus than its MACs on the multipliers"
)
LOST = Reason("lost", "lost", "the rest of the cycles that the layer's MACs do not need; the cause is not known")
OTHER = Reason("other", "no MACs", "layers without MACs, while the array may stand still")
REASONS = (USEFUL, PARTIAL, *STALLS, BANDWIDTH, LOST, OTHER)


@dataclass(frozen=True)
class Part:
    """A share of a layer's cycles."""

    reason: Reason
    cycles: int


@dataclass(frozen=True)
class View:
    """One layer as drawn; everything is summed over the samples.

    ``least_bytes`` is what its tensors and weights take when each crosses the bus once; ``intensity`` is MACs per byte
    of DRAM traffic, ``rate`` MACs per cycle, ``roof`` the rate that its engine and the DRAM allow at that intensity;
    these three are None for layers without MACs. MACs are those of the dense layer: on the sparse engine a PE does
    several a cycle, as many as there are for each entry that is walked.
    """

    position: int
    row: Row
    parts: tuple[Part, ...]
    least_bytes: int
    intensity: float | None
    rate: float | None
    roof: float | None

    @property
    def hue(self) -> int:
        """Number of its colour."""
        return self.position % HUES

    @property
    def bytes(self) -> int:
        """DRAM traffic of the layer."""
        return self.row.dram_read_bytes + self.row.dram_write_bytes

    @property
    def lost(self) -> int:
        """Cycles in which nothing was multiplied for it; 0 for layers without MACs."""
        return sum(p.cycles for p in self.parts if p.reason not in (USEFUL, OTHER)) if self.row.macs else 0


def dram_rate(outcome: Outcome) -> float:
    """Bytes a cycle that the memory gives, reads and writes together."""
    return outcome.arguments.bytes_per_cycle or float(outcome.cfg.bus_bytes)


def views(outcome: Outcome) -> list[View]:
    """Every row of the table, ready to be drawn."""
    return [
        _view(outcome, position, row, entry)
        for position, (row, entry) in enumerate(zip(outcome.rows, outcome.program.schedule, strict=True))
    ]


def _view(outcome: Outcome, position: int, row: Row, entry: Scheduled) -> View:
    slots, traffic = row.multipliers, row.dram_read_bytes + row.dram_write_bytes
    peak = row.macs / useful_cycles(row, slots) if row.sparse and row.macs else float(slots)
    intensity = row.macs / traffic if row.macs and traffic else None
    return View(
        position=position, row=row, parts=parts(row, slots, dram_rate(outcome)),
        least_bytes=least_bytes(outcome, entry, row.sparse),
        intensity=intensity, rate=row.macs / row.cycles if row.macs and row.cycles else None,
        roof=None if intensity is None else min(peak, intensity * dram_rate(outcome)),
    )  # fmt: skip


def useful_cycles(row: Row, peak: float) -> int:
    """Cycles that a layer's MACs take on ``peak`` multipliers that never wait; on the sparse engine, its entries."""
    return max(row.sparse.theoretical_cycles, 1) if row.sparse else int(-(-row.macs // peak))


def parts(row: Row, peak: float, rate: float) -> tuple[Part, ...]:
    """A layer's cycles cut by reason; they add up to ``row.cycles``.

    Parameters
    ----------
    row : Row
        ``stalls`` says for what the array waited. Without it, only the roofline tells: what the layer's bytes need on
        the bus beyond the cycles of its MACs is for bandwidth. What was measured beyond the prediction, and all that
        has no reason, is called lost.
    peak : float
        Multipliers of the engine at the layer's widths.
    rate : float
        Bytes a cycle from and to DRAM.
    """
    useful = min(useful_cycles(row, peak), row.cycles)
    left, result = row.cycles - useful, [Part(USEFUL, useful)]
    for reason in STALLS:
        cycles = min(row.stalls.get(reason.key, 0), left)
        result.append(Part(reason, cycles))
        left -= cycles
    if row.macs and not row.stalls:
        bus = ceil((row.dram_read_bytes + row.dram_write_bytes) / rate)
        bound = min(max(bus - useful, 0), left)
        result.append(Part(BANDWIDTH, bound))
        left -= bound
    if row.macs and row.stalls and row.engine.startswith("array"):
        working = row.cycles_predicted - useful - sum(row.stalls.values())
        partial = min(max(working, 0), left)
        result.append(Part(PARTIAL, partial))
        left -= partial
    result.append(Part(LOST if row.macs else OTHER, left))
    order = {reason: place for place, reason in enumerate(REASONS)}
    return tuple(sorted((p for p in result if p.cycles), key=lambda p: order[p.reason]))


def total_parts(layers: Iterable[View]) -> list[Part]:
    """Cycles of the whole network by reason."""
    sums = dict.fromkeys(REASONS, 0)
    for view in layers:
        for part in view.parts:
            sums[part.reason] += part.cycles
    return [Part(reason, cycles) for reason, cycles in sums.items() if cycles]


def least_bytes(outcome: Outcome, entry: Scheduled, sparse: SparseSummary | None = None) -> int:
    """Bytes that a layer needs of its tensors, and its weights and biases, each once.

    Weights are dense, or the entries of ``sparse``. What passes inside from a layer to what runs in its epilogue is not
    counted, nor are pixels that no window reaches.
    """
    network, numbers = outcome.program.network, outcome.cfg.numbers
    chain, tensors = entry.chain, network.tensors
    names = {entry.output, *(name for layer in chain for name in layer.inputs)} - {layer.output for layer in chain[:-1]}
    sizes = {name: tensors[name].bytes for name in names}
    written = sizes[entry.output]
    if isinstance(entry.layer, Conv | MaxPool | AvgPool):
        source, (_, height, width, _) = entry.layer.inputs[0], tensors[entry.layer.output].shape
        sizes[source] = reached(tensors[source], entry.layer.window, height, width) * tensors[source].pitch
    if isinstance(entry.layer, Slice | Gather):  # a part of the source
        sizes[entry.layer.inputs[0]] = written
    if isinstance(entry.layer, Append):  # which leaves the rest of the cache where it is
        sizes[entry.output] = sizes[entry.layer.inputs[0]]
    for layer in network.layers:  # lists stay on chip
        if isinstance(layer, Select):
            sizes.pop(layer.output, None)
    least = sum(sizes.values())
    least += written if isinstance(entry.layer, Embedding) else 0  # the rows that are looked up
    least += sum(GAIN_BYTES * layer.gain.size for layer in chain if isinstance(layer, Norm))
    if isinstance(entry.layer, HeadConv):  # weights and biases of the heads that are left
        inputs, outputs = tensors[entry.layer.inputs[0]].shape[3], tensors[entry.layer.output].shape[3]
        least += inputs * outputs + outputs * numbers.acc_bits // 8
    for layer in chain:
        if not isinstance(layer, Conv):
            continue
        dense = pitch(layer.weight.size, weight_bits(outcome.cfg, layer))
        least += layer.bias.size * numbers.acc_bits // 8
        least += sparse.entries * outcome.cfg.entry_bytes if sparse else dense
    return least * outcome.batches


def reached(tensor: Tensor, window: Window, height: int, width: int) -> int:
    """Pixels of a tensor that ``height`` x ``width`` windows reach: a stride may pass over some."""
    images, rows, cols, _ = tensor.shape
    sides = [
        {at * window.stride[i] + tap * window.dilation[i] - window.padding[i] for at in range(many)
         for tap in range(window.kernel[i])}.intersection(range(size))
        for i, (many, size) in enumerate(((height, rows), (width, cols)))
    ]  # fmt: skip
    return images * len(sides[0]) * len(sides[1])
