"""What lowering a layer needs at hand: configuration, network, DRAM plan, constants and the builder."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dataflows import isa
from dataflows.config import Config
from dataflows.network import Network
from mapper.blocks import Blocks, Use
from mapper.builder import Builder
from mapper.conv_plan import Options
from mapper.scoreboard import Access


@dataclass(frozen=True)
class Place:
    """Where a tensor lives in DRAM: offset in a relocatable region."""

    region: isa.Region
    offset: int


@dataclass
class Constants:
    """The constant region under construction: weights and parameters, aligned to the bus."""

    align: int
    parts: list[NDArray[np.uint8]] = field(default_factory=list)
    size: int = 0

    def add(self, data: NDArray[np.generic]) -> int:
        """Append bytes; returns their offset."""
        raw = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
        offset = self.size
        padding = -raw.size % self.align
        self.parts.append(np.concatenate([raw, np.zeros(padding, np.uint8)]))
        self.size += raw.size + padding
        return offset

    def image(self) -> NDArray[np.uint8]:
        """The region's bytes."""
        return np.concatenate(self.parts) if self.parts else np.zeros(0, np.uint8)


@dataclass
class Context:
    """Shared state of one compilation."""

    cfg: Config
    network: Network
    options: Options
    places: dict[str, Place]
    builder: Builder
    constants: Constants
    bank: int = 0  # accumulator bank the next layer begins with
    scratch_at: int = 0  # offset in the region of activations, behind all tensors
    scratch_bytes: int = 0  # used there
    roots: dict[str, str] = field(default_factory=dict)  # tensor whose bytes one shares that is not stored itself
    blocks: dict[str, Blocks] = field(default_factory=dict)  # tensors that are compressed
    touched: dict[str, int] = field(default_factory=dict)  # jobs that touch each tensor in DRAM
    uses: dict[str, list[Use | None]] = field(default_factory=dict)  # how jobs use each tensor; None: parts of pixels

    plain: set[str] = field(default_factory=set)  # tensors that the host reads or writes: they are not compressed
    selected: set[str] = field(default_factory=set)  # lists whose selection is in the program

    def root(self, tensor: str) -> str:
        """The tensor that holds a tensor's bytes."""
        return self.roots.get(tensor, tensor)

    def made(self, tensor: str) -> int:
        """Number of the layer that makes the bytes of a tensor; -1: none does."""
        root = self.root(tensor)
        return next((i for i, layer in enumerate(self.network.layers) if layer.output == root), -1)

    def reserve_scratch(self, size: int) -> None:
        """Make sure that there are ``size`` bytes for what a layer keeps in DRAM by itself."""
        self.scratch_bytes = max(self.scratch_bytes, size)

    def scratch(self, start: int, size: int, *, write: bool = False) -> tuple[dict[str, int], Access]:
        """Address fields of such bytes from ``start`` on, and access to them."""
        region, first = isa.Region.ACTIVATION, self.scratch_at + start
        return {"address": first, "region": region}, Access(f"dram {region.name}", first, first + size, write)

    def source(self, tensor: str, offset: int) -> dict[str, int]:
        """Address fields of ``offset`` bytes into a tensor."""
        place = self.places[tensor]
        return {"address": place.offset + offset, "region": place.region}

    def dram(self, tensor: str, start: int, end: int, *, write: bool = False) -> Access:
        """Access to bytes of a tensor."""
        root = self.root(tensor)
        self.touched[root] = self.touched.get(root, 0) + 1
        place = self.places[tensor]
        return Access(f"dram {place.region.name}", place.offset + start, place.offset + end, write)


def parameters(
    cfg: Config, bias: NDArray[np.int64], multiplier: NDArray[np.int64], shift: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """One parameter entry, ``param_entry_bytes`` long: per lane bias (acc_bits), multiplier (24 bit), shift (8 bit)."""
    lanes = np.zeros((cfg.param_entry_bytes // cfg.param_lane_bytes, cfg.param_lane_bytes), np.uint8)
    start = 0
    for values, size in ((bias, cfg.numbers.acc_bits // 8), (multiplier, 3), (shift, 1)):
        raw = values.astype("<i8").view(np.uint8).reshape(-1, 8)
        lanes[: len(raw), start : start + size] = raw[:, :size]
        start += size
    return lanes.reshape(-1)
