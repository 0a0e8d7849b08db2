"""Attention layers of quantized networks that leave out values and small numerators, as options say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from math import ceil

import numpy as np

from dataflows.attention import Attention
from dataflows.errors import InputError
from dataflows.network import Layer, Network

LARGEST = 127
"""Numerator of the largest probability of a row."""


def leave_out_values(
    network: Network, keep: Mapping[str, float], threshold: Mapping[str, float], least: Mapping[str, float]
) -> Network:
    """The network with fewer values in its attention layers.

    Parameters
    ----------
    keep : ratios by name of attention layer, above 0 and at most 1
        Values that stay in each head, of the keys that the layer has; rounded up.
    threshold : probabilities by name, above 0 and at most 1
        A value that gets less from every query of a head is left out.
    least : ratios by name, above 0 and at most 1
        Probabilities below that share of the largest of their row become 0.

    Raises
    ------
    InputError
        When a layer has both a ratio and a threshold.
    """
    both = sorted(keep.keys() & threshold.keys())
    if both:
        raise InputError(f"layer {both[0]}: --keep-values contradicts --value-threshold; leave one of both out")

    def changed(layer: Layer) -> Layer:
        if not isinstance(layer, Attention):
            return layer
        keys, ratio = layer.keys(network.tensors), keep.get(layer.name)
        share = Fraction(least.get(layer.name, 0))
        return replace(
            layer,
            keep_values=layer.keep_values if ratio is None else max(1, ceil(ratio * keys - 1e-9)),
            value_threshold=float(np.float32(threshold.get(layer.name, layer.value_threshold))),
            least=ceil(share * LARGEST) or layer.least,
        )

    return replace(network, layers=tuple(changed(layer) for layer in network.layers))
