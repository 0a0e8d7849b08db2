"""Masks of attention: which of those that a model can write down the accelerator has."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mapper.import_builder import Builder
from mapper.import_values import Activation, Constant

HIDDEN = -1e4
"""Values added to scores from here down hide a key, as minus infinity does."""

SUPPORTED = "causal masks, and masks that hide all keys from some length of each sample on, are"


@dataclass(frozen=True)
class Mask:
    """Query i sees keys up to i + Lk - Lq, if ``causal``; in each sample only the first of ``lengths`` keys count."""

    causal: bool = False
    lengths: tuple[int, ...] | None = None


def constant_mask(builder: Builder, mask: object) -> torch.Tensor:
    """The contents of a mask; an error where it is computed."""
    if isinstance(mask, Constant):
        return mask.data
    what = f"a computed tensor of shape {mask.shape}" if isinstance(mask, Activation) else f"a {type(mask).__name__}"
    raise builder.error(
        f"the attention mask is {what}; masks must be constants of the model (register_buffer); {SUPPORTED} supported"
    )


def seen(builder: Builder, mask: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Which scores of ``shape`` a mask leaves: bool, where True is a key that counts, or numbers that are added."""
    if mask.dtype != torch.bool:
        visible, hidden = mask == 0, mask <= HIDDEN
        if not bool((visible | hidden).all()):
            odd = float(mask[~(visible | hidden)].reshape(-1)[0])
            raise builder.error(
                f"the attention mask adds {odd:g} to a score; only 0 and minus infinity are supported, no biases"
            )
        mask = visible
    try:
        return mask.expand(shape)
    except RuntimeError as error:
        raise builder.error(f"an attention mask of shape {tuple(mask.shape)} does not fit scores of {shape}") from error


def classified(builder: Builder, allowed: torch.Tensor, samples: torch.Tensor) -> Mask:
    """What a mask is.

    Parameters
    ----------
    allowed : bool tensor (rows of samples and heads, Lq, Lk)
    samples : tensor (rows of samples and heads,)
        The sample of each.
    """
    if bool(allowed.all()):
        return Mask()
    queries, keys = allowed.shape[1:]
    each = torch.stack([allowed[samples == n] for n in range(int(samples.max()) + 1)])
    if not bool((each == each[:, :1]).all()):
        raise builder.error(f"the attention mask differs between heads; {SUPPORTED} supported")
    found = each[:, 0]
    blind = (~found.any(-1)).nonzero()
    if len(blind):
        n, i = blind[0].tolist()
        raise builder.error(f"the attention mask hides all keys from query {i} of sample {n}")
    counts = found[:, -1].sum(-1)
    short = (torch.arange(keys) < counts[:, None])[:, None]
    triangle = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
    lengths = None if bool((counts == keys).all()) else tuple(counts.tolist())
    if torch.equal(found, short.expand(found.shape)):
        return Mask(False, lengths)
    if torch.equal(found, short & triangle):
        return Mask(True, lengths)
    raise builder.error(
        f"an attention mask over {queries} queries and {keys} keys is neither causal nor by length; only {SUPPORTED} "
        "supported"
    )
