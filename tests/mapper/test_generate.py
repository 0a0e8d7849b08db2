"""Generation by the command line: tokens, text, files, and what it says about bad input."""

import json

import numpy as np
import pytest
import torch

from mapper import stages
from mapper.cli import main
from mapper.generated import likeliest
from mapper.run import Run
from sim import golden
from tests.demo.text_train import TextModel
from tests.mapper import models
from tests.mapper.fake_rtl import FakeRtl

WORDS, CONTEXT = 7, 8


class Decoder(FakeRtl):
    """Answers as an RTL whose caches stay from run to run."""

    def execute(self, program, inputs, *, keep, **options):
        self.calls.append({"program": program, "inputs": inputs, **options})
        network, caches = program.network, {}
        run = Run(samples=len(inputs[network.inputs[0]]), tensors=[])
        for position in range(run.samples):
            part = {name: values[position : position + 1] for name, values in inputs.items()}
            found = golden.run(network, part, caches, position)
            caches = {name: found[name] for name in network.caches}
            run.tensors.append({entry.output: found[entry.output] for entry in program.schedule})
            run.layer_cycles = {e.index: run.layer_cycles.get(e.index, 0) + 10 for e in program.schedule}
            run.cycles += 10 * len(program.schedule)
        run.dram = {"read_bytes": 1000, "write_bytes": 500}
        run.counters = {"LOAD_BUSY": 3, "ACC_STALL": 2, "READ_BEATS": 9}
        (name,) = network.outputs
        run.golden = {name: np.concatenate([tensors[name] for tensors in run.tensors])}
        run.outputs = {name: run.golden[name].copy()}
        return run


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A decoder with random weights, ids (1, 8) to logits of 7 words."""
    folder = tmp_path_factory.mktemp("decoder")
    torch.manual_seed(0)
    net = TextModel(WORDS, CONTEXT, 8, 2, 1).eval()
    models.save_export(net, folder / "gpt.pt2", torch.zeros(1, CONTEXT, dtype=torch.long))
    (folder / "abc").write_text("abc d\nz\n")
    np.save(folder / "prompt.npy", np.array([2, 5, 0], np.int32))
    return folder


def command(folder, out, *options):
    words = [str(folder / "gpt.pt2"), "--config", "configs/ws16_attention.toml", "--out", str(out)]
    return [*words, "--json", str(out / "result.json"), "--prompt", str(folder / "prompt.npy"), *options]


@pytest.fixture
def whole(monkeypatch):
    """The networks that decoders are made of, and a stand-in for the RTL."""
    found, make, rtl = [], stages.decoder, Decoder()
    monkeypatch.setattr(stages, "simulation", lambda: rtl)
    monkeypatch.setattr(stages, "decoder", lambda network, **fields: found.append(network) or make(network, **fields))
    return found


def continued(network, ids, count):
    """Greedy generation by the whole network, all tokens again for each one."""
    ids = list(ids)
    for _ in range(count):
        padded = np.zeros((1, 1, CONTEXT, 1), np.int16)
        padded[0, 0, : len(ids), 0] = ids
        logits = golden.run(network, {network.inputs[0]: padded})[network.outputs[0]]
        ids.append(int(logits[0, 0, len(ids) - 1].argmax()))
    return ids


def test_tokens_are_those_of_the_whole_network(model, whole, tmp_path, capsys):
    assert main(command(model, tmp_path, "--generate", "5", "--alphabet", str(model / "abc"))) == 0
    wanted = continued(whole[0], [2, 5, 0], 5)
    result = json.loads((tmp_path / "result.json").read_text())
    text = "".join("abc d\nz"[i] for i in wanted)
    assert result["generated"] == {"prompt": wanted[:3], "tokens": wanted[3:], "text": text}
    assert np.load(tmp_path / "tokens.npy").tolist() == wanted
    assert (tmp_path / "text.txt").read_text() == text
    page = (tmp_path / "report.html").read_text()
    assert f'<span class="soft">{text[:3]}</span>{text[3:]}</pre>' in page and "computed by the golden model" in page
    assert result["samples"] == 1 and text in capsys.readouterr().out


def test_run(model, whole, tmp_path, capsys):
    """A prompt of text, one run per token that is fed, closeness to the float model, every tensor dumped."""
    (tmp_path / "prompt").write_text("ca\n")
    options = "--generate", "4", "--context", "5", "--alphabet", str(model / "abc"), "--run"
    words = command(model, tmp_path, *options, "--dump", str(tmp_path / "dump"))
    words[words.index("--prompt") + 1] = str(tmp_path / "prompt")
    assert main(words) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["bit_exact"] and result["samples"] == 5 and result["sim"]["cycles"] == 50 * len(result["layers"])
    wanted = continued(whole[0], [2, 0], 4)
    assert np.load(tmp_path / "tokens.npy").tolist() == wanted
    assert "RTL, behind 2 characters" in capsys.readouterr().out
    assert result["layers"][-1]["sqnr_db"] > 10
    for at in range(5):
        rtl, expected = (np.load(tmp_path / "dump" / f"batch{at:04d}_{kind}.npz") for kind in ("rtl", "golden"))
        assert rtl.files and all(np.array_equal(rtl[name], expected[name]) for name in rtl.files)


def test_fewer_and_fewer_keys(model, whole, tmp_path, capsys):
    """The first layer attends to all tokens of the context, later ones to those that were kept."""
    torch.manual_seed(0)
    deep = TextModel(WORDS, CONTEXT, 8, 2, 3).eval()
    models.save_export(deep, tmp_path / "deep.pt2", torch.zeros(1, CONTEXT, dtype=torch.long))
    words = command(model, tmp_path, "--generate", "5", "--keep-tokens", "0.5")
    words[0], words[words.index("--config") + 1] = str(tmp_path / "deep.pt2"), "configs/spatten.toml"
    assert main([*words, "--run"]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert len(result["generated"]["tokens"]) == 5 and result["bit_exact"]
    attention = [layer["macs"] for layer in result["layers"] if layer["op"] == "attention"]
    assert [macs // 7 for macs in attention] == [16 * CONTEXT, 8 * CONTEXT, 8 * CONTEXT]


def test_keys_by_halves(model, whole, tmp_path, monkeypatch):
    rtl = Decoder()
    monkeypatch.setattr(stages, "simulation", lambda: rtl)
    assert main(command(model, tmp_path, "--generate", "2", "--key-threshold", "0.6", "--run")) == 0
    (call,) = rtl.calls
    (attention,) = (layer for layer in call["program"].network.layers if layer.op == "attention")
    assert attention.threshold == 0.6 and json.loads((tmp_path / "result.json").read_text())["bit_exact"]


def test_one_token_and_ids(model, whole, tmp_path, capsys):
    """Without an alphabet ids are printed; one token behind a prompt as long as the context needs no more room."""
    np.save(tmp_path / "prompt.npy", np.arange(CONTEXT)[None] % WORDS)
    words = command(model, tmp_path, "--generate", "1")
    words[words.index("--prompt") + 1] = str(tmp_path / "prompt.npy")
    assert main(words) == 0
    assert not (tmp_path / "text.txt").exists()
    wanted = continued(whole[0], np.arange(CONTEXT) % WORDS, 0)
    assert np.load(tmp_path / "tokens.npy")[:-1].tolist() == wanted
    assert "golden model, behind 8 tokens: " in capsys.readouterr().out


def test_likeliest_of_equal_ones_is_the_first():
    assert likeliest(np.array([[[[1, 5, 5, -3]]], [[[-128, -128, -128, -128]]]], np.int8)).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("options", "prompt", "message"),
    [
        (["--generate", "1", "--context", "2"], [1, 2, 3], "prompt of 3 tokens is too long for a context of 2"),
        (["--generate", "7"], [1, 2, 3], "7 tokens behind it are too many for a context of 8; --generate at most 6"),
        (["--generate", "2", "--context", "9"], [1], "values for 8 positions; a context of 9 tokens is too long"),
        (["--generate", "2"], [1, 7], "token 1 is id 7; the model's ids are 0 to 6"),
        (["--generate", "2"], [-1], "token 0 is id -1"),
        (["--generate", "2"], [0.5], "holds float64"),
        (["--generate", "2"], [[1, 2], [3, 4]], "at least one integer"),
        (["--generate", "2"], [], "at least one integer"),
        (["--generate", "2"], "ab", "give --alphabet FILE as well"),
        (["--generate", "2", "--alphabet", "{abc}"], "abx", "character 2, 'x', is not in the alphabet"),
        (["--generate", "2", "--alphabet", "{abc}"], "\n", "is empty"),
        (["--generate", "2", "--alphabet", "{prompt}"], "ab", "holds 2 characters; one for each of 7 ids"),
        (["--generate", "2", "--alphabet", "nowhere"], [1], "nowhere does not exist"),
        (["--generate", "2", "--layers", "0..1"], [1], "--layers contradicts --generate"),
        (["--generate", "2", "--keep-heads", "0.5"], [1], "--keep-heads contradicts --generate"),
        (["--generate", "2", "--key-threshold", "1.5"], [1], "a probability above 0 and at most 1"),
        (["--generate", "2", "--key-threshold", "fc=0.5"], [1], "--key-threshold: there is no such layer as 'fc'"),
        (["--generate", "0"], [1], "must be a positive integer"),
        ([], [1], "--prompt belongs to generation; add --generate N"),
    ],
)  # fmt: skip
def test_bad_input(model, whole, tmp_path, capsys, options, prompt, message):
    path = tmp_path / "prompt.npy"
    if isinstance(prompt, str):
        path.write_text(prompt)
    else:
        np.save(path, np.array(prompt) if prompt else np.zeros(0, np.int64))
    filled = [option.format(abc=model / "abc", prompt=path) for option in options]
    words = command(model, tmp_path, *filled)
    words[words.index("--prompt") + 1] = str(path)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert message in said and not (tmp_path / "tokens.npy").exists()


def test_model_that_is_no_decoder(whole, tmp_path, capsys):
    models.save_export(models.lenet(), tmp_path / "gpt.pt2", torch.zeros(1, 1, 24, 20))
    np.save(tmp_path / "prompt.npy", np.array([1]))
    assert main(command(tmp_path, tmp_path, "--generate", "1")) == 2
    assert "a decoder takes one sequence" in capsys.readouterr().err


def test_prompt_is_needed(model, capsys):
    assert main([str(model / "gpt.pt2"), "--generate", "3"]) == 2
    assert "--generate needs something to begin with; give --prompt FILE" in capsys.readouterr().err
