"""What a decoder wrote, for the page."""

from __future__ import annotations

from dataclasses import dataclass

from mapper.outcome import Outcome


@dataclass(frozen=True)
class Written:
    """Prompt and continuation as text, or as ids; ``by`` is who computed the logits, ``unit`` what is counted."""

    prompt: str
    made: str
    by: str
    unit: str
    count: int


def written(outcome: Outcome) -> Written | None:
    """The tokens of an outcome; None where nothing was generated."""
    generated, tokens = outcome.generated, outcome.tokens
    if generated is None or tokens is None:
        return None
    start, spelled = len(generated.prompt), generated.alphabet is not None
    prompt, made = (
        generated.text(part) or " ".join(map(str, part.tolist())) for part in (tokens[:start], tokens[start:])
    )
    by = "the golden model" if outcome.run is None else "the RTL"
    return Written(prompt, made if spelled else f" {made}", by, "characters" if spelled else "tokens", start)
