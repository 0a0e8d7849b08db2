"""Random configurations times random layers on the RTL: cases from seeds, and their runner.

``python -m tests.system.regression CONFIGURATION [CASE ...]`` runs cases of one configuration and prints their table.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from dataflows import catalogue, config
from dataflows.config import Config
from dataflows.errors import InputError
from dataflows.formats import ACC_BITS, ceil_pow2
from dataflows.network import Codes, Network
from dataflows.vocabulary import Operand
from mapper.compile import Program, compile_network
from mapper.conv_plan import Options
from mapper.run import Run, execute
from mapper.timing import Prediction, predict
from sim.runner import Dram, SimulationError
from tests.random_layers import random_input, random_network

RESULTS = Path("build/test/regression")
SHORT = (
    ("weight_stationary", 1, 1, 64, 8),
    ("output_stationary", 5, 3, 128, 8),
    ("input_stationary", 3, 7, 64, 8),
    ("weight_stationary", 32, 8, 256, 8),
    ("output_stationary", 8, 4, 64, 8),
    ("input_stationary", 9, 2, 256, 8),
    ("weight_stationary", 7, 13, 128, 8),
    ("output_stationary", 1, 6, 256, 8),
    ("no_local_reuse", 16, 8, 128, 8),
    ("no_local_reuse", 5, 3, 64, 8),
    ("weight_stationary", 5, 4, 64, 16),
    ("output_stationary", 4, 7, 128, 16),
    ("input_stationary", 6, 3, 256, 16),
    ("row_stationary", 6, 5, 64, 8),
    ("row_stationary", 9, 3, 128, 16),
    ("output_stationary_plane", 8, 8, 128, 16),
    ("output_stationary_plane", 3, 5, 64, 8),
)
"""Dataflow, rows, columns, bus bits and operand bits of the first configurations; all others are drawn."""

FLOWS = (
    "weight_stationary", "output_stationary", "input_stationary", "no_local_reuse", "row_stationary",
    "output_stationary_plane",
)  # fmt: skip
"""Dataflows of the drawn configurations, in turn."""

MOST_CYCLES = 25_000
"""A layer that would keep a full array busy for longer is drawn again."""

DEPTHS = {Operand.INPUT: 16, Operand.WEIGHT: 256, Operand.OUTPUT: 24}
"""Most words of a local store."""

CHANCE = 0.02
"""Margin around the bounds of cycles with random stalls."""

MOST_REFUSED = 50
"""A configuration that refuses this many networks in a row is a failure."""


@dataclass(frozen=True)
class Outcome:
    """One case: cycles are per batch; ``failure`` is empty when every tensor was right.

    ``late`` names the first layer that did not end in the predicted cycle; ``stall`` is the larger probability of a
    random stall.
    """

    configuration: int
    case: int
    array: str
    layers: str
    dram: str
    stall: float
    samples: int
    predicted: int
    measured: int
    late: str
    refused: int
    seconds: float
    failure: str
    module: str = "tests.system.regression"

    @property
    def command(self) -> str:
        """The line that runs this case again."""
        return f"python -m {self.module} {self.configuration} {self.case}"

    @property
    def fixed(self) -> bool:
        """Whether the memory has fixed latency and bandwidth."""
        return self.stall == 0

    @property
    def difference(self) -> int:
        """Predicted minus measured cycles."""
        return self.predicted - self.measured


def _shape(seed: int, rng: np.random.Generator) -> tuple[str, int, int, int, int]:
    """Dataflow, rows, columns, bus and operand width; rows up to 32 and columns up to 8, a few the other way round."""
    rows, cols = (round(most ** rng.random()) for most in (32, 8))
    if rng.random() < 0.15:
        rows, cols = cols, rows
    turn, number = divmod(seed, len(FLOWS))
    drawn = FLOWS[number], rows, cols, int(rng.choice([64, 128, 256])), 16 if turn % 3 == 1 else 8
    return SHORT[seed] if seed < len(SHORT) else drawn


def _limits(rng: np.random.Generator) -> dict[str, int]:
    """Bursts of any length, any number of them in flight."""
    return {
        "max_read_burst": int(rng.choice([1, 3, 16, 64, 256])),
        "max_write_burst": int(rng.choice([1, 2, 16, 64])),
        "reads_in_flight": int(rng.choice([1, 2, 7, 16, 64])),
        "writes_in_flight": int(rng.choice([1, 3, 16, 128])),
    }


def _window_words(seed: int) -> int:
    """Words of a window's row, from hardly any to ample; a stream of its own."""
    return round(3 * 100 ** np.random.default_rng([seed, 9]).random())


