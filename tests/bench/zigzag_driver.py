"""Maps layers with ZigZag: run by a Python that has ``zigzag-dse``, not by this project's.

``python zigzag_driver.py question.json answer.json``: the question holds an array, its buffers, bandwidth and shapes;
the answer cycles and CPU seconds of each shape.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path


def _memory(size, operands, ports, served):
    """One memory; ports are (name, type, bits, allocation)."""
    return {
        "size": size, "r_cost": 1.0, "w_cost": 1.0, "area": 0, "latency": 1, "operands": operands,
        "ports": [
            {"name": name, "type": kind, "bandwidth_min": bits, "bandwidth_max": bits, "allocation": allocation}
            for name, kind, bits, allocation in ports
        ],
        "served_dimensions": served,
    }  # fmt: skip


def accelerator(q):
    """ZigZag's TPU-like architecture with this array, a buffer per operand, and a DRAM port shared by all."""
    rows, cols, bus, both = q["rows"], q["cols"], q["bus_bits"], ["D1", "D2"]
    sums = 32
    memories = {
        "weight_register": _memory(
            16, ["I2"], [("r_port_1", "read", 8, ["I2, tl"]), ("w_port_1", "write", 8, ["I2, fh"])], []
        ),
        "sum_register": _memory(
            sums, ["O"],
            [
                ("r_port_1", "read", sums, ["O, tl"]), ("r_port_2", "read", sums, ["O, th"]),
                ("w_port_1", "write", sums, ["O, fh"]), ("w_port_2", "write", sums, ["O, fl"]),
            ],
            [],
        ),
        "accumulators": _memory(
            8 * q["acc_bytes"], ["O"],
            [
                ("r_port_1", "read", sums * cols, ["O, tl", "O, th"]),
                ("w_port_1", "write", sums * cols, ["O, fh", "O, fl"]),
            ],
            both,
        ),
        "input_buffer": _memory(
            8 * q["input_bytes"], ["I1"],
            [("r_port_1", "read", 8 * rows, ["I1, tl"]), ("w_port_1", "write", bus, ["I1, fh"])], both,
        ),
        "weight_buffer": _memory(
            8 * q["weight_bytes"], ["I2"],
            [("r_port_1", "read", 8 * cols, ["I2, tl"]), ("w_port_1", "write", bus, ["I2, fh"])], both,
        ),
        "dram": _memory(
            10**10, ["I1", "I2", "O"],
            [(
                "rw_port_1", "read_write", bus,
                ["I1, fh", "I1, tl", "I2, fh", "I2, tl", "O, fh", "O, tl", "O, fl", "O, th"],
            )],
            both,
        ),
    }  # fmt: skip
    array = {
        "unit_energy": 0.04, "unit_area": 1, "dimensions": both, "sizes": [cols, rows], "systolic_dimensions": both
    }
    return {"name": "compared", "memories": memories, "operational_array": array}


def layer(shape):
    """A convolution in ZigZag's terms."""
    s, p = shape["stride"], shape["padding"]
    return {
        "id": 0, "name": shape["name"], "operator_type": "Conv",
        "equation": "O[b][g][k][oy][ox]+=W[g][k][c][fy][fx]*I[b][g][c][iy][ix]",
        "dimension_relations": [f"ix={s}*ox+1*fx", f"iy={s}*oy+1*fy"],
        "loop_dims": ["B", "K", "G", "OX", "C", "FX", "OY", "FY"],
        "loop_sizes": [
            1, shape["outputs"], 1, shape["out_width"], shape["inputs"], shape["kernel"], shape["out_height"],
            shape["kernel"],
        ],
        "operand_precision": {"W": 8, "I": 8, "O": 32, "O_final": 8}, "operand_source": {"W": 0, "I": 0},
        "pr_loop_dims": ["IX", "IY"], "pr_loop_sizes": [shape["width"], shape["height"]], "padding": [[p, p], [p, p]],
    }  # fmt: skip


def main(question, answer):
    """Map every shape by itself for the least latency."""
    import yaml
    from zigzag.api import get_hardware_performance_zigzag

    q = json.loads(Path(question).read_text(encoding="utf-8"))
    found = []
    with tempfile.TemporaryDirectory() as folder:
        hardware, mapping = Path(folder) / "hardware.yaml", Path(folder) / "mapping.yaml"
        hardware.write_text(yaml.safe_dump(accelerator(q), sort_keys=False), encoding="utf-8")
        links = {"O": "O", "W": "I2", "I": "I1"}
        spatial = {"D1": [f"K, {q['cols']}"], "D2": [f"C, {q['rows']}"]}
        mapping.write_text(
            yaml.safe_dump([{"name": "default", "spatial_mapping": spatial, "memory_operand_links": links}]),
            encoding="utf-8",
        )
        for shape in q["shapes"]:
            workload = Path(folder) / "workload.yaml"
            workload.write_text(yaml.safe_dump([layer(shape)]), encoding="utf-8")
            started = time.process_time()
            _, cycles, _ = get_hardware_performance_zigzag(
                str(workload), str(hardware), str(mapping), opt="latency", dump_folder=str(Path(folder) / "dump"),
                loma_show_progress_bar=False,
            )
            found.append({"name": shape["name"], "cycles": float(cycles), "seconds": time.process_time() - started})
            print(found[-1], flush=True)
    Path(answer).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
