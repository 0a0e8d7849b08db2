"""Tokens that a decoder generates: the prompt, the likeliest token after token, text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflows.attention import Embedding
from dataflows.errors import InputError
from dataflows.network import Codes, Network
from mapper.generation import Generation
from mapper.generation_options import Generate
from mapper.samples import UNREADABLE

MAGIC = b"\x93NUMPY"
"""What files of :func:`numpy.save` begin with."""

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Generated:
    """What came of a prompt.

    Attributes
    ----------
    prompt, tokens : int64 arrays (count,)
        The ids it began with, and those that followed.
    alphabet : str or None
        Character k stands for id k.
    """

    prompt: Ids
    tokens: Ids
    alphabet: str | None = None

    @property
    def fed(self) -> Ids:
        """What the decoder was given, token by token."""
        return np.concatenate([self.prompt, self.tokens[:-1]])

    def text(self, ids: Ids | None = None) -> str | None:
        """The prompt and what followed (or other ids) as text; None without an alphabet."""
        found = np.concatenate([self.prompt, self.tokens]) if ids is None else ids
        return None if self.alphabet is None else "".join(self.alphabet[i] for i in found)

    def document(self) -> dict[str, Any]:
        """Its part of the ``--json`` form."""
        return {"prompt": self.prompt.tolist(), "tokens": self.tokens.tolist(), "text": self.text()}


def generate(network: Network, wanted: Generate, run: Callable[..., dict[str, Codes]]) -> Generated:
    """Generate as many tokens as wanted with a decoder of one token.

    Parameters
    ----------
    network : Network
        Made by :func:`mapper.decoder.decoder`.
    run : callable
        ``run(network, inputs, caches=, position=)``, all tensors by name, as the golden model gives them.

    Raises
    ------
    InputError
        When the network does not turn ids into logits, or prompt and alphabet do not fit it.
    """
    words = vocabulary(network)
    alphabet = None if wanted.alphabet is None else read_alphabet(wanted.alphabet, words)
    prompt = read_prompt(wanted.prompt, words, alphabet)
    most = min(network.tensors[name].shape[2] for name in network.caches)
    needed = len(prompt) + wanted.count - 1  # the last token is not given to the decoder
    if needed > most:
        much = "is too long" if len(prompt) > most else f"and {wanted.count} tokens behind it are too many"
        raise InputError(
            f"{wanted.prompt}: a prompt of {len(prompt)} tokens {much} for a context of {most}; "
            + (f"--generate at most {most - len(prompt) + 1}" if len(prompt) <= most else "shorten it")
        )
    state, (name,), (output,) = Generation.of(network, needed), network.inputs, network.outputs
    ids = prompt.tolist()
    for position in range(needed):
        token = as_ids(np.array(ids[position : position + 1]))
        values = run(network, {name: token}, **state.before)
        state.go_on(values)
        if position >= len(prompt) - 1:
            ids += likeliest(values[output]).tolist()
    return Generated(prompt, np.array(ids[len(prompt) :], np.int64), alphabet)


def likeliest(logits: Codes) -> Ids:
    """Per sample (N, 1, 1, words) the id of the largest value, of equal ones the first."""
    found: Ids = logits.reshape(len(logits), -1).argmax(1).astype(np.int64)
    return found


def as_ids(ids: Ids) -> Codes:
    """Ids (count,) as samples of the network's input, (count, 1, 1, 1), 16 bits without sign."""
    return ids.astype(np.uint16).view(np.int16).reshape(-1, 1, 1, 1)


def vocabulary(network: Network) -> int:
    """Ids that a decoder takes and gives."""
    tables = [layer for layer in network.layers if isinstance(layer, Embedding)]
    if len(network.inputs) != 1 or not tables or tables[0].inputs != network.inputs:
        raise InputError(f"model {network.name} does not begin with an embedding of ids, so it cannot generate tokens")
    if len(network.outputs) != 1:
        raise InputError(f"model {network.name} has {len(network.outputs)} outputs; one, of logits, is needed")
    words, given = min(len(layer.table) for layer in tables), network.tensors[network.outputs[0]].shape[3]
    if given > words:
        raise InputError(
            f"model {network.name} gives logits of {given} words, but its embedding has {words} entries; they have to "
            "be words of the same vocabulary"
        )
    return words


def read_alphabet(path: Path, words: int) -> str:
    """The characters of a file, the k-th of which is id k."""
    alphabet = _text(path)
    if len(alphabet) == words + 1 and alphabet.endswith("\n"):
        alphabet = alphabet[:-1]  # as editors leave it
    if len(alphabet) != words:
        raise InputError(f"{path} holds {len(alphabet)} characters; one for each of {words} ids is needed")
    return alphabet


def read_prompt(path: Path, words: int, alphabet: str | None) -> Ids:
    """Ids of a prompt, from a file of integers or of text."""
    try:
        with path.open("rb") as file:
            plain = file.read(len(MAGIC)) == MAGIC
            file.seek(0)
            found = np.load(file, allow_pickle=False) if plain else None
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except UNREADABLE as error:
        raise InputError(f"{path} is not an array of integers: {error}") from error
    if found is None:
        return _spelled(path, alphabet)
    if found.dtype.kind not in "iu" or found.ndim not in (1, 2) or found.size != found.shape[-1] or not found.size:
        raise InputError(f"{path} holds {found.dtype} {found.shape}; at least one integer, (tokens,), is needed")
    ids: Ids = found.reshape(-1).astype(np.int64)
    wrong = np.flatnonzero((ids < 0) | (ids >= words))
    if wrong.size:
        at = int(wrong[0])
        raise InputError(f"{path}: token {at} is id {ids[at]}; the model's ids are 0 to {words - 1}")
    return ids


def _spelled(path: Path, alphabet: str | None) -> Ids:
    """Ids of a text."""
    if alphabet is None:
        raise InputError(f"{path} was not written by numpy.save; to begin with a text, give --alphabet FILE as well")
    text = _text(path).removesuffix("\n")
    for at, character in enumerate(text):
        if character not in alphabet:
            raise InputError(f"{path}: character {at}, {character!r}, is not in the alphabet")
    if not text:
        raise InputError(f"{path} is empty; at least one character is needed to begin with")
    return np.array([alphabet.index(character) for character in text], np.int64)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a text in UTF-8: {error}") from error
