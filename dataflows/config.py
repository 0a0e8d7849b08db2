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
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dataflows import catalogue, multipliers
from dataflows.errors import InputError
from dataflows.formats import ACC_BITS, container
from dataflows.multipliers import Law, MultiplierKind, Reduction
from dataflows.run_length import Format
from dataflows.vocabulary import Dataflow, Kind, Operand

PROGRAM_VERSION = 1
"""Version of the command encoding (``dataflows.isa``); part of the configuration hash."""

_WANTED = {
    "name": "a Verilog identifier (letters, digits and _, not beginning with a digit)",
    "clock_mhz": "a positive number",
    "array.dataflow": f"one of {', '.join(catalogue.NAMES)}",
}
"""What a key must be, where pydantic's own words would not help."""

WINDOW_TAPS = 9
"""Bytes of a window per lane: three rows of three columns."""

Size = Annotated[int, Field(strict=True, ge=1, le=256)]
Bytes = Annotated[int, Field(strict=True, ge=1, le=1 << 26)]
"""Size of one on-chip memory; the limit keeps sizes that are slips of the pen out of the generator."""


def ceil_pow2(value: int) -> int:
    """Smallest power of two that is at least ``value``."""
    return 1 << (value - 1).bit_length()


class Section(BaseModel):
    """One table of the configuration file: frozen, and refusing unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Array(Section):
    """The PE array."""

    rows: Size = Field(description="PE rows")
    cols: Size = Field(description="PE columns")
    dataflow: str = Field(description=_WANTED["array.dataflow"], json_schema_extra={"enum": list(catalogue.NAMES)})
    zero_gating: Annotated[bool, Field(strict=True)] = Field(
        False, description="PEs hold their multiplier where the input is zero, and count it (row_stationary)"
    )

    @model_validator(mode="after")
    def _check(self) -> Array:
        if self.dataflow not in catalogue.NAMES:
            raise ValueError(f"array.dataflow must be {_WANTED['array.dataflow']}, not {self.dataflow!r}")
        return self


class Multiplier(Section):
    """What multiplies in a PE, where it is not one fixed multiplier (``docs/architecture.md``, *Multipliers*)."""

    kind: MultiplierKind = Field(
        description="fusion: BitFusion's bricks; serial_input: Stripes; serial_weight; serial: Loom, BISMO; "
        "table: UNPU; binary: XNOR and popcount; ternary: mask and sign planes"
    )
    leaf: Literal[2, 4] | None = Field(None, description="bits of a brick (fusion only): 2, or 4 for coarser ones")
    lanes: Annotated[int, Field(strict=True, ge=8, le=1024, multiple_of=8)] | None = Field(
        None, description="products that a step adds up (all kinds but fusion), a multiple of 8"
    )

    bits: Annotated[int, Field(strict=True, ge=2, le=8)] | None = Field(
        None, description="widest operands (serial kinds and table): 8 if it is not written"
    )

    @model_validator(mode="before")
    @classmethod
    def _default(cls, values: Any) -> Any:
        """Bricks have 2 bits where nothing else is written."""
        return {"leaf": 2, **values} if isinstance(values, dict) and values.get("kind") == "fusion" else values

    @model_validator(mode="after")
    def _check(self) -> Multiplier:
        if self.kind == "fusion" and self.lanes is not None:
            raise ValueError("multiplier.lanes must be left out for kind fusion: its products follow from the widths")
        if self.kind != "fusion" and self.lanes is None:
            raise ValueError(f"multiplier.lanes is missing: products that a step of kind {self.kind} adds up")
        if self.kind != "fusion" and self.leaf is not None:
            raise ValueError(f"multiplier.leaf must be left out for kind {self.kind}: only fusion has bricks")
        if self.bits is not None and self.kind in ("fusion", "binary", "ternary"):
            raise ValueError(f"multiplier.bits must be left out for kind {self.kind}: its operands have fixed widths")
        return self

    @property
    def law(self) -> Law:
        """Products and cycles of one of them."""
        return multipliers.law(self.kind, self.lanes or 1, self.leaf or 2, self.bits or 8)


class Stores(Section):
    """Local stores of a PE, in words; those the dataflow has."""

    input: Annotated[int, Field(strict=True, ge=1, le=1024)] | None = Field(
        None, description="inputs: the window of a row (row-stationary), the inputs last used (over the output plane)"
    )
    weight: Annotated[int, Field(strict=True, ge=1, le=4096)] | None = Field(None, description="weights: filter rows")
    output: Annotated[int, Field(strict=True, ge=1, le=1024)] | None = Field(None, description="partial sums")


class Numbers(Section):
    """Operand and accumulator formats (``docs/numerics.md``)."""

    act_bits: Literal[8, 16] = Field(8, description="activation width in bits")
    weight_bits: Literal[8, 16] = Field(8, description="weight width in bits: that of the activations")
    acc_bits: Literal[32, 48] = Field(32, description="accumulator width in bits: 32 for 8-bit operands, 48 for 16-bit")

    @model_validator(mode="before")
    @classmethod
    def _derive(cls, values: Any) -> Any:
        """Widths that are not written follow from that of the activations."""
        if not isinstance(values, dict) or values.get("act_bits") != 16:
            return values
        return {"weight_bits": 16, "acc_bits": ACC_BITS[16], **values}

    @model_validator(mode="after")
    def _check(self) -> Numbers:
        if self.weight_bits != self.act_bits:
            raise ValueError(f"numbers.weight_bits must be {self.act_bits} as act_bits is, not {self.weight_bits}")
        if self.acc_bits != ACC_BITS[self.act_bits]:
            wanted = f"{ACC_BITS[self.act_bits]} for {self.act_bits}-bit operands"
            raise ValueError(f"numbers.acc_bits must be {wanted}, not {self.acc_bits}")
        return self


class Memory(Section):
    """On-chip memories, in bytes. FIFOs are not counted."""

    input_bytes: Bytes = Field(description="input operand buffer")
    weight_bytes: Bytes = Field(description="weight operand buffer")
    acc_bytes: Bytes = Field(description="accumulator buffer, both banks together")
    operand_bytes: Bytes = Field(description="vector-unit operand buffer (residuals, pooling)")
    param_bytes: Bytes = Field(description="per-channel bias and requantization parameters")


class Vector(Section):
    """What the lanes of the vector unit can do beyond requantization."""

    window_words: Annotated[int, Field(strict=True, ge=WINDOW_TAPS // 3, le=1 << 16)] = Field(
        description="longest padded row that depthwise windows take, in words of one byte per lane: two rows are kept"
    )


class Codec(Section):
    """Run-length compression of activations on their way to and from DRAM (``docs/numerics.md``)."""

    run_bits: Annotated[int, Field(strict=True, ge=1, le=15)] = Field(4, description="width of a run of zeros")
    level_bits: Literal[8, 16] = Field(8, description="width of an element: numbers.act_bits")
    blocks: Annotated[int, Field(strict=True, ge=2, le=1 << 16)] = Field(
        1024, description="compressed blocks whose sizes are kept on chip at a time"
    )


class Sparse(Section):
    """The engine for pruned, weight-shared layers on compressed columns (EIE, ISCA 2016)."""

    pes: Size = Field(description="PEs of one multiplier each; row i of a weight matrix lives in PE i mod pes")
    queue: Annotated[int, Field(strict=True, ge=1, le=256)] = Field(
        8, description="non-zero activations that wait in front of each PE"
    )
    run_bits: Annotated[int, Field(strict=True, ge=1, le=8)] = Field(
        4, description="width of the count of zeros before an entry"
    )
    code_bits: Annotated[int, Field(strict=True, ge=1, le=8)] = Field(
        4, description="width of an entry's code: the codebook has 2**code_bits weights"
    )
    codebooks: Annotated[int, Field(strict=True, ge=1, le=16)] = Field(2, description="codebooks kept on chip")
    weight_bytes: Bytes = Field(description="entries of each PE, in bytes")
    pointer_bytes: Bytes = Field(description="column pointers of each PE, in bytes")
    accumulators: Annotated[int, Field(strict=True, ge=2, le=4096)] = Field(
        256, description="sums of each PE, in each of two banks"
    )


class Bus(Section):
    """The AXI4 master."""

    data_bits: Literal[64, 128, 256, 512] = Field(128, description="AXI data width")
    max_read_burst: Annotated[int, Field(strict=True, ge=1, le=256)] = Field(
        16, description="beats per read burst; long ones make writes wait"
    )
    max_write_burst: Annotated[int, Field(strict=True, ge=1, le=256)] = Field(
        16, description="beats per write burst; 16 suits AXI3 ports"
    )
    reads_in_flight: Annotated[int, Field(strict=True, ge=1, le=64)] = Field(16, description="outstanding read bursts")
    writes_in_flight: Annotated[int, Field(strict=True, ge=1, le=256)] = Field(
        128, description="outstanding write bursts"
    )


class Control(Section):
    """Command unit."""

    queue_words: Annotated[int, Field(strict=True, ge=16, le=4096)] = Field(64, description="command words per queue")
    semaphores: Annotated[int, Field(strict=True, ge=12, le=16)] = Field(16, description="counting semaphores")
    watchdog_cycles: Annotated[int, Field(strict=True, ge=1024, le=2**31)] = Field(
        1 << 20, description="cycles without any progress before the accelerator stops with an error"
    )


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
    bus: Bus = Bus()  # pyright: ignore[reportCallIssue]
    control: Control = Control()  # pyright: ignore[reportCallIssue]

    @model_validator(mode="after")
    def _check(self) -> Config:
        if self.vector and self.numbers.act_bits != 8:
            raise ValueError(
                "[vector] must be left out unless numbers.act_bits is 8: windows take 8-bit operands, "
                f"not {self.numbers.act_bits}-bit ones"
            )
        if self.codec and self.codec.level_bits != self.numbers.act_bits:
            raise ValueError(
                f"codec.level_bits must be {self.numbers.act_bits} as numbers.act_bits is, not {self.codec.level_bits}"
            )
        self._check_array()
        self._check_multiplier()
        self._check_sparse()
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
    def containers(self) -> tuple[int, ...]:
        """Bits that an activation can take in memory, fewest first: those of the array's operands, and whole ones."""
        return tuple(sorted({container(bits) for bits in (*self.operand_bits, self.numbers.act_bits)}))

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
        return buffers + m.param_bytes + self.window_weight_bytes + self.sparse_bytes

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
            "sparse_weight_pitch", "sparse_pointer_pitch", "codebook_pitch", "sparse_bytes", "on_chip_bytes",
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
    if key in _WANTED:
        return f"{key} must be {_WANTED[key]}, not {found!r}"
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
