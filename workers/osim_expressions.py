"""The text of OpenSim's ExpressionBasedFunction as the program of a Formula, and back; nothing is ever executed.

The grammar is that of Lepton, the parser that OpenSim uses: + - * / ^ (to the right), a minus sign that binds more
loosely than ^, functions, and definitions after semicolons ("a*x; a=2").
"""

import math
import re
from collections.abc import Sequence

import numpy as np

from schemas.formulas import LONGEST, OPERATIONS

SIGNS = {"+": ("add", 0), "-": ("sub", 0), "*": ("mul", 1), "/": ("div", 1), "^": ("pow", 3)}
"""Operation and precedence; a minus sign before a value has 2."""
TOKEN = re.compile(r"\s*([-+*/^(),]|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[^-+*/^(),\s]+)")
LONGEST_TEXT = 10_000
DEEPEST_NESTING = 60
FUNCTIONS = frozenset(OPERATIONS) - {"add", "sub", "mul", "div", "pow", "neg"}


class _Reader:
    """Reads one expression by climbing precedences."""

    def __init__(self, text: str, known: dict[str, list[str]]) -> None:
        self.tokens = TOKEN.findall(text)
        self.known = known
        self.depth = 0

    def peek(self) -> str:
        return self.tokens[0] if self.tokens else ""

    def take(self, expected: str = "") -> str:
        if not self.tokens or (expected and self.tokens[0] != expected):
            raise ValueError(
                f"expected {expected or 'a value'} and found {self.peek() or 'its end'}"
            )
        return str(self.tokens.pop(0))

    def whole(self) -> list[str]:
        steps = self.climb(0)
        if self.tokens:
            raise ValueError(f"did not expect {self.peek()}")
        return steps

    def climb(self, precedence: int) -> list[str]:
        self.depth += 1
        if self.depth > DEEPEST_NESTING:
            raise ValueError("is nested too deep")
        steps = self.value()
        while self.peek() in SIGNS and SIGNS[self.peek()][1] >= precedence:
            sign = self.take()
            name, level = SIGNS[sign]
            steps = [*steps, *self.climb(level if sign == "^" else level + 1), name]
            if len(steps) > LONGEST:
                raise ValueError("is too long")
        self.depth -= 1
        return steps

    def value(self) -> list[str]:
        token = self.take()
        if token == "-":
            return [*self.climb(2), "neg"]
        if token == "(":
            steps = self.climb(0)
            self.take(")")
            return steps
        if token[0].isdigit() or token[0] == ".":
            return [repr(float(token))]
        if self.peek() == "(":
            return self.call(token)
        if token not in self.known:
            raise ValueError(f"does not define {token}")
        return self.known[token]

    def call(self, name: str) -> list[str]:
        if name not in FUNCTIONS:
            raise ValueError(f"calls the function {name}, which is not supported")
        self.take("(")
        steps, count = self.climb(0), 1
        while self.peek() == ",":
            self.take()
            steps, count = steps + self.climb(0), count + 1
        self.take(")")
        if count != OPERATIONS[name][0]:
            raise ValueError(f"gives {name} {count} arguments")
        return [*steps, name]


def program_of(text: str, variables: Sequence[str]) -> tuple[str, ...]:
    """Reads an expression of named variables.

    Raises:
        ValueError: says what is wrong with it.
    """
    if len(text) > LONGEST_TEXT:
        raise ValueError("is too long")
    expression, *definitions = text.split(";")
    known = {name: [f"x{i}"] for i, name in enumerate(variables)}
    for definition in reversed(definitions):
        if definition.strip():
            name, equals, body = definition.partition("=")
            if not equals or not name.strip():
                raise ValueError("holds a definition without a name")
            known[name.strip()] = _Reader(body, known).whole()
    steps = tuple(_Reader(expression, known).whole())
    _check_constants(steps)
    return steps


def _check_constants(steps: Sequence[str]) -> None:
    """Refuses constant parts that are no number, over which OpenSim's own simplification never ends."""
    waiting: list[float | None] = []
    for step in steps:
        if step not in OPERATIONS:
            waiting.append(None if step.startswith("x") else float(step))
            continue
        count, operation = OPERATIONS[step]
        operands = waiting[-count:]
        del waiting[-count:]
        numbers = [np.float64(o) for o in operands if o is not None]
        with np.errstate(all="ignore"):
            value = float(operation(np, *numbers)) if len(numbers) == count else None
        by_zero = step == "div" and operands[1] == 0.0
        power = step == "pow" and value is None and operands[0] is not None and operands[0] <= 0
        if by_zero or power or (value is not None and not math.isfinite(value)):
            raise ValueError("has a part that is no finite number")
        waiting.append(value)


def text_of(steps: Sequence[str]) -> str:
    """Writes a program with all its brackets, its variables named x0, x1, …; `program_of` returns the program."""
    signs = {name: sign for sign, (name, _) in SIGNS.items()}
    waiting: list[str] = []
    for step in steps:
        if step not in OPERATIONS:
            negative = step.startswith("-")
            waiting.append(f"({step})" if negative else step)
            continue
        count = OPERATIONS[step][0]
        operands = waiting[-count:]
        del waiting[-count:]
        if step in signs:
            waiting.append(f"({operands[0]} {signs[step]} {operands[1]})")
        else:
            waiting.append(
                f"(-{operands[0]})" if step == "neg" else f"{step}({', '.join(operands)})"
            )
    return waiting[0]
