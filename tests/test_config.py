"""The configuration: what is refused, in which words, and what the hash depends on."""

import copy
import json
import tomllib
from pathlib import Path
from typing import get_args

import pytest

from dataflows import catalogue, isa
from dataflows.config import Config, json_schema, load, parse
from dataflows.errors import InputError
from dataflows.formats import ceil_pow2
from dataflows.vocabulary import Axis, Dataflow, Dim, Kind, Link, Operand

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.toml"))
WS16 = Path(__file__).parents[1] / "configs" / "ws16.toml"


def changed(key: str, value: object) -> dict:
    """The values of ws16 with one (dotted) key replaced, or removed where the value is None."""
    values = copy.deepcopy(tomllib.loads(WS16.read_text()))
    *tables, last = key.split(".")
    table = values
    for name in tables:
        table = table.setdefault(name, {})
    if value is None:
        del table[last]
    else:
        table[last] = value
    return values


MESSAGES = [
    ("array.rows", -3, "array.rows must be a positive integer, not -3"),
    ("array.rows", 0, "array.rows must be a positive integer, not 0"),
    ("array.rows", "16", "array.rows must be a positive integer, not '16'"),
    ("array.rows", 2.5, "array.rows must be a positive integer, not 2.5"),
    ("array.rows", True, "array.rows must be a positive integer, not True"),
    ("array.cols", 257, "array.cols must be at most 256, not 257"),
    ("array.rows", None, "array.rows is missing"),
    ("memory", None, "memory is missing"),
    ("array.height", 3, "array.height is not a known key"),
    ("colour", "red", "colour is not a known key"),
    ("array.dataflow", "ws",
     f"array.dataflow must be one of {', '.join(catalogue.NAMES)}, not 'ws'"),
    ("memory.input_bytes", -5, "memory.input_bytes must be a positive integer, not -5"),
    ("memory.input_bytes", 1000, "memory.input_bytes must be a multiple of 32 (two banks of input words), not 1000"),
    ("memory.weight_bytes", 33, "memory.weight_bytes must be a multiple of 32 (two banks of weight words), not 33"),
    ("memory.acc_bytes", 100,
     "memory.acc_bytes must be a multiple of 128 (two banks of one accumulator per column), not 100"),
    ("memory.operand_bytes", 1, "memory.operand_bytes must be a multiple of 32 (two banks of operand words), not 1"),
    ("memory.param_bytes", 100,
     "memory.param_bytes must be a multiple of 128 (one entry of 8 bytes per lane), not 100"),
    ("array.dataflow", 3,
     f"array.dataflow must be one of {', '.join(catalogue.NAMES)}, not 3"),
    ("array.dataflow", ["weight_stationary"], f"array.dataflow must be one of {', '.join(catalogue.NAMES)}, not "
     "['weight_stationary']"),
    ("array", 3, "array must be a table, not 3"),
    ("vector", 3, "vector must be a table, not 3"),
    ("vector.window_words", 2, "vector.window_words must be at least 3, not 2"),
    ("vector.window_words", 1 << 20, "vector.window_words must be at most 65536, not 1048576"),
    ("vector.window_words", None, "vector.window_words is missing"),
    ("vector.products", 1, "vector.products must be a valid boolean, not 1"),
    ("clock_mhz", 0, "clock_mhz must be a positive number, not 0"),
    ("clock_mhz", -0.5, "clock_mhz must be a positive number, not -0.5"),
    ("clock_mhz", float("nan"), "clock_mhz must be a positive number, not nan"),
    ("clock_mhz", float("inf"), "clock_mhz must be a positive number, not inf"),
    ("clock_mhz", "500", "clock_mhz must be a positive number, not '500'"),
    ("clock_mhz", True, "clock_mhz must be a positive number, not True"),
    ("memory.acc_bytes", 1 << 40, "memory.acc_bytes must be at most 67108864, not 1099511627776"),
    ("bus.reads_in_flight", 0, "bus.reads_in_flight must be a positive integer, not 0"),
    ("name", "16ws",
     "name must be a Verilog identifier (letters, digits and _, not beginning with a digit), not '16ws'"),
    ("name", "w-s",
     "name must be a Verilog identifier (letters, digits and _, not beginning with a digit), not 'w-s'"),
    ("name", "ws\n",
     "name must be a Verilog identifier (letters, digits and _, not beginning with a digit), not 'ws\\n'"),
    ("name", 3,
     "name must be a Verilog identifier (letters, digits and _, not beginning with a digit), not 3"),
    ("name", None, "name is missing"),
    ("bus.data_bits", 96, "bus.data_bits must be 64, 128, 256 or 512, not 96"),
    ("numbers.act_bits", 4, "numbers.act_bits must be 8 or 16, not 4"),
    ("numbers", {"act_bits": 16, "weight_bits": 8}, "numbers.weight_bits must be 16 as act_bits is, not 8"),
    ("numbers", {"weight_bits": 16}, "numbers.weight_bits must be 8 as act_bits is, not 16"),
    ("numbers", {"act_bits": 16, "acc_bits": 32}, "numbers.acc_bits must be 48 for 16-bit operands, not 32"),
    ("numbers", {"acc_bits": 48}, "numbers.acc_bits must be 32 for 8-bit operands, not 48"),
    ("numbers", {"act_bits": 16}, "[vector] must be left out unless numbers.act_bits is 8: "
     "windows take 8-bit operands, not 16-bit ones"),
    ("bus.max_read_burst", 257, "bus.max_read_burst must be at most 256, not 257"),
    ("control.semaphores", 4, "control.semaphores must be at least 12, not 4"),
]


