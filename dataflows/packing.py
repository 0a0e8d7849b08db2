"""Operands narrower than a byte: several in a byte, pixels of whole bytes (``docs/numerics.md``, section 8)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataflows.formats import container, pitch
from dataflows.network import Codes


def pack(codes: Codes, bits: int) -> NDArray[np.uint8]:
    """Operands along the last axis as bytes, (..., channels) to (..., ``pitch``); what is left of a byte is zero.

    One-bit operands are +1 (bit 1) and -1 (bit 0).
    """
    width = container(bits)
    if width >= 8:
        return np.ascontiguousarray(codes.astype(f"<i{width // 8}")).view(np.uint8)
    fields = (codes > 0 if bits == 1 else codes).astype(np.uint8) & ((1 << width) - 1)
    room = pitch(codes.shape[-1], bits) * 8 // width - codes.shape[-1]
    fields = np.pad(fields, [(0, 0)] * (codes.ndim - 1) + [(0, room)])
    places = np.arange(0, 8, width, dtype=np.uint8)
    grouped = fields.reshape(*codes.shape[:-1], -1, len(places)) << places
    return np.asarray(np.bitwise_or.reduce(grouped, axis=-1), np.uint8)


def unpack(raw: NDArray[np.uint8], channels: int, bits: int) -> Codes:
    """The inverse of :func:`pack`: (..., pitch) bytes to (..., channels) operands; int8, or int16 where wider."""
    width = container(bits)
    if width >= 8:
        return np.ascontiguousarray(raw).view(f"<i{width // 8}")
    places = np.arange(0, 8, width, dtype=np.uint8)
    fields = (raw[..., None] >> places & ((1 << width) - 1)).reshape(*raw.shape[:-1], -1)[..., :channels]
    if bits == 1:
        return fields.astype(np.int8) * np.int8(2) - np.int8(1)
    return (fields << (8 - width)).astype(np.uint8).view(np.int8) >> (8 - width)
