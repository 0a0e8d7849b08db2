"""The demo that writes: a small decoder of characters is trained, mapped for one token, and goes on behind a prompt."""

import sys
import time
from pathlib import Path

import numpy as np
import torch

from tests.demo import text_train
from tests.demo.__main__ import executed
from tests.demo.text_train import CONTEXT, TextModel

FOLDER = Path("build/demo-text")
CONFIG = "configs/ws16_attention.toml"

PROMPT = 20
"""Characters that the prompt has."""

CALIBRATION = 32
"""Pieces of the text that show the range of every tensor."""


def save(model: TextModel, ids: np.ndarray, alphabet: str, prompt: str, folder: Path) -> None:
    """Write what the command line takes: model, samples, alphabet, prompt."""
    folder.mkdir(parents=True, exist_ok=True)
    example = torch.zeros(1, CONTEXT, dtype=torch.long)
    torch.export.save(torch.export.export(model, (example,)), folder / "text.pt2")
    starts = np.random.default_rng(0).integers(0, len(ids) - CONTEXT, CALIBRATION)
    np.savez(folder / "calibration.npz", ids=np.stack([ids[start : start + CONTEXT] for start in starts]))
    (folder / "alphabet.txt").write_text(alphabet, encoding="utf-8", newline="")
    (folder / "prompt.txt").write_text(prompt, encoding="utf-8", newline="")


def command(folder: Path, count: int) -> list[str]:
    """The public command line."""
    options = {
        "--config": CONFIG,
        "--calibration": folder / "calibration.npz",
        "--prompt": folder / "prompt.txt",
        "--alphabet": folder / "alphabet.txt",
        "--generate": count,
        "--out": folder,
        "--json": folder / "result.json",
    }
    return ["-m", "mapper", str(folder / "text.pt2"), *(str(x) for pair in options.items() for x in pair), "--run"]


def continued(model: TextModel, ids: list[int], count: int) -> list[int]:
    """What the float model generates, prompt first."""
    found = list(ids)
    with torch.inference_mode():
        for _ in range(count):
            padded = torch.zeros(1, CONTEXT, dtype=torch.long)
            padded[0, : len(found)] = torch.tensor(found)
            found.append(int(model(padded)[0, len(found) - 1].argmax()))
    return found


def main(folder: Path = FOLDER) -> int:
    """Run the demo; returns the exit status of the command line."""
    started = time.monotonic()
    text, source = text_train.text()
    alphabet = "".join(sorted(set(text)))
    ids = np.array([alphabet.index(character) for character in text])
    print(f"training on {len(text):,} characters of {source} ...", flush=True)
    model, loss = text_train.train(ids, len(alphabet))
    start = text.find("This LICENSE AGREEMENT")
    prompt = text[max(start, 0) :][:PROMPT]
    save(model, ids, alphabet, prompt, folder)
    count = CONTEXT - PROMPT + 1
    words = command(folder, count)
    print(f"trained in {time.monotonic() - started:.0f} s, to {loss:.2f} nats per character; from here on the command:")
    status, result = executed(words, folder / "result.json")
    if result is None:
        return status
    made = result["generated"]
    wanted = continued(model, made["prompt"], count)[PROMPT:]
    total, runs = result["totals"]["cycles_measured"], result["samples"]
    print(f"\nthe float model goes on with {''.join(alphabet[i] for i in wanted)!r}")
    print(f"the accelerator with         {made['text'][PROMPT:]!r}")
    print(f"cycles: {total:,} in {runs} runs, {total / runs:,.0f} per character")
    print(f"mismatches with the golden model: {result['mismatches']}")
    print(f"report: {folder / 'report.html'}\ntext: {folder / 'text.txt'}\nafter {time.monotonic() - started:.0f} s")
    return status


if __name__ == "__main__":
    sys.exit(main())
