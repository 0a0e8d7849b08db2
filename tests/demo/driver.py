"""The demo of the driver: train, map, compile as firmware would be, run on the Verilated accelerator, compare."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from dataflows.config import load
from mapper import load_model, map_model, quantize_model, write_results
from mapper.c_network import c_name
from mapper.samples import quantize_input
from rtl.emit import emit
from sim import golden
from sim.c_program import compile_program
from tests.demo import train

FOLDER = Path("build/demo_driver")
CONFIG = "configs/tiny.toml"
IMAGES = 20


def main(folder: Path = FOLDER, config: str = CONFIG) -> int:
    """Run the demo; returns 0 if every byte of every output is that of the golden model."""
    data, cfg = train.digits(), load(config)
    print(f"training on {len(data.train_images)} handwritten digits ...", flush=True)
    model = train.train(data)
    program = torch.export.export(model, (torch.from_numpy(data.test_images[:1]),))
    quantized = quantize_model(load_model(program, name="digits"), config, calibration=data.train_images[:256])
    mapped = map_model(quantized)
    write_results(mapped, folder)
    network, images = quantized.model.network, data.test_images[:IMAGES]
    codes = quantize_input(network, network.inputs[0], images)
    codes.tofile(folder / "inputs.bin")
    print(f"compiling the driver and the network for {cfg.name} ...", flush=True)
    hardware = emit(cfg, folder / "hardware")
    firmware = compile_program(cfg, hardware, folder, c_name(network.name), folder / "firmware").resolve()
    command = [firmware, "inputs.bin", "outputs.bin"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    print(done.stdout or done.stderr, end="")
    if done.returncode:
        return 1
    (name,) = network.outputs
    expected = [golden.run(network, {network.inputs[0]: code[None]})[name].reshape(-1) for code in codes]
    found = np.fromfile(folder / "outputs.bin", expected[0].dtype).reshape(IMAGES, -1)
    wrong = int((found != np.stack(expected)).sum())
    order = network.output_order.get(name)
    classes = (found if order is None else found[:, order]).argmax(1)
    print(f"{np.mean(classes == data.test_labels[:IMAGES]):.0%} of {IMAGES} images right")
    print(f"bytes that differ from the golden model: {wrong}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
