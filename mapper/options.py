"""The options of ``python -m mapper``: what they mean, what they may be."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from dataflows.errors import InputError
from mapper.budget import Budget
from mapper.compression_options import COMPRESSION, LEAVING_OUT, add_compression, add_leaving_out
from mapper.energy_table import DRAM, DramKind
from mapper.generation_options import Generate, add_generation, chosen
from mapper.layer_specs import LayerSpec
from mapper.objectives import OBJECTIVES, Objective
from mapper.option_values import engine, factory, number, path_to, shape
from mapper.precision import Request
from mapper.quantization_options import Rounding, add_quantization, rounding

ROOT = Path(__file__).resolve().parents[1]

DESCRIPTION = """\
Map a trained PyTorch model onto an accelerator: import, quantize, tile, schedule, and
write the program. With --run, execute it on the generated RTL and compare every layer, bit for bit,
with the golden model.
"""

EPILOG = """\
examples
  python -m mapper model.pt2
      schedule and predicted cycles per layer; program, report and trace in build/map/model/
  python -m mapper model.pt2 --calibration samples.npz --inputs images.npz --run
      quantize with real samples, run all images on the RTL, compare with the golden model
  python -m mapper model.pt2 --config configs/ws16.toml --config configs/os16.toml
      both accelerators side by side
  python -m mapper model.pt2 --config configs/eie64.toml --prune fc1=0.1,fc2=0.25 --cluster fc1=16,fc2=16
      keep 10 % and 25 % of two layers' weights, as 16 shared values each; the sparse engine can run them
  python -m mapper model.pt2 --config configs/ws16_fusion.toml --bits 4,conv1=8/8 --calibration samples.npz
      inputs and weights of 4 bits, except in one layer (docs/bits.md)
  python -m mapper gpt.pt2 --config configs/ws16_attention.toml --generate 100 --prompt start.npy --run
      a causal decoder goes on behind a prompt, token by token on the RTL, keys and values in caches
  python -m mapper model.pt2 --advise
      what a larger buffer, a wider bus, more rows or another dataflow would bring
  python -m mapper model.pt2 --run --layers layer1.0.conv1..layer1.0.conv2 --trace layer1.0.conv2
      two layers alone, and a waveform of the second one

model files
  torch.export.save(torch.export.export(model.eval(), (example,)), "model.pt2")
  An archive of torch.jit.save works too; it may need --input-shape. Models that PyTorch's PT2E quantization made keep
  their scales. A state dict needs --arch package.module:factory --input-shape N,C,H,W.

.npz files hold one array per model input (a single one may have any name), samples along the first axis:
  numpy.savez("samples.npz", x=images)

exit status: 0 fine, 1 the RTL disagreed with the golden model, 2 the input was unusable
"""


@dataclass(frozen=True)
class Arguments:
    """The command line, checked; ``command`` is the line itself."""

    model: Path
    configs: tuple[Path, ...]
    out: Path | None
    input_shape: tuple[int, ...] | None
    calibration: Path | None
    rounding: Rounding
    bits: LayerSpec[Request]
    auto_bits: Budget | None
    prune: LayerSpec[float]
    prune_pattern: LayerSpec[tuple[int, int]]
    prune_channels: LayerSpec[float]
    cluster: LayerSpec[int]
    keep_tokens: LayerSpec[float]
    keep_heads: LayerSpec[float]
    keep_values: LayerSpec[float]
    value_threshold: LayerSpec[float]
    post_scoring: LayerSpec[float]
    candidates: LayerSpec[int]
    run: bool
    inputs: Path | None
    latency: int
    bytes_per_cycle: float | None
    stall: float
    json: Path | None
    fuse: bool
    layers: str | None
    dump: Path | None
    trace: str | None
    allow_pickle: bool
    seed: int
    command: str
    engine: Mapping[str, str] | str = "auto"
    generate: Generate | None = None
    dram: DramKind = "lpddr4"
    arch: str | None = None
    advise: bool = False
    objective: Objective = "cycles"

    def reproduce(self, config: Path, layer: str) -> str:
        """The command that runs one layer alone as this command line would; of a decoder, all of it."""
        words: list[str] = ["python", "-m", "mapper", str(self.model), "--config", str(config)]
        words += ["--run", *(self.generate.words if self.generate else ["--layers", f"{layer}..{layer}"])]
        if self.input_shape:
            words += ["--input-shape", ",".join(map(str, self.input_shape))]
        words += ["--arch", self.arch] if self.arch else []
        if self.calibration:
            words += ["--calibration", str(self.calibration)]
        words += self.rounding.words
        words += ["--bits", self.bits.text] if self.bits.text else []
        for name in (*COMPRESSION, *LEAVING_OUT, "candidates"):
            spec: LayerSpec[Any] = getattr(self, name)
            words += [f"--{name.replace('_', '-')}", spec.text] if spec.text else []
        if self.inputs:
            words += ["--inputs", str(self.inputs)]
        words += ["--dram-latency", str(self.latency)]
        if self.bytes_per_cycle is not None:
            words += ["--dram-bytes-per-cycle", f"{self.bytes_per_cycle:g}"]
        if self.stall:
            words += ["--dram-stall", str(self.stall)]
        words += [] if self.fuse else ["--no-fuse"]
        if self.engine != "auto":
            words += ["--engine", self.engine if isinstance(self.engine, str) else _joined(self.engine)]
        words += ["--objective", self.objective] if self.objective != "cycles" else []
        words += ["--allow-pickle"] if self.allow_pickle else []
        return shlex.join([*words, "--seed", str(self.seed)])


def _joined(choices: Mapping[str, str]) -> str:
    return ",".join(f"{name}={choice}" for name, choice in choices.items())


class _Parser(argparse.ArgumentParser):
    """Raises :class:`InputError` instead of printing the usage and leaving."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (python -m mapper --help explains all options)")


