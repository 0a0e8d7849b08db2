"""Automatic bit allocation: the widths that cost least accuracy for a budget of cycles, bytes or energy.

A plain greedy search (the idea of HAQ and HAWQ, without training anything): all operands begin as wide as the
accelerator has them. Again and again the one narrows that saves most for the noise it adds to the outputs
(``mapper/sensitivity.py``), until the budget is met. Then operands widen again, one at a time, others narrowing for
it, as long as that lessens the noise; equal widths for all layers are improved likewise, and the best result is taken.
Costs are the hardware's own law: the planner's cycles of each layer at each precision, the bytes of its weights, or its
energy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from math import log10
from typing import Any

from dataflows.errors import InputError
from mapper.budget import COUNTED, Budget
from mapper.layer_specs import LayerSpec
from mapper.precision import Precision, Request
from mapper.sensitivity import Operand

Bits = Mapping[Operand, int]
Noise = Mapping[Operand, Mapping[int, float]]
Cost = Callable[[str, int, int], float]
"""Of a layer, by the bits of its input and of its weights."""

LEAST_NOISE = 1e-9
"""Noise below this is none: it is that of float32, or of 8 bits."""


@dataclass(frozen=True)
class Step:
    """One layer of the result.

    Attributes
    ----------
    layer : name
    precision : its widths
    before, after : cost with the widest precision and with this one
    inputs_noise, weights_noise : noise over signal of the outputs, if only this operand had its width
    """

    layer: str
    precision: Precision
    before: float
    after: float
    inputs_noise: float
    weights_noise: float


@dataclass(frozen=True)
class Allocation:
    """Widths of all layers, and why; ``measured`` is what the network takes at the widest, and with these."""

    budget: Budget
    steps: tuple[Step, ...]
    measured: tuple[float, float]

    @property
    def spec(self) -> LayerSpec[Request]:
        """What ``--bits`` would have to say."""
        layers = {step.layer: step.precision.request for step in self.steps}
        return LayerSpec(None, layers, ",".join(f"{name}={wanted.text}" for name, wanted in layers.items()))

    def document(self) -> dict[str, Any]:
        """For JSON."""
        before, after = self.measured
        steps = [{**asdict(step), "precision": str(step.precision)} for step in self.steps]
        return {
            "budget": self.budget.text, "metric": self.budget.metric, "widest": before, "found": after,
            "bits": self.spec.text, "layers": steps,
        }  # fmt: skip

    @property
    def cost(self) -> tuple[float, float]:
        """Of all layers, with the widest precision and with this one."""
        return sum(step.before for step in self.steps), sum(step.after for step in self.steps)


@dataclass
class Search:
    """The state of one search.

    Attributes
    ----------
    noise : measured noise of every operand that may narrow, by bits
    start : bits of all operands, the widest
    base : precision of every layer at the start
    cost : cost of a layer
    """

    noise: Noise
    start: Bits
    base: Mapping[str, Precision]
    cost: Cost

    def __post_init__(self) -> None:
        self._known: dict[tuple[str, int, int], float] = {}
        self._operand = {(o.kind, layer): o for o in self.start for layer in o.layers}
        self.layers = [o.name for o in self.start if o.kind == "weights"]

    def run(self, limit: float) -> dict[Operand, int]:
        """Bits of all operands for a cost of at most ``limit``; as few as possible if that cannot be met."""
        found = [self._improve(bits, limit) for bits in self._starts(limit)]
        return min(found, key=self.total_noise) if found else self._narrow(dict(self.start), 0.0)

    def _starts(self, limit: float) -> Iterator[dict[Operand, int]]:
        """Where to begin: what greedy narrowing gives, and equal widths, as far as they cost no more than allowed."""
        inputs, weights = (
            sorted({bits for o, levels in self.noise.items() if o.kind == kind for bits in (*levels, self.start[o])})
            for kind in ("inputs", "weights")
        )
        even = [
            {o: self._at_most(o, a if o.kind == "inputs" else w) for o in self.start} for a in inputs for w in weights
        ]
        for bits in (self._narrow(dict(self.start), limit), *even):
            if self.total(bits) <= limit:
                yield bits

    def _at_most(self, operand: Operand, bits: int) -> int:
        """The widest that an operand may have up to ``bits``, else the narrowest."""
        levels: list[int] = [*self.noise.get(operand, ()), self.start[operand]]
        fitting = [width for width in levels if width <= bits]
        return max(fitting) if fitting else min(levels)

    def _narrow(self, bits: dict[Operand, int], limit: float, keep: Operand | None = None) -> dict[Operand, int]:
        """Narrow what saves most for its noise until the cost is met; never ``keep``."""
        while self.total(bits) > limit:
            moves = [(gain, width, number) for number, (operand, levels) in enumerate(self.noise.items())
                     for width in levels if width < bits[operand] and operand != keep
                     and (gain := self._gain(bits, operand, width)) is not None]  # fmt: skip
            if not moves:
                return bits
            _, width, number = max(moves)
            bits[list(self.noise)[number]] = width
        return bits

    def _improve(self, bits: dict[Operand, int], limit: float) -> dict[Operand, int]:
        """Widen one operand, and narrow others for it, as long as that lessens the noise."""
        better = True
        while better:
            better = False
            for operand, levels in self.noise.items():
                for width in sorted((*levels, self.start[operand]), reverse=True):
                    if width <= bits[operand]:
                        break
                    tried = self._narrow({**bits, operand: width}, limit, operand)
                    if self.total(tried) <= limit and self.total_noise(tried) < 0.999 * self.total_noise(bits):
                        bits, better = tried, True
                        break
        return bits

    def total_noise(self, bits: Bits) -> float:
        """Noise of all operands."""
        return sum(self._loss(operand, width) for operand, width in bits.items())

    def total(self, bits: Bits) -> float:
        """Cost of all layers."""
        return sum(self.layer_cost(layer, bits) for layer in self.layers)

    def layer_cost(self, layer: str, bits: Bits) -> float:
        """Cost of one."""
        precision = self.precision(layer, bits)
        key = layer, precision.a_bits, precision.w_bits
        if key not in self._known:
            self._known[key] = self.cost(*key)
        return self._known[key]

    def precision(self, layer: str, bits: Bits) -> Precision:
        """Widths of a layer."""
        a_bits, w_bits = (bits[self._operand[kind, layer]] for kind in ("inputs", "weights"))
        return replace(self.base[layer], a_bits=a_bits, w_bits=w_bits)

    def steps(self, bits: Bits) -> tuple[Step, ...]:
        """The result, layer by layer."""
        return tuple(
            Step(
                layer, self.precision(layer, bits), self.layer_cost(layer, self.start), self.layer_cost(layer, bits),
                *(self._loss(o, bits[o]) for o in (self._operand["inputs", layer], self._operand["weights", layer])),
            )
            for layer in self.layers
        )  # fmt: skip

    def _gain(self, bits: Bits, operand: Operand, width: int) -> float | None:
        """Cost saved per noise added; None where nothing is saved."""
        after = {**bits, operand: width}
        saved = sum(self.layer_cost(layer, bits) - self.layer_cost(layer, after) for layer in operand.layers)
        added = max(self._loss(operand, width) - self._loss(operand, bits[operand]), LEAST_NOISE)
        return saved / added if saved > 0 else None

    def _loss(self, operand: Operand, width: int) -> float:
        if width == self.start[operand]:
            return 0.0
        return self.noise[operand][width]


def allocate(search: Search, budget: Budget, measured: Callable[[Bits], float] | None = None) -> Allocation:
    """Widths for a budget.

    Parameters
    ----------
    search : what there is to choose
    budget : the limit
    measured : what the whole network takes, where that is more than the layers' costs; the search then aims lower until
        it fits, or its limit is that of the narrowest widths

    Raises
    ------
    InputError
        When the narrowest widths do not meet it; the message says how close they come.
    """
    measure = measured or search.total
    widest = measure(search.start)
    limit = budget.limit(widest)
    aim = limit
    for _ in range(ROUNDS):
        bits = search.run(aim)
        found = measure(bits)
        if found <= limit:
            return Allocation(budget, search.steps(bits), (widest, found))
        if search.total(bits) > aim:
            break
        aim = search.total(bits) - max(1.0, (found - limit) / 2)
    bits = search.run(0.0)
    narrowest = measure(bits)
    if narrowest > limit:
        raise InputError(
            f"--auto-bits {budget.text}: even the narrowest widths take {_amount(budget, narrowest)}, which is "
            f"{narrowest / widest:.3g} of the {_amount(budget, widest)} at the widest; the budget is "
            f"{_amount(budget, limit)}"
        )
    return Allocation(budget, search.steps(bits), (widest, narrowest))


ROUNDS = 6
"""Aims that are tried."""


def _amount(budget: Budget, value: float) -> str:
    return f"{value:,.0f} {COUNTED[budget.metric]}"


def decibels(noise: float) -> float:
    """Noise over signal as a ratio in dB (of signal over noise)."""
    return -10 * log10(max(noise, LEAST_NOISE))
