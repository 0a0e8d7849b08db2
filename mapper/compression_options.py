"""Options that make weights zero or equal before they are quantized (``docs/compression.md``)."""

from __future__ import annotations

import argparse

from dataflows.candidates import MAX_STEPS
from mapper.layer_specs import LayerSpec, parser, pattern
from mapper.option_values import number

COMPRESSION = "prune", "prune_pattern", "prune_channels", "cluster"
"""Their names in :class:`mapper.options.Arguments`."""

OF_VALUES = "keep_values", "value_threshold", "post_scoring"
"""Those of values and probabilities of single keys."""

LEAVING_OUT = "keep_tokens", "keep_heads", *OF_VALUES
"""Those of what is left out while a network runs."""


def add_compression(p: argparse.ArgumentParser) -> None:
    """Add them to the parser, as a group of their own."""
    g = p.add_argument_group(
        "compression",
        "One value for every layer with weights, or by layer: fc1=0.1,fc2=0.25 leaves the others alone.\n"
        "Models that arrive pruned or clustered need none of these: they are recognised and stay as they are.\n"
        "mapper/finetune.py helps to train a model on after pruning and clustering.",
    )
    share = number(float, "a density above 0 and at most 1", lambda v: 0 < v <= 1)
    count = number(int, "a number of clusters from 2 to 256, zero among them", lambda v: 2 <= v <= 256)
    g.add_argument(
        "--prune", type=parser(share), metavar="DENSITY", default=LayerSpec(),
        help="keep this share of a layer's weights, the largest; the others become zero",
    )  # fmt: skip
    g.add_argument(
        "--prune-pattern", type=parser(pattern), metavar="N:M", default=LayerSpec(),
        help="keep at most N of every M consecutive input channels",
    )  # fmt: skip
    g.add_argument(
        "--prune-channels", type=parser(share), metavar="DENSITY", default=LayerSpec(),
        help="keep this share of a layer's output channels, those of the largest norm (not of layers that are outputs)",
    )  # fmt: skip
    g.add_argument(
        "--cluster", type=parser(lambda text: int(count(text))), metavar="N", default=LayerSpec(),
        help="let the weights of a layer share N values, zero included: 16 or 256, for codes of 4 or 8 bits",
    )  # fmt: skip


def add_leaving_out(p: argparse.ArgumentParser) -> None:
    """Add options about what is left out while a network runs."""
    g = p.add_argument_group(
        "pruning while running (transformers)",
        "Tokens and heads need attention.pruning in the configuration, values and post-scoring attention.values.",
    )
    share = number(float, "a ratio above 0 and at most 1", lambda v: 0 < v <= 1)
    g.add_argument(
        "--keep-tokens", type=parser(share), metavar="RATIO", default=LayerSpec(),
        help="keep this share of the tokens behind attention layers, the most important ones of each sample",
    )  # fmt: skip
    g.add_argument(
        "--keep-heads", type=parser(share), metavar="RATIO", default=LayerSpec(),
        help="keep this share of the heads from the next attention layer on, the most important ones of each sample",
    )  # fmt: skip
    g.add_argument(
        "--keep-values", type=parser(share), metavar="RATIO", default=LayerSpec(),
        help="multiply with this share of a head's values, those of the largest probabilities over all queries",
    )  # fmt: skip
    probability = number(float, "a probability above 0 and at most 1", lambda v: 0 < v <= 1)
    g.add_argument(
        "--value-threshold", type=parser(probability), metavar="P", default=LayerSpec(),
        help="leave out values whose probability is below P in all queries of a head, however many these are",
    )  # fmt: skip
    g.add_argument(
        "--post-scoring", type=parser(share), metavar="RATIO", default=LayerSpec(),
        help="set probabilities below this share of the largest of their row to 0",
    )  # fmt: skip
    steps = number(int, "a positive integer of at most 65535", lambda v: 1 <= v <= MAX_STEPS)
    g.add_argument(
        "--candidates", type=parser(lambda text: int(steps(text))), metavar="STEPS", default=LayerSpec(),
        help="attention to keys that are parameters of the model scores only those that a search of so many steps "
        "finds for each query, at most one per step (needs attention.candidates)",
    )  # fmt: skip
