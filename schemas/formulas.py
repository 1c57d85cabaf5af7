"""Functions of one or more joint coordinates that are no piecewise polynomials, as plain data.

A `Formula` is `factor * f(x0, x1, …)`, x and f in rad or m. Every kind reduces to one normal form, a program in
postfix order ("x0", "2.5", "mul"), which one routine runs on numpy arrays and on torch tensors alike.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
FormulaKind = Literal["sine", "plane", "multivariate", "expression"]
LONGEST = 2000
"""Steps in a program: a bound on what a hostile file can ask for."""
DEEPEST = 200
"""Values that wait at once while a program runs."""


@dataclass(frozen=True, kw_only=True)
class Formula:
    """`factor` times a function of OpenSim; `factor` is the product of all MultiplierFunctions around it."""

    kind: FormulaKind
    arguments: int = 1
    """How many coordinates the function takes."""
    coefficients: tuple[float, ...] = ()
    """Sine: amplitude, angular frequency, phase, offset. Plane (a LinearFunction of several coordinates): one slope per
    argument, then the intercept. Multivariate: one per monomial, the last argument's power rising fastest."""
    order: int = 0
    """Multivariate: the highest sum of powers."""
    steps: tuple[str, ...] = ()
    """Expression: its program."""
    factor: float = 1.0

    def __post_init__(self) -> None:
        if self.arguments < 1:
            raise ValueError("a formula needs an argument")
        wanted = {"sine": 4, "plane": self.arguments + 1, "expression": 0}
        wanted["multivariate"] = math.comb(self.arguments + max(self.order, 0), self.arguments)
        if len(self.coefficients) != wanted[self.kind]:
            raise ValueError(
                f"a {self.kind} takes {wanted[self.kind]} coefficients, not {len(self.coefficients)}"
            )
        if self.kind == "sine" and self.arguments != 1:
            raise ValueError("a sine has one argument")
        if not np.all(np.isfinite([*self.coefficients, self.factor])):
            raise ValueError("a coefficient is not finite")
        check_program(self.program, self.arguments)

    def __call__(self, *x: ArrayLike) -> Array:
        """Evaluates at any common shape of its arguments; further ones are ignored, as OpenSim does."""
        arrays = np.broadcast_arrays(*(np.asarray(at, dtype=np.float64) for at in x))
        value: Array = evaluate(self, arrays, np)
        return value

    @cached_property
    def program(self) -> tuple[str, ...]:
        """The steps, `factor` included."""
        if self.kind == "sine":
            amplitude, rate, phase, offset = (repr(float(c)) for c in self.coefficients)
            steps = ["x0", rate, "mul", phase, "add", "sin", amplitude, "mul", offset, "add"]
        elif self.kind == "expression":
            steps = list(self.steps)
        else:
            steps = _sum_of_monomials(self.coefficients, self._powers())
        return (*steps, repr(float(self.factor)), "mul") if self.factor != 1.0 else tuple(steps)

    def _powers(self) -> list[tuple[int, ...]]:
        if self.kind == "plane":
            size = range(self.arguments)
            return [tuple(int(i == j) for j in size) for i in size] + [(0,) * self.arguments]
        return monomials(self.arguments, self.order)

    def times(self, factor: float) -> "Formula":
        """Returns the formula multiplied by a number."""
        return replace(self, factor=self.factor * factor)


def monomials(arguments: int, order: int) -> list[tuple[int, ...]]:
    """Lists the powers of all monomials up to an order, as OpenSim's MultivariatePolynomialFunction orders them."""
    if arguments == 0:
        return [()]
    return [(i, *rest) for i in range(order + 1) for rest in monomials(arguments - 1, order - i)]


def _sum_of_monomials(coefficients: tuple[float, ...], powers: list[tuple[int, ...]]) -> list[str]:
    steps: list[str] = []
    for coefficient, power in zip(coefficients, powers, strict=True):
        if coefficient == 0.0:
            continue
        added = bool(steps)
        steps.append(repr(float(coefficient)))
        for argument, count in enumerate(power):
            steps += [f"x{argument}", "mul"] * count
        steps += ["add"] * added
    return steps or ["0.0"]


Step = Callable[..., Any]


def _binary(name: str) -> Step:
    return lambda lib, a, b: getattr(lib, name)(_array(lib, a, b), _array(lib, b, a))


