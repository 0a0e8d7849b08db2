"""Programs of decoders with caches, executed by the functional model at one position after the other."""

import numpy as np
import pytest

from dataflows import config, isa
from dataflows.attention import Attention
from dataflows.errors import InputError
from dataflows.network import Network
from dataflows.packing import pack, unpack
from mapper.caches import CacheLayout, halved
from mapper.compile import Program, compile_network
from mapper.conv_plan import Options
from mapper.generation import Generation
from mapper.leave_out import leave_out
from sim import golden
from tests.attention_networks import random_input
from tests.decoder_networks import decoder_network, random_decoder, with_tokens
from tests.isa_model import Machine
from tests.mapper.test_attention_programs import SMALL, WS16, _changed
from tests.mapper.test_programs import bases_of


def generate(cfg: config.Config, network: Network, seed: int, positions: list[int]) -> None:
    """Run a program at several positions, its caches as the golden model has left them."""
    program = compile_network(cfg, network, Options())
    caches: dict[str, np.ndarray] = {}
    for number, position in enumerate(positions):
        x = random_input(network, 100 * seed + number)
        wanted = golden.run(network, {"x": x}, caches, position)
        found = _execute(program, x, caches, position)
        for entry in program.schedule:
            np.testing.assert_array_equal(found[entry.output], wanted[entry.output], err_msg=f"{entry.layer}")
        caches = {name: wanted[name] for name in network.caches}


def _execute(program: Program, x: np.ndarray, caches: dict[str, np.ndarray], position: int) -> dict[str, np.ndarray]:
    bases, size = bases_of(program)
    dram = np.random.default_rng(5).integers(0, 256, size, np.uint8)
    dram[bases[isa.Region.CONSTANT] :][: program.constants.size] = program.constants
    network = program.network

    def raw(name: str) -> np.ndarray:
        place, tensor = program.places[name], network.tensors[name]
        return dram[bases[place.region] + place.offset :][: tensor.bytes]

    empty = {name: np.zeros(network.tensors[name].shape, np.int8) for name in network.caches}
    for name, values in (empty | caches | {"x": x}).items():
        cache = CacheLayout.of(network, name)
        raw(name)[...] = cache.packed(values) if cache else pack(values, network.tensors[name].bits).ravel()
    machine = Machine(program.cfg, dram, bases, position)
    machine.run(program.words)
    found = {}
    for name, tensor in network.tensors.items():
        cache = CacheLayout.of(network, name)
        if cache:
            found[name] = cache.codes(raw(name))
            continue
        pixels = raw(name).reshape(*tensor.shape[:3], tensor.pitch)
        found[name] = unpack(pixels, tensor.shape[3], tensor.bits)
    return found


@pytest.mark.parametrize("cfg", [WS16, SMALL], ids=lambda cfg: cfg.name)
@pytest.mark.parametrize("seed", range(8))
def test_random_decoders(cfg: config.Config, seed: int) -> None:
    """Tokens one by one, several at a time, and all at once."""
    rng = np.random.default_rng(seed)
    whole = random_decoder(seed)
    most = next(whole.tensors[name].shape[2] for name in whole.caches)
    generate(cfg, with_tokens(whole, 1), seed, [0, *sorted(rng.integers(0, most, 3).tolist())])
    if halved(whole):  # tokens of a run share a decision only where they are one
        return
    tokens = int(rng.integers(1, most + 1))
    generate(cfg, with_tokens(whole, tokens), seed, [0, most - tokens])


@pytest.mark.parametrize("threshold", [0.0, 0.3])
def test_two_banks_of_scores(threshold: float) -> None:
    """More keys than a bank has words, loaded in several parts."""
    network = with_tokens(decoder_network(1, 24, 2, 90, 8, threshold=threshold), 1)
    generate(SMALL, network, 0, [0, 70, 89])


@pytest.mark.parametrize("cfg", [WS16, SMALL], ids=lambda cfg: cfg.name)
@pytest.mark.parametrize("threshold", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_keys_by_lists(cfg: config.Config, threshold: float, seed: int) -> None:
    """Three layers, each with fewer keys than the one before, from the first token to the last."""
    cfg = cfg.model_copy(update={"attention": cfg.attention.model_copy(update={"pruning": True, "indices": 256})})
    whole = with_tokens(decoder_network(3, 24, 2, 37, 8, seed=seed, threshold=threshold), 1)
    names = [layer.name for layer in whole.layers if isinstance(layer, Attention)]
    network = leave_out(whole, dict(zip(names, (0.7, 0.4, 0.2), strict=True)))
    assert [layer.keys(network.tensors) for layer in network.layers if isinstance(layer, Attention)] == [37, 26, 15]
    generate(cfg, network, seed, [0, 14, 25, 36])


def test_refused() -> None:
    halves, odd = decoder_network(1, 12, 2, 6, 8, threshold=0.2), with_tokens(decoder_network(1, 6, 2, 6, 8), 1)
    position = next(i for i, layer in enumerate(odd.layers) if layer.op == "attention")
    for network, message in (
        (with_tokens(halves, 2), "for runs of one token"),
        (_changed(odd, position, threshold=0.2), r"heads \(3 channels\)"),
        (with_tokens(decoder_network(1, 12, 2, 97, 8), 1), "rows have 97 keys"),
    ):
        with pytest.raises(InputError, match=message):
            compile_network(SMALL, network, Options())
    with pytest.raises(InputError, match="hold 6; give at most 1 samples"):
        Generation.of(with_tokens(halves, 2), 2, 3)
