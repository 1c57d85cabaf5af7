"""Writes functions of coordinates as OpenSim writes them; no OpenSim needed."""

from collections.abc import Iterable
from dataclasses import replace
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from schemas.curves import Curve
from schemas.formulas import Formula
from schemas.skeleton_diff import FUNCTIONS
from workers.osim_expressions import text_of


def add(parent: Element, tag: str, text: str | None = None, **attributes: str) -> Element:
    """Adds an element with a text."""
    node = ElementTree.SubElement(parent, tag, attributes)
    node.text = text
    return node


def numbers(values: Iterable[float]) -> str:
    """Writes numbers in full, so that reading them back gives the same."""
    return " ".join(repr(float(v) + 0.0) for v in values)  # + 0.0 turns -0.0 into 0.0


def write_function(
    parent: Element, curve: Curve | Formula, *, wrap: bool = False, **attributes: str
) -> None:
    if curve.factor != 1.0 or wrap:
        outer = add(parent, "MultiplierFunction", **attributes)
        write_function(add(outer, "function"), replace(curve, factor=1.0))
        add(outer, "scale", numbers([curve.factor]))
        return
    node = add(parent, FUNCTIONS[curve.kind], **attributes)
    for tag, text in _formula_parts(curve) if isinstance(curve, Formula) else _curve_parts(curve):
        add(node, tag, text)


def _curve_parts(curve: Curve) -> list[tuple[str, str]]:
    if curve.kind == "constant":
        return [("value", numbers(curve.coefficients))]
    if curve.coefficients:
        return [("coefficients", numbers(curve.coefficients))]
    if curve.kind == "step":
        tags = ("transition_start_time", "transition_end_time", "start_value", "end_value")
        return [(t, numbers([v])) for t, v in zip(tags, (*curve.x, *curve.y), strict=True)]
    points = [("x", numbers(curve.x)), ("y", numbers(curve.y))]
    if curve.kind != "gcv_spline":
        return points
    half = [("half_order", str(len(curve.rows[0]) // 2)), ("error_variance", "0")]
    return [*half, points[0], ("weights", numbers([1.0] * len(curve.x))), points[1]]


def _formula_parts(formula: Formula) -> list[tuple[str, str]]:
    if formula.kind == "sine":
        tags = ("amplitude", "omega", "phase", "offset")
        return [(t, numbers([v])) for t, v in zip(tags, formula.coefficients, strict=True)]
    if formula.kind == "expression":
        variables = " ".join(f"x{i}" for i in range(formula.arguments))
        return [("expression", text_of(formula.steps)), ("variables", variables)]
    last = ("coefficients", numbers(formula.coefficients))
    if formula.kind == "plane":
        return [last]
    return [("dimension", str(formula.arguments)), ("order", str(formula.order)), last]
