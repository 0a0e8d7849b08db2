"""The demo with a transformer: attention, norms and tables on the accelerator, from training to classes."""

import sys
from pathlib import Path

from tests.demo.__main__ import main
from tests.demo.transformer_train import train

FOLDER = Path("build/demo-transformer")
CONFIG = "configs/ws16_attention.toml"

if __name__ == "__main__":
    sys.exit(main(FOLDER, CONFIG, train))
