"""No local reuse: nothing stays in the PE; inputs go to all columns, each PE has its own weight, sums are trees."""

from dataflows.vocabulary import Axis, Dataflow, Dim, Kind, Link

DATAFLOW = Dataflow(
    name="no_local_reuse",
    title="no-local-reuse array",
    source="Chen et al., ASPLOS 2014 (DianNao)",
    rows=Dim.REDUCTION,
    cols=Dim.CHANNEL,
    input=Link(Kind.FORWARD, Axis.EAST, delay=0),
    weight=Link(Kind.PRIVATE, Axis.BOTH, delay=0),
    output=Link(Kind.SUM, Axis.SOUTH, delay=0),
)
