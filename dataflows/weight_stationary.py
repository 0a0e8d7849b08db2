"""Weight-stationary: each PE keeps one weight; inputs pass along rows, sums go down columns."""

from dataflows.vocabulary import Axis, Dataflow, Dim, Kind, Link

DATAFLOW = Dataflow(
    name="weight_stationary",
    title="weight-stationary systolic array",
    source="Jouppi et al., ISCA 2017 (TPU)",
    rows=Dim.REDUCTION,
    cols=Dim.CHANNEL,
    input=Link(Kind.FORWARD, Axis.EAST),
    weight=Link(Kind.LOAD, Axis.SOUTH),
    output=Link(Kind.SUM, Axis.SOUTH),
)
