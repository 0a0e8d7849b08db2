"""What each layer costs: one row per entry of the schedule, and their sums."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dataflows import isa
from dataflows.attention import Attention
from dataflows.config import Config
from dataflows.network import Conv
from dataflows.pruning import HeadConv
from mapper.accesses import Traffic, accesses, walked
from mapper.attention_plan import AttentionPlan
from mapper.candidates_summary import CandidatesSummary, candidates_summary
from mapper.compile import HOST, Program, Scheduled
from mapper.compressed_layers import Compression
from mapper.energy import of_dram, on_chip
from mapper.energy_table import DramKind
from mapper.packed import weight_bits
from mapper.sparse_summary import SparseSummary, summaries
from mapper.timing import Prediction
from mapper.timing_sparse import Masks
from mapper.traffic import traffic
from mapper.values_summary import ValuesSummary, values_summary

if TYPE_CHECKING:
    from mapper.run import Run


@dataclass(frozen=True)
class Row:
    """One scheduled layer, summed over the samples; unknown values are None.

    ``utilization`` is dense MACs / (cycles * multipliers of the engine that ran the layer), ``utilization_all`` counts
    every multiplier of the accelerator; cycles are the measured ones where there are any. Both may exceed 1 on the
    sparse engine, which does not do all MACs. ``multipliers`` are those of the engine at the layer's widths: products
    per cycle, no whole number where a product takes several. ``bits`` are the widths of "input", "weight" (None without
    weights) and "output". ``stalls`` are predicted cycles by reason
    (:data:`mapper.timing_causes.REASONS`); with ``array_busy``, in which the array works, they add up to
    ``cycles_predicted``. ``energy`` has the picojoules of ``energy_pj`` by place (:mod:`mapper.energy`). ``sparse`` is
    for layers on the sparse engine, ``compression`` for those whose weights are pruned or clustered, ``values`` for
    attention that leaves out values. ``sqnr_db`` is
    that of the output after a run, with the noise of all layers before; ``sqnr_own_db`` what it would be if nothing but
    the layer's inputs, weights and result were rounded.
    """

    index: int
    name: str
    fused: str | None
    op: str
    engine: str
    shape: tuple[int, int, int, int]
    macs: int
    act_bits: int
    weight_bits: int | None
    bits: dict[str, int | None]
    multipliers: float
    cycles_predicted: int
    cycles_measured: int | None
    utilization: float | None
    utilization_all: float
    dram_read_bytes: int
    dram_write_bytes: int
    energy_pj: float
    sqnr_db: float | None
    mismatches: int | None
    energy: dict[str, float] = field(default_factory=dict)
    array_busy: int = 0
    stalls: dict[str, int] = field(default_factory=dict)
    sparse: SparseSummary | None = None
    compression: Compression | None = None
    search: dict[str, Any] | None = None
    sqnr_own_db: float | None = None
    values: ValuesSummary | None = None
    candidates: CandidatesSummary | None = None

    @property
    def title(self) -> str:
        """The name, with what runs in its epilogue."""
        return f"{self.name} + {self.fused}" if self.fused else self.name

    @property
    def on_host(self) -> bool:
        """Whether the accelerator has nothing for it: its cycles are not known, and count as 0."""
        return self.engine == HOST

    @property
    def widths(self) -> str:
        """Widths of inputs and weights, ``a/w``; those of inputs alone without weights."""
        return str(self.act_bits) if self.weight_bits is None else f"{self.act_bits}/{self.weight_bits}"

    @property
    def cycles(self) -> int:
        """Measured cycles if there are any, else the predicted ones."""
        return self.cycles_predicted if self.cycles_measured is None else self.cycles_measured


def aligned(tables: Sequence[Sequence[Row]]) -> list[tuple[Row | None, ...]]:
    """Rows of the same layer in several tables beside each other; None where a table has none: it was fused there."""
    by_index = [{row.index: row for row in table} for table in tables]
    return [tuple(table.get(index) for table in by_index) for index in sorted({i for t in by_index for i in t})]


def layer_cycles(program: Program, ends: Mapping[int, int], total: int) -> dict[int, int]:
    """Cycles from the predecessor's completion to its own, by schedule index; they add up to ``total``."""
    result, before = {}, 0
    for entry in program.schedule:
        end = max(before, ends[entry.index])
        result[entry.index] = end - before
        before = end
    if program.schedule:
        result[program.schedule[-1].index] += total - before
    return result


