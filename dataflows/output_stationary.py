"""Output-stationary: each PE keeps one partial sum; inputs and weights pass, results are drained."""

from dataflows.vocabulary import Axis, Dataflow, Dim, Kind, Link

DATAFLOW = Dataflow(
    name="output_stationary",
    title="output-stationary systolic array",
    source="Kung, IEEE Computer 1982; Samajdar et al. (SCALE-Sim), ISPASS 2020",
    rows=Dim.PIXEL,
    cols=Dim.CHANNEL,
    input=Link(Kind.FORWARD, Axis.EAST),
    weight=Link(Kind.FORWARD, Axis.SOUTH),
    output=Link(Kind.DRAIN, Axis.SOUTH),
)
