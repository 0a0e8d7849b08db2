"""Random jobs for the vector unit and what they must give, in plain Python integers."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from typing import Any

from dataflows import config, isa
from dataflows.config import Config

KINDS = ("acc", "acc_add", "none", "sum", "max", "operand_add")
LEVELS = ("block", "x", "y", "image")
TAPS = ("tap_a", "tap_b")
ACC_WORDS = 64
OPERAND_BYTES = 512
SHIFT_BITS = 6


def make_config(
    lanes: int, data_bits: int = 64, entries: int = 6, window_words: int = 0, turned: bool = False, bits: int = 8,
    multiplier: str = "", attention: bool = False, products: bool = False,
) -> Config:
    """A configuration with the given lanes, bus, parameter entries, words of a window row (if not 0), and width.

    With ``turned``, accumulator words hold pixels; with a kind of ``multiplier``, elements can be narrower than a byte;
    with ``attention`` there are three tables and 20 row scales.
    """
    lane_bytes = {8: 8, 16: 16}[bits]
    values: dict[str, Any] = {
        "name": "vector",
        "array": {"rows": 2, "cols": lanes, "dataflow": "weight_stationary"},
        "memory": {"input_bytes": 1024, "weight_bytes": 1024, "acc_bytes": 96 * lanes, "operand_bytes": 1024},
        "bus": {"data_bits": data_bits},
        "numbers": {"act_bits": bits},
    }
    if turned:
        values["array"]["dataflow"] = "output_stationary_plane"
        values["stores"] = {"input": 8}
    if multiplier == "fusion":
        values["multiplier"] = {"kind": multiplier}
    elif multiplier:
        values["multiplier"] = {"kind": multiplier, "lanes": 8}
        values["array"]["dataflow"] = "output_stationary"
    entry_bytes = lane_bytes * config.ceil_pow2(max(lanes, data_bits // 8 // lane_bytes))
    values["memory"]["param_bytes"] = entries * entry_bytes
    if attention:
        values["attention"] = {"row_elements": 16 * lanes, "scales": 20, "tables": 3}
    if window_words:
        values["vector"] = {"window_words": window_words, "products": products}
    return config.parse(values, "test")


@dataclass
class Memories:
    """Contents that jobs read: accumulators [word][lane], operand bytes, parameters [entry][lane] (bias, M, S).

    Window weights are [entry][lane][tap]; ``rows`` holds the last words at each place of a row, newest first. With
    attention there are row scales (M, S), and tables of 256 codes, by the code's bits read without sign.
    """

    acc: list[list[int]]
    operand: list[int]
    params: list[list[tuple[int, int, int]]]
    weights: list[list[list[int]]]
    rows: dict[int, list[list[int]]] = field(default_factory=dict)
    scales: list[tuple[int, int]] = field(default_factory=list)
    tables: list[list[int]] = field(default_factory=list)

    @classmethod
    def random(cls, rng: random.Random, cfg: Config) -> Memories:
        """Values over the whole range, extremes included."""

        limit = 1 << cfg.numbers.acc_bits - 1
        root = 1 << cfg.numbers.acc_bits // 2

        def integer() -> int:
            wide, small = rng.randrange(-limit, limit), rng.randrange(-root, root)
            return rng.choice([wide, small, small, -limit, limit - 1, 0])

        def param() -> tuple[int, int, int]:
            # Shifts around those that bring the result into the range of an element, and any.
            return integer(), rng.choice([rng.randrange(2**24), 2**24 - 1, 2**23, 1]), rng.choice(
                [rng.randrange(64), rng.randrange(30, 48), rng.randrange(20, 34)]
            )

        attention = cfg.attention
        return cls(
            [[integer() for _ in range(cfg.lanes)] for _ in range(ACC_WORDS)],
            [rng.choice([-128, 127, rng.randrange(-128, 128)]) for _ in range(OPERAND_BYTES)],
            [[param() for _ in range(cfg.lanes)] for _ in range(cfg.param_entries)],
            [
                [[rng.choice([-128, 127, 1, rng.randrange(-128, 128)]) for _ in range(9)] for _ in range(cfg.lanes)]
                for _ in range(cfg.param_entries)
            ],
            scales=[param()[1:] for _ in range(attention.scales)] if attention else [],
            tables=[
                [rng.randrange(-128, 128) for _ in range(256)] for _ in range(attention.tables if attention else 0)
            ],
        )

    def table_beats(self, cfg: Config) -> list[tuple[int, bytes]]:
        """(address, data) of the beats that write all tables, and of one behind them."""
        image = bytes(code & 255 for table in self.tables for code in table) + bytes(cfg.bus_bytes)
        return [(start, image[start : start + cfg.bus_bytes]) for start in range(0, len(image), cfg.bus_bytes)]

    def param_beats(self, cfg: Config) -> list[tuple[int, bytes]]:
        """(address, data) of the beats that write all parameters; lanes that do not exist get rubbish."""
        beats = []
        for part, entries in enumerate(self._parts(cfg) if cfg.vector else self._parts(cfg)[:1]):
            for entry, lanes in enumerate(entries):
                address = part * cfg.window_weights_address + entry * cfg.param_entry_bytes
                image = b"".join(lanes).ljust(cfg.param_entry_bytes, b"\xa5")
                for start in range(0, len(image), cfg.bus_bytes):
                    beats.append((address + start, image[start : start + cfg.bus_bytes]))
        return beats

    def _parts(self, cfg: Config) -> list[list[list[bytes]]]:
        """Bytes per entry and lane: parameters (the shift comes with two bits of rubbish), taps 0 to 7, tap 8."""
        bias_bytes, size = cfg.numbers.acc_bits // 8, cfg.param_lane_bytes
        return [
            [
                [
                    (
                        b.to_bytes(bias_bytes, "little", signed=True)
                        + m.to_bytes(3, "little")
                        + bytes([s | (m & 3) << SHIFT_BITS])
                    ).ljust(size, b"\xa5")
                    for b, m, s in row
                ]
                for row in self.params
            ],
            [[bytes(w & 255 for w in taps[:8]) for taps in row] for row in self.weights],
            [[bytes([taps[8] & 255]) + b"\xa5" * 7 for taps in row] for row in self.weights],
        ]

    def word(self, cfg: Config, address: int, bits: int = 0) -> list[int]:
        """One signed number per lane from a byte address of the operand memory on, which wraps around.

        They are as wide as the configuration says, or of ``bits`` bits; one bit means +1 or -1.
        """
        bits = bits or cfg.numbers.act_bits
        raw = bytes(self.operand[(address + i) % OPERAND_BYTES] & 255 for i in range(cfg.vector_word_bytes))
        number, limit = int.from_bytes(raw, "little"), 1 << bits - 1
        fields = [number >> bits * lane & 2 * limit - 1 for lane in range(cfg.lanes)]
        return [1 if field else -1 for field in fields] if bits == 1 else [(f ^ limit) - limit for f in fields]


def element_bits(cfg: Config, job: dict[str, Any], name: str) -> int:
    """Bits that the elements of a job's ``source``, ``addend`` or ``result`` take in memory."""
    return 1 << job["formats"][name] if cfg.multiplier else cfg.numbers.act_bits


