"""Fine-tuning of models for few bits, for the user's own training loop.

With 2 bits, ternary or binary weights a model has to learn what it is rounded to. The helper hangs on the model while
it trains: weights and inputs of every layer named are rounded on the way, and gradients pass as if they were not
(straight-through estimator; Bengio et al., 2013)::

    quantizer = Quantizer(model, "2", {"stem": "8/8", "classify": "8/ternary"})
    quantizer.observe(images)         # ranges of the inputs, from some samples
    train(model)
    quantizer.finish()

    torch.export.save(torch.export.export(model.eval(), (example,)), "model.pt2")

Make the optimizer after ``observe``, which adds a scale per layer to what is trained. ``finish`` leaves plain weights
of few values and rounds inputs for good; ``python -m mapper model.pt2`` recognises both and needs no ``--bits``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from dataflows.errors import InputError
from mapper.finetune import Layer, begin, finish, layers
from mapper.precision import LEAST_BITS, Precision, request
from mapper.straight_through import RoundedInputs, RoundedWeights


class Quantizer:
    """Rounds weights and inputs of layers while a model trains.

    Parameters
    ----------
    model : nn.Module
        Its ``nn.Linear`` and ``nn.Conv2d`` layers are changed in place.
    bits : str
        Widths as ``--bits`` takes them: ``4``, ``8/4``, ``8/ternary``, ``8/binary``.
    exceptions : dict, optional
        Widths of single layers, by name as in ``named_modules()``.

    Raises
    ------
    InputError
        For widths that mean nothing, layers that do not exist or are parametrized already.
    """

    def __init__(self, model: nn.Module, bits: str, exceptions: Mapping[str, str] | None = None):
        self._model = model
        usual = _precision(bits)
        named = {name: _precision(text) for name, text in (exceptions or {}).items()}
        layers(model, exceptions or {})  # refuses names that are not there
        found = layers(model, bits)
        self._layers: dict[str, tuple[Layer, Precision]] = {
            name: (layer, named.get(name, usual)) for name, (layer, _) in found.items()
        }
        self._hooks: list[RemovableHandle] = []
        for layer, precision in self._layers.values():
            begin(layer, RoundedWeights(precision))

    def observe(self, *inputs: torch.Tensor) -> None:
        """Run samples through the model and round the inputs of its layers, with scales that suit them."""
        for hook in self._hooks:
            hook.remove()
        seen: dict[str, torch.Tensor] = {}
        watch = [layer.register_forward_pre_hook(_keeper(seen, name)) for name, (layer, _) in self._layers.items()]
        training = self._model.training
        self._model.eval()
        with torch.no_grad():
            self._model(*inputs)
        self._model.train(training)
        for hook in watch:
            hook.remove()
        self._hooks = []
        for name, (layer, precision) in self._layers.items():
            if name in seen and not _signs(seen[name]):
                layer.rounding = RoundedInputs(seen[name], precision.a_bits)
                self._hooks.append(layer.register_forward_pre_hook(_rounded))

    def finish(self) -> None:
        """Leave plain weights of few values, and inputs that are rounded with scales of their own."""
        finish(layer for layer, _ in self._layers.values())
        for layer, _ in self._layers.values():
            if isinstance(rounding := getattr(layer, "rounding", None), RoundedInputs):
                rounding.freeze()


def _precision(text: str) -> Precision:
    try:
        wanted = request(text)
    except argparse.ArgumentTypeError as error:
        raise InputError(f"bits {error}") from error
    return Precision(wanted.a_bits or 8, wanted.w_bits or LEAST_BITS[wanted.scheme], wanted.scheme)


def _keeper(seen: dict[str, torch.Tensor], name: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
    def keep(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen[name] = inputs[0].detach()

    return keep


def _signs(x: torch.Tensor) -> bool:
    """Whether a tensor holds +1 and -1 only, and so is rounded already."""
    return bool((x.abs() == 1).all())


def _rounded(layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    rounding = layer.get_submodule("rounding")
    return rounding(inputs[0]), *inputs[1:]
