"""A quantized network and a configuration become a program: fusion, DRAM plan, lowering, encoding."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from dataflows import isa
from dataflows.attention import Append, Attention, Embedding, Lookup, Norm, Positional, Slice
from dataflows.config import Config
from dataflows.errors import InputError
from dataflows.network import Add, AvgPool, Concat, Conv, Layer, MaxPool, Network
from dataflows.operators import ChannelSlice, Multiply, Spread, Upsample
from dataflows.pruning import Gather, HeadConv
from dataflows.vocabulary import Kind
from mapper.array_plan import ArrayPlan, plane_or_classifier
from mapper.attention_plan import NUMERATOR_SLOTS, AttentionPlan
from mapper.blocks import Blocks
from mapper.builder import Builder
from mapper.caches import check_halves
from mapper.candidates import Search
from mapper.check_sizes import check_sizes
from mapper.check_transformers import check_transformers
from mapper.check_widths import check_layers, check_tensors
from mapper.classifier_plan import ClassifierPlan
from mapper.collector import uncollected
from mapper.compression import compress
from mapper.context import Constants, Context, Place
from mapper.conv_plan import Options
from mapper.engines import sparse_layers
from mapper.host import host_layers
from mapper.lower_attention import AttentionLowering
from mapper.lower_candidates import CandidateLowering
from mapper.lower_classifier import ClassifierLowering
from mapper.lower_conv import ConvLowering
from mapper.lower_copy import CopyLowering, EmbeddingLowering
from mapper.lower_elementwise import ElementwiseLowering
from mapper.lower_gather import GatherLowering
from mapper.lower_generation import QueryLowering
from mapper.lower_heads import HeadConvLowering, check_heads
from mapper.lower_multiply import MultiplyLowering
from mapper.lower_norm import NormLowering, fuse_sums
from mapper.lower_plane import PlaneLowering
from mapper.lower_pool import PoolLowering
from mapper.lower_positions import AppendLowering, PositionalLowering
from mapper.lower_resample import MoveLowering
from mapper.lower_rows import RowLowering
from mapper.lower_sparse import SparseLowering
from mapper.lower_values import ValuesLowering, ValuesQueryLowering
from mapper.lower_window import WindowLowering
from mapper.pipeline import Ring, Step
from mapper.placement import ALIGNMENT, place_constants, place_tensors, roots, stays
from mapper.pool_epilogue import fuse_pools
from mapper.pooled_tiles import Pool
from mapper.program import Job
from mapper.selections import check_selections
from mapper.sparse_plan import SparseJob, SparsePlan
from mapper.streams import WORD_BYTES, assemble, stretches
from mapper.tables import fuse_tables
from mapper.window_plan import WindowPlan, window_plan

HOST = "host"
"""What computes the layers that the accelerator cannot."""


@dataclass(frozen=True)
class Scheduled:
    """One entry of the schedule: a layer, the layers that run in its epilogue, and what computes it.

    ``engine`` is "host", "array", "array + vector window" (with a depthwise layer in the epilogue), "sparse", "vector",
    "vector window" or "rows" (norms); ``plan`` is for the first three.
    """

    index: int
    layer: Layer
    absorbed: tuple[Layer, ...]
    plan: ArrayPlan | AttentionPlan | SparsePlan | None
    engine: str

    @property
    def chain(self) -> tuple[Layer, ...]:
        """The layer and those in its epilogue."""
        return self.layer, *self.absorbed

    @property
    def output(self) -> str:
        """The tensor that leaves the chip."""
        return self.final.output

    @property
    def final(self) -> Layer:
        """The layer whose result that is."""
        return self.chain[-1]


@dataclass(frozen=True)
class Program:
    """Everything a run needs, and what reports tell about it.

    Attributes
    ----------
    words : uint64 array
        The command stream.
    constants : uint8 array
        The constant region (weights, parameters).
    places : dict
        Region and offset of every tensor.
    region_bytes : dict
        Size of every region.
    schedule : tuple of Scheduled
        In the order of their marks.
    blocks : dict
        How the tensors are kept that are compressed.
    sparse : dict
        What the jobs of the sparse engine walk, by index.
    searches : dict
        What the jobs of the row engine search, by index.
    offset : int
        Bytes from the base of the region of programs to the words.
    runs : tuple of Program and Scheduled
        Where layers run on the host: these, and the programs before, between and behind them, one after the other in
        the same memory. ``words``, ``jobs`` and ``schedule`` are then those of all of them. Empty otherwise.
    host : dict
        Why layers run on the host, by name.
    """

    cfg: Config
    network: Network
    words: NDArray[np.uint64]
    jobs: list[Job]
    constants: NDArray[np.uint8]
    places: dict[str, Place]
    region_bytes: dict[isa.Region, int]
    schedule: tuple[Scheduled, ...]
    blocks: dict[str, Blocks] = field(default_factory=dict)
    sparse: dict[int, SparseJob] = field(default_factory=dict)
    searches: dict[int, Search] = field(default_factory=dict)
    offset: int = 0
    runs: tuple[Program | Scheduled, ...] = ()
    host: dict[str, str] = field(default_factory=dict)

    @property
    def sequence(self) -> tuple[Program | Scheduled, ...]:
        """What is done one after the other: programs, and layers on the host."""
        return self.runs or (self,)


def fuse_additions(network: Network, apart: Collection[str] = ()) -> dict[str, Add]:
    """Convolutions whose result is only added to something known earlier: layer name to the addition.

    Layers named in ``apart`` add nothing.
    """
    position = {layer.output: i for i, layer in enumerate(network.layers)}
    position.update({name: -1 for name in network.inputs})
    users: dict[str, int] = {}
    for layer in network.layers:
        for name in layer.inputs:
            users[name] = users.get(name, 0) + 1
    producers = {layer.output: layer for layer in network.layers}
    fused: dict[str, Add] = {}
    for layer in network.layers:
        if not isinstance(layer, Add) or layer.inputs[0] == layer.inputs[1]:
            continue
        for name, other in (layer.inputs, layer.inputs[::-1]):
            conv = producers.get(name)
            if not isinstance(conv, Conv) or conv.name in fused or conv.name in apart:
                continue
            alone = users[name] == 1 and name not in network.outputs
            alone &= network.tensors[name].bits > 1  # what is added must be the sign, not the sum it is of
            if alone and position[other] < position[name]:
                fused[conv.name] = layer
                break
    return fused


def _windows(cfg: Config, network: Network, options: Options) -> dict[str, WindowPlan]:
    """Layers that run as windows in the vector unit."""
    tensors = network.tensors
    plans = {
        layer.name: window_plan(cfg, options, layer, tensors[layer.inputs[0]], tensors[layer.output])
        for layer in network.layers
        if layer.inputs
    }
    return {name: plan for name, plan in plans.items() if plan}


def _array_lowering(
    context: Context, layer: Conv, index: int, add: Add | None, pool: Pool | None, lookup: Lookup | None
) -> ConvLowering | RowLowering | PlaneLowering | ClassifierLowering:
    """What lowers a convolution, by how inputs reach the array."""
    kind = context.cfg.dataflow.input.kind
    if kind is Kind.BUS:
        return RowLowering(context, layer, index)
    if kind is Kind.NEIGHBOUR:
        source, target = context.network.tensors[layer.inputs[0]], context.network.tensors[layer.output]
        found = plane_or_classifier(context.cfg, layer, source, target, context.options)
        if isinstance(found, ClassifierPlan):
            return ClassifierLowering(context, layer, index, found)
        return PlaneLowering(context, layer, index, found)
    return ConvLowering(context, layer, index, add, pool, lookup)


def _attention_lowering(context: Context, layer: Attention, index: int) -> AttentionLowering:
    """What lowers an attention layer: whether its keys are searched or move, and whether values are left out."""
    if layer.candidates:
        return CandidateLowering(context, layer, index)
    moving = QueryLowering.suits(context, layer)
    check_halves(context.cfg, context.network, layer, moving)
    if ValuesLowering.suits(context, layer):
        return (ValuesQueryLowering if moving else ValuesLowering)(context, layer, index)
    return (QueryLowering if moving else AttentionLowering)(context, layer, index)


@uncollected
def compile_network(
    cfg: Config, network: Network, options: Options, *, fuse: bool = True, zeros: Mapping[str, float] | None = None,
    plans: Mapping[str, SparsePlan] | None = None,
) -> Program:  # fmt: skip
    """Lower every layer and encode the program.

    Parameters
    ----------
    fuse : bool
        Additions and poolings run in the epilogue of the convolution before them where they can.
    zeros : mapping, optional
        Shares of zeros of activations, by tensor.
    plans : mapping, optional
        Plans for the sparse engine, by layer, in place of those that a search finds; they must fit.

    Raises
    ------
    InputError
        Naming a layer that does not fit, or that an engine asked for cannot run.
    """
    check_sizes(network)
    check_tensors(cfg, network)
    constants = Constants(max(ALIGNMENT, cfg.bus_bytes))
    places, sizes = place_tensors(network, fixed=place_constants(network, constants))
    context = Context(cfg, network, options, places, Builder(cfg), constants)
    context.roots, context.scratch_at = roots(network), sizes[isa.Region.ACTIVATION]
    windows = _windows(cfg, network, options)
    fuse = fuse and not cfg.dataflow.output_turned_late  # turned accumulators leave pixel by pixel, all else row by row
    sparse = sparse_layers(cfg, network, options, zeros or {}, windows) | dict(plans or {})
    windows = {name: plan for name, plan in windows.items() if name not in sparse}
    host = host_layers(cfg, network)
    check_layers(cfg, network, windows)
    check_transformers(cfg, network, host)
    check_selections(cfg, network)
    for layer in network.layers:
        if isinstance(layer, HeadConv):
            check_heads(cfg, network, layer)
    apart = {*windows, *sparse}
    fused = fuse_additions(network, apart) if fuse else {}
    pools = fuse_pools(network, fused, apart, windows) if fuse and not cfg.codec else {}
    tables = fuse_tables(network, fused, apart) if fuse and cfg.attention else {}
    sums = fuse_sums(context, fused, tables) if fuse and cfg.attention else {}
    absorbed = {layer.name for layer in (*fused.values(), *tables.values(), *sums.values())}
    steps: list[Step] = []
    schedule: list[Scheduled] = []
    for index, layer in enumerate(network.layers):
        plan: ArrayPlan | AttentionPlan | SparsePlan | None = None
        behind: list[Layer] = [some[layer.name] for some in (fused, tables) if layer.name in some]
        if layer.name in absorbed or stays(network, layer):
            continue
        engine, first = "vector", layer
        if layer.name in host:
            engine = HOST
        elif isinstance(layer, Conv | MaxPool) and layer.name in windows:
            steps += list(WindowLowering(context, layer, index, windows[layer.name]).steps())
            engine = "vector window"
        elif isinstance(layer, Conv) and layer.name in sparse:
            plan, engine = sparse[layer.name], "sparse"
            columns = SparseLowering(context, layer, index, plan)
            steps += list(columns.steps())
            context.bank += columns.drains
        elif isinstance(layer, Conv):
            conv = _array_lowering(
                context, layer, index, fused.get(layer.name), pools.get(layer.name), tables.get(layer.name)
            )
            steps += list(conv.steps())
            context.bank += conv.drains
            plan, engine = conv.plan, "array"
            if isinstance(conv, ConvLowering) and conv.pool:
                behind.append(conv.pool.pool)
                absorbed.add(conv.pool.pool.name)
                engine = "array + vector window" if isinstance(conv.pool.pool, Conv) else engine
        elif isinstance(layer, MaxPool | AvgPool):
            steps += list(PoolLowering(context, layer, index).steps())
        elif isinstance(layer, Add | Concat):
            steps += list(ElementwiseLowering(context, layer, index, tables.get(layer.name)).steps())
        elif isinstance(layer, Attention):
            attention = _attention_lowering(context, layer, index)
            steps += list(attention.steps())
            context.bank += attention.drains
            plan, engine = attention.plan, "array"
        elif isinstance(layer, Norm):
            add = sums.get(layer.name)
            steps += list(NormLowering(context, layer, index, add).steps())
            engine = "rows"
            if add:
                first, behind = add, [*behind, layer]
        elif isinstance(layer, Multiply):
            steps += list(MultiplyLowering(context, layer, index).steps())
        elif isinstance(layer, ChannelSlice | Upsample | Spread):
            steps += list(MoveLowering(context, layer, index).steps())
        elif isinstance(layer, Lookup | Slice):
            steps += list(CopyLowering(context, layer, index).steps())
        elif isinstance(layer, HeadConv):
            heads = HeadConvLowering(context, layer, index)
            steps += list(heads.steps())
            context.bank += heads.drains
            plan, engine = heads.plan, "array"
        elif isinstance(layer, Gather):
            steps += list(GatherLowering(context, layer, index).steps())
        elif isinstance(layer, Append):
            steps += list(AppendLowering(context, layer, index).steps())
        elif isinstance(layer, Positional):
            steps += list(PositionalLowering(context, layer, index).steps())
        elif isinstance(layer, Embedding):
            steps += list(EmbeddingLowering(context, layer, index).steps())
        else:
            raise InputError(f"layer {layer.name}: {layer.op} does not run on {cfg.name}")
        schedule.append(Scheduled(index, first, tuple(behind), plan, engine))
    context.plain = {context.root(name) for x in network.layers if x.name in host for name in (*x.inputs, x.output)}
    if cfg.codec:
        context.builder.keeps = bool(pools)
        sizes = compress(context, steps, partial(_rings, cfg), zeros or {})
    rings = partial(_rings, cfg, context.scratch_bytes)
    streams = assemble(context, steps, stretches(schedule, host), rings, bool(pools))
    image = constants.image()
    sizes |= {isa.Region.CONSTANT: image.size, isa.Region.PROGRAM: streams[-1].end if streams else 0}
    sizes[isa.Region.ACTIVATION] += context.scratch_bytes
    programs = [
        Program(
            cfg, network, s.words, s.jobs, image, context.places, sizes,
            tuple(entry for entry in schedule if entry.index in s.layers), context.blocks, s.sparse, s.searches,
            s.offset,
        )
        for s in streams
    ]  # fmt: skip
    return programs[0] if not host else _composed(programs, schedule, host)


def _composed(programs: list[Program], schedule: list[Scheduled], host: dict[str, str]) -> Program:
    """Programs and the layers on the host between them, as one."""
    if not programs:
        name, why = next(iter(host.items()))
        raise InputError(f"no layer of the model runs on the accelerator; layer {name}, for one: {why}")
    runs: list[Program | Scheduled] = []
    for entry in schedule:
        if entry.engine == HOST:
            runs.append(entry)
        else:
            runs += [p for p in programs if entry == p.schedule[0]]
    words = np.zeros(programs[-1].region_bytes[isa.Region.PROGRAM] // WORD_BYTES, np.uint64)
    for p in programs:
        words[p.offset // WORD_BYTES :][: len(p.words)] = p.words
    return replace(
        programs[0], words=words, jobs=[job for p in programs for job in p.jobs], schedule=tuple(schedule),
        sparse={index: job for p in programs for index, job in p.sparse.items()},
        searches={index: job for p in programs for index, job in p.searches.items()}, runs=tuple(runs), host=host,
    )  # fmt: skip


def _rings(cfg: Config, scratch: int = 0) -> dict[str, Ring]:
    """The memories, empty; ``scratch`` bytes of DRAM."""
    memory, sparse = cfg.memory, cfg.sparse
    engine = {} if sparse is None else {
        "entries": Ring(sparse.weight_bytes, cfg.bus_bytes),  # of a PE, as the next
        "pointers": Ring(sparse.pointer_bytes, cfg.bus_bytes),
        "codebook": Ring(sparse.codebooks),
    }  # fmt: skip
    if cfg.attention is not None:
        engine |= {
            "gain": Ring(cfg.gain_blocks),
            "table": Ring(cfg.attention.tables),
            "scale": Ring(cfg.attention.scales),
            "scratch": Ring(scratch, ALIGNMENT),
            "slot": Ring(NUMERATOR_SLOTS),  # of numerators in the input memory
            "columns": Ring(1),  # of one head
        }
    return engine | {
        "input": Ring(memory.input_bytes, cfg.input_granule),
        "weight": Ring(memory.weight_bytes, cfg.weight_granule),
        "operand": Ring(memory.operand_bytes),
        "param": Ring(memory.param_bytes, cfg.param_entry_bytes),
    }
