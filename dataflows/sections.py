"""Sections of a configuration file, as frozen pydantic models: the fields, what they may hold, what they are for."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dataflows import catalogue, multipliers
from dataflows.candidates import MAX_COLUMNS
from dataflows.formats import ACC_BITS
from dataflows.multipliers import Law, MultiplierKind

WANTED = {
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


class Section(BaseModel):
    """One table of the configuration file: frozen, and refusing unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Array(Section):
    """The PE array."""

    rows: Size = Field(description="PE rows")
    cols: Size = Field(description="PE columns")
    dataflow: str = Field(description=WANTED["array.dataflow"], json_schema_extra={"enum": list(catalogue.NAMES)})
    zero_gating: Annotated[bool, Field(strict=True)] = Field(
        False, description="PEs hold their multiplier where the input is zero, and count it (row_stationary)"
    )

    @model_validator(mode="after")
    def _check(self) -> Array:
        if self.dataflow not in catalogue.NAMES:
            raise ValueError(f"array.dataflow must be {WANTED['array.dataflow']}, not {self.dataflow!r}")
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
    products: Annotated[bool, Field(strict=True)] = Field(
        False, description="a multiplier of two operands per lane: products of two tensors, element by element"
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


class Attention(Section):
    """Row-wise functions and tables for transformers: softmax, norms, activations by table, rows chosen by lists."""

    row_elements: Annotated[int, Field(strict=True, ge=16, le=4096)] = Field(
        1024, description="longest row of softmax (keys) and norms (channels)"
    )
    scales: Annotated[int, Field(strict=True, ge=16, le=1 << 15)] = Field(
        1024, description="rows of softmax whose sums are kept until their product with the values is requantized"
    )
    tables: Annotated[int, Field(strict=True, ge=1, le=16)] = Field(
        4, description="activation tables of 256 entries kept on chip"
    )
    indices: Annotated[int, Field(strict=True, ge=16, le=1 << 15)] = Field(
        2048, description="indices of rows (tokens, words of a vocabulary, heads) kept on chip"
    )
    pruning: Annotated[bool, Field(strict=True)] = Field(
        False, description="importance of tokens and heads is added up while running, and a top-k engine selects by it"
    )
    values: Annotated[bool, Field(strict=True)] = Field(
        False, description="values of single keys can be left out of each head, by rank or by probability; with pruning"
    )
    candidates: Annotated[int, Field(strict=True, ge=0, le=4096)] = Field(
        0, description="keys whose sorted columns are kept on chip for candidate search, with values; 0: no search"
    )
    candidate_columns: Annotated[int, Field(strict=True, ge=2, le=MAX_COLUMNS)] = Field(
        64, description="their columns: channels of a head (with candidates)"
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