@pytest.mark.parametrize(("key", "value", "message"), MESSAGES, ids=lambda x: str(x)[:30])
def test_wrong_value_is_refused_in_one_line(key, value, message):
    with pytest.raises(InputError) as error:
        parse(changed(key, value), "configs/x.toml")
    assert str(error.value) == f"{message} (configs/x.toml)"


@pytest.mark.parametrize(("key", "value"), [
    ("name", "1x"), ("name", ""), ("name", 3), ("name", "a b"), ("clock_mhz", 0), ("clock_mhz", -1),
    ("clock_mhz", "fast"),
    ("array", 3), ("array.dataflow", 3), ("bus.reads_in_flight", 0), ("bus.writes_in_flight", 1000),
    ("control.queue_words", 1), ("control.watchdog_cycles", 5), ("bus.max_write_burst", "a"),
])
def test_wrong_value_is_refused_with_key_value_and_file(key, value):
    with pytest.raises(InputError) as error:
        parse(changed(key, value), "configs/x.toml")
    message = str(error.value)
    assert message.startswith(f"{key} must be ") and message.endswith(f", not {value!r} (configs/x.toml)")
    assert "\n" not in message


def test_every_error_is_reported():
    values = changed("array.rows", -1)
    values["bus"]["data_bits"] = 7
    with pytest.raises(InputError, match=r"array\.rows .*; bus\.data_bits "):
        parse(values, "x.toml")


def test_missing_file():
    with pytest.raises(InputError) as error:
        load("configs/none.toml")
    assert str(error.value) == "configs/none.toml: no such configuration file; the shipped ones are in configs/"


