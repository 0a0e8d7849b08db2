"""The plan of a convolution on the array of a configuration, whatever its dataflow."""

from __future__ import annotations

from dataflows.config import Config
from dataflows.network import Conv, Tensor
from dataflows.vocabulary import Kind
from mapper.classifier_plan import ClassifierPlan, classifier_plan
from mapper.conv_plan import ConvPlan, Options
from mapper.conv_search import plan
from mapper.conv_shape import ConvShape
from mapper.plane_plan import PlanePlan
from mapper.plane_search import plane_plan
from mapper.row_plan import RowPlan
from mapper.row_search import row_plan

ArrayPlan = ConvPlan | RowPlan | PlanePlan | ClassifierPlan


def plane_or_classifier(
    cfg: Config, layer: Conv, source: Tensor, target: Tensor, options: Options
) -> PlanePlan | ClassifierPlan:
    """The faster of the two ways of an array over the output plane: PEs hold pixels, or output channels of one."""
    plane = plane_plan(cfg, layer, source, target, options)
    classifier = classifier_plan(ConvShape.of(cfg, layer, source, target), options)
    return classifier if classifier and classifier.cycles < plane.cycles else plane


def array_plan(cfg: Config, layer: Conv, source: Tensor, target: Tensor, options: Options) -> ArrayPlan:
    """The cheapest plan, found by how inputs reach the array. Raises ``InputError`` naming what is too small."""
    match cfg.dataflow.input.kind:
        case Kind.BUS:
            return row_plan(cfg, layer, source, target, options)
        case Kind.NEIGHBOUR:
            return plane_or_classifier(cfg, layer, source, target, options)
        case _:
            return plan(ConvShape.of(cfg, layer, source, target), options)
