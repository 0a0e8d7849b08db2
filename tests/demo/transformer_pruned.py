"""The transformer of the demo, leaving out tokens and heads while it runs; and which rows of some images stay."""

import sys
from pathlib import Path

import numpy as np

from dataflows import config
from dataflows.pruning import Select
from mapper import stages
from mapper.options import parse
from mapper.progress import Progress
from sim import golden
from tests.demo.__main__ import command, main
from tests.demo.transformer_train import train

FOLDER = Path("build/demo-pruning")
CONFIG = "configs/spatten.toml"
LAYER = "encoder.layers.{}.self_attn.attention"
OPTIONS = (
    "--keep-tokens", ",".join(f"{LAYER.format(n)}={ratio}" for n, ratio in ((1, 0.75), (2, 0.5))),
    "--keep-heads", f"{LAYER.format(0)}=0.75",
)  # fmt: skip
IMAGES = 5
SHADES = " .:-=+*#%@"


def rows_that_stay(folder: Path) -> list[np.ndarray]:
    """Numbers of the tokens that stay behind each selection, (images, tokens) each."""
    words = command(folder, CONFIG, *OPTIONS)
    model = stages.load(parse(words[2:]), [config.load(CONFIG)], Progress())
    values = golden.run(model.network, {name: x[:IMAGES] for name, x in model.inputs.items()})
    selections = [layer for layer in model.network.layers if isinstance(layer, Select) and not layer.heads]
    return [values[layer.output][:, 0, :, 0] for layer in selections]


def picture(image: np.ndarray, stays: list[np.ndarray]) -> str:
    """An image (8, 8), and behind each row a mark for every selection that it stays behind."""
    lines = []
    for number, row in enumerate(image):
        pixels = "".join(2 * SHADES[min(int(v * len(SHADES)), len(SHADES) - 1)] for v in row)
        marks = "".join(" o" if number in kept else "  " for kept in stays)
        lines.append(f"  |{pixels}|{marks}")
    return "\n".join(lines)


if __name__ == "__main__":
    status = main(FOLDER, CONFIG, train, OPTIONS, batch=1)
    lists = rows_that_stay(FOLDER)
    with np.load(FOLDER / "inputs.npz") as inputs:
        images = inputs["x"][:IMAGES, 0]
    print(f"\nrows that stay behind the {len(lists)} selections (o) of {IMAGES} images, by the golden model:")
    print("\n\n".join(picture(image, [some[n] for some in lists]) for n, image in enumerate(images)))
    sys.exit(status)
