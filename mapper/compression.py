"""Compression as a stage of compilation: a rehearsal shows how jobs use each tensor, then blocks are chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dataflows import isa
from dataflows.config import Config
from dataflows.network import Network
from mapper.blocks import choose, sparse
from mapper.builder import Builder
from mapper.context import Context
from mapper.pipeline import Ring, Step, run
from mapper.placement import place_tensors, regions

WORTH = 0.95
"""Compressed bytes per uncompressed one, at most, for a tensor to be compressed."""


def compress(
    context: Context, steps: Sequence[Step], rings: Callable[[], dict[str, Ring]], zeros: Mapping[str, float]
) -> dict[isa.Region, int]:
    """Decide which tensors are compressed, and place all of them anew; returns the sizes of the regions.

    Tensors are tried in the order of their sizes, activations with many zeros only (``zeros``: shares of zeros where
    they are known): inputs and outputs of the network stay as they are. The steps are emitted once for nothing, to see
    what they read and write; a tensor that any job touches in an order of its own, not as rectangles, stays as it is.
    """
    network = context.network
    run(list(steps), rings())
    context.builder = Builder(context.cfg)
    wanted, region = _wanted(context.cfg, network, zeros), regions(network)
    candidates = [
        name for name in network.tensors
        if name in wanted and region[name] is isa.Region.ACTIVATION and context.root(name) == name
        and name not in context.plain
    ]  # fmt: skip
    candidates.sort(key=lambda name: -network.tensors[name].size)
    known = {name: uses for name, uses in context.uses.items() if len(uses) == context.touched[name]}
    context.blocks = choose(context.cfg, network, known, candidates)
    context.places, sizes = place_tensors(network, {name: blocks.size for name, blocks in context.blocks.items()})
    return sizes


def _wanted(cfg: Config, network: Network, zeros: Mapping[str, float]) -> set[str]:
    """Tensors that compression makes smaller, as far as is known."""
    form = cfg.codec_format
    if form is None:
        return set()
    likely, bytes_ = sparse(network), form.word_bits / form.level_bits
    return {
        name for name in network.tensors
        if (form.expected_words(1, zeros[name]) * bytes_ < WORTH if name in zeros else name in likely)
    }  # fmt: skip
