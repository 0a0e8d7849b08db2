"""Attention to keys and values of the model: imported graphs compute what PyTorch computes; candidates by option."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from dataflows import config
from dataflows.attention import Attention
from dataflows.errors import InputError
from mapper import stages
from mapper.candidates import with_candidates
from mapper.layer_specs import parse as spec
from mapper.loading import import_model
from mapper.options import parse
from mapper.part import cut
from mapper.progress import Progress
from tests.attention_networks import encoder_network
from tests.mapper import models
from tests.mapper.test_import_attention import imported
from tests.memory_networks import memory_network

WIDTH, KEYS = 16, 7


class Memory(nn.Module):
    """Queries of a linear layer meet keys and values of the model, of ``shape`` before channels."""

    def __init__(self, shape: tuple[int, ...], heads: int = 1) -> None:
        super().__init__()
        self.heads, depth = heads, WIDTH // heads
        self.query, self.out = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 3)
        self.keys = nn.Parameter(torch.randn(*shape, depth))
        self.register_buffer("values", torch.randn(*shape, depth))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        samples, length, _ = x.shape
        q = self.query(x)
        if self.keys.ndim == 4:
            q = q.view(samples, length, self.heads, -1).transpose(1, 2)
        found = functional.scaled_dot_product_attention(q, self.keys, self.values)
        return self.out(found.transpose(1, 2).flatten(2) if found.ndim == 4 else found)


class Projected(nn.Module):
    """Keys and values are linear in one memory, which is known beforehand."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 4, batch_first=True)
        self.register_buffer("memory", torch.randn(1, KEYS, WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        memory = self.memory.expand(len(x), -1, -1)
        return self.attention(x, memory, memory, need_weights=False)[0]


@pytest.mark.parametrize(
    ("shape", "heads", "inputs"), [((KEYS,), 1, (2, 5)), ((1, 4, KEYS), 4, (2, 3)), ((2, 4, 1), 4, (2, 1))]
)
def test_forms(shape, heads, inputs, tmp_path):
    model = models.seeded(Memory(shape, heads), 3)
    if shape[0] == 2:  # written for each sample, and the same for both
        model.keys.data[1], model.values[1] = model.keys.data[0], model.values[0]
    graph = imported(model, (*inputs, WIDTH), tmp_path)
    assert [node.op for node in graph.nodes] == ["conv", "constant", "constant", "attention", "conv"]


def test_projected_memory(tmp_path):
    """Keys and values that layers of the model make of a constant are constants."""
    graph = imported(models.seeded(Projected(), 3), (2, 1, WIDTH), tmp_path)
    assert [node.op for node in graph.nodes] == ["conv", "constant", "constant", "attention", "conv"]


def test_keys_that_differ_between_samples_are_refused(tmp_path):
    x = torch.randn(2, 1, WIDTH)
    path = models.save_export(models.seeded(Memory((2, 4, KEYS), 4), 3), tmp_path / "m", x)
    with pytest.raises(InputError, match=r"k .* of the model differ between samples; supported are keys and values"):
        import_model(path)


def steps(network, text):
    return [x.candidates for x in with_candidates(network, spec(text, int)).layers if isinstance(x, Attention)]


def test_the_option():
    network = memory_network(1, 1, 9, 1, 4)
    name = next(x.name for x in network.layers if isinstance(x, Attention))
    assert steps(network, "5") == steps(network, f"{name}=5") == [5]
    own = encoder_network(1, 8, 1, 4, 8)
    with pytest.raises(InputError, match="--candidates: the model has no attention to keys of its own"):
        with_candidates(own, spec("5", int))
    with pytest.raises(InputError, match="--candidates: must be a positive integer of at most 65535, not '0'"):
        parse(["model.pt2", "--candidates", "0"])
    arguments = parse(["model.pt2", "--candidates", "3,b=4"])
    assert "--candidates 3,b=4" in arguments.reproduce(arguments.configs[0], "a")


def test_a_part_has_the_keys_that_it_reads():
    network = with_candidates(memory_network(1, 1, 9, 1, 4), spec("5", int))
    index = next(i for i, x in enumerate(network.layers) if isinstance(x, Attention))
    part = cut(network, index, index, {})
    assert [layer.op for layer in part.layers] == ["constant", "constant", "attention"]
    assert part.inputs == (network.layers[index].inputs[0],)


def test_from_file_to_program(tmp_path, root):
    """Through the command's stages, with random calibration: the layer has the steps, and its searches are told."""
    x = torch.randn(1, 2, WIDTH)
    path = models.save_export(models.seeded(Memory((1, 4, KEYS), 4), 3), tmp_path / "m", x)
    values = config.load(root / "configs" / "ws16_attention.toml").model_dump()
    values["attention"] |= {"pruning": True, "values": True, "candidates": 8, "candidate_columns": 4}
    cfg = config.parse(values, "test")
    np.savez(tmp_path / "samples.npz", x=np.random.default_rng(1).normal(size=(4, 2, WIDTH)).astype(np.float32))
    arguments = parse([str(path), "--calibration", str(tmp_path / "samples.npz"), "--candidates", "3"])
    model = stages.load(arguments, [cfg], Progress())
    program = stages.schedule(model, cfg, arguments.configs[0], arguments, Progress()).program
    assert len(program.searches) == 2 * 4
    assert {search.layer.candidates for search in program.searches.values()} == {3}
    assert any("attention to candidates" in note for note in model.notes)
