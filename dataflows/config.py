"""The accelerator configuration: one frozen, validated object from one TOML file.

RTL, mapper, golden model, C header and documentation all take this object; every number
derived from the fields is a property here and nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from dataflows import catalogue, multipliers
from dataflows.candidates import column_bytes
from dataflows.errors import InputError
from dataflows.formats import ceil_pow2, container
from dataflows.multipliers import Law, Reduction
from dataflows.run_length import Format
from dataflows.sections import (
    WANTED,
    WINDOW_TAPS,
    Array,
    Attention,
    Bus,
    Codec,
    Control,
    Memory,
    Multiplier,
    Numbers,
    Section,
    Sparse,
    Stores,
    Vector,
)
from dataflows.vocabulary import Dataflow, Kind, Operand

TABLE_ENTRIES = 256
"""Of an activation table: one per 8-bit code."""

INDEX_BYTES = 2
"""Of an index of a row, little-endian, without sign."""

ATTENTION_SEMAPHORES = 14
"""Ordered pairs of units that wait for each other where there is a row engine."""

PROGRAM_VERSION = 1
"""Version of the command encoding (``dataflows.isa``); part of the configuration hash."""


class Config(Section):
    """One accelerator. Load it with :func:`load`."""

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="name of the design, a Verilog identifier")
    clock_mhz: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] = Field(
        500.0, description="clock used to turn cycles into time"
    )
    array: Array
    multiplier: Multiplier | None = None
    numbers: Numbers = Numbers()  # pyright: ignore[reportCallIssue]
    stores: Stores = Stores()  # pyright: ignore[reportCallIssue]
    memory: Memory
    vector: Vector | None = None
    codec: Codec | None = None
    sparse: Sparse | None = None
    attention: Attention | None = None
    bus: Bus = Bus()  # pyright: ignore[reportCallIssue]
    control: Control = Control()  # pyright: ignore[reportCallIssue]

    @model_validator(mode="after")
    def _check(self) -> Config:
        if self.vector and self.numbers.act_bits != 8:
            raise ValueError(
                "[vector] must be left out unless numbers.act_bits is 8: windows take 8-bit operands, "
                f"not {self.numbers.act_bits}-bit ones"
            )
        if self.products and self.multiplier:
            raise ValueError("vector.products must be left out with [multiplier]: both operands have 8 bits")
        if self.codec and self.codec.level_bits != self.numbers.act_bits:
            raise ValueError(
                f"codec.level_bits must be {self.numbers.act_bits} as numbers.act_bits is, not {self.codec.level_bits}"
            )
        self._check_array()
        self._check_multiplier()
        self._check_sparse()
        self._check_attention()
        for name, granule, why in (
            ("input_bytes", 2 * self.input_word_bytes, "two banks of input words"),
            ("weight_bytes", 2 * self.weight_word_bytes, "two banks of weight words"),
            ("operand_bytes", 2 * self.operand_word_bytes, "two banks of operand words"),
            ("acc_bytes", 2 * self.acc_word_bytes, "two banks of one accumulator per column"),
            ("param_bytes", self.param_entry_bytes, f"one entry of {self.param_lane_bytes} bytes per lane"),
        ):
            value = getattr(self.memory, name)
            if value % granule:
                raise ValueError(f"memory.{name} must be a multiple of {granule} ({why}), not {value}")
        return self

    def _check_array(self) -> None:
        """Local stores and gating must be those that the dataflow has."""
        flow = self.array.dataflow
        for operand in Operand:
            depth, wanted = getattr(self.stores, operand.value), operand in self.dataflow.stores
            if wanted and depth is None:
                raise ValueError(f"stores.{operand.value} is missing: dataflow {flow} keeps it in the PE")
            if depth is not None and not wanted:
                raise ValueError(f"stores.{operand.value} is not used by dataflow {flow}; leave it out")
        if self.array.zero_gating and self.dataflow.input.kind is not Kind.BUS:
            raise ValueError(f"array.zero_gating must be false for dataflow {flow}: only row_stationary has it")

    def _check_multiplier(self) -> None:
        """Kinds whose steps are single cycles fit where weights stay, the others where sums do."""
        if self.multiplier is None:
            return
        kind, flow = self.multiplier.kind, self.array.dataflow
        wanted = "weight_stationary" if kind == "fusion" else "output_stationary"
        if flow != wanted:
            raise ValueError(f"array.dataflow must be {wanted} for multiplier.kind {kind}, not {flow}")
        if self.numbers.act_bits != 8:
            raise ValueError(f"numbers.act_bits must be 8 with [multiplier], not {self.numbers.act_bits}")
        for name in ("codec", "sparse"):
            if getattr(self, name):
                raise ValueError(f"[{name}] must be left out with [multiplier]: it takes operands of 8 bits only")
        fill = 8 // self.containers[0]
        if self.lanes % fill:
            raise ValueError(
                f"array.cols must be a multiple of {fill} for multiplier.kind {kind}, not {self.lanes}: "
                f"{fill} outputs of {self.containers[0]} bits fill a byte"
            )

    def _check_attention(self) -> None:
        """Rows come from 8-bit lanes, and attention is lowered for the fixed weight-stationary array."""
        if self.attention is None:
            return
        if self.array.dataflow != "weight_stationary":
            raise ValueError(f"array.dataflow must be weight_stationary with [attention], not {self.array.dataflow}")
        if self.numbers.act_bits != 8:
            raise ValueError(f"numbers.act_bits must be 8 with [attention], not {self.numbers.act_bits}")
        for name in ("multiplier", "codec", "sparse"):
            if getattr(self, name):
                raise ValueError(f"[{name}] must be left out with [attention]")
        if self.control.semaphores < ATTENTION_SEMAPHORES:
            raise ValueError(
                f"control.semaphores must be at least {ATTENTION_SEMAPHORES} with [attention], "
                f"not {self.control.semaphores}"
            )
        if self.attention.values and not self.attention.pruning:
            raise ValueError("attention.values must be false without attention.pruning, not true")
        if self.attention.candidates and not self.attention.values:
            raise ValueError(
                f"attention.candidates must be 0 without attention.values, not {self.attention.candidates}"
            )
        if self.attention.pruning and self.lanes & (self.lanes - 1):
            raise ValueError(f"array.cols must be a power of two with attention.pruning, not {self.lanes}")
        if self.attention.row_elements % self.lanes:
            raise ValueError(
                f"attention.row_elements must be a multiple of {self.lanes} (array.cols), "
                f"not {self.attention.row_elements}"
            )

    def _check_sparse(self) -> None:
        """The sparse engine shares INPUT words, accumulator words and beats with everything else."""
        sparse = self.sparse
        if sparse is None:
            return
        if self.dataflow.input.kind in (Kind.BUS, Kind.NEIGHBOUR):
            raise ValueError(
                f"[sparse] must be left out for dataflow {self.array.dataflow}: its input words are not consecutive "
                "elements; weight_, output_ and input_stationary and no_local_reuse have such words"
            )
        if sparse.pes % self.lanes:
            raise ValueError(f"sparse.pes must be a multiple of array.cols, {self.lanes}, not {sparse.pes}")
        for name in ("weight_bytes", "pointer_bytes"):
            value = getattr(sparse, name)
            if value % self.bus_bytes:
                raise ValueError(f"sparse.{name} must be a multiple of {self.bus_bytes} (a beat), not {value}")

    # -- array ---------------------------------------------------------------------------------

    @property
    def dataflow(self) -> Dataflow:
        """The description the array is generated from."""
        return catalogue.get(self.array.dataflow)

    @property
    def multipliers(self) -> int:
        """MAC multipliers of the array."""
        return self.array.rows * self.array.cols

    @property
    def window_multipliers(self) -> int:
        """MAC multipliers of the vector unit: one per lane and tap, none without windows."""
        return WINDOW_TAPS * self.lanes if self.vector else 0

    @property
    def products(self) -> bool:
        """Whether the vector unit multiplies two operands."""
        return self.vector is not None and self.vector.products

    @property
    def sparse_multipliers(self) -> int:
        """MAC multipliers of the sparse engine, one per PE."""
        return self.sparse.pes if self.sparse else 0

    @property
    def lanes(self) -> int:
        """Lanes of the accumulator and of the vector unit: output channels handled per cycle."""
        return self.array.cols

    @property
    def input_elements(self) -> int:
        """Elements of one input word at the edge of the array."""
        return self.dataflow.input_elements(self.array.rows, self.array.cols)

    @property
    def weight_elements(self) -> int:
        """Elements of one weight word at the edge of the array."""
        return self.dataflow.weight_elements(self.array.rows, self.array.cols)

    # -- multipliers ---------------------------------------------------------------------------

    @property
    def law(self) -> Law:
        """Products and cycles of one multiplier of the array."""
        return self.multiplier.law if self.multiplier else multipliers.law(None, bits=self.numbers.act_bits)

    @property
    def operand_bits(self) -> tuple[int, ...]:
        """Widths that inputs and weights of a layer can have on the array."""
        if self.multiplier is None:
            return (self.numbers.act_bits,)
        unit = self.multiplier
        least, most = multipliers.OPERANDS[unit.kind]
        most = min(most, unit.bits or most)
        return tuple(bits for bits in range(least, most + 1) if container(bits) >= (unit.leaf or 1))

    @property
    def operand_containers(self) -> tuple[int, ...]:
        """Bits that an operand of the array can take in memory, fewest first."""
        return tuple(sorted({container(bits) for bits in self.operand_bits}))

    @property
    def containers(self) -> tuple[int, ...]:
        """Bits that an activation can take in memory, fewest first: those of the array's operands, and whole ones."""
        return tuple(sorted({*self.operand_containers, self.numbers.act_bits}))

    def reduction(self, a_bits: int, w_bits: int) -> Reduction:
        """Reduction words of layers with inputs of ``a_bits`` and weights of ``w_bits``.

        Where sums stay, a word of inputs is as long as it takes to bring one to each row. Raises :class:`InputError`
        for widths that the array does not take.
        """
        for name, bits in (("inputs", a_bits), ("weights", w_bits)):
            if bits not in self.operand_bits:
                there = ", ".join(str(bits) for bits in self.operand_bits)
                raise InputError(f"{self.name} has no multipliers for {name} of {bits} bits; it takes {there}")
        cycles = self.law.cycles(a_bits, w_bits)
        steps = -(-self.array.rows // cycles) if self.dataflow.output.kind is Kind.DRAIN else self.array.rows
        products = self.law.products(a_bits, w_bits)
        return Reduction(container(a_bits), container(w_bits), products, cycles, steps, self.lanes)

    @property
    def input_read_bytes(self) -> int:
        """Bytes that INPUT reads per word: the longest one."""
        if self.multiplier:
            return max(reduction.input_bytes for reduction in _reductions(self))
        return self.input_elements * self.act_bytes

    @property
    def weight_read_bytes(self) -> int:
        """Bytes that WEIGHT reads per word: the longest one."""
        return max(self._weight_pitches)

    @property
    def _weight_pitches(self) -> set[int]:
        """Bytes of weight words."""
        if self.multiplier:
            return {reduction.step_bytes for reduction in _reductions(self)}
        return {self.weight_elements * self.act_bytes}

    # -- formats -------------------------------------------------------------------------------

    @property
    def act_bytes(self) -> int:
        """Bytes of one activation, in memories and in DRAM, where these are not packed; weights have the same width."""
        return self.numbers.act_bits // 8

    @property
    def vector_word_bytes(self) -> int:
        """One word of the vector unit: an activation per lane."""
        return self.lanes * self.act_bytes

    @property
    def act_mask(self) -> int:
        """Bits of an activation."""
        return (1 << self.numbers.act_bits) - 1

    @property
    def param_lane_bytes(self) -> int:
        """Bytes of one lane's parameters: bias (``acc_bits``), multiplier (24 bits), shift (6), rounded up."""
        return ceil_pow2(self.numbers.acc_bits // 8 + 4)

    @property
    def codec_format(self) -> Format | None:
        """Words of compressed activations; None without a codec."""
        return Format(self.codec.run_bits, self.codec.level_bits) if self.codec else None

    # -- memories ------------------------------------------------------------------------------

    @property
    def bus_bytes(self) -> int:
        """Bytes per AXI beat."""
        return self.bus.data_bits // 8

    @property
    def input_word_bytes(self) -> int:
        """Physical word of one input bank: any window of this size is read or written in a cycle."""
        return ceil_pow2(max(self.bus_bytes, self.input_read_bytes))

    @property
    def input_granule(self) -> int:
        """Input words are read at multiples of it: of an element, or, where a word has one for every PE, of a word.

        Of a word it is the largest power of two that divides it.
        """
        if self.dataflow.input.kind is not Kind.NEIGHBOUR:
            return self.act_bytes
        pitch = self.input_elements * self.act_bytes
        return pitch & -pitch

    @property
    def weight_word_bytes(self) -> int:
        """Physical word of one weight bank."""
        return ceil_pow2(max(self.bus_bytes, self.weight_read_bytes))

    @property
    def weight_granule(self) -> int:
        """Largest power of two that divides a weight word, at most a bank's.

        Weights lie in whole words on chip: they are read at multiples of it, and written at multiples of it or of a
        beat, whichever is less.
        """
        return min(self.weight_word_bytes, *(pitch & -pitch for pitch in self._weight_pitches))

    @property
    def operand_word_bytes(self) -> int:
        """Physical word of one operand bank."""
        return ceil_pow2(max(self.bus_bytes, self.vector_word_bytes))

    @property
    def acc_word_bytes(self) -> int:
        """One accumulator word: one accumulator per lane."""
        return self.lanes * self.numbers.acc_bits // 8

    @property
    def acc_bank_words(self) -> int:
        """Words in each of the two accumulator banks."""
        return self.memory.acc_bytes // 2 // self.acc_word_bytes

    @property
    def param_entry_bytes(self) -> int:
        """Address pitch of one parameter entry (``param_lane_bytes`` per lane, lanes rounded to a power of two)."""
        return self.param_lane_bytes * ceil_pow2(max(self.lanes, self.bus_bytes // self.param_lane_bytes))

    @property
    def gain_entry_bytes(self) -> int:
        """Address pitch of a block of gains: laid out like parameters, the low 16 bits of a multiplier are a gain."""
        return self.param_entry_bytes

    @property
    def gain_blocks(self) -> int:
        """Blocks of lanes gains kept on chip: those of two norms of the longest row."""
        return 2 * self.row_blocks

    @property
    def row_blocks(self) -> int:
        """Words of the longest row of the row engine; 0 without it."""
        return self.attention.row_elements // self.lanes if self.attention else 0

    @property
    def param_entries(self) -> int:
        """Parameter entries (one serves one block of ``lanes`` output channels)."""
        return self.memory.param_bytes // self.param_entry_bytes

    @property
    def window_weights_address(self) -> int:
        """Address of the window weights behind the parameters.

        Taps 0 to 7 (row by row) of a lane lie this far behind the parameters of the same entry and lane; tap 8 lies
        twice as far.
        """
        return ceil_pow2(self.memory.param_bytes)

    @property
    def window_weight_bytes(self) -> int:
        """Weights of the windows: one byte per entry, lane and tap."""
        return self.param_entries * self.window_multipliers

    @property
    def entry_bytes(self) -> int:
        """Bytes of an entry of a compressed column: the run in the low bits, the code above, the rest zero."""
        return ceil_pow2(max(8, self.sparse.run_bits + self.sparse.code_bits)) // 8 if self.sparse else 0

    @property
    def sparse_weight_pitch(self) -> int:
        """Address pitch from one PE's entries to the next one's."""
        return ceil_pow2(self.sparse.weight_bytes) if self.sparse else 0

    @property
    def sparse_pointer_pitch(self) -> int:
        """Address pitch from one PE's pointers to the next one's."""
        return ceil_pow2(self.sparse.pointer_bytes) if self.sparse else 0

    @property
    def codebook_pitch(self) -> int:
        """Address pitch from one codebook to the next: its weights, rounded to a power of two of at least a beat."""
        return ceil_pow2(max(self.bus_bytes, self.act_bytes << self.sparse.code_bits)) if self.sparse else 0

    @property
    def sparse_bytes(self) -> int:
        """Memories of the sparse engine: entries, pointers and two banks of sums per PE, and the codebooks."""
        if self.sparse is None:
            return 0
        sums = 2 * self.sparse.accumulators * self.numbers.acc_bits // 8
        each = self.sparse.weight_bytes + self.sparse.pointer_bytes + sums
        return self.sparse.pes * each + self.sparse.codebooks * self.codebook_pitch

    @property
    def on_chip_bytes(self) -> int:
        """All addressable on-chip memory."""
        m = self.memory
        buffers = m.input_bytes + m.weight_bytes + m.acc_bytes + m.operand_bytes
        return buffers + m.param_bytes + self.window_weight_bytes + self.sparse_bytes + self.attention_bytes

    @property
    def attention_bytes(self) -> int:
        """Memories of the row engine that LOAD writes: gains, tables of one byte per code, indices of two bytes,
        sorted columns."""
        if self.attention is None:
            return 0
        return (
            self.gain_blocks * self.gain_entry_bytes
            + self.attention.tables * TABLE_ENTRIES
            + self.attention.indices * INDEX_BYTES
            + self.candidate_column_bytes * self.attention.candidate_columns
        )

    @property
    def pruning(self) -> bool:
        """Whether tokens and heads can be left out while running."""
        return self.attention is not None and self.attention.pruning

    @property
    def values(self) -> bool:
        """Whether values of single keys can be left out."""
        return self.attention is not None and self.attention.values

    @property
    def candidates(self) -> int:
        """Keys that the search of candidates holds; 0 without it."""
        return self.attention.candidates if self.attention else 0

    @property
    def candidate_column_bytes(self) -> int:
        """Address pitch of a sorted column; 0 without the search of candidates."""
        return column_bytes(self.candidates, self.bus_bytes) if self.candidates else 0

    # -- identity ------------------------------------------------------------------------------

    @property
    def hash(self) -> str:
        """14 hex digits over everything that shapes hardware or programs (not name and clock).

        Computed from the fields on every use: a value kept in the object would survive ``model_copy``.
        """
        from dataflows import isa  # isa takes a Config

        shape = self.model_dump(mode="json", exclude={"name", "clock_mhz"})
        material = json.dumps([PROGRAM_VERSION, shape, isa.describe(self)], sort_keys=True)
        return hashlib.sha256(material.encode()).hexdigest()[:14]

    @property
    def hash_value(self) -> int:
        """:attr:`hash` as the 56-bit number held by the hardware and by every program."""
        return int(self.hash, 16)

    def resolved(self) -> dict[str, Any]:
        """All fields with every derived value and the hash, as written to ``config.json``."""
        derived = (
            "multipliers", "lanes", "input_elements", "weight_elements", "operand_bits", "containers",
            "input_read_bytes", "weight_read_bytes", "act_bytes", "param_lane_bytes", "bus_bytes",
            "input_word_bytes", "input_granule", "weight_word_bytes", "weight_granule", "operand_word_bytes",
            "acc_word_bytes", "acc_bank_words", "param_entry_bytes", "param_entries", "window_multipliers",
            "window_weights_address", "window_weight_bytes", "sparse_multipliers", "entry_bytes",
            "sparse_weight_pitch", "sparse_pointer_pitch", "codebook_pitch", "sparse_bytes", "row_blocks",
            "gain_blocks", "gain_entry_bytes", "candidate_column_bytes", "attention_bytes", "on_chip_bytes",
        )  # fmt: skip
        values = {name: getattr(self, name) for name in derived}
        return {
            **self.model_dump(mode="json"),
            "derived": {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()},
            "hash": self.hash,
        }


@lru_cache(maxsize=256)
def _reductions(cfg: Config) -> tuple[Reduction, ...]:
    """Of every pair of widths that the array takes."""
    return tuple(cfg.reduction(a, w) for a in cfg.operand_bits for w in cfg.operand_bits)


_WHAT = "a configuration is a TOML file like those in configs/"


def _message(error: Any) -> str:
    """One pydantic error in the house wording ``key must be ..., not ...``."""
    key = ".".join(str(part) for part in error["loc"])
    kind, ctx, found = error["type"], error.get("ctx", {}), error.get("input")
    if kind == "value_error":
        return str(ctx["error"])
    if kind == "missing":
        return f"{key} is missing"
    if kind == "extra_forbidden":
        return f"{key} is not a known key"
    if key in WANTED:
        return f"{key} must be {WANTED[key]}, not {found!r}"
    if kind == "model_type":
        return f"{key} must be a table, not {found!r}"
    if kind == "less_than_equal":
        return f"{key} must be at most {ctx['le']}, not {found!r}"
    if kind == "greater_than_equal" and ctx["ge"] > 1:
        return f"{key} must be at least {ctx['ge']}, not {found!r}"
    if kind in ("greater_than_equal", "int_type"):
        return f"{key} must be a positive integer, not {found!r}"
    wanted = error["msg"].replace("Input should be ", "").replace("Input should ", "")
    return f"{key} must be {wanted}, not {found!r}"


def parse(values: dict[str, Any], source: str) -> Config:
    """Validate a dictionary. Raises :class:`InputError` naming key, value and ``source``."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise InputError("; ".join(f"{_message(e)} ({source})" for e in error.errors())) from None


def load(path: str | Path) -> Config:
    """Read a configuration file. Raises :class:`InputError` with one line a user can act on."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such configuration file; the shipped ones are in configs/") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a configuration: {error.strerror}; {_WHAT}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: cannot be read as a configuration: it is not text; {_WHAT}") from None
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # beside TOMLDecodeError: endless numbers and nesting
        raise InputError(f"{path}: not valid TOML: {error}") from None
    return parse(values, str(path))


def json_schema() -> dict[str, Any]:
    """JSON Schema of a configuration file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()}
