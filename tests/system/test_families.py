"""Networks of many families on the RTL of ws16_attention: bits of the golden model, cycles as predicted."""

from pathlib import Path

import pytest

from dataflows import config
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.run import execute
from mapper.timing import predict
from sim.runner import Dram
from tests.mapper.families import FAMILIES
from tests.mapper.test_host import network_of

ROOT = Path(__file__).parents[2]
ALWAYS = ("mobilenet_v3", "yolo", "lstm")


@pytest.mark.filterwarnings("ignore:The tensor attribute")  # of recurrent layers, by the export
@pytest.mark.parametrize(
    "name", [*ALWAYS, *(pytest.param(n, marks=pytest.mark.regress) for n in FAMILIES if n not in ALWAYS)]
)
def test_families(name: str, tmp_path: Path) -> None:
    cfg = config.load(ROOT / "configs" / "ws16_attention.toml")
    network, inputs = network_of(name, tmp_path)
    memory = Dram(latency=60, bytes_per_cycle=cfg.bus_bytes)
    program = compile_network(cfg, network, Options(memory.latency, memory.bytes_per_cycle))
    assert bool(program.host) == (name == "yolo")
    found = predict(program, memory.latency, memory.bytes_per_cycle)
    run = execute(program, inputs, dram=memory, build_root=Path("build/test/rtl"), seed=3)
    macs = sum(network.macs(layer) for layer in network.layers)
    print(f"\n| {name} | {len(network.layers)} | {macs:,} | {found.cycles:,} | {run.cycles:,} | {len(program.host)} |")
    assert not run.mismatches and run.samples == len(inputs[network.inputs[0]])
    assert run.cycles == found.cycles
    ends = {entry.index: found.layer_end[entry.index] for entry in program.schedule}
    total = 0
    for entry in program.schedule:
        total += run.layer_cycles[entry.index]
        if entry != program.schedule[-1]:  # its last cycles come after its mark
            assert total == ends[entry.index], entry.layer.name
