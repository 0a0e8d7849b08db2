"""The DMA toy of ``toy.v``: its Verilog text, and how it is driven."""

from pathlib import Path

from dataflows.config import Config
from dataflows.isa import HOST_REGISTERS
from sim.build import CACHE, build
from sim.model import Model

READ, WRITE, EARLY_ADDRESS, NEVER_DONE = 1, 2, 4, 8
BAD_DROP, BAD_ADDRESS, BAD_LAST, BAD_SIZE, BAD_DATA = 256, 512, 1024, 2048, 4096
TIMES = ("first_ar", "first_r", "last_r", "first_aw", "first_w", "last_w", "last_b")
SCRATCH = 4 * 107
ADDRESS = {r.name: r.address for r in HOST_REGISTERS}


def verilog(cfg: Config) -> str:
    """Text of a toy that passes for the accelerator of ``cfg``."""
    text = (Path(__file__).parent / "toy.v").read_text()
    values = {"NAME": cfg.name, "BITS": cfg.bus.data_bits, "HASH": cfg.hash}
    values |= {name: address // 4 for name, address in ADDRESS.items()}
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def write_verilog(cfg: Config, folder: Path) -> Path:
    """Write the toy's file."""
    path = folder / f"{cfg.name}.v"
    path.write_text(verilog(cfg))
    return path


def toy_model(cfg: Config, folder: Path, seed: int = 0) -> Model:
    """A toy out of reset."""
    return Model(build(write_verilog(cfg, folder), cfg.name, cache=CACHE), seed=seed)


def transfer(model: Model, beats: int, burst: int, flags: int, source: int = 0, target: int = 0) -> dict[str, int]:
    """Run one transfer; returns the cycles of its first and last handshakes (2**32-1: never)."""
    for name, value in {
        "IRQ_CLEAR": 1, "IRQ_ENABLE": 1, "BASE_CONSTANT_LOW": source, "BASE_OUTPUT_LOW": target, "PROGRAM_WORDS": beats,
        "BASE_ACTIVATION_LOW": burst, "BASE_ACTIVATION_HIGH": flags, "CONTROL": 1,
    }.items():  # fmt: skip
        model.write(ADDRESS[name], value)
    assert model.run(100_000), "the toy did not finish"
    times = {name: model.read(400 + 4 * i) for i, name in enumerate(TIMES)}
    return times | {"status": model.read(ADDRESS["STATUS"]), "error": model.read(ADDRESS["ERROR"])}
