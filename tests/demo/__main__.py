"""The demo: train, then nothing but the public command line, then count what the RTL got right."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from tests.demo import train

FOLDER = Path("build/demo")
CONFIG = "configs/ws16.toml"


def command(folder: Path, config: str, *more: str) -> list[str]:
    """The public command line."""
    options = {
        "--config": config,
        "--calibration": folder / "calibration.npz",
        "--inputs": folder / "inputs.npz",
        "--out": folder,
        "--json": folder / "result.json",
    }
    words = [str(word) for pair in options.items() for word in pair]
    return ["-m", "mapper", str(folder / "digits.pt2"), *words, *more, "--run"]


def accuracy(folder: Path, model_classes: np.ndarray) -> dict[str, float]:
    """Share of the test images classified correctly, by the float model, the golden model and the RTL."""
    labels = np.load(folder / "labels.npy")
    with np.load(folder / "outputs.npz") as outputs:
        (name,) = [key for key in outputs.files if not key.endswith("_golden")]
        scores = {"golden": outputs[f"{name}_golden"], "rtl": outputs[name]}
    classes = {kind: values.reshape(len(labels), -1).argmax(1) for kind, values in scores.items()}
    return {kind: float(np.mean(found == labels)) for kind, found in {"float": model_classes, **classes}.items()}


def executed(words: list[str], path: Path) -> tuple[int, dict[str, Any] | None]:
    """Run a command line that writes ``path``: its exit status, and what it wrote, None if nothing."""
    print("  python " + " ".join(words), flush=True)
    path.unlink(missing_ok=True)
    status = subprocess.run([sys.executable, *words], check=False).returncode
    return status, json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def main(
    folder: Path = FOLDER, config: str = CONFIG, trained: Callable[[train.Digits], nn.Module] = train.train,
    options: Sequence[str] = (), batch: int = train.BATCH,
) -> int:  # fmt: skip
    """Run the demo with the model that ``trained`` makes; returns the exit status of the command line."""
    started = time.monotonic()
    data = train.digits()
    print(f"training on {len(data.train_images)} handwritten digits ...", flush=True)
    model = trained(data)
    train.save(model, data, folder, batch=batch)
    words = command(folder, config, *options)
    path = folder / "result.json"
    print(f"trained in {time.monotonic() - started:.0f} s; from here on the public command line:")
    status, result = executed(words, path)
    if result is None:
        return status
    result["accuracy"] = accuracy(folder, train.predict(model, data.test_images))
    path.write_text(json.dumps(result, indent=1) + "\n")
    shares = ", ".join(f"{kind} {100 * share:.2f} %" for kind, share in result["accuracy"].items())
    total = result["totals"]
    print(f"\naccuracy on {result['samples']} test images: {shares}")
    print(f"cycles: {total['cycles_measured']:,}, {total['cycles_per_sample']:,.0f} per image")
    print(f"utilization: {100 * total['utilization']:.1f} %")
    print(f"mismatches with the golden model: {result['mismatches']}")
    print(f"report: {folder / 'report.html'}\nnumbers: {path}\nafter {time.monotonic() - started:.0f} s")
    return status


if __name__ == "__main__":
    sys.exit(main())