def _unary(name: str) -> Step:
    return lambda lib, a: getattr(lib, name)(a)


def _array(lib: ModuleType, value: Any, like: Any) -> Any:
    """Turns a number into an array like the other operand; torch's minimum takes no plain numbers."""
    return lib.full_like(like, value) if isinstance(value, float) else value


def _where(test: Callable[[Any], Any]) -> Step:
    return lambda lib, a: lib.where(test(a), lib.ones_like(a), lib.zeros_like(a))


def _erf(lib: ModuleType, a: Any) -> Any:
    return np.vectorize(math.erf, otypes=[float])(a) if lib is np else lib.special.erf(a)


def _erfc(lib: ModuleType, a: Any) -> Any:
    return np.vectorize(math.erfc, otypes=[float])(a) if lib is np else lib.special.erfc(a)


UNARY = (
    "sqrt",
    "exp",
    "log",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "abs",
)
OPERATIONS: dict[str, tuple[int, Step]] = {
    "add": (2, lambda lib, a, b: a + b),
    "sub": (2, lambda lib, a, b: a - b),
    "mul": (2, lambda lib, a, b: a * b),
    "div": (2, lambda lib, a, b: a / b),
    "pow": (2, lambda lib, a, b: a**b),
    "min": (2, _binary("minimum")),
    "max": (2, _binary("maximum")),
    "neg": (1, lambda lib, a: -a),
    "square": (1, lambda lib, a: a * a),
    "cube": (1, lambda lib, a: a * a * a),
    "recip": (1, lambda lib, a: 1.0 / a),
    "sec": (1, lambda lib, a: 1.0 / lib.cos(a)),
    "csc": (1, lambda lib, a: 1.0 / lib.sin(a)),
    "cot": (1, lambda lib, a: 1.0 / lib.tan(a)),
    "step": (1, _where(lambda a: a >= 0.0)),
    "delta": (1, _where(lambda a: a == 0.0)),
    "erf": (1, _erf),
    "erfc": (1, _erfc),
    **{name: (1, _unary(name)) for name in UNARY},
}
"""Number of operands, and the operation in a library of arrays (numpy or torch): the operators and functions of
Lepton, the expression parser that OpenSim uses."""


def check_program(steps: tuple[str, ...], arguments: int) -> None:
    """Refuses a program that is too long, or that does not leave one value.

    Raises:
        ValueError: says what is wrong.
    """
    waiting, deepest = 0, 0
    for step in steps:
        taken = OPERATIONS[step][0] if step in OPERATIONS else 0
        if step not in OPERATIONS and _argument(step) is None and not math.isfinite(float(step)):
            raise ValueError(f"{step} is not finite")
        if (_argument(step) or 0) >= arguments or waiting < taken:
            raise ValueError(f"the step {step} lacks a value")
        waiting += 1 - taken
        deepest = max(deepest, waiting)
    if waiting != 1 or deepest > DEEPEST or len(steps) > LONGEST:
        raise ValueError(f"a program of {len(steps)} steps leaves {waiting} values")


def _argument(step: str) -> int | None:
    """Returns i of "xi"."""
    return int(step[1:]) if step[:1] == "x" and step[1:].isascii() and step[1:].isdigit() else None


def evaluate(formula: Formula, x: Any, lib: ModuleType) -> Any:
    """Runs a formula's program.

    Args:
        formula: of `formula.arguments` arguments.
        x: a sequence of arrays, or an array whose first dim is that of the arguments; of one shape and dtype each.
        lib: numpy for arrays, torch for tensors, which keep their gradients.
    """
    waiting: list[Any] = []
    for step in formula.program:
        if step not in OPERATIONS:
            place = _argument(step)
            waiting.append(float(step) if place is None else x[place])
            continue
        count, operation = OPERATIONS[step]
        operands = waiting[-count:]
        del waiting[-count:]
        # Numbers alone stay numbers, computed in float64: torch's functions take none.
        still = all(isinstance(operand, float) for operand in operands)
        if still:
            with np.errstate(all="ignore"):
                waiting.append(float(operation(np, *(np.float64(o) for o in operands))))
        else:
            waiting.append(operation(lib, *operands))
    return lib.full_like(x[0], waiting[0]) if isinstance(waiting[0], float) else waiting[0]
