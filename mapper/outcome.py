"""Everything one configuration gave, as tables, JSON and reports show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dataflows.config import Config
from mapper import table
from mapper.allocation import Allocation
from mapper.compile import Program
from mapper.compressed_layers import Compression
from mapper.generated import Generated, likeliest
from mapper.options import Arguments
from mapper.timing import Prediction
from mapper.timing_sparse import Masks

if TYPE_CHECKING:
    from mapper.advice import Change
    from mapper.run import Run


@dataclass(frozen=True)
class Outcome:
    """A model on an accelerator.

    Attributes
    ----------
    prediction : Prediction
        Of one batch, the first one where any was run.
    samples : int
        That cycles, MACs and bytes are sums over: those that were run, or one batch.
    quality : dict
        SQNR in dB against the float model, by tensor; empty without a run.
    notes : tuple of str
        What a reader of the numbers has to know.
    compression : dict
        Pruned and clustered layers, by name.
    masks : tuple of Masks
        Activations that are not zero, of the first batches that were run, or as they are expected.
    allocation : Allocation or None
        How widths were chosen.
    generated : Generated or None
        Tokens, where the samples are those of a decoder.
    advice : tuple of Change
        What other designs would bring, where that was asked for.
    own : dict
        SQNR in dB by tensor as far as its own layer makes it (``quality.own_sqnr``).
    """

    arguments: Arguments
    config_file: Path
    program: Program
    prediction: Prediction
    samples: int
    run: Run | None
    quality: dict[str, float | None]
    notes: tuple[str, ...]
    compression: dict[str, Compression] = field(default_factory=dict)
    masks: tuple[Masks, ...] = (Masks(),)
    allocation: Allocation | None = None
    generated: Generated | None = None
    advice: tuple[Change, ...] = ()
    own: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def cfg(self) -> Config:
        """The accelerator."""
        return self.program.cfg

    @property
    def batches(self) -> int:
        """Executions of the program that ``samples`` take."""
        network = self.program.network
        return self.samples // network.tensors[network.inputs[0]].shape[0]

    @property
    def predictions(self) -> list[Prediction]:
        """Of the first batches: cycles may differ where the sparse engine passes over zeros, or lists choose rows."""
        return self.run.predictions if self.run and self.run.predictions else [self.prediction]

    @cached_property
    def rows(self) -> list[table.Row]:
        """One per scheduled layer."""
        return table.rows(
            self.program, self.predictions, self.samples, self.run, self.quality, self.compression, self.masks,
            self.arguments.dram, self.own,
        )  # fmt: skip

    @cached_property
    def noisiest(self) -> table.Row | None:
        """The layer that adds most noise of its own; None where that is not known of at least two."""
        known = [row for row in self.rows if row.sqnr_own_db is not None]
        return min(known, key=lambda row: row.sqnr_own_db or 0.0) if len(known) > 1 else None

    @cached_property
    def totals(self) -> dict[str, Any]:
        """Sums over the rows."""
        return table.totals(self.program, self.rows, self.samples, self.run, self.arguments.dram)

    @property
    def bit_exact(self) -> bool | None:
        """Whether every tensor agreed with the golden model; None without a run."""
        return None if self.run is None else not self.run.mismatches

    @property
    def mismatches(self) -> int | None:
        """Elements that differ; None without a run."""
        return None if self.run is None else sum(m.count for m in self.run.mismatches)

    @property
    def tokens(self) -> NDArray[np.int64] | None:
        """Prompt and what followed it, (count,): as the RTL has it after a run, else as the golden model has it."""
        if self.generated is None:
            return None
        start = len(self.generated.prompt)
        made = self.generated.tokens if self.run is None else likeliest(self.run.outputs[self._logits])[start - 1 :]
        return np.concatenate([self.generated.prompt, made])

    @property
    def _logits(self) -> str:
        """The output of a decoder."""
        return self.program.network.outputs[0]

    def reproduce(self, layer: str) -> str:
        """The command that runs one layer alone."""
        return self.arguments.reproduce(self.config_file, layer)

    def document(self) -> dict[str, Any]:
        """The ``--json`` form: keys are added, never renamed."""
        run = self.run
        sim, first = None, []
        if run is not None:
            sim = {"cycles": run.cycles, "seconds": run.seconds, "cycles_per_second": run.cycles_per_second}
            first = [{**asdict(m), "reproduce": self.reproduce(m.layer)} for m in run.mismatches[:20]]
        return {
            "model": self.program.network.name,
            "model_file": str(self.arguments.model),
            "config": self.cfg.name,
            "config_file": str(self.config_file),
            "config_hash": self.cfg.hash,
            "clock_mhz": self.cfg.clock_mhz,
            "command": self.arguments.command,
            "samples": self.samples,
            "multipliers": self.cfg.multipliers,
            "window_multipliers": self.cfg.window_multipliers,
            "sparse_multipliers": self.cfg.sparse_multipliers,
            "dram": {
                "latency": self.arguments.latency,
                "bytes_per_cycle": self.arguments.bytes_per_cycle or self.cfg.bus_bytes,
                "stall": self.arguments.stall,
            },
            "layers": [asdict(row) for row in self.rows],
            "totals": self.totals,
            "bit_exact": self.bit_exact,
            "mismatches": self.mismatches,
            "first_mismatches": first,
            "sim": sim,
            "notes": list(self.notes),
            "selections": run.selections if run else {},
            "quantization": {
                **asdict(self.arguments.rounding), "noisiest_layer": self.noisiest.name if self.noisiest else None,
            },
            "bit_allocation": self.allocation.document() if self.allocation else None,
            "advice": [change.document() for change in self.advice],
            "generated": self.generated.document() if self.generated else None,
        }
