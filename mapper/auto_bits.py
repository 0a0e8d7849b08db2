"""``--auto-bits``: which operands of a network may narrow on an accelerator, and what they cost there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from dataflows.config import Config
from dataflows.formats import container
from dataflows.network import Conv, Network
from mapper.allocation import Allocation, Bits, Search, allocate
from mapper.array_plan import ArrayPlan, array_plan
from mapper.bit_widths import Widths, widths
from mapper.budget import Budget
from mapper.calibrate import Calibration, Samples
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.graph import FloatGraph
from mapper.layer_specs import LayerSpec
from mapper.plan_energy import layer_energy
from mapper.precision import Request
from mapper.quantize import quantize
from mapper.sensitivity import Operand, measure, operands
from mapper.timing import predict
from mapper.window_shape import is_window

LEVELS = 8, 6, 4, 3, 2
"""Bits that are tried, as far as the accelerator gains by them."""


@dataclass
class AutoBits:
    """One model on one accelerator.

    Attributes
    ----------
    graph, samples, calibration : the float model, samples of its inputs, ranges and histograms of its tensors
    cfg, options : the accelerator, and what is known of its DRAM
    spec : what ``--bits`` says; layers that it names stay as they are
    fuse : whether additions may join the layers before
    """

    graph: FloatGraph
    samples: Samples
    calibration: Calibration
    cfg: Config
    options: Options
    spec: LayerSpec[Request]
    fuse: bool = True
    tell: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        self.base = widths(self.graph, self.cfg, self.spec)
        self.network = quantize(self.graph, self.calibration, self.base)
        self.convs = {layer.name: layer for layer in self.network.layers if isinstance(layer, Conv)}
        nodes = {node.name: node for node in self.graph.nodes}
        self.windows = {
            name for name in self.convs
            if self.cfg.vector and is_window(nodes[name], self.graph.shapes[nodes[name].inputs[0]][1])  # type: ignore[arg-type]
        }

    def run(self, budget: Budget) -> Allocation:
        """Measure, then choose. Raises :class:`InputError` if the budget cannot be met."""
        start = self._start()
        free = {operand: self._levels(operand, bits) for operand, bits in start.items()}
        noise = measure(self.graph, self.samples, self.calibration, {o: b for o, b in free.items() if b}, self.tell)
        cost = {"cycles": self._cycles, "size": self._bytes, "energy": self._energy}[budget.metric]
        search = Search(noise, start, self.base.layers, cost)
        return allocate(search, budget, self._predicted(search) if budget.metric == "cycles" else None)

    def _start(self) -> dict[Operand, int]:
        """Bits of everything, as ``--bits`` or the accelerator says."""
        precisions = self.base.layers
        return {
            o: self.base.tensors[o.name] if o.kind == "inputs" else precisions[o.name].w_bits
            for o in operands(self.graph)
        }

    def _levels(self, operand: Operand, widest: int) -> list[int]:
        """Bits that an operand could have: fewer than now, and such that they stay so."""
        if any(layer in self.spec.layers for layer in operand.layers):
            return []
        if operand.kind == "weights" and operand.name in self.windows:
            return []
        if any(self.base.layers[layer].scheme != "linear" for layer in operand.layers):
            return []
        levels = [bits for bits in LEVELS if bits < widest and bits in self.cfg.operand_bits]
        if self.cfg.multiplier and self.cfg.multiplier.kind == "fusion":
            levels = [bits for bits in levels if bits == container(bits)]
        return [bits for bits in levels if operand.kind == "weights" or self._stays(operand, bits)]

    def _stays(self, operand: Operand, bits: int) -> bool:
        """Whether a tensor has these bits when everyone wants them."""
        layers = {layer: Request(bits, self.base.layers[layer].w_bits) for layer in operand.layers}
        found = widths(self.graph, self.cfg, replace(self.spec, layers={**self.spec.layers, **layers}))
        return found.tensors[operand.name] == bits

    def _cycles(self, layer: str, a_bits: int, w_bits: int) -> float:
        """Cycles of a layer, as planned."""
        return 0.0 if layer in self.windows else self._plan(layer, a_bits, w_bits).cycles

    def _plan(self, layer: str, a_bits: int, w_bits: int) -> ArrayPlan:
        conv = self.convs[layer]
        source, target = self.network.tensors[conv.inputs[0]], self.network.tensors[conv.output]
        narrow = replace(conv, weight_bits=w_bits)
        return array_plan(self.cfg, narrow, replace(source, bits=a_bits), target, self.options)

    def _energy(self, layer: str, a_bits: int, w_bits: int) -> float:
        """Picojoules of a layer: products, and DRAM as planned; what runs in the vector unit does not change."""
        if layer in self.windows:
            return 0.0
        macs = self.network.macs(self.convs[layer])
        return layer_energy(macs, a_bits, w_bits, self._plan(layer, a_bits, w_bits).dram_bytes)

    def _bytes(self, layer: str, a_bits: int, w_bits: int) -> float:
        """Bytes of a layer's packed weights."""
        return self.convs[layer].weight.size * container(w_bits) / 8

    def _predicted(self, search: Search) -> Callable[[Bits], float]:
        """Cycles of the whole network, transfers and everything between layers included."""

        def cycles(bits: Bits) -> float:
            self.tell("cycles of the whole network")
            program = compile_network(self.cfg, self._quantized(search, bits), self.options, fuse=self.fuse)
            return predict(program, self.options.latency, self.options.bytes_per_cycle).cycles

        return cycles

    def _quantized(self, search: Search, bits: Bits) -> Network:
        layers = {layer: search.precision(layer, bits).request for layer in search.layers}
        return quantize(self.graph, self.calibration, self._widths(layers))

    def _widths(self, layers: dict[str, Request]) -> Widths:
        return widths(self.graph, self.cfg, LayerSpec(None, {**layers, **self.spec.layers}))


