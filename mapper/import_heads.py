"""Heads: what queries, keys and values are in the tensors that they are views of."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mapper.import_builder import Builder
from mapper.import_layout import Places, arranged, index
from mapper.import_parts import pick, spaced, span, tokens
from mapper.import_values import Activation


@dataclass(frozen=True)
class Heads:
    """Queries, keys or values as the accelerator takes them.

    Attributes
    ----------
    tensor : Activation
        The graph's (N, heads * D, 1, L), head h being channels h*D to h*D + D - 1.
    sample, head : integer tensors (rows,)
        What each of the model's matrices (L, D) belongs to.
    """

    tensor: Activation
    sample: torch.Tensor
    head: torch.Tensor

    @property
    def count(self) -> int:
        """Heads of a sample."""
        return int(self.head.max()) + 1


def heads(builder: Builder, x: Activation, role: str) -> Heads:
    """``x`` of shape (..., L, D), in which every (L, D) must be tokens and channels of one head of one sample."""
    places, held = index(builder, x), builder.shape(x)
    length, depth = x.shape[-2:]
    at = Places.of(places.reshape(-1, length, depth), held)
    sample, lists = at.sample[:, 0, 0], at.channel[:, 0]
    same = (at.sample == sample[:, None, None]) & (at.channel == lists[:, None])
    start, stop = span(builder, at.pixel[:, :, 0])
    if stop - start != length or not bool((same & (at.pixel == torch.arange(start, stop)[:, None])).all()):
        raise _unlike(builder, x, role)
    samples, count = held[0], len(sample) // held[0]
    order = torch.argsort(sample, stable=True)
    if count * samples != len(sample) or not torch.equal(sample[order], torch.arange(samples).repeat_interleave(count)):
        raise _unlike(builder, x, role)
    by_sample = lists[order].reshape(samples, count * depth)
    if not bool((by_sample == by_sample[0]).all()):
        raise _unlike(builder, x, role)
    head = torch.empty(len(sample), dtype=torch.int64)
    head[order] = torch.arange(count).repeat(samples)
    node = builder.maker(x.name)
    part = pick(builder, x, by_sample[0].tolist(), f"{node.name}.{role}" if node else "")
    part = tokens(builder, part, start, stop)
    return Heads(spaced(builder, part, 1, stop - start), sample, head)


def _unlike(builder: Builder, x: Activation, role: str) -> Exception:
    return builder.error(
        f"attention: the {role} of shape {x.shape} are not (..., heads, tokens, channels of a head) of a sequence "
        f"(N, L, C); they are a view of {builder.shape(x)} as (N, C, H, W) in another order"
    )


def joined(builder: Builder, result: Activation, rows: Heads, lead: tuple[int, ...], depth: int) -> Activation:
    """The result (N, heads * D, 1, L) of attention as the model has it: (..., L, D)."""
    _, channels, _, length = builder.shape(result)
    base = (rows.sample * channels + rows.head * depth) * length
    inner = torch.arange(length)[:, None] + torch.arange(depth) * length
    return arranged(result, (base[:, None, None] + inner).reshape(*lead, length, depth))
