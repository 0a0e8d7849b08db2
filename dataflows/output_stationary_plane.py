"""Output-stationary over the plane: each PE keeps the sum of one output pixel and takes inputs from its neighbours."""

from dataflows.vocabulary import Axis, Dataflow, Dim, Kind, Link

DATAFLOW = Dataflow(
    name="output_stationary_plane",
    title="output-stationary array over the output plane",
    source="Du et al., ISCA 2015 (ShiDianNao)",
    rows=Dim.OUTPUT_ROW,
    cols=Dim.OUTPUT_COLUMN,
    input=Link(Kind.NEIGHBOUR, Axis.BOTH, delay=0, store=True),
    weight=Link(Kind.FORWARD, Axis.BOTH, delay=0),
    output=Link(Kind.DRAIN, Axis.SOUTH),
)
