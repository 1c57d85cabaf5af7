"""OpenSim's function objects as Curves and Formulas; knows their methods, but does not import OpenSim."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from schemas.curves import Curve
from schemas.formulas import Formula
from workers.osim_expressions import program_of


class Tools(NamedTuple):
    """What takes OpenSim's own types."""

    derivatives: Callable[[Any, float, Sequence[int]], list[float]]
    """(function, x, orders): of a function of one variable; order 0 is its value."""
    number: Callable[[Any, str], float]
    """(function, property): where a property has no method of its own."""


def _constant(function: Any, factor: float, arguments: int, tools: Tools) -> Curve:
    return Curve(kind="constant", coefficients=(float(function.getValue()),), factor=factor)


def _linear(function: Any, factor: float, arguments: int, tools: Tools) -> Curve | Formula:
    numbers = [float(function.getCoefficients().get(i)) for i in range(arguments + 1)]
    if arguments == 0:  # OpenSim adds the number that comes after one slope per coordinate
        return Curve(kind="constant", coefficients=(numbers[0],), factor=factor)
    if arguments > 1:
        return Formula(
            kind="plane", arguments=arguments, coefficients=tuple(numbers), factor=factor
        )
    return Curve(kind="linear", coefficients=tuple(numbers), factor=factor)


def _polynomial(function: Any, factor: float, arguments: int, tools: Tools) -> Curve:
    return Curve(kind="polynomial", coefficients=_vector(function.getCoefficients()), factor=factor)


def _vector(vector: Any) -> tuple[float, ...]:
    return tuple(float(vector.get(i)) for i in range(vector.size()))


def _knots(function: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    count = range(function.getSize())
    return tuple(float(function.getX(i)) for i in count), tuple(
        float(function.getY(i)) for i in count
    )


def _spline(function: Any, factor: float, arguments: int, tools: Tools) -> Curve:
    x, y = _knots(function)
    # The slopes come from OpenSim, so its own end conditions (Forsythe, Malcolm & Moler) are kept.
    slopes = tuple(tools.derivatives(function, at, [1])[0] for at in x)
    return Curve(kind="spline", x=x, y=y, slopes=slopes, factor=factor)


def _gcv_spline(function: Any, factor: float, arguments: int, tools: Tools) -> Curve:
    x, y = _knots(function)
    orders = range(2 * int(function.getHalfOrder()))
    found = [tools.derivatives(function, at, orders) for at in x]
    rows = tuple(tuple(v / math.factorial(k) for k, v in enumerate(row)) for row in found)
    # A smoothing spline misses its points, but it is the interpolating one of the points that it does meet.
    size = max(map(abs, y), default=0.0)
    met = all(abs(row[0] - at) <= 1e-9 * size for row, at in zip(rows, y, strict=True))
    y = y if met else tuple(row[0] for row in rows)
    return Curve(kind="gcv_spline", x=x, y=y, rows=rows, factor=factor)


def _piecewise_linear(function: Any, factor: float, arguments: int, tools: Tools) -> Curve:
    x, y = _knots(function)
    return Curve(kind="piecewise_linear", x=x, y=y, factor=factor)


def _piecewise_constant(function: Any, factor: float, arguments: int, tools: Tools) -> Curve:
    x, y = _knots(function)
    return Curve(kind="piecewise_constant", x=x, y=y, factor=factor)


def _step(function: Any, factor: float, arguments: int, tools: Tools) -> Curve:
    x = (float(function.getStartTime()), float(function.getEndTime()))
    y = (float(function.getStartValue()), float(function.getEndValue()))
    if x[1] < x[0]:  # the same way, walked backwards
        x, y = x[::-1], y[::-1]
    return Curve(kind="step", x=x, y=y, factor=factor)


def _sine(function: Any, factor: float, arguments: int, tools: Tools) -> Formula:
    names = ("amplitude", "omega", "phase", "offset")
    numbers = tuple(tools.number(function, name) for name in names)
    return Formula(kind="sine", coefficients=numbers, factor=factor)


def _multivariate(function: Any, factor: float, arguments: int, tools: Tools) -> Formula:
    return Formula(
        kind="multivariate",
        arguments=int(function.getDimension()),
        order=int(function.getOrder()),
        coefficients=_vector(function.getCoefficients()),
        factor=factor,
    )


def _expression(function: Any, factor: float, arguments: int, tools: Tools) -> Formula:
    names = [str(name) for name in function.getVariables()]
    steps = program_of(str(function.getExpression()), names)
    return Formula(kind="expression", arguments=max(1, len(names)), steps=steps, factor=factor)


FUNCTIONS: dict[str, Callable[[Any, float, int, Tools], Curve | Formula]] = {
    "Constant": _constant,
    "LinearFunction": _linear,
    "PolynomialFunction": _polynomial,
    "SimmSpline": _spline,
    "PiecewiseLinearFunction": _piecewise_linear,
    "PiecewiseConstantFunction": _piecewise_constant,
    "StepFunction": _step,
    "GCVSpline": _gcv_spline,
    "Sine": _sine,
    "MultivariatePolynomialFunction": _multivariate,
    "ExpressionBasedFunction": _expression,
}
"""By OpenSim's class: (function, product of the multipliers around it, number of coordinates, tools)."""
