# %% [markdown]
# # From a model to the hardware, step by step
#
# Everything that `python -m mapper` does is a function of the package `mapper`. This page is `docs/tutorial.py`: run it
# as a script, cell by cell in an editor that knows `# %%`, or read it here with what it prints.
#
# First a model to map: a small network, trained for a few seconds on handwritten digits of 8 x 8 pixels.

# %%
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(0)
torch.set_num_threads(1)
data = load_digits()
images, labels = (data.images / 16).astype(np.float32)[:, None], data.target
train, test = slice(0, 1500), slice(1500, 1780)

network = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10),
)
optimizer = torch.optim.Adam(network.parameters(), 1e-2)
x, y = torch.from_numpy(images[train]), torch.from_numpy(labels[train])
for _epoch in range(25):
    for chosen in torch.randperm(len(x)).split(64):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x[chosen]), y[chosen]).backward()
        optimizer.step()


def accuracy(scores: np.ndarray) -> float:
    """Share of the test images whose largest score is that of their digit."""
    return float(np.mean(scores.reshape(len(scores), -1).argmax(1) == labels[test][: len(scores)]))


with torch.inference_mode():
    print(f"float model: {accuracy(network(torch.from_numpy(images[test])).numpy()):.1%}")

# %% [markdown]
# ## Load and quantize
#
# `load_model` takes a model file, or what `torch.export.export` returns. `quantize_model` takes the accelerator, which
# says how many bits there are, and samples that show the range of every tensor: a file or arrays. The golden model is
# plain NumPy and computes, to the bit, what the hardware will.

# %%
from mapper import load_model, quantize_model

program = torch.export.export(network.eval(), (torch.zeros(1, 1, 8, 8),))
loaded = load_model(program, name="digits")
quantized = quantize_model(loaded, ["configs/tiny.toml", "configs/ws8.toml"], calibration=images[train][:256])
(scores,) = quantized.golden(images[test]).values()
print(f"golden model: {accuracy(scores):.1%}")

# %% [markdown]
# ## Map, and predict cycles
#
# `map_model` schedules, makes the program and predicts its cycles, exactly those of the RTL, layer by layer.

# %%
from mapper import map_model, predict_cycles

mapped = map_model(quantized)
for layer in mapped.layers:
    use = "" if layer.utilization is None else f"{layer.utilization:.0%}"
    print(f"{layer.name:<22} {layer.op:<9} {layer.macs:>7,} MACs {layer.cycles_predicted:>7,} cycles {use:>5}")
print(f"{mapped.totals['cycles_predicted']:,} cycles at {mapped.outcome.cfg.clock_mhz:g} MHz")

# %% [markdown]
# The same program on slower memories, and the same network on an accelerator with four times as many multipliers:

# %%
for latency in (20, 100, 500):
    slow = predict_cycles(mapped, dram_latency=latency)
    print(f"latency {latency:>3}: {slow.totals['cycles_predicted']:,} cycles")
larger = map_model(quantized, "configs/ws8.toml")
print(f"ws8, {larger.outcome.cfg.multipliers} multipliers: {larger.totals['cycles_predicted']:,} cycles")

# %% [markdown]
# ## Run on the RTL
#
# `run_model` generates the accelerator's Verilog, compiles it with Verilator (once), runs every sample and compares
# every tensor that leaves the chip with the golden model.

# %%
from mapper import run_model

measured = run_model(mapped, inputs=images[test][:20])
(found,) = measured.outputs.values()
print(f"every bit right: {measured.bit_exact}; RTL: {accuracy(found):.0%} of {len(found)} images")
print(f"{measured.totals['cycles_measured']:,} cycles measured, {measured.totals['cycles_predicted']:,} predicted")

# %% [markdown]
# ## Keep it
#
# `write_results` writes what the command line writes: report, program, C sources for [the driver](driver.md), outputs.
# Every result knows the command line that gives the same.

# %%
from mapper import write_results

folder = write_results(measured, "build/map/tutorial", json="build/map/tutorial/result.json")
print(", ".join(sorted(path.name for path in folder.iterdir())))
print(measured.command.replace(" --", " \\\n    --"))

# %% [markdown]
# Unusable input raises `dataflows.errors.InputError` with the message that the command line prints:

# %%
from dataflows.errors import InputError

try:
    quantize_model(loaded, "configs/tiny.toml", bits="3")
except InputError as error:
    print(error)
