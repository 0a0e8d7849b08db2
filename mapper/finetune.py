"""Fine-tuning of pruned and weight-shared models, for the user's own training loop.

Training a model on after pruning, and once more after clustering, wins most of the lost accuracy back. Both helpers
hang on the model while it trains (``torch.nn.utils.parametrize``) and leave plain weights behind::

    pruner = Pruner(model, {"fc1": 0.1, "fc2": 0.25})
    train(model)                      # pruned weights stay zero
    pruner.finish()

    sharer = Sharer(model, 16)
    train(model)                      # only the centroids learn
    sharer.finish()

    torch.export.save(torch.export.export(model.eval(), (example,)), "model.pt2")

Make the optimizer after the helper: the parameters are others while one is active. ``python -m mapper model.pt2`` then
recognises pruned and clustered layers and keeps them as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils import parametrize

from dataflows.errors import InputError
from mapper.prune_masks import by_magnitude, check_density, check_finite
from mapper.weight_sharing import MOST, share

Value = TypeVar("Value", int, float, str)
Layer = nn.Linear | nn.Conv2d


class Pruner:
    """Prunes layers by magnitude and keeps their masks while the model trains.

    Parameters
    ----------
    model : nn.Module
        Its ``nn.Linear`` and ``nn.Conv2d`` layers are changed in place.
    densities : float or dict
        Share of weights that stay, above 0 and at most 1: for all layers, or by name as in ``named_modules()``.

    Raises
    ------
    InputError
        For layers that do not exist or are parametrized already, densities out of range, weights that are not finite.
    """

    def __init__(self, model: nn.Module, densities: float | Mapping[str, float]):
        self._layers = layers(model, densities)
        for name, (_, density) in self._layers.items():
            check_density(name, density)
        for layer, density in self._layers.values():
            mask = torch.from_numpy(by_magnitude(_weights(layer), density)).to(layer.weight.device)
            begin(layer, _Masked(mask))

    @property
    def densities(self) -> dict[str, float]:
        """Share of weights other than zero, by layer."""
        return {name: float((layer.weight != 0).float().mean()) for name, (layer, _) in self._layers.items()}

    def finish(self) -> None:
        """Leave plain weights, zeros among them. The model can be exported, or given to :class:`Sharer`."""
        finish(layer for layer, _ in self._layers.values())


class Sharer:
    """Replaces weights by centroids that train: the gradient of a centroid is the sum over its weights.

    Which weight takes which centroid is decided once, by k-means; zeros stay zero.

    Parameters
    ----------
    model : nn.Module
        Its ``nn.Linear`` and ``nn.Conv2d`` layers are changed in place.
    clusters : int or dict
        Values that weights may take, zero included, 2 to 256: for all layers, or by name as in ``named_modules()``.

    Raises
    ------
    InputError
        For layers that do not exist or are parametrized already (``Pruner.finish()`` comes first), numbers of clusters
        out of range, weights that are not finite.
    """

    def __init__(self, model: nn.Module, clusters: int | Mapping[str, int]):
        self._layers = layers(model, clusters)
        for name, (_, count) in self._layers.items():
            if not 2 <= count <= MOST:
                raise InputError(f"layer {name}: clusters must be 2 to {MOST}, zero among them, not {count}")
        for layer, count in self._layers.values():
            shared = share(_weights(layer), count)
            codes = torch.from_numpy(shared.codes.astype("int32")).to(layer.weight.device)
            begin(layer, _Shared(codes))

    @property
    def values(self) -> dict[str, int]:
        """Different values that the weights take, zero included, by layer."""
        return {name: len(torch.unique(layer.weight)) for name, (layer, _) in self._layers.items()}

    def finish(self) -> None:
        """Leave plain weights of few values. The model can be exported."""
        finish(layer for layer, _ in self._layers.values())


class _Masked(nn.Module):
    """Weights times a mask; so gradients are masked, too."""

    mask: torch.Tensor

    def __init__(self, mask: torch.Tensor):
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight * self.mask

    def right_inverse(self, weight: torch.Tensor) -> torch.Tensor:
        return weight


class _Shared(nn.Module):
    """Centroids by code; code 0 is zero and does not train. Gradients are summed as float32 for any weights."""

    codes: torch.Tensor

    def __init__(self, codes: torch.Tensor):
        super().__init__()
        self.register_buffer("codes", codes)
        self.count = int(codes.max())

    def forward(self, centroids: torch.Tensor) -> torch.Tensor:
        table = torch.cat([centroids.new_zeros(1, dtype=torch.float32), centroids.float()])
        return table.index_select(0, self.codes.reshape(-1)).reshape(self.codes.shape).to(centroids.dtype)

    def right_inverse(self, weight: torch.Tensor) -> torch.Tensor:
        """The mean of each centroid's weights."""
        codes = self.codes.reshape(-1).long()
        sums = torch.zeros(self.count + 1, dtype=torch.float64, device=weight.device)
        sums.index_add_(0, codes, weight.reshape(-1).double())
        return (sums / torch.bincount(codes, minlength=self.count + 1).clamp(min=1))[1:].to(weight.dtype)


def layers(model: nn.Module, values: Value | Mapping[str, Value]) -> dict[str, tuple[Layer, Value]]:
    """Layers to change, by name, with the value that each gets; ``InputError`` for those that are not there."""
    found = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    if not isinstance(values, Mapping):
        values = dict.fromkeys(found, values)
    for name in values:
        if name not in found:
            raise InputError(f"the model has no linear or convolutional layer {name!r}; it has {', '.join(found)}")
        if parametrize.is_parametrized(found[name], "weight"):
            raise InputError(f"layer {name}: its weights are parametrized already; finish() that first")
        check_finite(name, _weights(found[name]))
    return {name: (found[name], value) for name, value in values.items()}


def _weights(layer: Layer) -> NDArray[np.float32]:
    """Weights as float32, whatever their type."""
    return layer.weight.detach().float().cpu().numpy()


def begin(layer: Layer, parametrization: nn.Module) -> None:
    """Let a module make a layer's weights from what trains."""
    layer.weight.grad = None  # of the shape that the weights had before
    parametrize.register_parametrization(layer, "weight", parametrization)


def finish(layers: Iterable[Layer]) -> None:
    """Leave plain weights, as they were made last."""
    for layer in layers:
        if parametrize.is_parametrized(layer, "weight"):
            for parameter in layer.parameters():
                parameter.grad = None  # the bias's, too: a step that is over needs none
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
