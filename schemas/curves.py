"""Scalar functions of one joint coordinate, as plain data, evaluated as OpenSim evaluates them.

Dims: n = knots, k = breaks, d = degree. A `Curve` is `factor * f(x)`; x and f in rad or m. Every kind reduces to
one normal form, a piecewise polynomial, so that numpy here and torch in the trainers share one evaluation. What is
no piecewise polynomial of one coordinate is a `Formula` (schemas/formulas.py).
"""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
CurveKind = Literal[
    "constant",
    "linear",
    "polynomial",
    "spline",
    "piecewise_linear",
    "piecewise_constant",
    "step",
    "gcv_spline",
]
FEWEST_KNOTS = {
    "spline": 2,
    "piecewise_linear": 2,
    "piecewise_constant": 1,
    "step": 2,
    "gcv_spline": 2,
}
SMOOTH_STEP = (0.0, 0.0, 0.0, 10.0, -15.0, 6.0)
"""Simbody's step from 0 to 1: 10 u^3 - 15 u^4 + 6 u^5, lowest power first."""


class Pieces(NamedTuple):
    """Piece i holds from breaks[i-1] to breaks[i]: sum of coefficients[i, p] * (x - origins[i])^p."""

    breaks: Array
    """(k), ascending."""
    origins: Array
    """(k + 1)."""
    coefficients: Array
    """(k + 1, d + 1), lowest power first."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """`factor` times a function of OpenSim; `factor` is the product of all MultiplierFunctions around it."""

    kind: CurveKind
    coefficients: tuple[float, ...] = ()
    """Constant, linear, polynomial: highest power first, as OpenSim writes them."""
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()
    slopes: tuple[float, ...] = ()
    """Spline: first derivatives at the knots, which with `x` and `y` give every cubic exactly."""
    rows: tuple[tuple[float, ...], ...] = ()
    """GCV spline: the polynomial that begins at each knot, in powers of the distance from it, lowest first; two
    powers per half order, 1 (linear) to 4 (heptic)."""
    factor: float = 1.0

    def __post_init__(self) -> None:
        fewest = FEWEST_KNOTS.get(self.kind, 0)
        if not fewest and (not self.coefficients or self.x or self.y or self.slopes):
            raise ValueError(f"a {self.kind} curve is given by its coefficients")
        counts = {"constant": (1,), "linear": (2,)}.get(self.kind, (len(self.coefficients),))
        if len(self.coefficients) not in counts:
            raise ValueError(f"a {self.kind} curve takes {counts[0]} coefficients")
        if fewest and (len(self.x) < fewest or len(self.x) != len(self.y)):
            raise ValueError(
                f"a {self.kind} curve needs at least {fewest} knots, each with x and y"
            )
        if self.kind == "step" and len(self.x) != 2:
            raise ValueError("a step has a start and an end")
        if self.kind == "spline" and len(self.slopes) != len(self.x):
            raise ValueError("a spline needs one slope per knot")
        if self.kind == "gcv_spline" and (
            len(self.rows) != len(self.x) or {len(r) for r in self.rows} not in ({2}, {4}, {6}, {8})
        ):
            raise ValueError("a GCV spline needs one polynomial of degree 1, 3, 5 or 7 per knot")
        if any(b <= a for a, b in zip(self.x, self.x[1:], strict=False)):
            raise ValueError("the x of the knots must increase")
        rows = [number for row in self.rows for number in row]
        if not np.all(np.isfinite([*self.coefficients, *self.x, *self.y, *self.slopes, *rows])):
            raise ValueError("a coefficient or knot is not finite")

    def __call__(self, x: ArrayLike, *others: ArrayLike) -> Array:
        """Evaluates at any shape of x; further arguments are ignored, as OpenSim does."""
        at = np.asarray(x, dtype=np.float64)
        breaks, origins, coefficients = self.pieces()
        piece = np.searchsorted(breaks, at, side="right")
        value = np.zeros_like(at)
        for power in reversed(range(coefficients.shape[1])):
            value = value * (at - origins[piece]) + coefficients[piece, power]
        return value

    def pieces(self) -> Pieces:
        """Returns the normal form, `factor` included.

        Beyond the outer knots OpenSim's SimmSpline and PiecewiseLinearFunction go on as straight lines, its
        GCVSpline as a polynomial of half the order (Woltring 1986: a natural spline), the others as constants.
        """
        if not self.x:
            row = np.array([self.coefficients[::-1]]) * self.factor
            return Pieces(np.zeros(0), np.zeros(1), row)
        x, y = np.array(self.x), np.array(self.y)
        if self.kind == "piecewise_constant":
            return Pieces(x[1:], x, y[:, None] * self.factor)
        if self.kind == "step":
            rows = np.zeros((3, 6))
            rows[:, 0] = y[0], y[0], y[1]
            rows[1] += (y[1] - y[0]) * np.array(SMOOTH_STEP) / (x[1] - x[0]) ** np.arange(6)
        elif self.kind == "gcv_spline":
            rows = np.array(self.rows)[[0, *range(len(x))]]
            rows[0, rows.shape[1] // 2 :] = 0.0
        else:
            rows = self._cubics(x, y)
        return Pieces(x, np.concatenate([x[:1], x]), rows * self.factor)

    def _cubics(self, x: Array, y: Array) -> Array:
        """Returns the rows (n + 1, 4) of a spline or of straight pieces."""
        step, chord = np.diff(x), np.diff(y) / np.diff(x)
        rows = np.zeros((len(x) + 1, 4))
        rows[0, 0], rows[1:, 0] = y[0], y
        if self.kind == "piecewise_linear":
            rows[:, 1] = np.concatenate([chord[:1], chord, chord[-1:]])
            return rows
        slopes = np.array(self.slopes)
        left, right = slopes[:-1], slopes[1:]
        rows[0, 1], rows[1:, 1] = slopes[0], slopes
        rows[1:-1, 2] = (3 * chord - 2 * left - right) / step
        rows[1:-1, 3] = (left + right - 2 * chord) / step**2
        return rows

    def times(self, factor: float) -> "Curve":
        """Returns the curve multiplied by a number."""
        return replace(self, factor=self.factor * factor)


IDENTITY = Curve(kind="linear", coefficients=(1.0, 0.0))
ZERO = Curve(kind="constant", coefficients=(0.0,))
