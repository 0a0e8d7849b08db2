"""Quantization: a float graph and its calibration become the integer network that is mapped and run.

Activations: one scale and zero point per tensor, chosen so that zero is exact.  Weights: symmetric (-127..127 with
8 bits), one scale per output channel; one for all of them where weights share few values, so that their integers are
as few.  Zero weights stay zero.  Scales are float32. How wide everything is is decided before (``mapper/bit_widths``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from dataflows import operators
from dataflows.errors import InputError
from dataflows.network import Add, AvgPool, Concat, Conv, Layer, MaxPool, Network, Reshape, Tensor, Window
from mapper import graph as floats
from mapper.activation_scale import activation_scale
from mapper.bit_widths import KEEPS, Widths, uniform
from mapper.calibrate import Calibration
from mapper.fake_quantize import early
from mapper.graph import FloatGraph, Node
from mapper.graph_attention import Norm, Respace, id_inputs
from mapper.graph_operators import ChannelSlice, Multiply, Spread, Upsample
from mapper.quantize_attention import around_zero, attention_layer, symmetric
from mapper.rounded_model import RoundedModel
from mapper.sign_padding import check_padding
from mapper.weight_sharing import is_shared
from mapper.weights import bias_type, check_scale, quantize_signs, quantize_weights

Order = NDArray[np.int64]

AXES = {1: 3, 3: 2}
"""Dimensions of concatenations: of (N, C, H, W), and what they are of (N, H, W, C)."""


def quantize(
    graph: FloatGraph, calibration: Calibration, bits: int | Widths = 8, one_scale: bool = False
) -> Network:
    """The integer network for a simplified float graph.

    Parameters
    ----------
    graph : FloatGraph
        As returned by ``import_model``.
    calibration : Calibration
        Ranges of all its tensors, with histograms for those of 4 bits and less.
    bits : int or Widths
        Width of every tensor and precision of every layer; a number is one width for all of them.
    one_scale : bool
        One scale for all weights of a layer, not one per output channel.

    Raises
    ------
    InputError
        When an accumulator could overflow, or scales cannot be represented; the message names the layer.
    """
    return rounded_model(graph, calibration, bits, one_scale).network


def rounded_model(
    graph: FloatGraph, calibration: Calibration, bits: int | Widths = 8, one_scale: bool = False
) -> RoundedModel:
    """The integer network beside the float graph, with the weights that its integers stand for; as :func:`quantize`."""
    quantizer = _Quantizer(graph, calibration, uniform(graph, bits) if isinstance(bits, int) else bits, one_scale)
    return RoundedModel(graph, quantizer.run(), quantizer.rounded)


@dataclass
class _Quantizer:
    graph: FloatGraph
    calibration: Calibration
    widths: Widths
    one_scale: bool

    def run(self) -> Network:
        self.tensors: dict[str, Tensor] = {}
        self.orders: dict[str, Order] = {}  # of flattened maps: where the model's element j is
        self.rounded: dict[str, floats.Floats] = {}  # what the integers of layers stand for
        self.signs: set[str] = set()  # tensors of +1 and -1
        self.levels = early(self.graph)
        self.symmetric = symmetric(self.graph)
        self.ids = set(id_inputs(self.graph))
        for name in self.graph.inputs:
            self._tensor(name)
        layers = [self._layer(node) for node in self.graph.nodes]
        orders = {name: self.orders[name] for name in self.graph.outputs if name in self.orders}
        return Network(
            self.graph.name, self.tensors, tuple(layers), self.graph.inputs, self.graph.outputs, output_order=orders,
            input_range=dict(self._input_ranges()),
        )

    def _tensor(self, name: str, like: Tensor | None = None, sign: bool = False) -> Tensor:
        """Declare a tensor, with the scale of ``like`` or one of its own; ``sign``: it holds +1 and -1."""
        bits = self.widths.tensors[name]
        ternary = self.widths.ternary and bits == 2
        if like is not None:
            scale, zero = like.scale, like.zero
            sign = like.name in self.signs
        elif sign or bits == 1:
            scale, zero, sign = 1.0, 0, True
        elif name in self.ids:
            scale, zero = 1.0, 0
        elif (levels := self._levels(name)) is not None and not (name in self.symmetric and levels.zero):
            scale, zero = float(np.float32(levels.scale)), levels.zero
        elif name in self.symmetric:
            scale, zero = around_zero(*self.calibration.range(name, bits, ternary))
        else:
            scale, zero = activation_scale(*self.calibration.range(name, bits, ternary), bits, ternary)
        if sign:
            self.signs.add(name)
        n, c, h, w = self.graph.shapes[name]
        self.tensors[name] = Tensor(name, (n, h, w, c), scale, zero, bits, ternary)
        return self.tensors[name]

    def _levels(self, name: str) -> floats.Quantized | None:
        """Levels that the model gives a tensor, if its integers can hold them."""
        levels, bits = self.levels.get(name), self.widths.tensors[name]
        if levels is None or levels.bits > bits or (self.widths.ternary and bits == 2 and levels.least < -1):
            return None
        return levels

    def _input_ranges(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Inputs of which the model uses fewer integers than their tensors hold."""
        for name in self.graph.inputs:
            levels, tensor = self._levels(name), self.tensors[name]
            if levels is not None and (levels.least > tensor.lowest or levels.most < tensor.highest):
                yield name, (levels.least, levels.most)

    def _layer(self, node: Node) -> Layer:
        sources = [self.tensors[name] for name in node.inputs]
        if isinstance(node, KEEPS):
            target = self._tensor(node.output, like=sources[0])
        else:
            target = self._tensor(node.output, sign=node.sign)
        low, high = (-1, 1) if node.sign else (_code(node.low, target), _code(node.high, target))
        if (levels := self._levels(node.output)) is not None and not node.sign:
            low, high = max(low, levels.least), min(high, levels.most)
        common = (node.name, node.inputs, node.output, low, high)
        if node.inputs:
            self._follow_order(node)
        if (layer := attention_layer(node, common, sources, target)) is not None:
            return layer
        source = sources[0]
        if isinstance(node, floats.Conv | floats.Pad | floats.AvgPool):
            check_padding(node, source)
        match node:
            case floats.Conv():
                return self._conv(node, common, source, target)
            case floats.Pad():
                return _padding(node, common, source)
            case floats.Clamp():
                return MaxPool(*common)
            case floats.MaxPool():
                return MaxPool(*common, node.window)
            case floats.AvgPool():
                for divisor in (node.divisors.min(), node.divisors.max()):
                    check_scale(node.name, source.scale / (divisor * target.scale))
                return AvgPool(*common, node.window, node.divisors)
            case floats.Add():
                self._check_scales(node)
                return Add(*common)
            case floats.Concat():
                self._check_scales(node)
                return Concat(*common, AXES[node.axis])
            case Multiply():
                check_scale(node.name, source.scale * sources[1].scale / target.scale)
                return operators.Multiply(*common)
            case Upsample():
                return operators.Upsample(*common, node.factor)
            case Spread():
                return operators.Spread(*common, node.stride)
            case ChannelSlice():
                return operators.ChannelSlice(*common, node.start, node.stop)
            case floats.Flatten() | Respace():
                return Reshape(*common)
        raise TypeError(f"{node.name}: {type(node).__name__} cannot be quantized; simplify the graph first")

    def _check_scales(self, node: Node) -> None:
        largest = max(self.tensors[name].scale for name in node.inputs)
        check_scale(node.name, largest / self.tensors[node.output].scale)

    def _conv(
        self, node: floats.Conv, common: tuple[str, tuple[str, ...], str, int, int], source: Tensor, target: Tensor
    ) -> Conv:
        precision = self.widths.layers[node.name]
        steps = node.steps if precision.scheme == "linear" else None
        shared = precision.scheme == "ttq" or (precision.w_bits >= 8 and steps is None and is_shared(node.plain))
        weight, bias = node.plain if shared else node.weight, node.bias
        order = self.orders.get(node.inputs[0])
        if order is not None:
            place = np.argsort(order)  # the model's element at each NHWC place
            if node.groups == 1:
                weight = weight[:, place]
            else:
                weight, bias, steps = weight[place], bias[place], None if steps is None else steps[place]
        factor = _factor(node) if shared else None
        if node.sign:
            signs = source.bits > 1 and source.name in self.signs
            made = quantize_signs(node.name, weight, bias, source, factor, precision, signs)
        else:
            options = factor, precision, steps, self.one_scale
            made = quantize_weights(node.name, weight, bias, source, target.scale, *options)
            self._note_rounded(node, made[0] * made[1].reshape(-1, 1, 1, 1), order)
        return Conv(*common, *made, node.window, node.groups, precision.w_bits)

    def _note_rounded(self, node: floats.Conv, weight: floats.Floats, order: Order | None) -> None:
        """Keep weights in the order of the model's channels."""
        if order is not None:
            weight = weight[:, order] if node.groups == 1 else weight[order]
        self.rounded[node.name] = np.ascontiguousarray(weight, np.float32)

    def _follow_order(self, node: Node) -> None:
        """Note the order of the result's elements where it differs from the model's."""
        orders = [self.orders.get(name) for name in node.inputs]
        if isinstance(node, floats.Flatten):
            _, c, h, w = self.graph.shapes[node.inputs[0]]
            if c > 1 and h * w > 1:
                self.orders[node.output] = np.arange(h * w * c).reshape(h * w, c).T.reshape(-1)
        elif isinstance(node, floats.Concat) and any(order is not None for order in orders):
            self.orders[node.output] = self._joined(node)
        elif isinstance(node, floats.Add | Multiply) and any(not _same(orders[0], order) for order in orders):
            raise InputError(f"{node.where or node.name}: {node.op} of a flattened map and a vector is not supported")
        elif isinstance(node, ChannelSlice) and orders[0] is not None:
            raise InputError(f"{node.where or node.name}: a part of a flattened map is not supported")
        elif isinstance(node, Norm) and orders[0] is not None:
            raise InputError(f"{node.where or node.name}: a norm over a flattened map is not supported")
        elif orders[0] is not None and not (isinstance(node, floats.Conv) and node.groups == 1):
            if isinstance(node, floats.Conv) and node.groups != len(node.weight):
                raise InputError(f"{node.where or node.name}: a grouped layer on a flattened map is not supported")
            self.orders[node.output] = orders[0]

    def _joined(self, node: Node) -> Order:
        """Order of a concatenation of vectors, some of them flattened maps."""
        parts, start = [], 0
        for name in node.inputs:
            size = self.graph.shapes[name][1]
            order = self.orders.get(name)
            parts.append(start + (np.arange(size) if order is None else order))
            start += size
        return np.concatenate(parts)