def _default_config() -> Path:
    """``configs/ws16.toml``: of the current directory if it is there, else the shipped one."""
    here = Path("configs/ws16.toml")
    return here if here.exists() else ROOT / here


def _parser() -> argparse.ArgumentParser:
    p = _Parser(
        prog="python -m mapper", description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("model", type=Path, help="torch.export or TorchScript archive, under any name")
    p.add_argument(
        "--config", type=Path, action="append", metavar="FILE",
        help="accelerator (default configs/ws16.toml); several give a side-by-side table",
    )  # fmt: skip
    p.add_argument("--out", type=path_to, metavar="DIR", help="where results go (default build/map/<model>)")
    p.add_argument("--json", type=path_to, metavar="FILE", help="also write every number as JSON")
    p.add_argument(
        "--seed", type=number(int, "an integer from 0 to 2**32 - 1", lambda v: 0 <= v < 1 << 32), default=0,
        help="of random samples, stalls and register contents (0)",
    )  # fmt: skip

    g = p.add_argument_group("model")
    g.add_argument("--input-shape", type=shape, metavar="N,C,H,W", help="only where the file does not say")
    g.add_argument(
        "--arch", type=factory, metavar="MODULE:FACTORY",
        help="the model file is a state dict (torch.save or safetensors) of the module that this class or function "
        "makes, called without arguments; needs --input-shape, runs code",
    )  # fmt: skip
    g.add_argument("--allow-pickle", action="store_true", help="accept a pickled module, whose loading runs code")

    add_quantization(p)
    add_compression(p)
    add_leaving_out(p)
    add_generation(p)

    g = p.add_argument_group("mapping")
    g.add_argument(
        "--advise", action="store_true",
        help="map the model again on designs that differ in one thing (a memory, the bus, rows, columns, the dataflow) "
        "and say what each would bring",
    )  # fmt: skip
    g.add_argument(
        "--objective", metavar="GOAL", default="cycles", help="what plans make least: cycles, energy or edp (cycles)"
    )
    g.add_argument("--no-fuse", action="store_true", help="every layer leaves the chip by itself")
    g.add_argument(
        "--engine", type=engine, default="auto", metavar="WHICH",
        help="auto (the faster one), array, sparse, or by layer: fc1=sparse,fc2=array",
    )  # fmt: skip
    g.add_argument("--layers", metavar="A..B", help="only these layers, by name or by number in the table")

    g = p.add_argument_group("simulation")
    g.add_argument("--run", action="store_true", help="run on the RTL and compare every layer with the golden model")
    g.add_argument("--inputs", type=Path, metavar="FILE.npz", help="samples to run (one of the calibration data)")
    g.add_argument("--dump", type=path_to, metavar="DIR", help="keep every tensor of RTL and golden model")
    g.add_argument("--trace", metavar="LAYER", help="write an FST waveform of this layer into the output folder")

    g = p.add_argument_group("DRAM")
    g.add_argument(
        "--dram-latency", type=number(int, "a positive integer of at most 2**30", lambda v: 1 <= v <= 1 << 30),
        default=100, metavar="CYCLES",
        help="from address to first data (100)",
    )  # fmt: skip
    g.add_argument(
        "--dram-bytes-per-cycle", metavar="N", help="bandwidth, shared by reads and writes (the bus width)",
        type=number(float, "a number between 1/1024 and 2**20", lambda v: 1 / 1024 <= v <= 1 << 20),
    )  # fmt: skip
    g.add_argument(
        "--dram", choices=tuple(DRAM), default="lpddr4", help="kind of memory, for the energy of its bits (lpddr4)",
    )  # fmt: skip
    g.add_argument(
        "--dram-stall", type=number(float, "a probability of at least 0 and below 1", lambda v: 0 <= v < 1),
        default=0.0, metavar="P", help="probability that the memory withholds a ready or valid (0)",
    )  # fmt: skip
    return p


def parse(argv: Sequence[str]) -> Arguments:
    """Check a command line. Raises ``InputError``; ``--help`` prints and leaves."""
    a = _parser().parse_args(argv)
    if a.objective not in OBJECTIVES:
        raise InputError(f"--objective must be {', '.join(OBJECTIVES[:-1])} or {OBJECTIVES[-1]}, not {a.objective!r}")
    for name in ("inputs", "dump", "trace", "dram_stall"):
        if getattr(a, name) not in (None, 0.0) and not a.run:
            raise InputError(f"--{name.replace('_', '-')} works on a simulation; add --run")
    return Arguments(
        model=a.model, configs=tuple(a.config or [_default_config()]), out=a.out, input_shape=a.input_shape,
        calibration=a.calibration, rounding=rounding(a), bits=a.bits, auto_bits=a.auto_bits,
        prune=a.prune, prune_pattern=a.prune_pattern, prune_channels=a.prune_channels, cluster=a.cluster,
        keep_tokens=a.keep_tokens, keep_heads=a.keep_heads, keep_values=a.keep_values,
        value_threshold=a.value_threshold, post_scoring=a.post_scoring, candidates=a.candidates,
        run=a.run, inputs=a.inputs, latency=int(a.dram_latency), bytes_per_cycle=a.dram_bytes_per_cycle,
        stall=a.dram_stall, json=a.json, fuse=not a.no_fuse, layers=a.layers, dump=a.dump, trace=a.trace,
        allow_pickle=a.allow_pickle, seed=int(a.seed), command=shlex.join(["python", "-m", "mapper", *argv]),
        engine=a.engine, generate=chosen(a), dram=a.dram, arch=a.arch, advise=a.advise, objective=a.objective,
    )  # fmt: skip
