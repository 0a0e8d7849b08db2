"""Tables and messages on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from dataflows.config import Config
from mapper.advice_table import advice_table
from mapper.allocation_table import allocation_table
from mapper.outcome import Outcome
from mapper.precisions import precisions
from mapper.report_energy import summary as energy_line
from mapper.table import Row, aligned, all_multipliers

if TYPE_CHECKING:
    from mapper.run import Mismatch

SHOWN = 5
"""Mismatches printed in full."""


def percent(value: float | None) -> str:
    """A share, or a dash."""
    return "-" if value is None else f"{100 * value:.1f} %"


def size(count: float) -> str:
    """Bytes in a unit that keeps them readable."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"


def number(value: int | None) -> str:
    """A count with thousands separated, or a dash."""
    return "-" if value is None else f"{value:,}"


def cycles(row: Row, count: int | None) -> str:
    """Cycles of a layer, or where else it runs."""
    return "host" if row.on_host else number(count)


def layer_table(outcome: Outcome) -> Table:
    """One line per layer; widths only where they can differ, measured columns only where something was run."""
    ran, packed, noisy = outcome.run is not None, outcome.cfg.multiplier is not None, bool(outcome.own)
    table = Table(title=f"{outcome.program.network.name} on {outcome.cfg.name}", title_justify="left")
    table.add_column("#", justify="right")
    table.add_column("layer", overflow="fold")
    table.add_column("op")
    predicted = "estimated" if outcome.program.sparse and not ran else "predicted"
    columns = [*(["bits"] if packed else []), "output", "MACs", predicted, *(["measured"] if ran else [])]
    columns += ["utilization", "read", "written", *(["own dB"] if noisy else [])]
    for name in [*columns, *(["SQNR dB", "golden"] if ran else [])]:
        table.add_column(name, justify="right")
    for row in outcome.rows:
        op = f"{row.op} {row.engine}" if row.engine in ("sparse", "host") else row.op
        cells = [str(row.index), row.title, op, *([row.widths] if packed else [])]
        cells += ["x".join(map(str, row.shape)), number(row.macs), cycles(row, row.cycles_predicted)]
        cells += [cycles(row, row.cycles_measured)] if ran else []
        cells += [percent(row.utilization), size(row.dram_read_bytes), size(row.dram_write_bytes)]
        cells += [own(outcome, row)] if noisy else []
        if ran:
            cells += ["-" if row.sqnr_db is None else f"{row.sqnr_db:.1f}"]
            cells += [f"{row.mismatches:,} differ" if row.mismatches else "equal"]
        table.add_row(*cells)
    total = outcome.totals
    table.add_section()
    cells = ["", "total", "", *([""] if packed else []), "", number(total["macs"]), number(total["cycles_predicted"])]
    cells += [number(total["cycles_measured"])] if ran else []
    cells += [percent(total["utilization"]), size(total["dram_read_bytes"]), size(total["dram_write_bytes"])]
    cells += [""] if noisy else []
    table.add_row(*cells, *(["", f"{outcome.mismatches:,} differ" if outcome.mismatches else "equal"] if ran else []))
    return table


def own(outcome: Outcome, row: Row) -> str:
    """SQNR that a layer would leave by itself; the worst one is marked."""
    if row.sqnr_own_db is None:
        return "-"
    return f"{'worst ' if row is outcome.noisiest else ''}{row.sqnr_own_db:.1f}"


def _by_layer(title: str, *columns: str) -> Table:
    """A table with a line per layer: its name, then numbers."""
    table = Table(title=title, title_justify="left")
    table.add_column("layer", overflow="fold")
    for name in columns:
        table.add_column(name, justify="right")
    return table


def sparse_table(outcome: Outcome) -> Table | None:
    """One line per layer on the sparse engine; None if there is none."""
    found = [(row, row.sparse) for row in outcome.rows if row.sparse]
    if not found:
        return None
    names = "weights", "inputs", "entries", "padding", "tiles", "theoretical", "engine", "load balance"
    table = _by_layer("on the sparse engine", *names)
    for row, sparse in found:
        table.add_row(
            row.title, percent(sparse.density), percent(sparse.activation_density), number(sparse.entries),
            percent(sparse.padding / sparse.entries if sparse.entries else 0.0),
            f"{sparse.tiles}, resident" if sparse.resident else str(sparse.tiles),
            number(sparse.theoretical_cycles), number(sparse.engine_cycles), percent(sparse.load_balance),
        )  # fmt: skip
    return table


