"""Compressed activations: which tensors, which blocks, and programs whose functional model gives the golden bits."""

import numpy as np
import pytest

from dataflows import config, isa
from dataflows.config import Config
from dataflows.network import Network
from dataflows.run_length import Format
from mapper.blocks import Blocks, Use, choose, joined, runs_of, sparse
from mapper.compile import Program, compile_network
from mapper.conv_plan import Options
from sim import golden
from sim.golden.run_length import decode, encode
from tests.isa_model import Machine
from tests.mapper.test_programs import FLOWS, MAPPED, bases_of, small
from tests.random_layers import random_input
from tests.random_sparse import classifier, engine
from tests.random_sparse import sparse_network as pruned
from tests.sparse_networks import sparse_network

FORM = Format(5, 8)


def with_codec(cfg: Config, **codec: int) -> Config:
    levels = {"level_bits": cfg.numbers.act_bits}
    return config.parse(cfg.model_dump() | {"codec": codec | levels}, "test")


def compiled(cfg: Config, network: Network, *, fuse: bool = True) -> Program:
    return compile_network(cfg, network, Options(bytes_per_cycle=cfg.bus_bytes), fuse=fuse)


def check(program: Program, seed: int) -> None:
    """Run the functional model; every tensor that leaves the chip has the golden bits."""
    network = program.network
    x = random_input(network, seed)
    wanted = golden.run(network, {"x": x})
    bases, size = bases_of(program)
    dram = np.random.default_rng(5).integers(0, 256, size, np.uint8)
    dram[bases[isa.Region.CONSTANT] :][: program.constants.size] = program.constants
    place = program.places["x"]
    dram[bases[place.region] + place.offset :][: x.nbytes] = x.view(np.uint8).ravel()
    machine = Machine(program.cfg, dram, bases)
    machine.run(program.words)
    for entry in program.schedule:
        name, place = entry.output, program.places[entry.output]
        start, tensor = bases[place.region] + place.offset, wanted[entry.output]
        blocks = program.blocks.get(name)
        if blocks is None:
            found = dram[start : start + tensor.nbytes].view(tensor.dtype).reshape(tensor.shape)
            np.testing.assert_array_equal(found, tensor, err_msg=name)
            continue
        matrix = tensor.reshape(-1, tensor.shape[3])
        for offset, elements, pixels, channels in blocks.parts():
            words = encode(matrix[pixels, channels].ravel(), blocks.form, zero=blocks.zero)
            assert matrix[pixels, channels].size == elements
            found = dram[start + offset :][: words.nbytes].view("<u8")
            np.testing.assert_array_equal(found, words, err_msg=f"{name} {pixels} {channels}")


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("flow", MAPPED)
@pytest.mark.parametrize("seed", range(6))
def test_random_networks(flow: str, seed: int, bits: int) -> None:
    rng = np.random.default_rng(seed)
    rows, cols = (int(v) for v in rng.integers(3, 10, 2))
    lean = seed == 3 and flow in FLOWS
    cfg = with_codec(small(flow, rows, cols, lean=lean, bits=bits), run_bits=int(rng.integers(2, 6)))
    size = {"most_channels": 16, "most_size": 8} if lean else {}
    check(compiled(cfg, sparse_network(seed, **size, bits=bits), fuse=seed % 2 == 0), seed)


def test_most_activations_are_compressed() -> None:
    counts = []
    for seed in range(12):
        network = sparse_network(seed)
        program = compiled(with_codec(small("weight_stationary", 8, 8)), network)
        kept = {s.output for s in program.schedule} - set(network.outputs)
        assert set(program.blocks) <= kept & sparse(network)
        counts.append((len(program.blocks), len(kept & sparse(network))))
    compressed, candidates = (sum(c) for c in zip(*counts, strict=True))
    assert compressed >= 0.7 * candidates > 20, counts


def test_without_a_codec_nothing_is_compressed() -> None:
    program = compiled(small("weight_stationary", 8, 8), sparse_network(0))
    assert not program.blocks and all("codec" not in job.registers for job in program.jobs)


def test_entries_are_used_again_after_the_last_use() -> None:
    """A table too small for all tensors at once, and one too small for any."""
    network = sparse_network(2)
    ample = compiled(with_codec(small("weight_stationary", 8, 8)), network)
    blocks = {name: b.entries for name, b in ample.blocks.items()}
    assert len(blocks) > 1 and max(b.entry + b.entries for b in ample.blocks.values()) <= sum(blocks.values())
    least = compiled(with_codec(small("weight_stationary", 8, 8), blocks=2), network)
    assert all(b.entry + b.entries <= 2 for b in least.blocks.values())
    check(least, 2)


