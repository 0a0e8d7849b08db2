"""State dicts with a factory: the same graph as an export, and one message for what does not fit."""

import json
import sys

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from dataflows.errors import InputError
from mapper.cli import main
from mapper.float_reference import run
from mapper.graph import FloatGraph
from mapper.loading import import_model
from tests.mapper import models

ARCH = "nets_of_a_user:"
CODE = """
import torch
from torch import nn

def small():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))

class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(11, 6), nn.Linear(6, 11, bias=False)
        self.head.weight = self.table.weight

    def forward(self, x):
        return self.head(self.table(x))

class Needy(nn.Module):
    def __init__(self, width):
        super().__init__()

number = 3

def list_of():
    return [1]
"""


@pytest.fixture
def user(tmp_path, monkeypatch):
    """A current directory with a module of a user."""
    (tmp_path / "nets_of_a_user.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("nets_of_a_user", None)


def small() -> nn.Module:
    return models.seeded(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))
    )


def same(graph: FloatGraph, model: nn.Module) -> None:
    x = torch.randn(2, 3, 8, 8)
    found = run(graph, {graph.inputs[0]: x.numpy()})[graph.outputs[0]]
    np.testing.assert_allclose(found.reshape(2, -1), model.eval()(x).detach().numpy(), rtol=1e-4, atol=1e-5)


SAVED = {
    "plain": torch.save,
    "old": lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
    "safetensors": safetensors.torch.save_file,
    "checkpoint": lambda state, path: torch.save({"epoch": 3, "state_dict": state, "note": "x"}, path),
    "parallel": lambda state, path: torch.save({f"module.{name}": value for name, value in state.items()}, path),
    "half": lambda state, path: torch.save(
        {name: value.bfloat16().float() if value.is_floating_point() else value for name, value in state.items()}, path
    ),
}


@pytest.mark.parametrize("kind", SAVED)
def test_every_kind_of_file(kind, user):
    model = small()
    if kind == "half":
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.copy_(value.bfloat16().float())
    SAVED[kind](model.state_dict(), user / "m")
    same(import_model("m", (1, 3, 8, 8), arch=f"{ARCH}small"), model)


def test_tied_weights_and_ids(user):
    torch.save({"table.weight": torch.randn(11, 6)}, "m")
    graph = import_model("m", (1, 7), arch=f"{ARCH}Words")
    assert [node.op for node in graph.nodes] == ["embedding", "conv"]


def test_command_line(user, capsys):
    torch.save(small().state_dict(), "m")
    words = ["m", "--arch", f"{ARCH}small", "--input-shape", "1,3,8,8", "--out", "o", "--json", "o.json"]
    assert main(words) == 0
    assert json.loads((user / "o.json").read_text())["layers"][0]["name"] == "0"


@pytest.mark.parametrize(("arch", "message"), [
    ("nowhere:x", "nowhere cannot be imported .*No module named .*it must be installed, or in the current directory"),
    ("nets_of_a_user:large", "nets_of_a_user has no class or function large"),
    ("nets_of_a_user:number", "has no class or function number"),
    ("nets_of_a_user:Needy", r"Needy\(\) fails, called without arguments: TypeError: .*width"),
    ("nets_of_a_user:list_of", r"list_of\(\) gives a list, not a torch\.nn\.Module"),
])  # fmt: skip
def test_bad_factories(arch, message, user):
    torch.save(small().state_dict(), "m")
    with pytest.raises(InputError, match=message) as caught:
        import_model("m", (1, 3, 8, 8), arch=arch)
    assert "\n" not in str(caught.value)


def test_what_does_not_fit_is_one_message(user):
    state = small().state_dict()
    del state["0.bias"], state["4.weight"]
    state |= {"extra": torch.zeros(1), "1.running_mean": torch.zeros(5)}
    torch.save(state, "m")
    with pytest.raises(InputError) as caught:
        import_model("m", (1, 3, 8, 8), arch=f"{ARCH}small")
    assert str(caught.value) == (
        "the weights in m do not fit nets_of_a_user:small: missing 0.bias, 4.weight; unexpected extra; "
        "of another shape: 1.running_mean (5,) instead of (4,)"
    )
    torch.save({f"layer{i}": torch.zeros(1) for i in range(9)}, "m")
    with pytest.raises(InputError, match=r"unexpected layer0, .*layer4 and 4 more$"):
        import_model("m", (1, 3, 8, 8), arch=f"{ARCH}small")


def test_other_files(user):
    arch = f"{ARCH}small"
    torch.save(small().state_dict(), "m")
    with pytest.raises(InputError, match="does not say the shape of the input; give --input-shape"):
        import_model("m", arch=arch)
    with pytest.raises(InputError, match=r"cannot be exported for an input of shape \(1, 4, 8, 8\)"):
        import_model("m", (1, 4, 8, 8), arch=arch)
    torch.save([1, 2], "m")
    with pytest.raises(InputError, match="holds no state dict, which --arch is for"):
        import_model("m", (1, 3, 8, 8), arch=arch)
    for content in (b"hello", (999).to_bytes(8, "little") + b"{}"):
        (user / "m").write_bytes(content)
        with pytest.raises(InputError, match="is no state dict, which --arch is for"):
            import_model("m", (1, 3, 8, 8), arch=arch)
    (user / "m").write_bytes((4).to_bytes(8, "little") + b"{}xx")
    with pytest.raises(InputError, match="damaged safetensors file"):
        import_model("m")
    safetensors.torch.save_file(small().state_dict(), "m")
    with pytest.raises(InputError, match=r"a dictionary of 9 entries, weights without the graph .*give --arch"):
        import_model("m")


def test_bad_option(capsys):
    assert main(["m", "--arch", "no-colon"]) == 2
    assert "--arch: must be package.module:factory, not 'no-colon'" in capsys.readouterr().err
