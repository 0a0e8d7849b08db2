"""A stand-in for ``mapper.run`` that answers like correct hardware, or with a chosen defect, in no time."""

from dataclasses import dataclass, field

import numpy as np

from mapper.run import Mismatch, Run
from sim import golden
from sim.runner import Dram, SimulationError


@dataclass
class FakeRtl:
    """Same names as the module ``mapper.run``. ``wrong`` names a layer whose first element is off by one."""

    wrong: str | None = None
    failure: str | None = None
    calls: list = field(default_factory=list)
    golden = golden
    Dram = Dram
    SimulationError = SimulationError

    def check_tools(self):
        """Nothing is needed."""

    def execute(self, program, inputs, *, dram, build_root, seed, keep, trace, progress):
        self.calls.append({"program": program, "inputs": inputs, "dram": dram, "seed": seed, "trace": trace})
        if self.failure:
            raise SimulationError(self.failure)
        if trace is not None:
            trace[1].write_bytes(b"waveform")
        network = program.network
        batch = network.tensors[network.inputs[0]].shape[0]
        tensors = golden.run(network, inputs)
        count = len(inputs[network.inputs[0]])
        run = Run(samples=count, tensors=[] if keep else None, seconds=0.5)
        for start in range(0, count, batch):
            progress(run.cycles, start)
            part = {e.output: tensors[e.output][start : start + batch].copy() for e in program.schedule}
            for e in program.schedule:
                run.layer_cycles[e.index] = run.layer_cycles.get(e.index, 0) + 100
                run.cycles += 100
                name = e.final.name
                if self.wrong == name:
                    expected = int(part[e.output].flat[0])
                    part[e.output].flat[0] = expected ^ 1
                    found = Mismatch(name, start, (0, 0, 0, 0), expected, expected ^ 1, 1, "job 7: STORE x")
                    run.mismatches.append(found)
            run.cycles += 5
            if keep:
                run.tensors.append(part)
        run.golden = {name: tensors[name] for name in network.outputs}
        run.outputs = {name: tensors[name].copy() for name in network.outputs}
        run.counters = {"LOAD_BUSY": 3, "ACC_STALL": 2, "READ_BEATS": 9}
        run.dram = {"read_bytes": 1000, "write_bytes": 500}
        return run


def samples(path, count, shape, seed=0, name="x"):
    """Write an ``.npz`` file of normal samples; returns its path as text."""
    np.savez(path, **{name: np.random.default_rng(seed).standard_normal((count, *shape)).astype(np.float32)})
    return str(path)
