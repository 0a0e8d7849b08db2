"""Compression as a stage of compilation: a rehearsal shows how jobs use each tensor, then blocks are chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dataflows import isa
from mapper.blocks import choose, sparse
from mapper.builder import Builder
from mapper.context import Context
from mapper.pipeline import Ring, Step, run
from mapper.placement import place_tensors, regions


def compress(context: Context, steps: Sequence[Step], rings: Callable[[], dict[str, Ring]]) -> dict[isa.Region, int]:
    """Decide which tensors are compressed, and place all of them anew; returns the sizes of the regions.

    Tensors are tried in the order of their sizes, activations with many zeros only: inputs and outputs of the network
    stay as they are. The steps are emitted once for nothing, to see what they read and write; a tensor that any job
    touches in an order of its own, not as rectangles, is not compressed.
    """
    network = context.network
    run(list(steps), rings())
    context.builder = Builder(context.cfg)
    wanted, region = sparse(network), regions(network)
    candidates = [
        name for name in network.tensors
        if name in wanted and region[name] is isa.Region.ACTIVATION and context.root(name) == name
    ]  # fmt: skip
    candidates.sort(key=lambda name: -network.tensors[name].size)
    known = {name: uses for name, uses in context.uses.items() if len(uses) == context.touched[name]}
    context.blocks = choose(context.cfg, network, known, candidates)
    context.places, sizes = place_tensors(network, {name: blocks.size for name, blocks in context.blocks.items()})
    return sizes