@pytest.mark.parametrize(
    "content", [b"array = [", b"rows = 1\nrows = 2", b"\xff\xfe\x00", b"a = " + b"[" * 5000, b"a = " + b"9" * 5000]
)
def test_unreadable_file(tmp_path, content):
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        load(path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


def test_byte_order_mark_is_no_content(tmp_path):
    (tmp_path / "x.toml").write_bytes(b"\xef\xbb\xbf" + WS16.read_bytes())
    assert load(tmp_path / "x.toml") == load(WS16)


def test_directory_is_no_configuration(tmp_path):
    with pytest.raises(InputError, match="cannot be read as a configuration"):
        load(tmp_path)


def test_nothing_derived_survives_a_copy_with_other_fields():
    cfg = load(WS16)
    before = cfg.hash, cfg.dataflow.name
    other = cfg.model_copy(update={"array": cfg.array.model_copy(update={"rows": 8, "dataflow": "output_stationary"})})
    again = parse(other.model_dump(), "x")
    assert (other.hash, other.dataflow) == (again.hash, again.dataflow)
    assert (other.hash, other.dataflow.name) != before and (cfg.hash, cfg.dataflow.name) == before


@pytest.mark.parametrize(("key", "value"), [("name", "_a1"), ("clock_mhz", 200), ("clock_mhz", 0.001)])
def test_legal_values(key, value):
    assert getattr(parse(changed(key, value), "x"), key) == value


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_shipped_configurations(path):
    cfg = load(path)
    assert cfg.name == path.stem
    assert parse(cfg.model_dump(), "again") == cfg


def test_default_configuration_budget():
    cfg = load(WS16)
    assert cfg.multipliers == 256
    assert cfg.on_chip_bytes <= 320 * 1024


FIELDS = [
    ("array.rows", 8), ("array.cols", 8), ("array.dataflow", "output_stationary"), ("memory.input_bytes", 65536),
    ("memory.weight_bytes", 131072), ("memory.acc_bytes", 32768), ("memory.operand_bytes", 16384),
    ("memory.param_bytes", 4096), ("bus.data_bits", 64), ("bus.max_read_burst", 32), ("bus.max_write_burst", 8),
    ("bus.reads_in_flight", 4), ("bus.writes_in_flight", 4), ("control.queue_words", 32), ("control.semaphores", 12),
    ("control.watchdog_cycles", 2048), ("vector.window_words", 512), ("vector.products", True),
    ("codec.run_bits", 5), ("codec.blocks", 512),
]

STORE_FIELDS = [("stores.input", 16), ("stores.weight", 225), ("stores.output", 16), ("array.zero_gating", True)]

SPARSE = {"pes": 64, "weight_bytes": 4096, "pointer_bytes": 1024}

SPARSE_FIELDS = [
    ("pes", 32), ("queue", 4), ("run_bits", 5), ("code_bits", 5), ("codebooks", 1), ("weight_bytes", 2048),
    ("pointer_bytes", 512), ("accumulators", 16),
]

ATTENTION_FIELDS = [("row_elements", 512), ("scales", 256), ("tables", 2), ("indices", 1024), ("pruning", True)]

PRUNING_FIELDS = [("values", True), ("candidates", 320), ("candidate_columns", 32)]
"""Each with those before it."""


MULTIPLIERS = (
    {"kind": "fusion"}, {"kind": "fusion", "leaf": 4}, {"kind": "serial_input", "lanes": 8},
    {"kind": "serial_input", "lanes": 16}, {"kind": "serial_input", "lanes": 16, "bits": 4},
    {"kind": "serial_weight", "lanes": 16}, {"kind": "serial", "lanes": 16}, {"kind": "table", "lanes": 16},
    {"kind": "binary", "lanes": 16}, {"kind": "ternary", "lanes": 16},
)  # fmt: skip


def test_hash_depends_on_every_field():
    names = {f"{section}.{field}" for section, info in Config.model_fields.items()
             for kind in (info.annotation, *get_args(info.annotation)) if hasattr(kind, "model_fields")
             for field in kind.model_fields}
    fixed = {"numbers.act_bits", "numbers.weight_bits", "numbers.acc_bits", "codec.level_bits"}  # change together
    changing = {key for key, _ in (*FIELDS, *STORE_FIELDS)} | {f"sparse.{key}" for key, _ in SPARSE_FIELDS}
    changing |= {f"multiplier.{key}" for unit in MULTIPLIERS for key in unit}
    changing |= {f"attention.{key}" for key, _ in (*ATTENTION_FIELDS, *PRUNING_FIELDS)}
    assert changing == names - fixed
    hashes = [load(WS16).hash] + [parse(changed(key, value), "x").hash for key, value in FIELDS]
    rows = {**changed("array.dataflow", "row_stationary"), "stores": {"input": 12, "weight": 224, "output": 24}}
    hashes.append(parse(rows, "x").hash)
    for key, value in STORE_FIELDS:
        section, field = key.split(".")
        hashes.append(parse({**rows, section: {**rows[section], field: value}}, "x").hash)
    hashes.append(parse(changed("sparse", SPARSE), "x").hash)
    hashes += [parse(changed("sparse", {**SPARSE, key: value}), "x").hash for key, value in SPARSE_FIELDS]
    hashes.append(parse(changed("attention", {}), "x").hash)
    hashes += [parse(changed("attention", {key: value}), "x").hash for key, value in ATTENTION_FIELDS]
    for count in range(len(PRUNING_FIELDS)):
        fields = {"pruning": True, **dict(PRUNING_FIELDS[: count + 1])}
        hashes.append(parse(changed("attention", fields), "x").hash)
    for unit in MULTIPLIERS:
        flow = "weight_stationary" if unit["kind"] == "fusion" else "output_stationary"
        hashes.append(parse({**changed("array.dataflow", flow), "multiplier": unit}, "x").hash)
    assert len(set(hashes)) == len(hashes)


def test_local_stores_are_those_of_the_dataflow():
    rows = {**changed("array.dataflow", "row_stationary"), "stores": {"input": 12, "weight": 224}}
    with pytest.raises(InputError, match=r"stores.output is missing: dataflow row_stationary keeps it in the PE \(x\)"):
        parse(rows, "x")
    with pytest.raises(InputError, match=r"stores\.input is not used by dataflow weight_stationary"):
        parse({**changed("name", "x"), "stores": {"input": 12}}, "x")


def test_formats_decide_widths_and_bytes():
    """Everything counted in bytes follows from the width of the operands, and so does the hash."""
    values = changed("vector", None)
    narrow = parse(values, "x")
    memory = {**values["memory"], "acc_bytes": 96 * 1024}
    wide = parse({**values, "numbers": {"act_bits": 16}, "memory": memory}, "x")
    assert (wide.numbers.act_bits, wide.numbers.weight_bits, wide.numbers.acc_bits) == (16, 16, 48)
    assert wide.hash != narrow.hash
    for name, before, after in (
        ("act_bytes", 1, 2), ("param_lane_bytes", 8, 16), ("param_entry_bytes", 128, 256), ("input_word_bytes", 16, 32),
        ("weight_word_bytes", 16, 32), ("operand_word_bytes", 16, 32), ("acc_word_bytes", 64, 96),
    ):
        assert (getattr(narrow, name), getattr(wide, name)) == (before, after), name


@pytest.mark.parametrize(("key", "value"), [("name", "other"), ("clock_mhz", 100.0)])
def test_hash_ignores_name_and_clock(key, value):
    assert parse(changed(key, value), "x").hash == load(WS16).hash


def test_windows_are_optional():
    """Without the section there are no windows, and nothing that belongs to them."""
    cfg, plain = load(WS16), parse(changed("vector", None), "x")
    assert plain.vector is None and plain.hash != cfg.hash
    assert (cfg.window_multipliers, plain.window_multipliers) == (144, 0)
    assert cfg.on_chip_bytes - plain.on_chip_bytes == cfg.window_weight_bytes == 64 * 16 * 9
    registers = [[r.name for r in isa.units(c)[isa.Unit.VECTOR]] for c in (cfg, plain)]
    assert registers[0] == [*registers[1], "window"]


def test_hash_is_56_bits():
    cfg = load(WS16)
    assert len(cfg.hash) == 14
    assert cfg.hash_value == int(cfg.hash, 16) < 2**56


def test_configuration_is_frozen():
    cfg = load(WS16)
    with pytest.raises(ValueError, match="frozen"):
        cfg.array.rows = 3


@pytest.mark.parametrize("dataflow", catalogue.NAMES)
@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (1, 7), (5, 3), (13, 17), (256, 1)])
def test_odd_sizes_are_legal(dataflow, rows, cols):
    values = changed("array", {"rows": rows, "cols": cols, "dataflow": dataflow})
    values["stores"] = {operand.value: 16 for operand in catalogue.get(dataflow).stores}
    values["memory"]["acc_bytes"] = 2 * 4 * cols * 64
    values["memory"] |= {name: 2**20 for name in ("input_bytes", "weight_bytes")}
    cfg = parse(values, "x")
    assert cfg.multipliers == rows * cols
    assert cfg.acc_bank_words == 64
    for word, elements in ((cfg.input_word_bytes, cfg.input_elements), (cfg.weight_word_bytes, cfg.weight_elements)):
        assert word >= max(elements, cfg.bus_bytes) and word == ceil_pow2(word)
    assert cfg.resolved()["derived"]["lanes"] == cols