def values_table(outcome: Outcome) -> Table | None:
    """One line per attention layer that leaves out values; None if there is none."""
    found = [(row, row.values) for row in outcome.rows if row.values]
    if not found:
        return None
    table = _by_layer("values left out", "values of a head", "threshold", "post-scoring")
    for row, values in found:
        least = f"below {values.least} / 127" if values.least else "-"
        table.add_row(row.title, values.text, f"{values.threshold:g}" if values.threshold else "-", least)
    return table


def candidates_table(outcome: Outcome) -> Table | None:
    """One line per attention layer that scores candidates only; None if there is none."""
    found = [(row, row.candidates) for row in outcome.rows if row.candidates]
    if not found:
        return None
    table = _by_layer("candidates", "keys that a query scores", "steps of a search")
    for row, candidates in found:
        table.add_row(row.title, candidates.text, f"{candidates.steps:,}")
    return table


def precision_table(outcome: Outcome) -> Table | None:
    """One line per pair of widths; None where there are not several."""
    found = precisions(outcome)
    if len(found) < 2:
        return None
    table = Table(title="by precision", title_justify="left")
    for name in ("bits", "layers", "MACs", "cycles", "multipliers", "utilization", "weights", "with 8 bits"):
        table.add_column(name, justify="right")
    table.add_column("on")
    for p in found:
        table.add_row(
            p.widths, str(p.layers), number(p.macs), number(p.cycles), f"{p.multipliers:,.6g}", percent(p.utilization),
            size(p.weight_bytes), size(p.plain_bytes), p.engine,
        )  # fmt: skip
    return table


def compression_table(outcome: Outcome) -> Table | None:
    """One line per layer with pruned or clustered weights; None if there is none."""
    found = list(outcome.compression.values())
    if not found:
        return None
    names = "weights", "not zero", "values", "float32", "compressed", "ratio", "with Huffman codes", "ratio"
    table = _by_layer("compressed weights", *names)
    table.add_column("by")
    for c in found:
        table.add_row(
            c.layer, number(c.weights), percent(c.density), number(c.codes), size(c.dense_bytes),
            size(c.compressed_bytes), f"{c.ratio:.1f}", size(c.huffman_bytes), f"{c.huffman_ratio:.1f}",
            "the model as it came" if c.recognised else "this command",
        )  # fmt: skip
    return table


def side_by_side(outcomes: Sequence[Outcome]) -> Table:
    """Layers down, configurations across: cycles and utilization."""
    table = Table(title=f"{outcomes[0].program.network.name}: cycles and utilization", title_justify="left")
    table.add_column("layer", overflow="fold")
    for outcome in outcomes:
        sparse = f" + {outcome.cfg.sparse_multipliers} sparse" if outcome.cfg.sparse else ""
        what = f"PEs, {outcome.cfg.multiplier.kind}" if outcome.cfg.multiplier else "multipliers"
        table.add_column(f"{outcome.cfg.name}\n{outcome.cfg.multipliers}{sparse} {what}", justify="right")
    for rows in aligned([outcome.rows for outcome in outcomes]):
        title = next(row.title for row in rows if row)
        cells = (f"{cycles(row, row.cycles)}  {percent(row.utilization):>7}" if row else "-" for row in rows)
        table.add_row(title, *cells)
    table.add_section()
    sums = [(sum(row.cycles for row in o.rows), o.totals["utilization"], bool(o.program.host)) for o in outcomes]
    beside = {True: "host + ", False: ""}
    table.add_row("total", *(f"{beside[host]}{total:,}  {percent(share):>7}" for total, share, host in sums))
    table.add_row("us per sample", *(f"{o.totals['seconds_per_sample'] * 1e6:,.1f}" for o in outcomes))
    return table