def _factor(node: floats.Conv) -> NDArray[np.float64]:
    """What scales the output channels of a layer, beside its weights."""
    return np.ones(len(node.weight)) if node.unfolded is None else node.unfolded.factor


def _same(a: Order | None, b: Order | None) -> bool:
    if a is None or b is None:
        return a is b
    return bool(np.array_equal(a, b))


def _code(value: float, tensor: Tensor) -> int:
    """The integer that stands for a bound, limited to the range of the tensor."""
    if value in (-inf, inf):
        return tensor.lowest if value < 0 else tensor.highest
    if tensor.bits == 1 and abs(value) < 1:
        raise InputError(f"a clamp to {value:g} of {tensor.name}, which holds +1 and -1 only, is not supported")
    return int(np.clip(np.rint(value / tensor.scale) + tensor.zero, tensor.lowest, tensor.highest))


def _padding(node: floats.Pad, common: tuple[str, tuple[str, ...], str, int, int], source: Tensor) -> Conv:
    """Zero padding as a depthwise 1x1 convolution that multiplies by n * (1 / n), n the largest weight: exact."""
    channels = source.shape[3]
    weight = np.full((channels, 1, 1, 1), source.highest, source.dtype)
    scale = np.full(channels, 1 / source.highest, np.float32)
    bias = np.zeros(channels, bias_type(source))
    return Conv(*common, weight, scale, bias, Window(padding=node.padding), channels, source.bits)
