"""Whether the tensors of an attention layer fit it (``docs/numerics.md``, sections 9 to 12)."""

from __future__ import annotations

from collections.abc import Sequence

from dataflows.attention import Attention
from dataflows.errors import InputError
from dataflows.network import Tensor
from sim.golden.softmax import LARGEST

MAX_KEYS = 4096
"""Longest row: its sum has 19 bits."""


def check(layer: Attention, sources: Sequence[Tensor], result: Tensor) -> None:
    """Raise :class:`InputError` unless shapes, heads, zero points, widths and lengths fit each other."""
    what = f"layer {layer.name!r}"
    if len(sources) not in (3, 4):
        raise InputError(f"{what}: attention takes queries, keys, values and a list, not {len(sources)} tensors")
    queries, keys, values = sources[:3]
    samples, height, _, channels = queries.shape
    if keys.shape != values.shape or height != 1 or keys.shape[:2] != (samples, 1) or keys.shape[3] != channels:
        found = ", ".join(str(source.shape) for source in sources)
        raise InputError(f"{what}: queries, keys and values must be (N, 1, Lq, C), (N, 1, Lk, C) twice, not {found}")
    if layer.heads < 1 or channels % layer.heads:
        raise InputError(f"{what}: {channels} channels do not divide into {layer.heads} heads")
    if len(sources) > 3 and (not layer.cached or queries.shape[2] != 1 or sources[3].shape[2] > keys.shape[2]):
        raise InputError(
            f"{what}: keys are chosen by a list for one query, from caches of at least as many tokens; here are "
            f"{queries.shape[2]} queries, {keys.shape[2]} tokens and {sources[3].shape[2]} numbers"
        )
    for source in (queries, keys, values, result):
        if source.bits != 8:
            raise InputError(f"{what}: tensor {source.name!r} has {source.bits} bits; attention takes and gives 8")
    for source in (queries, keys, values):
        if source.zero:
            raise InputError(f"{what}: tensor {source.name!r} must have the zero point 0, not {source.zero}")
    length = keys.shape[2]
    if length > MAX_KEYS:
        raise InputError(f"{what}: {length} keys are too many; at most {MAX_KEYS} fit a row")
    if layer.keep_values is not None and not 1 <= layer.keep_values <= length:
        raise InputError(f"{what}: keep_values must be 1 to {length}, the number of keys, not {layer.keep_values}")
    if not 0 <= layer.value_threshold <= 1 or (layer.value_threshold and layer.keep_values is not None):
        raise InputError(
            f"{what}: value_threshold must be a probability, 0 (none) to 1, and 0 with keep_values, "
            f"not {layer.value_threshold}"
        )
    if layer.candidates < 0 or (layer.candidates and layer.threshold):
        raise InputError(
            f"{what}: candidates must be steps of the search, at least 0 (no search), and 0 with keys by halves, "
            f"not {layer.candidates}"
        )
    if not 0 <= layer.least <= LARGEST:
        raise InputError(f"{what}: least must be a numerator, 0 to {LARGEST}, not {layer.least}")
    if layer.lengths is not None and (
        len(layer.lengths) != samples or min(layer.lengths) < 0 or max(layer.lengths) > length
    ):
        raise InputError(f"{what}: lengths must be {samples} numbers of 0 to {length} keys, not {layer.lengths}")
    if layer.cached and (layer.causal or layer.lengths is not None):
        raise InputError(f"{what}: with caches the position says which keys count; causal and lengths must be left out")
    if not 0 <= layer.threshold <= 1:
        raise InputError(f"{what}: the threshold must be a probability, 0 (none) to 1, not {layer.threshold}")
    if layer.threshold and channels // layer.heads % 2:
        raise InputError(
            f"{what}: heads must have an even number of channels with a threshold, not {channels // layer.heads}"
        )