def image(cfg: Config, job: dict[str, Any], word: list[int]) -> bytes:
    """The bytes of an output word; what is left of the last one is zero."""
    bits = element_bits(cfg, job, "result")
    if half := job["mode"].get("nibbles"):
        word, bits = [element >> 4 if half == isa.Nibbles.HIGH else element for element in word], 4
    fields = [int(element >= 0) if bits == 1 else element & (1 << bits) - 1 for element in word]
    number = sum(field << bits * lane for lane, field in enumerate(fields))
    return number.to_bytes(-(-len(word) * bits // 8), "little")


def clamp_rounded(value: Fraction, zero: int, low: int, high: int) -> int:
    """Round half to even, add the zero point, clamp."""
    return min(max(round(value) + zero, low), high)


def addresses(job: dict[str, Any], base: str, names: list[str]) -> list[int]:
    """The address sequence of a nest, innermost level first in ``names``."""
    levels = [job[n] for n in names]
    address, sequence = job[base]["address"], []
    counters = product(*(range(level["count"]) for level in reversed(levels)))
    for position in counters:
        sequence.append(address)
        inner_first = position[::-1]
        for level, index in zip(levels, inner_first, strict=True):
            if index + 1 < level["count"]:
                address += level["step"]
                break
    return sequence


def bounds(rng: random.Random, cfg: Config) -> dict[str, int]:
    """Zero point and clamp."""
    limit = 1 << cfg.numbers.act_bits - 1
    low, high = rng.choice([(-limit, limit - 1), sorted((rng.randrange(-limit, limit), rng.randrange(-limit, limit)))])
    return {"zero": rng.choice([-limit, limit - 1, rng.randrange(-limit, limit)]), "low": low, "high": high}


def random_job(rng: random.Random, cfg: Config, kind: str, sizes: tuple[int, ...] = (1, 1, 2, 3)) -> dict[str, Any]:
    """All registers and semaphores of a job; unused registers hold rubbish."""
    counts = {name: rng.choice(sizes) for name in LEVELS}
    pairs = {"none": (1, 1), "operand_add": (2, 1), "product": (2, 1)}
    taps = pairs.get(kind, (rng.randrange(1, 4), rng.randrange(1, 4)))
    if kind in ("acc", "acc_add"):
        taps = (1, 1)

    def level(count: int) -> dict[str, int]:
        return {"count": count, "step": rng.randrange(-100, 100)}

    blocks = rng.choice([counts["block"], 1, 2, 3])
    broadcast = int(blocks > cfg.param_entries or rng.random() < 0.3)
    kinds = {"sum": isa.Reduce.SUM, "max": isa.Reduce.MAX, "product": isa.Reduce.PRODUCT}
    reduce = kinds.get(kind, isa.Reduce.NONE)
    limit = 1 << cfg.numbers.act_bits - 1
    addend = {
        "multiplier_a": rng.choice([rng.randrange(2**24), 2**24 - 1]),
        "shift": rng.choice([rng.randrange(64), 22, 24]),
        "zero_a": rng.randrange(-limit, limit),
        "zero_b": rng.choice([-limit, limit - 1, rng.randrange(-limit, limit)]),
        "multiplier_b": rng.choice([rng.randrange(2**24), 2**24 - 1]),
        **bounds(rng, cfg),
    }
    registers = [r for r in isa.units(cfg)[isa.Unit.VECTOR] if r.name in isa.SUM_REGISTERS]
    formats = {name: rng.choice(cfg.containers).bit_length() - 1 for name in ("source", "addend", "result")}
    return {
        **({"formats": formats} if cfg.multiplier else {}),
        "mode": {
            "from_operand": int(kind not in ("acc", "acc_add")),
            "reduce": int(reduce),
            "add": int(kind in ("acc_add", "operand_add")),
            "broadcast": broadcast,
        },
        "param": {
            "entry": rng.randrange(cfg.param_entries - (0 if broadcast else min(blocks, cfg.param_entries) - 1)),
            "blocks": blocks,
            "tail": rng.randrange(1, cfg.lanes + 1),
        },
        "requantize": bounds(rng, cfg),
        **{r.name: {f.name: addend[f.name] for f in r.fields} for r in registers},
        "acc_base": {"address": rng.randrange(2**20, 2**21)},
        **{f"acc_{name}": level(counts[name]) for name in LEVELS},
        "operand_base": {"address": rng.randrange(2**20, 2**21)},
        **{f"operand_{name}": level(count) for name, count in zip(TAPS, taps, strict=True)},
        **{f"operand_{name}": level(counts[name]) for name in LEVELS},
        "give": rng.randrange(2**cfg.control.semaphores),
        "tag": rng.randrange(2**16),
        "mark": 0,
    }


def row_job(rng: random.Random, cfg: Config, kind: str, sizes: tuple[int, ...] = (1, 1, 2, 3)) -> dict[str, Any]:
    """A job with any mixture of what transformers need."""
    assert cfg.attention
    job = random_job(rng, cfg, kind, sizes)
    rows, by_row = rng.randrange(2), rng.randrange(2)
    job["mode"] |= {"rows": rows, "wide": rows & rng.randrange(2), "by_row": by_row, "table": rng.randrange(2)}
    job["mode"] |= {"slot": rng.randrange(cfg.attention.tables)}
    if cfg.lanes % 2 == 0 and job["param"]["tail"] % 2 == 0 and not rows:
        job["mode"] |= {"nibbles": rng.choice(list(isa.Nibbles))}
    if by_row:
        job["param"]["entry"] = rng.randrange(cfg.attention.scales - pixels(job) + 1)
    return job


def pixels(job: dict[str, Any]) -> int:
    """Pixels of a job, a begun one included."""
    words = 1
    for name in LEVELS:
        words *= job[f"operand_{name}" if job["mode"]["from_operand"] else f"acc_{name}"]["count"]
    return -(-words // job["param"]["blocks"])


def turned_job(rng: random.Random, cfg: Config, sizes: tuple[int, ...] = (1, 1, 2, 3)) -> dict[str, Any]:
    """A job that reads blocks of accumulators, a word of pixels per channel, and hands out some of the pixels."""
    job = random_job(rng, cfg, "acc", sizes)
    job["acc_block"]["count"] = cfg.lanes
    job["param"] |= {"blocks": 1}
    first = rng.randrange(cfg.lanes)
    return job | {"turn": {"first": first, "count": rng.randrange(1, cfg.lanes - first + 1)}}


def turn(cfg: Config, words: list[list[int]], job: dict[str, Any]) -> list[list[int]]:
    """Words of channels, of the wanted pixels of each block."""
    first, count = job["turn"]["first"], job["turn"]["count"]
    blocks = [words[i : i + cfg.lanes] for i in range(0, len(words), cfg.lanes)]
    return [[word[pixel] for word in block] for block in blocks for pixel in range(first, first + count)]


def keeping(rng: random.Random, job: dict[str, Any]) -> dict[str, Any]:
    """The job, keeping its words in the operand buffer at a nest of its own."""
    counts = [job[f"acc_{n}"]["count"] for n in ("block", "x")]
    counts.append(job["acc_y"]["count"] * job["acc_image"]["count"])
    levels = {
        f"result_{name}": {"count": count, "step": rng.randrange(-100, 100)}
        for name, count in zip(("block", "x", "y"), counts, strict=True)
    }
    base = {"result_base": {"address": rng.randrange(2**20, 2**21)}}
    return job | {"mode": job["mode"] | {"keep": 1}} | base | levels


def kept(job: dict[str, Any]) -> list[int]:
    """Addresses of the words a job keeps; none if it does not."""
    if not job["mode"].get("keep"):
        return []
    return addresses(job, "result_base", ["result_block", "result_x", "result_y"])


def reads(job: dict[str, Any]) -> int:
    """Addresses the job sends (the busier port)."""
    names = [f"operand_{n}" for n in (*TAPS, *LEVELS)]
    source = names if job["mode"]["from_operand"] else [f"acc_{n}" for n in LEVELS]
    return len(addresses(job, "operand_base", source))


def slide(cfg: Config, memories: Memories, job: dict[str, Any], operand: list[int]) -> list[list[int]]:
    """Sums (or maxima) of the windows of a job, per output word and lane; keeps its last two rows."""
    blocks, columns, rows = (job[f"operand_{name}"]["count"] for name in ("block", "x", "y"))
    window, mode = job["window"], job["mode"]
    words, results = iter(operand), []
    for y, x, block in product(range(rows), range(columns), range(blocks)):
        address, place = next(words), x * blocks + block
        word = memories.word(cfg, address, element_bits(cfg, job, "source"))
        memories.rows[place] = [word, *memories.rows.get(place, [])[:2]]
        if x < 2 or y < window["skip"] or (x - 2) % window["stride_x"] or (y - window["skip"]) % window["stride_y"]:
            continue
        entry = job["param"]["entry"] + (0 if mode["broadcast"] else block)
        result = []
        for lane in range(cfg.lanes):
            taps = [memories.rows[place - (2 - c) * blocks][2 - r][lane] for r in range(3) for c in range(3)]
            products = [tap * weight for tap, weight in zip(taps, memories.weights[entry][lane], strict=True)]
            result.append(max(products) if window["max"] else sum(products))
        results.append(result)
    return results


def window_jobs(
    rng: random.Random, cfg: Config, count: int, sizes: tuple[int, ...] = (1, 2, 3, 4)
) -> list[dict[str, Any]]:
    """Jobs of one layer that continue each other: the first has at least two rows to fill the window with."""
    assert cfg.vector
    blocks = rng.randrange(1, min(cfg.param_entries, cfg.vector.window_words // 3) + 1)
    columns = min(rng.randrange(3, 7), cfg.vector.window_words // blocks)
    jobs, before = [], 0
    for _ in range(count):
        job = random_job(rng, cfg, "sum")
        rows = rng.choice(sizes)
        job["mode"] |= {"reduce": int(isa.Reduce.WINDOW), "broadcast": rng.randrange(2)}
        job["param"] |= {"entry": rng.randrange(cfg.param_entries - blocks + 1), "blocks": blocks}
        for name, number in {"tap_a": 1, "tap_b": 1, "block": blocks, "x": columns, "y": rows, "image": 1}.items():
            job[f"operand_{name}"]["count"] = number
        skip = max(0, 2 - before) if before < 2 else rng.randrange(2)
        strides = {"stride_x": rng.randrange(1, 4), "stride_y": rng.randrange(1, 4)}
        jobs.append(job | {"window": {**strides, "skip": skip, "max": rng.randrange(2)}})
        before += rows
    return jobs


def run(cfg: Config, memories: Memories, job: dict[str, Any]) -> list[list[int]]:
    """Valid elements of every output word, signed."""
    limit = 1 << cfg.numbers.acc_bits - 1
    total = {name: value for register in isa.SUM_REGISTERS for name, value in job.get(register, {}).items()}
    acc = addresses(job, "acc_base", [f"acc_{n}" for n in LEVELS])
    operand = addresses(job, "operand_base", [f"operand_{n}" for n in (*TAPS, *LEVELS)])
    mode, param = job["mode"], job["param"]
    taps = job["operand_tap_a"]["count"] * job["operand_tap_b"]["count"]
    count = len(operand) // taps if mode["from_operand"] else len(acc)
    windows = slide(cfg, memories, job, operand) if mode["reduce"] == isa.Reduce.WINDOW else []
    if windows or mode["reduce"] == isa.Reduce.WINDOW:
        count = len(windows)
    sums = [memories.acc[address % ACC_WORDS] for address in acc]
    if "turn" in job and not mode["from_operand"]:
        sums = turn(cfg, sums, job)
        count = len(sums)
    words = []
    for i in range(count):
        block = i % param["blocks"]
        entry = param["entry"] + (0 if mode["broadcast"] else block)
        valid = param["tail"] if block == param["blocks"] - 1 else cfg.lanes
        reads = operand[i * taps : (i + 1) * taps]
        sources = [memories.word(cfg, address, element_bits(cfg, job, "source")) for address in reads]
        addend = memories.word(cfg, reads[-1], element_bits(cfg, job, "addend")) if mode["add"] else []
        word = []
        for lane in range(valid):
            window = [source[lane] for source in sources]
            if not mode["from_operand"]:
                x = sums[i][lane]
            elif mode["reduce"] == isa.Reduce.WINDOW:
                x = windows[i][lane]
            elif mode["reduce"] == isa.Reduce.PRODUCT:
                x = (window[0] - total["zero_a"]) * (window[-1] - total["zero_b"])
            elif mode["reduce"] == isa.Reduce.SUM:
                x = sum(window)
            else:
                x = max(window) if mode["reduce"] == isa.Reduce.MAX else window[0]
            if mode.get("by_row"):
                bias, (multiplier, shift) = 0, memories.scales[param["entry"] + i // param["blocks"]]
            else:
                bias, multiplier, shift = memories.params[entry][lane]
            biased = (x + bias + limit) % (2 * limit) - limit
            scaled = Fraction(biased * multiplier, 2**shift)
            if mode.get("wide"):
                word.append(clamp_rounded(scaled, 0, -(2**15), 2**15 - 1))
                continue
            q = clamp_rounded(scaled, **job["requantize"])
            if mode["add"]:
                total_a = (q - total["zero_a"]) * total["multiplier_a"]
                total_b = (addend[lane] - total["zero_b"]) * total["multiplier_b"]
                exact = Fraction(total_a + total_b, 2 ** total["shift"])
                q = clamp_rounded(exact, total["zero"], total["low"], total["high"])
            word.append(memories.tables[mode["slot"]][q & 255] if mode.get("table") else q)
        words.append(word)
    return words
