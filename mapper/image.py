"""DRAM contents of a program: where its regions lie, and the tensors in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataflows import isa
from dataflows.network import Codes
from dataflows.packing import pack, unpack
from mapper.caches import CacheLayout
from mapper.compile import Program
from mapper.placement import ALIGNMENT, PAGE

GUARD = 64
"""Bytes at least between regions, which must be unchanged after a run."""


@dataclass(frozen=True)
class Image:
    """Where each region and the mark table begin, and the memory's size, in bytes."""

    program: Program
    bases: dict[isa.Region, int]
    marks: int
    size: int

    @staticmethod
    def of(program: Program) -> Image:
        """Regions one after the other with guards between them, then the mark table."""
        bases, position = {}, 0
        for region in isa.Region:
            bases[region] = position
            position += -(-(program.region_bytes.get(region, 0) + GUARD) // PAGE) * PAGE
        return Image(program, bases, position, position + isa.MARK_BYTES * (len(program.schedule) + 1) + ALIGNMENT)

    def memory(self, seed: int) -> NDArray[np.uint8]:
        """Memory with program and constants in place and random bytes everywhere else."""
        memory = np.random.default_rng(seed).integers(0, 256, self.size, np.uint8)
        for region, data in (
            (isa.Region.PROGRAM, self.program.words.astype("<u8").view(np.uint8)),
            (isa.Region.CONSTANT, self.program.constants),
        ):
            memory[self.bases[region] :][: data.size] = data
        return memory

    def read(self, memory: NDArray[np.uint8], tensor: str) -> Codes:
        """A tensor's values in ``memory``, as an array of its shape (N, H, W, C); no bits between pixels count."""
        t = self.program.network.tensors[tensor]
        cache = CacheLayout.of(self.program.network, tensor)
        if cache:
            return cache.codes(self._bytes(memory, tensor))
        n, h, w, channels = t.shape
        return unpack(self._bytes(memory, tensor).reshape(n, h, w, t.pitch), channels, t.bits)

    def write(self, memory: NDArray[np.uint8], tensor: str, values: Codes) -> None:
        """Put a tensor's values into ``memory``; ``values`` has its shape (N, H, W, C)."""
        cache = CacheLayout.of(self.program.network, tensor)
        raw = cache.packed(values) if cache else pack(values, self.program.network.tensors[tensor].bits).reshape(-1)
        self._bytes(memory, tensor)[...] = raw

    def _bytes(self, memory: NDArray[np.uint8], tensor: str) -> NDArray[np.uint8]:
        """A tensor's bytes in ``memory``."""
        place, t = self.program.places[tensor], self.program.network.tensors[tensor]
        start = self.bases[place.region] + place.offset
        return memory[start : start + t.bytes]

    def raw(self, memory: NDArray[np.uint8], tensor: str) -> NDArray[np.uint8]:
        """All bytes in ``memory`` that belong to a tensor, the slots of a compressed one included."""
        place, blocks = self.program.places[tensor], self.program.blocks.get(tensor)
        start = self.bases[place.region] + place.offset
        size = self.program.network.tensors[tensor].bytes if blocks is None else blocks.size
        return memory[start : start + size]

    def guards(self, memory: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Bytes between the regions."""
        ends = [*list(self.bases.values())[1:], self.marks]
        return np.concatenate([memory[end - GUARD : end] for end in ends])