def summary(outcome: Outcome) -> list[str]:
    """The result in a few sentences."""
    total, cfg = outcome.totals, outcome.cfg
    sum_of = sum(row.cycles for row in outcome.rows)
    kind = "predicted" if outcome.run is None else "measured"
    every = "" if cfg.multiplier else f" {all_multipliers(cfg):,}"
    lines = [
        f"{outcome.samples} sample(s), {sum_of:,} cycles {kind}, "
        f"{percent(total['utilization'])} of the multipliers in use, "
        f"{percent(total['utilization_all'])} of all{every}{at_widths(cfg)}; "
        f"{total['seconds_per_sample'] * 1e6:,.1f} us per sample at {cfg.clock_mhz:g} MHz"
    ]
    if outcome.run is not None:
        verdict = "every tensor equals" if outcome.bit_exact else "the RTL DISAGREES with"
        speed = f"{outcome.run.cycles_per_second:,.0f} cycles/s"
        lines.append(f"{verdict} the golden model; simulated in {outcome.run.seconds:.1f} s ({speed})")
    lines.append(energy_line(total["energy"], outcome.samples))
    return [*lines, *search_line(outcome), *outcome.notes]


def search_line(outcome: Outcome) -> list[str]:
    """What was searched for the plans of a network, and what that proves."""
    found = [row.search for row in outcome.rows if row.search]
    if not found:
        return []
    candidates, costed = (sum(s[key] for s in found) for key in ("candidates", "costed"))
    known = sum(s["reused"] for s in found)
    reused = f", known from equal layers for {known}" if known else ""
    unproven = sum(not s["exact"] for s in found)
    proof = f"no proof for {unproven} layers" if unproven else "exact, gap 0"
    goal = outcome.arguments.objective
    rest = f"{costed:,} costed, the rest bounded away" if costed < candidates else "all costed"
    return [f"search for {goal}: {candidates:,} plans, {rest}{reused}; {proof}"]


def at_widths(cfg: Config) -> str:
    """What numbers of multipliers are counted at, where that depends on the layer."""
    return " at each layer's widths" if cfg.multiplier else ""


def mismatch(outcome: Outcome, first: Mismatch) -> str:
    """What is wrong, where, which command did it, and how to see it again."""
    where = ", ".join(map(str, first.coordinate))
    return (
        f"layer {first.layer}, sample {first.sample}: at (image, row, column, channel) = ({where}) "
        f"expected {first.expected}, found {first.found}; {first.count} element(s) differ\n"
        f"  written by {first.job}\n"
        f"  reproduce: {outcome.reproduce(first.layer)}"
    )


def continuation(outcome: Outcome) -> str:
    """What a decoder has generated; with a run, by the RTL."""
    made = outcome.tokens
    assert outcome.generated is not None and made is not None
    by = "golden model" if outcome.run is None else "RTL"
    start, text = len(outcome.generated.prompt), outcome.generated.text(made)
    if text is None:
        return f"{by}, behind {start} tokens: {' '.join(map(str, made[start:]))}"
    return f"{by}, behind {start} characters of prompt:\n\n{text}\n"


def show(console: Console, outcomes: Sequence[Outcome]) -> None:
    """Print the results of a command."""
    if len(outcomes) > 1:
        console.print(side_by_side(outcomes))
    for outcome in outcomes:
        if len(outcomes) == 1:
            console.print(layer_table(outcome))
            chosen = allocation_table(outcome.allocation) if outcome.allocation else None
            tables = (
                precision_table(outcome), sparse_table(outcome), candidates_table(outcome), values_table(outcome),
                compression_table(outcome), chosen,
            )  # fmt: skip
            for more in filter(None, tables):
                console.print(more)
        if outcome.advice:
            console.print(advice_table(outcome))
        if outcome.generated is not None:
            console.print(continuation(outcome), markup=False, soft_wrap=True)
        for line in summary(outcome):
            console.print(line if len(outcomes) == 1 else f"{outcome.cfg.name}: {line}", markup=False)


def complain(console: Console, outcomes: Sequence[Outcome]) -> None:
    """Print what disagreed with the golden model."""
    for outcome in outcomes:
        wrong = outcome.run.mismatches if outcome.run else []
        for first in wrong[:SHOWN]:
            console.print(mismatch(outcome, first), markup=False, style="red")
        if len(wrong) > SHOWN:
            console.print(f"and {len(wrong) - SHOWN} more tensors that differ", markup=False)
