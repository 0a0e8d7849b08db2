"""Shapes shared by all units: the job a front end hands to its engine, and the engine's ports."""

from amaranth import Signal, signed, unsigned
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from dataflows import isa
from dataflows.config import Config


def register_layout(register: isa.Register) -> data.StructLayout:
    """Struct layout of one shadow register, fields from bit 0 upwards."""
    return data.StructLayout(
        {f.name: signed(f.bits) if f.signed else unsigned(f.bits) for f in register.fields}
    )


def job_layout(cfg: Config, unit: isa.Unit) -> data.StructLayout:
    """A snapshot of all shadow registers of ``unit`` and the semaphore, tag and mark fields of its START."""
    registers = {r.name: register_layout(r) for r in isa.units(cfg)[unit]}
    return data.StructLayout({**registers, "give": cfg.control.semaphores, "tag": 16, "mark": 1})


def geometry_layout(cfg: Config) -> data.StructLayout:
    """Registers of an INPUT job that go to the array (:func:`dataflows.isa.geometry`)."""
    return data.StructLayout({r.name: register_layout(r) for r in isa.geometry(cfg)})


def fields(cfg: Config, unit: isa.Unit, job, *names: str) -> dict:
    """Fields of a job by name, of several registers together: in which one a field lies depends on its width."""
    registers = [r for r in isa.units(cfg)[unit] if r.name in names]
    return {f.name: job[r.name][f.name] for r in registers for f in r.fields}


def job_credit(m, opened, begun, bits: int = 8) -> Signal:
    """Accumulator jobs that have been opened and for which nothing has begun yet.

    Parameters
    ----------
    m : Module
    opened : Value
        The accumulator opens one more in this cycle.
    begun : Value
        One begins; it must be there before.
    bits : int
        Width of the count.
    """
    credit = Signal(bits, name="credit")
    m.d.sync += credit.eq(credit + opened - begun)
    return credit


def engine_ports(cfg: Config, unit: isa.Unit) -> dict:
    """Ports every engine has.

    Members
    -------
    job : In(stream of job_layout)
        Taken when the engine can begin it; the engine keeps what it needs.
    done : Out(stream of semaphore mask, always ready)
        One transfer per finished job, in order: the semaphores that get a token.
    busy : Out(1)
        A job is open (begun, not yet done).
    stalled : Out(1)
        Busy, and nothing can move in this cycle: source empty or sink full.
    """
    return {
        "job": In(stream.Signature(job_layout(cfg, unit))),
        "done": Out(stream.Signature(unsigned(cfg.control.semaphores), always_ready=True)),
        "busy": Out(1),
        "stalled": Out(1),
    }