def _stores(flow: str, seed: int) -> dict[str, int]:
    """Local stores of a PE, from hardly any to ample; a stream of its own."""
    rng = np.random.default_rng([seed, 6])
    drawn = {operand: round(most ** rng.random()) for operand, most in DEPTHS.items()}
    return {operand.value: drawn[operand] for operand in catalogue.get(flow).stores}


def configuration(seed: int) -> Config:
    """Configuration number ``seed``: any shape, little to ample memory, any limits of the bus."""
    rng = np.random.default_rng([seed, 1])
    flow, rows, cols, bits, width = _shape(seed, rng)
    element, lane = width // 8, width
    word = 2 * ceil_pow2(max(bits // 8, rows * element, cols * element))
    input_word, weight_word = (
        max(word, 2 * ceil_pow2(catalogue.get(flow).elements(operand, rows, cols) * element))
        for operand in (Operand.INPUT, Operand.WEIGHT)
    )
    entry = lane * ceil_pow2(max(cols, bits // 8 // lane))
    sums = 2 * cols * ACC_BITS[width] // 8
    size = int(rng.choice([1, 4, 16]))  # little, enough, ample
    limited = (seed if seed < len(SHORT) else seed + seed // len(FLOWS)) % 2

    def memory(least: int, granule: int) -> int:
        return -(-int(least * size * rng.uniform(1, 2)) // granule) * granule

    values = {
        "name": f"random{seed}",
        "array": {"rows": rows, "cols": cols, "dataflow": flow, "zero_gating": flow == "row_stationary"},
        "stores": _stores(flow, seed),
        "memory": {
            "input_bytes": memory(max(2048 * element, 4 * input_word), input_word),
            "weight_bytes": memory((1024 + 8 * rows * cols) * element, weight_word),
            "acc_bytes": memory(max(16, 2 * rows, 2 * cols) * sums, sums),
            "operand_bytes": memory(1024 * element, word),
            "param_bytes": memory(4 * entry, entry),
        },
        "bus": {"data_bits": bits, **(_limits(rng) if limited else {})},
        "numbers": {"act_bits": width},
        **({"vector": {"window_words": _window_words(seed)}} if seed % 4 != 3 and width == 8 else {}),
        "control": {"queue_words": int(rng.choice([16, 37, 64, 256])), "semaphores": int(rng.integers(12, 17))},
    }
    return config.parse(values, f"random configuration {seed}")


def dram(cfg: Config, rng: np.random.Generator) -> Dram:
    """Memory of any latency, half of them without stalls, some narrower than the bus."""
    latency = int(rng.choice([1, 2, 20, 100, 300, rng.integers(1, 300)]))
    rate = float(cfg.bus_bytes * rng.choice([1, 1, 1, 0.5, 0.3]))
    stalls = (0.0, 0.0) if rng.random() < 0.5 else tuple(float(v) for v in rng.choice([0, 0.1, 0.5, 0.8], 2))
    return Dram(latency, rate, *stalls, seed=int(rng.integers(1 << 30)))


def candidates(cfg: Config, seeds: np.random.Generator) -> Iterator[Network]:
    """Networks that an array of this size works through in a short time."""
    while True:
        network = random_network(int(seeds.integers(1 << 30)), bits=cfg.numbers.act_bits)
        work = sum(network.macs(layer) for layer in network.layers)
        if work <= MOST_CYCLES * cfg.multipliers:
            yield network


def draw(number: int, case: int) -> tuple[Config, Dram, Iterator[Network], int]:
    """Configuration, memory, candidates for the network and number of batches of a case."""
    rng = np.random.default_rng([number, case, 2])
    cfg = configuration(number)
    return cfg, dram(cfg, rng), candidates(cfg, rng), int(rng.choice([1, 1, 2]))


def fitting(
    cfg: Config, case: int, memory: Dram, candidates: Iterator[Network], engine: str = "auto"
) -> tuple[Program, int]:
    """The first candidate that fits, and how many were refused before it."""
    options = Options(memory.latency, memory.bytes_per_cycle or cfg.bus_bytes, engine)
    for refused in range(MOST_REFUSED):
        try:
            return compile_network(cfg, next(candidates), options, fuse=case % 3 != 0), refused
        except InputError:
            continue
    raise AssertionError(f"{MOST_REFUSED} networks in a row do not fit {cfg.name}")


def run_case(number: int, case: int) -> Outcome:
    """Compile, predict and run one case."""
    started = time.perf_counter()
    cfg, memory, candidates, batches = draw(number, case)
    program, refused = fitting(cfg, case, memory, candidates)
    inputs = np.concatenate([random_input(program.network, case + i) for i in range(batches)])
    outcome = measure(number, case, program, inputs, memory)
    return replace(outcome, refused=refused, seconds=time.perf_counter() - started)


def measure(number: int, case: int, program: Program, inputs: Codes, memory: Dram) -> Outcome:
    """Predict and run a case; ``inputs`` are those of all batches."""
    started = time.perf_counter()
    cfg, network = program.cfg, program.network
    batches = len(inputs) // network.tensors["x"].shape[0]
    predicted = measured = 0
    failure = late = ""
    try:
        run = execute(program, {"x": inputs}, dram=memory, build_root=Path("build/test/rtl"), seed=case)
        rate = memory.bytes_per_cycle or cfg.bus_bytes
        predictions = run.predictions or [predict(program, memory.latency, rate)] * batches
        predicted = sum(prediction.cycles for prediction in predictions) // batches
        measured = run.cycles // batches
        failure = "; ".join(str(m) for m in run.mismatches[:1])
        late = _late(program, predictions, run)
    except (SimulationError, AssertionError) as error:
        failure = f"{type(error).__name__}: {error}"
    a = cfg.array
    return Outcome(
        configuration=number, case=case, array=f"{''.join(p[0] for p in a.dataflow.split('_'))} {a.rows}x{a.cols}",
        layers=" ".join(type(layer).__name__ for layer in network.layers),
        dram=f"{memory.latency} {memory.bytes_per_cycle:g} {memory.read_stall:g} {memory.write_stall:g}",
        stall=max(memory.read_stall, memory.write_stall), samples=len(inputs),
        predicted=predicted, measured=measured, late=late, refused=0,
        seconds=time.perf_counter() - started, failure=failure,
    )  # fmt: skip


def _late(program: Program, predictions: Sequence[Prediction], run: Run) -> str:
    """The first layer that did not end in the predicted cycle, and how many cycles later, in all batches together."""
    end = 0
    for entry in program.schedule:
        end += run.layer_cycles[entry.index]
        if late := end - sum(prediction.layer_end[entry.index] for prediction in predictions):
            return f"{entry.layer.name} {late:+}"
    return ""


def table(outcomes: Sequence[Outcome]) -> str:
    """A line per case, predicted beside measured cycles."""
    heading = f"{'config':>6} {'case':>5} {'array':9} {'latency rate stalls':22} {'predicted':>9} {'measured':>9}"
    lines = [f"{heading} {'':>13}  layers"]
    for o in outcomes:
        difference = f"{o.difference:+6} {o.difference / max(o.measured, 1):+6.1%}" if o.fixed else "stalls"
        lines.append(
            f"{o.configuration:6} {o.case:5} {o.array:9} {o.dram:22} {o.predicted:9} {o.measured:9} {difference:>13}  "
            f"{o.layers}{'  ' + o.failure if o.failure else ''}"
        )
    return "\n".join(lines)


def failures(outcomes: Sequence[Outcome]) -> str:
    """What went wrong, each with the line that reproduces it."""
    return "".join(f"\n{o.failure}\n  reproduce: {o.command}" for o in outcomes if o.failure)


def surprises(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Cases whose cycles are not those predicted.

    In total and of each layer where the memory is fixed. With random stalls, no handshake takes longer than
    ``1 / (1 - stall)`` cycles on average, so neither does the whole: between the prediction without stalls and that
    many times as long, with a margin for chance.
    """
    return [o for o in outcomes if not o.failure and (o.late or o.difference if o.fixed else not _bounded(o))]


def _bounded(o: Outcome) -> bool:
    """Whether a run with random stalls took as long as it may."""
    return o.predicted * (1 - CHANCE) <= o.measured <= o.predicted / (1 - o.stall) * (1 + CHANCE) + 50


def write(outcomes: Sequence[Outcome], path: Path, **more: object) -> None:
    """Outcomes as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**more, "cases": [asdict(o) for o in outcomes]}, indent=1) + "\n", encoding="utf-8")


def main(run: Callable[[int, int], Outcome], module: str, about: str) -> int:
    """Run cases of one configuration, as the command line says; exit status 1 if one failed."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=about)
    parser.add_argument("configuration", type=int)
    parser.add_argument("cases", type=int, nargs="*", help="default: 0 to 20")
    arguments = parser.parse_args()
    outcomes = []
    for case in arguments.cases or range(21):
        outcomes.append(run(arguments.configuration, case))
        print(table(outcomes[-1:]).split("\n")[-1], flush=True)
    return int(any(o.failure for o in outcomes))


if __name__ == "__main__":
    sys.exit(main(run_case, "tests.system.regression", __doc__))
