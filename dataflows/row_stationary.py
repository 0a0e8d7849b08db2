"""Row-stationary: filter rows, input rows and sums stay in the PE; a PE computes a one-dimensional convolution."""

from dataflows.vocabulary import Axis, Dataflow, Dim, Kind, Link

DATAFLOW = Dataflow(
    name="row_stationary",
    title="row-stationary array",
    source="Chen et al., ISCA 2016 (Eyeriss)",
    rows=Dim.KERNEL_ROW,
    cols=Dim.OUTPUT_ROW,
    input=Link(Kind.BUS, Axis.BOTH, delay=0, store=True),
    weight=Link(Kind.LOAD, Axis.EAST, delay=0, store=True),
    output=Link(Kind.SUM, Axis.SOUTH, store=True),
)
