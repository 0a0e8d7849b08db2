"""Options of generation: what a decoder begins with, how far it goes on, and how its tokens are written."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path

from dataflows.errors import InputError
from mapper.layer_specs import LayerSpec, parser
from mapper.option_values import number

EXCLUDED = "inputs", "layers", "keep_heads", "candidates"
"""Options that say what to run otherwise."""


@dataclass(frozen=True)
class Generate:
    """What is to be generated: ``count`` tokens behind a prompt; by attention layer the probability of
    ``--key-threshold``."""

    count: int
    prompt: Path
    context: int | None = None
    alphabet: Path | None = None
    key_threshold: LayerSpec[float] = field(default_factory=LayerSpec)

    @property
    def words(self) -> list[str]:
        """The options again."""
        words = ["--generate", str(self.count), "--prompt", str(self.prompt)]
        words += ["--context", str(self.context)] if self.context else []
        words += ["--key-threshold", self.key_threshold.text] if self.key_threshold.text else []
        return words + (["--alphabet", str(self.alphabet)] if self.alphabet else [])


def add_generation(p: argparse.ArgumentParser) -> None:
    """Add them to the parser, as a group of their own."""
    count = number(int, "a positive integer of at most 2**16", lambda v: 1 <= v <= 1 << 16)
    g = p.add_argument_group(
        "generation (decoders)",
        "The model takes ids (1, L) and gives logits (1, L, words); attention is causal. It is mapped once, for one\n"
        "token at any position, with keys and values of all tokens before in caches in DRAM; each token of the prompt\n"
        "and each that was generated is a run of that program. The likeliest token follows (of equal ones the first).",
    )
    g.add_argument("--generate", type=count, metavar="N", help="generate N tokens behind the prompt, one by one")
    g.add_argument(
        "--prompt", type=Path, metavar="FILE",
        help="ids to begin with, numpy.save of integers; with --alphabet a text file serves as well",
    )  # fmt: skip
    g.add_argument(
        "--context", type=count, metavar="L",
        help="tokens that the caches hold, prompt included (as many as the model takes)",
    )  # fmt: skip
    g.add_argument(
        "--alphabet", type=Path, metavar="FILE", help="UTF-8 text whose k-th character is id k: prints and writes text"
    )
    probability = number(float, "a probability above 0 and at most 1", lambda v: 0 < v <= 1)
    g.add_argument(
        "--key-threshold", type=parser(probability), metavar="P", default=LayerSpec(),
        help="fetch the upper halves of keys, and the lower ones only for heads in which no probability reaches P",
    )  # fmt: skip


def chosen(a: argparse.Namespace) -> Generate | None:
    """The options as one value; None where nothing is to be generated."""
    if a.generate is None:
        for name in ("prompt", "context", "alphabet", "key_threshold"):
            value = getattr(a, name)
            if getattr(value, "values", value):
                raise InputError(f"--{name.replace('_', '-')} belongs to generation; add --generate N")
        return None
    if a.prompt is None:
        raise InputError("--generate needs something to begin with; give --prompt FILE (numpy.save of ids)")
    for name in EXCLUDED:
        value = getattr(a, name)
        if getattr(value, "values", value):
            raise InputError(f"--{name.replace('_', '-')} contradicts --generate; leave one of them out")
    return Generate(a.generate, a.prompt, a.context, a.alphabet, a.key_threshold)
