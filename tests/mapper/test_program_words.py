"""Commands as words: registers packed and unpacked, what is written again, and the listing."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows import config, isa
from dataflows.isa import Op, Unit
from mapper.program import Job, disassemble, encode, pack, unpack

CFG = config.load("configs/tiny.toml")
REGISTERS = [register for registers in isa.units(CFG).values() for register in registers]


def limits(field: isa.Field) -> tuple[int, int]:
    return (-(1 << field.bits - 1), (1 << field.bits - 1) - 1) if field.signed else (0, (1 << field.bits) - 1)


@given(st.data(), st.sampled_from(REGISTERS))
def test_fields_come_back(data, register):
    values = {f.name: data.draw(st.sampled_from(limits(f)) | st.integers(*limits(f))) for f in register.fields}
    word = pack(register, values)
    assert 0 <= word < 1 << isa.VALUE_BITS
    assert unpack(register, word) == values


@pytest.mark.parametrize("register", REGISTERS, ids=lambda r: r.name)
def test_what_does_not_fit_is_refused(register):
    for field in register.fields:
        low, high = limits(field)
        for value in (low - 1, high + 1):
            message = f"{register.name}.{field.name} must be {low}..{high}, not {value}"
            with pytest.raises(ValueError, match=re.escape(message)):
                pack(register, {field.name: value})
    with pytest.raises(ValueError, match="has no field"):
        pack(register, {"colour": 1})


def job(row: int, **other: object) -> Job:
    registers = {"target": {"address": 64, "region": isa.Region.OUTPUT}, "row": {"bytes": row}}
    return Job(Unit.STORE, registers, 5, "", **other)


def test_only_what_changes_is_written_again():
    words = [int(w) for w in encode(CFG, [job(8), job(8), job(16)])]
    assert [w >> 60 for w in words] == [
        Op.HASH, Op.SET, Op.SET, Op.START, Op.START, Op.SET, Op.START, Op.END
    ]  # fmt: skip
    assert words[0] & (1 << 56) - 1 == CFG.hash_value


def test_counts_above_one_are_waited_for_by_a_word_of_their_own():
    words = [int(w) for w in encode(CFG, [job(8, waits=[(3, 2), (4, 1)], gives={0, 9}, mark=True)])]
    wait, start = words[-3:-1]
    assert (wait >> 60, wait >> 48 & 255, wait & 0xFFFF) == (Op.WAIT, 3, 2)
    assert (start & 0xFFFF, start >> 16 & 0xFFFF, start >> 32 & 0xFFFF, start >> 48 & 1) == (1 << 4, 1 | 1 << 9, 5, 1)


def test_listing():
    words = encode(CFG, [job(8, waits=[(3, 2), (4, 1)], gives={0, 9}, mark=True)])
    lines = [line.split(maxsplit=2) for line in disassemble(CFG, words)]
    assert [int(address) for address, _, _ in lines] == list(range(len(words)))
    assert [int(word, 16) for _, word, _ in lines] == [int(w) for w in words]
    assert [text for _, _, text in lines] == [
        f"HASH   {CFG.hash}",
        "SET    STORE.target address=64 region=4",
        "SET    STORE.row bytes=8",
        "WAIT   STORE semaphore=3 count=2",
        "START  STORE take=4 give=0,9 layer=5 mark",
        "END",
    ]


@pytest.mark.parametrize("word", [0, 15 << 60, Op.SET << 60 | 9 << 56, Op.SET << 60 | Unit.LOAD << 56 | 200 << 48])
def test_listing_of_illegal_words(word):
    (line,) = disassemble(CFG, np.array([word], np.uint64))
    assert line.endswith(f"illegal {word:016x}")
