"""A pruned model, end to end: train and compress the perceptron, then the public command line on two accelerators.

The sparse engine of ``eie64`` runs it compressed, the array of ``ws8`` dense; both have 64 multipliers.
"""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.demo import mlp_train as training
from tests.demo import train
from tests.demo.__main__ import accuracy, executed

FOLDER = Path("build/demo-eie")
SPARSE, DENSE = "configs/eie64.toml", "configs/ws8.toml"


@dataclass(frozen=True)
class Ran:
    """One accelerator: exit status of the command line, its JSON document (None if there is none), accuracies."""

    status: int
    result: dict[str, Any] | None
    accuracy: dict[str, float]


def command(folder: Path, config: str, *options: str) -> list[str]:
    """The public command line; results go to a folder of the configuration's name."""
    out = folder / Path(config).stem
    words: list[str | Path] = ["-m", "mapper", folder / "mlp.pt2", "--config", config, *options, "--run"]
    words += ["--calibration", folder / "calibration.npz", "--inputs", folder / "inputs.npz"]
    words += ["--out", out, "--json", out / "result.json"]
    return [str(word) for word in words]


def ran(folder: Path, words: list[str], model_classes: Any) -> Ran:
    """Run a command line, and count what golden model and RTL classified correctly."""
    path, labels = Path(words[-1]), folder / "labels.npy"
    status, result = executed(words, path)
    if result is None:
        return Ran(status, None, {})
    (path.parent / labels.name).write_bytes(labels.read_bytes())
    return Ran(status, result, accuracy(path.parent, model_classes))


def summary(trained: training.Trained, sparse: Ran, dense: Ran) -> dict[str, Any]:
    """What the example shows, as plain data."""
    if sparse.result is None or dense.result is None:
        raise ValueError("a command line left no result")
    cycles = {key: run.result["totals"]["cycles_measured"] for key, run in (("eie64", sparse), ("ws8", dense))}
    return {
        "training": dict(trained.accuracy),
        "density": dict(trained.density),
        "values": dict(trained.values),
        "accuracy": sparse.accuracy,
        "samples": sparse.result["samples"],
        "mismatches": sparse.result["mismatches"] + dense.result["mismatches"],
        "cycles": cycles,
        "cycles_predicted": sparse.result["totals"]["cycles_predicted"],
        "speed_up": cycles["ws8"] / cycles["eie64"],
        "engines": [layer.get("engine") for layer in sparse.result["layers"]],
        "seconds": sparse.result["sim"]["seconds"] + dense.result["sim"]["seconds"],
    }


def tell(found: dict[str, Any]) -> None:
    """The summary for people."""
    shares = ", ".join(f"{kind} {100 * share:.2f} %" for kind, share in found["accuracy"].items())
    images, cycles = found["samples"], found["cycles"]
    print(f"\naccuracy on {images} test images, of the dense float model: {100 * found['training']['dense']:.2f} %")
    print(f"of the pruned and clustered one: {shares}")
    print(f"density: {', '.join(f'{name} {100 * share:.1f} %' for name, share in found['density'].items())}")
    print(f"cycles per image: {cycles['eie64'] / images:,.0f} on eie64, {cycles['ws8'] / images:,.0f} on ws8 (dense)")
    print(f"speed-up: {found['speed_up']:.2f}; predicted cycles on eie64: {found['cycles_predicted']:,}, ", end="")
    print(f"measured {cycles['eie64']:,}")
    print(f"mismatches with the golden model: {found['mismatches']}")


def main(folder: Path = FOLDER) -> int:
    """Run the example; returns the worst exit status of the command lines."""
    started = time.monotonic()
    data = training.vectors()
    print(f"training, pruning and clustering on {len(data.train_images)} handwritten digits ...", flush=True)
    trained = training.train(data, tell=lambda line: print(f"  {line}", flush=True))
    training.save(trained.model, data, folder)
    classes = train.predict(trained.model, data.test_images)
    print(f"trained in {time.monotonic() - started:.0f} s; from here on the public command line:")
    sparse = ran(folder, command(folder, SPARSE, "--engine", "sparse"), classes)
    dense = ran(folder, command(folder, DENSE), classes)
    if sparse.result is None or dense.result is None:
        return max(sparse.status, dense.status, 1)
    found = summary(trained, sparse, dense)
    found["total_seconds"] = time.monotonic() - started
    path = folder / "summary.json"
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    tell(found)
    print(f"report: {folder / 'eie64' / 'report.html'}\nnumbers: {path}\nafter {found['total_seconds']:.0f} s")
    return max(sparse.status, dense.status)


if __name__ == "__main__":
    sys.exit(main())