def test_ceil_pow2():
    assert [ceil_pow2(n) for n in (1, 2, 3, 4, 5, 255, 256, 257)] == [1, 2, 4, 4, 8, 256, 256, 512]


def test_published_schema_is_current():
    published = json.loads((WS16.parent / "schema.json").read_text())
    assert published == json_schema(), "run: python -m rtl --schema > configs/schema.json"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_shipped_configurations_name_their_schema(path):
    assert path.read_text().startswith("#:schema ./schema.json\n")


def test_json_schema_names_every_section():
    schema = json_schema()
    assert set(schema["properties"]) == set(Config.model_fields)
    assert schema["additionalProperties"] is False


# -- dataflow descriptions ---------------------------------------------------------------------------


LEGAL = {
    "name": "x", "title": "", "source": "", "rows": Dim.REDUCTION, "cols": Dim.CHANNEL,
    "input": Link(Kind.FORWARD, Axis.EAST), "weight": Link(Kind.LOAD, Axis.SOUTH), "output": Link(Kind.SUM, Axis.SOUTH),
}


@pytest.mark.parametrize(("change", "message"), [
    ({"cols": Dim.REDUCTION}, "x: rows and columns must unroll different dimensions, not both reduction"),
    ({"input": Link(Kind.FORWARD, Axis.SOUTH)},
     "x: input cannot travel south: it depends on reduction, which is unrolled in that direction"),
    ({"output": Link(Kind.SUM, Axis.EAST)},
     "x: output cannot travel east: it depends on channel, which is unrolled in that direction"),
    ({"input": Link(Kind.SUM, Axis.EAST)}, "x: input cannot have a link of kind sum"),
    ({"output": Link(Kind.LOAD, Axis.SOUTH)}, "x: output cannot have a link of kind load"),
    ({"input": Link(Kind.LOAD, Axis.EAST)}, "x: at most one operand may stay in the PE, not 2"),
    ({"rows": Dim.PIXEL, "weight": Link(Kind.FORWARD, Axis.SOUTH), "output": Link(Kind.SUM, Axis.SOUTH)},
     "x: output cannot travel south: it depends on pixel, which is unrolled in that direction"),
])
def test_contradictory_dataflow_is_refused(change, message):
    with pytest.raises(ValueError) as error:
        Dataflow(**{**LEGAL, **change})
    assert str(error.value) == message


