"""Input-stationary: each PE keeps one input; weights pass along rows, sums go down columns."""

from dataflows.vocabulary import Axis, Dataflow, Dim, Kind, Link

DATAFLOW = Dataflow(
    name="input_stationary",
    title="input-stationary systolic array",
    source="Samajdar et al. (SCALE-Sim), ISPASS 2020",
    rows=Dim.REDUCTION,
    cols=Dim.PIXEL,
    input=Link(Kind.LOAD, Axis.EAST),
    weight=Link(Kind.FORWARD, Axis.EAST),
    output=Link(Kind.SUM, Axis.SOUTH),
)
