"""Programs of random transformers, executed by the functional model, give the golden model's bits."""

import pytest

from dataflows import config
from mapper.compile import compile_network
from mapper.conv_plan import Options
from tests.attention_networks import KINDS, encoder_network, random_input, random_transformer
from tests.mapper.test_programs import check_program

WS16 = config.load("configs/ws16_attention.toml")

SMALL = config.parse(
    {
        **WS16.model_dump(),
        "name": "small",
        "array": {"rows": 4, "cols": 8, "dataflow": "weight_stationary"},
        "memory": {
            "input_bytes": 1024, "weight_bytes": 2048, "acc_bytes": 4096, "operand_bytes": 1024, "param_bytes": 1024
        },
        "vector": None,
        "attention": {"row_elements": 96, "scales": 32, "tables": 1, "indices": 32},
    },
    "test",
)  # fmt: skip
"""Everything is cut into parts: rows of the array fewer than lanes, hardly any memory."""


@pytest.mark.parametrize("cfg", [WS16, SMALL], ids=lambda cfg: cfg.name)
@pytest.mark.parametrize("kind", sorted(set(KINDS)))
@pytest.mark.parametrize("seed", range(3))
def test_random_transformers(cfg: config.Config, kind: str, seed: int) -> None:
    network = random_transformer(seed, kind)
    program = compile_network(cfg, network, Options(), fuse=seed != 1)
    check_program(program, random_input(network, seed))


@pytest.mark.parametrize(
    ("hidden", "heads", "length"), [(64, 2, 33), (96, 1, 7), (60, 5, 48), (40, 4, 1)], ids=lambda v: str(v)
)
def test_encoder_layers(hidden: int, heads: int, length: int) -> None:
    """Several banks of queries, several parts of keys, heads that are no multiple of anything."""
    network = encoder_network(1, hidden, heads, length, 2 * hidden, causal=length == 48)
    check_program(compile_network(SMALL, network, Options()), random_input(network, 1))