def test_skew_follows_from_the_registers_per_hop():
    links = {"rows": Dim.REDUCTION, "cols": Dim.PIXEL, "input": Link(Kind.LOAD, Axis.EAST)}
    flow = Dataflow(**{**LEGAL, **links, "weight": Link(Kind.FORWARD, Axis.EAST, 2)})
    assert flow.skew == (1, 2)
    multicast = Dataflow(**{**LEGAL, "input": Link(Kind.FORWARD, Axis.EAST, 0)})
    assert multicast.skew == (1, 0)


@pytest.mark.parametrize(("name", "stays", "skew", "temporal"), [
    ("weight_stationary", Operand.WEIGHT, (1, 1), Dim.PIXEL),
    ("output_stationary", Operand.OUTPUT, (1, 1), Dim.REDUCTION),
    ("input_stationary", Operand.INPUT, (1, 1), Dim.CHANNEL),
    ("no_local_reuse", None, (0, 0), Dim.PIXEL),
    ("row_stationary", Operand.WEIGHT, (1, 0), Dim.CHANNEL),
    ("output_stationary_plane", Operand.OUTPUT, (0, 0), Dim.CHANNEL),
])
def test_what_follows_from_a_description(name, stays, skew, temporal):
    flow = catalogue.get(name)
    assert (flow.stationary, flow.skew, flow.temporal) == (stays, skew, temporal)


def test_cycle_law_by_hand():
    extent = {Dim.PIXEL: 100, Dim.CHANNEL: 33, Dim.REDUCTION: 20}
    assert catalogue.get("weight_stationary").cycles(16, 16, extent) == 2 * 3 * 100
    assert catalogue.get("output_stationary").cycles(16, 16, extent) == 7 * 3 * 20
    assert catalogue.get("input_stationary").cycles(16, 16, extent) == 2 * 7 * 33
    short = {Dim.PIXEL: 1, Dim.CHANNEL: 1, Dim.REDUCTION: 1}
    assert catalogue.get("weight_stationary").cycles(5, 3, short) == 5  # loading the weights takes longer
    plane = {Dim.OUTPUT_ROW: 13, Dim.OUTPUT_COLUMN: 20, Dim.CHANNEL: 6, Dim.REDUCTION: 25}
    assert catalogue.get("output_stationary_plane").cycles(8, 8, plane) == 2 * 3 * 6 * 25
    assert catalogue.get("output_stationary_plane").cycles(8, 8, plane | {Dim.REDUCTION: 4}) == 2 * 3 * 6 * 8


