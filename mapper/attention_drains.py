"""Scores on their way to the row engine, and numerators on theirs to DRAM."""

from __future__ import annotations

from dataflows import isa
from mapper.context import Context
from mapper.loads import ROWS
from mapper.nests import Loops, levels
from mapper.scoreboard import Access
from mapper.vector_jobs import ACC_LEVELS


def score(context: Context, bank: int, loops: Loops, tail: int, param_at: int, layer: int, note: str) -> None:
    """The VECTOR job that sends the sums of a bank to the row engine as scores.

    ``loops`` are the words of a pixel and the pixels, ``tail`` the valid lanes of a pixel's last word; one parameter
    entry at byte ``param_at`` serves all.
    """
    cfg = context.cfg
    context.builder.add(
        isa.Unit.VECTOR,
        {
            "mode": {"broadcast": 1, "rows": 1, "wide": 1},
            "param": {"entry": param_at // cfg.param_entry_bytes, "blocks": loops[0][0], "tail": tail},
            "requantize": {"zero": 0, "low": -128, "high": 127},
            "acc_base": {"address": bank * cfg.acc_bank_words},
            **levels(ACC_LEVELS, loops, "acc_"),
        },
        [Access("acc", bank, bank + 1), Access("param", param_at, param_at + cfg.param_entry_bytes)],
        layer=layer, note=note,
    )  # fmt: skip


def keep(context: Context, start: int, size: int, layer: int, note: str) -> None:
    """The STORE job of ``size`` bytes of numerators, to byte ``start`` of the scratch region."""
    target, access = context.scratch(start, size, write=True)
    context.builder.add(
        isa.Unit.STORE,
        {"target": target, "row": {"bytes": size}, **levels(ROWS, []), "mode": {"rows": 1}},
        [access], layer=layer, note=note,
    )  # fmt: skip