def rows(
    program: Program, predictions: Sequence[Prediction], samples: int, run: Run | None,
    quality: Mapping[str, float | None], compression: Mapping[str, Compression], masks: Sequence[Masks],
    dram: DramKind = "lpddr4", own: Mapping[str, float | None] | None = None,
) -> list[Row]:
    """Every row of the schedule.

    Parameters
    ----------
    program : Program
    predictions : sequence
        Of the first batches, at least of one; the others are taken to be like these on average.
    samples : int
        A multiple of the batch; everything is summed over them.
    run : Run or None
        What was measured.
    quality : mapping
        SQNR in dB, by tensor.
    compression : mapping
        Pruned and clustered layers, by name.
    masks : sequence of Masks
        Activations that are not zero, of the first batches.
    dram : str
        Kind of memory, for its energy.
    own : mapping
        SQNR in dB by tensor as far as its own layer makes it.
    """
    network, own = program.network, own or {}
    batches = samples // network.tensors[network.inputs[0]].shape[0]
    reads, writes = traffic(program, predictions[0], batches, run.block_words if run else None)
    sparse = summaries(program, masks, batches)
    moved = accesses(program)
    each = [layer_cycles(program, prediction.layer_end, prediction.cycles) for prediction in predictions]

    def scaled(cycles: Iterable[int]) -> int:
        """Of all batches, from those of each that is predicted."""
        return sum(cycles) * batches // len(predictions)

    measured = _measured(program, run) if run else {}
    wrong: dict[str, int] = {}
    for mismatch in run.mismatches if run else ():
        wrong[mismatch.layer] = wrong.get(mismatch.layer, 0) + mismatch.count

    def row(entry: Scheduled) -> Row:
        layer, index = entry.layer, entry.index
        reasons = predictions[0].stalls.get(index, {})
        macs = sum(network.macs(each) for each in entry.chain) * batches
        found = measured.get(index)
        predicted = scaled(cycles[index] for cycles in each)
        cycles = predicted if found is None else found
        widths = precision(program, entry)
        behind = macs - network.macs(layer) * batches
        places = _energy(program.cfg, entry.engine, macs, widths, moved[index], batches, sparse.get(index), behind)
        places |= of_dram(reads.get(index, 0) + writes.get(index, 0), dram)
        slots, every = multipliers(program.cfg, entry.engine, widths), all_multipliers(program.cfg, widths)
        return Row(
            index=index, name=layer.name, fused=" + ".join(a.name for a in entry.absorbed) or None, op=layer.op,
            engine=entry.engine, shape=network.tensors[entry.output].shape,
            macs=macs, act_bits=widths[0], weight_bits=widths[1],
            bits={"input": widths[0], "weight": widths[1], "output": network.tensors[entry.output].bits},
            multipliers=slots,
            cycles_predicted=predicted, cycles_measured=found,
            utilization=ratio(macs, cycles * slots) if _multiplies(entry) else None,
            utilization_all=ratio(macs, cycles * every),
            dram_read_bytes=reads.get(index, 0),
            dram_write_bytes=writes.get(index, 0),
            energy_pj=sum(places.values()), energy=places, sqnr_db=quality.get(entry.output),
            mismatches=wrong.get(entry.final.name, 0) if run else None,
            array_busy=scaled(p.array_busy.get(index, 0) for p in predictions),
            stalls={reason: scaled(p.stalls[index][reason] for p in predictions) for reason in reasons},
            sparse=sparse.get(index),
            compression=compression.get(layer.name),
            search=_search(entry),
            sqnr_own_db=_least(own.get(each.output) for each in entry.chain),
            values=values_summary(network, layer, run),
            candidates=candidates_summary(network, layer, run),
        )  # fmt: skip

    return [row(entry) for entry in program.schedule]


def _energy(
    cfg: Config, engine: str, macs: int, widths: Widths, moved: Traffic, batches: int, sparse: SparseSummary | None,
    in_windows: int,
) -> dict[str, float]:
    """Picojoules of a layer on chip, by place; on the sparse engine only what is walked is multiplied."""
    traffic = Counter({place: count * batches for place, count in moved.items()})
    if sparse:
        macs = sparse.walked
        traffic.update(walked(cfg, macs))
    return on_chip(cfg, macs, (widths[0], widths[1] or widths[0]), traffic, engine, in_windows)


def _least(found: Iterable[float | None]) -> float | None:
    """The smallest of the numbers that are known."""
    return min((value for value in found if value is not None), default=None)


def _search(entry: Scheduled) -> dict[str, Any] | None:
    """How the plan was found; None for layers without a choice."""
    if entry.plan is None or isinstance(entry.plan, AttentionPlan):
        return None
    return entry.plan.search.summary if entry.plan.search else None


def _multiplies(entry: Scheduled) -> bool:
    """Whether a layer is one of products, that the accelerator runs."""
    return isinstance(entry.layer, Conv | HeadConv | Attention) and entry.engine != HOST