def test_a_dataflow_is_found_by_its_file(root: Path) -> None:
    """Adding a dataflow means adding one file that defines DATAFLOW."""
    files = {f.stem for f in (root / "dataflows").glob("*.py") if "\nDATAFLOW = " in f.read_text()}
    assert files == set(catalogue.NAMES)


def test_codec_is_optional_and_fits_the_operands():
    """Compression has a section of its own; its levels are as wide as activations."""
    plain = parse(changed("vector", None), "x")
    cfg = parse({**changed("vector", None), "codec": {}}, "x")
    assert plain.codec is None and plain.codec_format is None and plain.hash != cfg.hash
    assert (cfg.codec_format.run_bits, cfg.codec_format.level_bits, cfg.codec_format.pairs) == (4, 8, 5)
    for codec, message in (
        ({"level_bits": 16}, r"codec\.level_bits must be 8 as numbers\.act_bits is, not 16 \(x\)"),
        ({"run_bits": 0}, r"codec\.run_bits must be a positive integer, not 0 \(x\)"),
        ({"run_bits": 16}, r"codec\.run_bits must be at most 15, not 16 \(x\)"),
        ({"blocks": 1}, r"codec\.blocks must be at least 2, not 1 \(x\)"),
    ):
        with pytest.raises(InputError, match=message):
            parse({**changed("name", "x"), "codec": codec}, "x")
    names = {r.name for unit in (isa.Unit.LOAD, isa.Unit.STORE) for r in isa.units(cfg)[unit]}
    assert "codec" in names
    assert all("codec" not in {r.name for r in registers} for registers in isa.units(plain).values())


@pytest.mark.parametrize(("unit", "flow", "message"), [
    ({"kind": "fusion"}, "output_stationary", "array.dataflow must be weight_stationary for multiplier.kind fusion"),
    ({"kind": "serial", "lanes": 8}, "weight_stationary", "array.dataflow must be output_stationary for multiplier"),
    ({"kind": "serial"}, "output_stationary", "multiplier.lanes is missing"),
    ({"kind": "fusion", "lanes": 8}, "weight_stationary", "multiplier.lanes must be left out for kind fusion"),
    ({"kind": "table", "lanes": 8, "leaf": 2}, "output_stationary", "multiplier.leaf must be left out for kind table"),
    ({"kind": "binary", "lanes": 8, "bits": 4}, "output_stationary", "multiplier.bits must be left out"),
    ({"kind": "serial", "lanes": 12}, "output_stationary", "multiplier.lanes must be .*multiple of 8"),
    ({"kind": "booth"}, "output_stationary", "multiplier.kind must be 'fusion', 'serial_input'"),
])  # fmt: skip
def test_multipliers_that_do_not_exist(unit, flow, message):
    with pytest.raises(InputError, match=message):
        parse({**changed("array.dataflow", flow), "multiplier": unit}, "x")


def test_multipliers_and_what_takes_narrow_operands():
    values = {**changed("array.dataflow", "weight_stationary"), "multiplier": {"kind": "fusion"}}
    cfg = parse(values, "x")
    assert (cfg.operand_bits, cfg.containers) == (tuple(range(2, 9)), (2, 4, 8))
    found = {pair: cfg.reduction(*pair).depth // cfg.array.rows for pair in ((8, 8), (8, 3), (4, 4), (2, 4), (2, 2))}
    assert found == {(8, 8): 1, (8, 3): 2, (4, 4): 4, (2, 4): 8, (2, 2): 16}
    with pytest.raises(InputError, match="no multipliers for weights of 1 bits; it takes 2, 3, 4, 5, 6, 7, 8"):
        cfg.reduction(8, 1)
    with pytest.raises(InputError, match=r"\[codec\] must be left out with \[multiplier\]"):
        parse({**values, "codec": {}}, "x")
    with pytest.raises(InputError, match=r"array\.cols must be a multiple of 4 .* not 6"):
        parse({**values, "array": {**values["array"], "cols": 6}, "memory": {**values["memory"], "acc_bytes": 48}}, "x")
