"""Conditions on samples: which match, by their values, and whether any or all may, by a shard's statistics alone."""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.quantities import Values

Mask = NDArray[np.bool_]
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What a shard's statistics say of one quantity."""

    least: float = math.inf
    most: float = -math.inf
    names: frozenset[str] | None = None
    """Every name that occurs; None for numbers, and where not all are on record."""
    known: bool = True
    """False where no sample knows the quantity."""
    complete: bool = False
    """True where every sample knows it."""


BoundsOf = Callable[[str], Bounds | None]
"""None where nothing is known of the quantity."""
ValuesOf = Callable[[str], Values]
Judgement = tuple[bool, bool]
"""Whether any sample may match, and whether all certainly do."""
_OPEN: Judgement = (True, False)


@dataclass(frozen=True, kw_only=True)
class Compare:
    """A quantity against a number or a name; `names` holds the names where there are any."""

    quantity: str
    op: str
    value: float = 0.0
    names: frozenset[str] | None = None

    def matches(self, values: ValuesOf) -> Mask:
        """Returns which samples match (n,)."""
        found = values(self.quantity)
        if self.names is None:
            return np.asarray(np.isfinite(found) & OPERATORS[self.op](found, self.value))
        texts = [as_name(v) for v in found]
        held = np.array([t in self.names for t in texts], dtype=bool)
        return held if self.op == "==" else ~held & np.array([t != "" for t in texts], dtype=bool)

    def judge(self, bounds: BoundsOf) -> Judgement:
        """Says from statistics alone whether any may match, and whether all do."""
        b = bounds(self.quantity)
        if b is None:
            return _OPEN
        if not b.known:
            return False, False
        if self.names is not None:
            if b.names is None:
                return _OPEN
            hit, miss = bool(b.names & self.names), bool(b.names - self.names)
            any_, all_ = (hit, not miss) if self.op == "==" else (miss, not hit)
            return any_, all_ and b.complete
        ends = np.array([b.least, b.most])
        at_ends = OPERATORS[self.op](ends, self.value)
        inside, single = b.least <= self.value <= b.most, b.least == b.most
        if self.op == "==":
            return inside, inside and single and b.complete
        if self.op == "!=":
            return not (inside and single), not inside and b.complete
        return bool(at_ends.any()), bool(at_ends.all()) and b.complete

    @property
    def quantities(self) -> frozenset[str]:
        """Returns the quantities that it is about."""
        return frozenset({self.quantity})


def as_name(value: Any) -> str:
    """Spells what stands where names are wanted: one motion's parameter may be a number where another's is a name."""
    if isinstance(value, str):
        return value
    return f"{value:g}" if math.isfinite(value) else ""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two quantities against each other."""

    left: str
    op: str
    right: str

    def matches(self, values: ValuesOf) -> Mask:
        """Returns which samples match (n,)."""
        a, b = values(self.left), values(self.right)
        return np.asarray(np.isfinite(a) & np.isfinite(b) & OPERATORS[self.op](a, b))

    def judge(self, bounds: BoundsOf) -> Judgement:
        """Says whether any may match; only that both are known somewhere is looked at."""
        known = [b is None or b.known for b in (bounds(self.left), bounds(self.right))]
        return all(known), False

    @property
    def quantities(self) -> frozenset[str]:
        """Returns the quantities that it is about."""
        return frozenset({self.left, self.right})


@dataclass(frozen=True, kw_only=True)
class All:
    """True where every part is; of no parts, everywhere."""

    parts: "tuple[Query, ...]"

    def matches(self, values: ValuesOf) -> Mask:
        """Returns which samples match (n,)."""
        masks = [part.matches(values) for part in self.parts]
        return np.asarray(np.logical_and.reduce(masks), dtype=bool)

    def judge(self, bounds: BoundsOf) -> Judgement:
        """Says whether any may match, and whether all do."""
        judged = [part.judge(bounds) for part in self.parts]
        return all(j[0] for j in judged), all(j[1] for j in judged)

    @property
    def quantities(self) -> frozenset[str]:
        """Returns the quantities that it is about."""
        return frozenset().union(*(part.quantities for part in self.parts))


@dataclass(frozen=True, kw_only=True)
class Not:
    """True where its part is not."""

    part: "Query"

    def matches(self, values: ValuesOf) -> Mask:
        """Returns which samples match (n,)."""
        return ~self.part.matches(values)

    def judge(self, bounds: BoundsOf) -> Judgement:
        """Says whether any may match, and whether all do."""
        any_, all_ = self.part.judge(bounds)
        return not all_, not any_

    @property
    def quantities(self) -> frozenset[str]:
        """Returns the quantities that it is about."""
        return self.part.quantities


Query = Compare | Pair | All | Not
