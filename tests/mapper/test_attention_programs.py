"""Programs of random transformers, executed by the functional model, give the golden model's bits."""

from dataclasses import replace

import numpy as np
import pytest

from dataflows import config
from dataflows.attention import Embedding
from dataflows.errors import InputError
from dataflows.network import Network
from mapper.check_transformers import check_ids
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


def _changed(network: Network, index: int, **fields: object) -> Network:
    """The network with other fields of a layer."""
    layers = list(network.layers)
    layers[index] = replace(layers[index], **fields)
    return replace(network, layers=tuple(layers))


def _scaled(network: Network, name: str, **fields: object) -> Network:
    """The network with other fields of a tensor."""
    return replace(network, tensors={**network.tensors, name: replace(network.tensors[name], **fields)})


def _refused(network: Network, cfg: config.Config = SMALL) -> str:
    with pytest.raises(InputError) as error:
        compile_network(cfg, network, Options())
    return str(error.value)


def test_refused_networks() -> None:
    network = encoder_network(1, 12, 2, 5, 8)
    attention, norm = (next(i for i, x in enumerate(network.layers) if x.op == op) for op in ("attention", "norm"))
    queries = network.layers[attention].inputs[0]
    plain = config.load("configs/tiny.toml")
    assert {x.name for x in network.layers if x.op in ("attention", "norm", "lookup")} == set(
        compile_network(plain, network, Options()).host
    )
    assert "12 channels do not divide into 5 heads" in _refused(_changed(network, attention, heads=5))
    assert "lengths must be 1 numbers of 0 to 5 keys" in _refused(_changed(network, attention, lengths=(6,)))
    assert "must have zero point 0, not 3" in _refused(_scaled(network, queries, zero=3))
    assert "needs a shift of" in _refused(_scaled(network, network.layers[attention].output, scale=1e9))
    assert "rows have 97 keys" in _refused(encoder_network(1, 4, 1, 97, 4))
    assert "rows have 100 channels" in _refused(encoder_network(1, 100, 1, 2, 4))
    assert "epsilon" in _refused(_changed(network, norm, epsilon=1e30))
    assert "do not fit the scale" in _refused(_changed(network, norm, gain=np.full(12, 1e9, np.float32)))
    tight = SMALL.model_copy(update={"memory": SMALL.memory.model_copy(update={"acc_bytes": 64})})
    assert "9 keys and heads of 6 channels need 128 bytes" in _refused(encoder_network(1, 12, 2, 9, 8), tight)


def test_refused_embeddings() -> None:
    network = random_transformer(0, "embedding")
    (position,) = (i for i, layer in enumerate(network.layers) if isinstance(layer, Embedding))
    ids = random_input(network, 0)
    check_ids(network, {"x": ids})
    ids[-1, 0, 0, 0] = len(network.layers[position].table)
    with pytest.raises(InputError, match="is beyond the table of layer embedding0"):
        check_ids(network, {"x": ids})
    big = _changed(network, position, table=np.zeros((65537, 1), np.int8))
    assert "has 65537 rows" in _refused(big)
    assert "16 bits" in _refused(_scaled(network, "x", bits=8))