def test_runs_of_rectangles() -> None:
    view = (2, 6, 5, 3)
    assert runs_of(view, (0, 2), (1, 3), (0, 5)) == [(5, 15), (35, 45)]
    assert runs_of(view, (0, 1), (1, 6), (0, 5), 2) == [(5, 10), (15, 20), (25, 30)]
    assert runs_of(view, (1, 2), (0, 2), (1, 3)) == [(31, 33), (36, 38)]
    assert joined([(0, 5), (5, 7), (8, 9)]) == ((0, 7), (8, 9))


def test_blocks_follow_from_the_uses() -> None:
    network = sparse_network(5)
    cfg = with_codec(small("weight_stationary", 8, 8))
    n, h, w, c = network.tensors["first_out"].shape
    pixels = n * h * w
    writes = [Use(0, write=True, runs=((0, pixels),), channels=(0, c))]

    def chosen(*uses: Use | None) -> Blocks | None:
        return choose(cfg, network, {"first_out": [*writes, *uses]}, ["first_out"]).get("first_out")

    def read(*runs: tuple[int, int], channels: tuple[int, int] = (0, c)) -> Use:
        return Use(1, write=False, runs=runs, channels=channels)

    assert chosen(read((0, pixels))) is not None
    rows = chosen(read((0, 3 * w)), read((2 * w, pixels)))
    assert rows is not None and rows.pixels % w == 0 and rows.count * rows.pixels == pixels
    assert chosen(read((0, pixels), channels=(0, c - 1))) is None, "part of a group"
    assert chosen(None) is None, "part of a pixel"
    assert chosen(read((0, pixels)), Use(0, write=True, runs=((0, 1), (2, 3)), channels=(0, c))) is None
    assert chosen(read((1, pixels))).pixels == 1, "34 channels are enough for blocks of one pixel"


def test_blocks_lie_one_after_the_other() -> None:
    blocks = Blocks(FORM, 0, 1, pixels=7, count=3, groups=((0, 8), (8, 13)), entry=4)
    assert [blocks.slot_bytes(g) for g in (0, 1)] == [128, 128]  # 56 and 35 elements, 4 to a word at worst
    assert [p[0] for p in blocks.parts()] == [0, 128, 256, 384, 512, 640] and blocks.size == 768
    assert [blocks.entry_of(g, b) for g in (0, 1) for b in range(3)] == [4, 5, 6, 7, 8, 9]
    assert blocks.inside((0, 13)) == [0, 1] and blocks.inside((8, 13)) == [1] and blocks.inside((0, 12)) == [0]


def test_decode_of_what_may_be_followed_by_anything() -> None:
    x = np.arange(40) % 5
    words = np.append(encode(x, FORM), np.uint64(12345))
    assert np.array_equal(decode(words, 40, FORM, exact=False), x)


def test_only_what_gets_smaller_is_compressed() -> None:
    """Shares of zeros, where they are known, decide instead of clamps."""
    network, cfg = sparse_network(2), with_codec(small("weight_stationary", 8, 8), run_bits=5)
    likely = compiled(cfg, network)
    many = dict.fromkeys(network.tensors, 0.9)
    few = many | {"sum": 0.4}
    options = Options(bytes_per_cycle=cfg.bus_bytes)
    assert set(compile_network(cfg, network, options, zeros=many).blocks) >= set(likely.blocks) > {"sum"}
    assert "sum" not in compile_network(cfg, network, options, zeros=few).blocks
    assert not compile_network(cfg, network, options, zeros=dict.fromkeys(network.tensors, 0.0)).blocks


@pytest.mark.parametrize("zeros", [0, 0.3, 0.8, 0.99, 1])
def test_expected_words_are_those_of_random_elements(zeros: float) -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(1, 128, 50_000)
    x[rng.random(x.size) < zeros] = 0
    assert FORM.expected_words(x.size, zeros) == pytest.approx(encode(x, FORM).size, rel=0.03)


def test_sparse_layers_read_and_write_compressed_activations() -> None:
    counts = []
    for seed in range(24):
        network = pruned(seed, images=1 + seed % 3) if seed % 2 else classifier(seed, images=1 + seed % 3)
        lean = {"weight_bytes": 128, "pointer_bytes": 96, "accumulators": 8} if seed % 3 == 0 else {}
        cfg = with_codec(engine(**lean), run_bits=2 + seed % 4)
        options = Options(bytes_per_cycle=cfg.bus_bytes, engine="sparse")
        zeros = dict.fromkeys(network.tensors, 0.8)
        program = compile_network(cfg, network, options, zeros=zeros)
        check(program, seed)
        counts += [entry.output in program.blocks for entry in program.schedule if entry.engine == "sparse"]
    assert any(counts)