def _measured(program: Program, run: Run) -> dict[int, int]:
    """Measured cycles by schedule index; what follows the last completion belongs to the last layer."""
    cycles = {entry.index: run.layer_cycles[entry.index] for entry in program.schedule}
    if cycles:
        cycles[program.schedule[-1].index] += run.cycles - sum(cycles.values())
    return cycles


def ratio(macs: int, slots: float) -> float:
    """Dense MACs per slot, which is a multiplier in a cycle."""
    return macs / slots if slots else 0.0


Widths = tuple[int, int | None]
"""Bits of a layer's inputs and weights; None without weights."""


def precision(program: Program, entry: Scheduled) -> Widths:
    """Widths of what a layer multiplies."""
    layer = entry.layer
    inputs = program.network.tensors[next(iter(layer.inputs), layer.output)].bits
    conv = layer.conv if isinstance(layer, HeadConv) else layer
    return inputs, weight_bits(program.cfg, conv) if isinstance(conv, Conv) else None


def multipliers(cfg: Config, engine: str, widths: Widths | None = None) -> float:
    """MAC multipliers of the engine that runs a layer: products per cycle, on the array at the layer's widths."""
    others = {"vector window": cfg.window_multipliers, "sparse": cfg.sparse_multipliers}
    if engine == "array + vector window":
        return array_multipliers(cfg, widths) + cfg.window_multipliers
    return others[engine] if engine in others else array_multipliers(cfg, widths)


def array_multipliers(cfg: Config, widths: Widths | None = None) -> float:
    """Products per cycle of the array at the widths of inputs and weights.

    Where it does not take them, or none are given, those of the widest operands that it takes.
    """
    inputs, weights = widths or (None, None)
    if cfg.multiplier is None:
        return cfg.multipliers
    if inputs not in cfg.operand_bits or weights not in cfg.operand_bits:
        inputs = weights = cfg.operand_bits[-1]
    word = cfg.reduction(inputs, weights)
    products = cfg.multipliers * word.products
    return products / word.cycles if products % word.cycles else products // word.cycles


def all_multipliers(cfg: Config, widths: Widths | None = None) -> float:
    """MAC multipliers of the whole accelerator, those of the array at the given widths."""
    return array_multipliers(cfg, widths) + cfg.window_multipliers + cfg.sparse_multipliers


def totals(
    program: Program, table: list[Row], samples: int, run: Run | None, dram: DramKind = "lpddr4"
) -> dict[str, Any]:
    """Sums over all rows; DRAM bytes include the program that is read and the time stamps that are written."""
    network = program.network
    batches = samples // network.tensors[network.inputs[0]].shape[0]
    macs, predicted = sum(r.macs for r in table), sum(r.cycles_predicted for r in table)
    here = sum(r.macs for r in table if not r.on_host)
    mark_bytes = isa.MARK_BYTES * (len(program.schedule) - len(program.host))
    words = sum(part.words.nbytes for part in program.sequence if isinstance(part, Program))
    reads = sum(r.dram_read_bytes for r in table) + words * batches
    writes = sum(r.dram_write_bytes for r in table) + mark_bytes * batches
    cycles = run.cycles if run else predicted
    if run:
        reads, writes = run.dram["read_bytes"], run.dram["write_bytes"]
    energy: dict[str, float] = {}
    for place, pj in (item for r in table for item in r.energy.items()):
        energy[place] = energy.get(place, 0.0) + pj
    energy |= of_dram(reads + writes, dram)  # with commands and time stamps
    return {
        "macs": macs,
        "cycles_predicted": predicted,
        "cycles_measured": run.cycles if run else None,
        "utilization": ratio(here, sum(r.cycles * r.multipliers for r in table)),
        "utilization_all": ratio(
            here, sum(r.cycles * all_multipliers(program.cfg, (r.act_bits, r.weight_bits)) for r in table)
        ),
        "dram_read_bytes": reads,
        "dram_write_bytes": writes,
        "energy_pj": sum(energy.values()),
        "energy": energy,
        "cycles_per_sample": cycles / samples,
        "seconds_per_sample": cycles / samples / (program.cfg.clock_mhz * 1e6),
        "program_bytes": program.words.nbytes,
        "mark_bytes": mark_bytes,
        "constant_bytes": int(program.constants.size),
        "gated_multiplications": run.counters.get("GATED") if run else None,
        "sparse_entries": run.counters.get("SPARSE_ENTRIES") if run else None,
        "sparse_full_cycles": run.counters.get("SPARSE_FULL") if run else None,
        "stalls": stalls(run) if run else {},
    }


def stalls(run: Run) -> dict[str, int]:
    """Cycles per unit and reason, from the hardware's counters."""
    names = [f"{unit.name}_{state}" for unit in isa.Unit for state in ("BUSY", "WAIT", "STALL")]
    return {name.lower(): run.counters[name] for name in names if name in run.counters}
