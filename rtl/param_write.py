"""Writes to the memories of the vector unit's lanes."""

from amaranth import Cat, Signal
from amaranth.utils import exact_log2

from dataflows.config import Config


def write_parts(cfg: Config) -> int:
    """Beats that bring the parameters of one lane: more than one where a lane's are wider than the bus."""
    return max(1, cfg.param_lane_bytes // cfg.bus_bytes)


def lane_writes(m, cfg: Config, write, valid, part: int):
    """Split beats written to the PARAM target by lanes.

    Parameters
    ----------
    write, valid
        Payload (``rtl.memory.write_layout``) and valid of the writes: whole beats at multiples of the beat.
    part : int
        0: parameters, 1: taps 0 to 7 of the window weights, 2: tap 8; only 0 where there are no windows.

    Returns
    -------
    enables : list of ``write_parts`` bits, per lane
    entry : Signal
    values : list of values of ``param_lane_bytes``, per lane
    """
    parts = write_parts(cfg)
    per_beat = max(1, cfg.bus_bytes // cfg.param_lane_bytes)
    beat_bits = exact_log2(cfg.bus_bytes)
    entry_bits = exact_log2(cfg.param_entry_bytes)
    part_bits = exact_log2(cfg.window_weights_address)
    entry = Signal(range(cfg.param_entries), name=f"write_entry_{part}")
    here = valid
    if cfg.vector:
        m.d.comb += entry.eq(write.address[entry_bits:part_bits])
        here = valid & (write.address[part_bits : part_bits + 2] == part)
    else:
        m.d.comb += entry.eq(write.address[entry_bits:])
    beats = []  # one signal per beat of an entry that has lanes
    for beat in range(-(-cfg.lanes // per_beat) * parts):
        beats.append(Signal(name=f"write_{part}_beat_{beat}"))
        m.d.comb += beats[beat].eq(here & (write.address[beat_bits:entry_bits] == beat))
    value = write.data.as_value().replicate(parts)
    bits = 8 * cfg.param_lane_bytes
    values = [value[bits * (i % per_beat) :][:bits] for i in range(cfg.lanes)]
    enables = [Cat(beats[i // per_beat * parts :][:parts]) for i in range(cfg.lanes)]
    return enables, entry, values
