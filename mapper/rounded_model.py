"""A model with its quantization's rounding, in floats: what quantization does to it, layer by layer.

Weights are integers times their scales, tensors are rounded to their levels, what a layer computes between is exact.
That is what the golden model computes, but for the rounding of biases, softmax and norms inside of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from dataflows.network import Network, Tensor
from mapper.float_reference import finished, given
from mapper.graph import Conv, FloatGraph, Floats, Node
from mapper.graph_attention import id_inputs

Samples = Mapping[str, NDArray[np.float32]]
Values = list[torch.Tensor]
Visit = Callable[[Node, Values, Values, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class RoundedModel:
    """A float graph beside its integers.

    Attributes
    ----------
    graph : FloatGraph
    network : Network
        Its tensors say what is rounded to what.
    weights : dict of str to float32 array
        By layer, shaped like the graph's: what its integers stand for. Layers whose result is a sign have none.
    biases : dict of str to float32 array
        By layer, where they are not the graph's.
    """

    graph: FloatGraph
    network: Network
    weights: Mapping[str, Floats]
    biases: Mapping[str, Floats] = field(default_factory=dict)

    def rounded(self, node: Node) -> Node:
        """A node with weights as they are quantized."""
        if not isinstance(node, Conv):
            return node
        weight, bias = self.weights.get(node.name, node.weight), self.biases.get(node.name, node.bias)
        return replace(node, weight=weight, bias=bias)

    def on_levels(self, name: str, value: torch.Tensor) -> torch.Tensor:
        """A tensor rounded to its levels."""
        tensor = self.network.tensors[name]
        if tensor.bits == 1 or name in self._ids:
            return value
        return _on_levels(tensor, value)

    @property
    def _ids(self) -> set[str]:
        return set(id_inputs(self.graph))

    def walk(self, samples: Samples, visit: Visit) -> None:
        """Run the float model and another one beside it.

        Parameters
        ----------
        samples : float array (samples, C, H, W) per input
        visit : function
            Called with every node, its inputs in the float model and in the other one, and its result in the float
            model; gives its result in the other one.
        """
        graph, uses = self.graph, self.graph.uses()
        count = len(samples[graph.inputs[0]])
        exact: dict[str, torch.Tensor] = {}
        found: dict[str, torch.Tensor] = {}
        with torch.inference_mode():
            for name in graph.inputs:
                exact[name] = given(graph, name, samples[name])
                found[name] = self.on_levels(name, exact[name])
            for node in graph.nodes:
                inputs = [exact[name] for name in node.inputs], [found[name] for name in node.inputs]
                exact[node.output] = finished(graph, node, inputs[0], count)
                found[node.output] = visit(node, *inputs, exact[node.output]).expand(exact[node.output].shape)
                for name in node.inputs:
                    uses[name] -= 1
                    if not uses[name]:
                        exact.pop(name, None)
                        found.pop(name, None)


def _on_levels(tensor: Tensor, value: torch.Tensor) -> torch.Tensor:
    return torch.fake_quantize_per_tensor_affine(value, tensor.scale, tensor.zero, tensor.lowest, tensor.highest)
