"""What shares of a dataset's single frames a recipe wants where: `knee_flexion: {">110": 0.15}, camera_yaw: uniform`.

A target parts one quantity into strata with shares; what they leave is the rest's, which lies in none of them. Angles
are degrees, as everywhere in recipes.
"""

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag

CAMERA = {
    "camera_yaw": "yaw",
    "camera_height": "height",
    "camera_focal_mm": "focal_mm",
    "camera_roll": "roll",
}
"""Quantities of the camera that can be targets, and the recipe's ranges that they are drawn from."""
BINS = 12
"""Strata that `uniform` means."""
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)"
_SIDED = re.compile(rf"(<=|>=|<|>)\s*({_NUMBER})")
_WITHIN = re.compile(
    rf"(?:({_NUMBER})\s*\.\.\s*({_NUMBER})|between\s+({_NUMBER})\s+and\s+({_NUMBER}))"
)
_NAME = re.compile(r"[A-Za-z_]\w{0,79}", re.ASCII)
_MADE_LATER = (
    "occlusion",
    "box_",
    "lower_visible",
    "stature",
    "mass",
    "bmi",
    "age",
    "sex",
    "phase",
)
_SLACK = 1e-9


@dataclass(frozen=True, kw_only=True, order=True)
class Interval:
    """Numbers between two ends, each in it or not."""

    low: float
    high: float
    low_in: bool
    high_in: bool

    def holds(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Says of values (n,) which lie in it."""
        above = values >= self.low if self.low_in else values > self.low
        below = values <= self.high if self.high_in else values < self.high
        return np.asarray(above & below)

    @property
    def text(self) -> str:
        """Returns it as a comparison, to stand behind a quantity in a query."""
        if not math.isfinite(self.low):
            return f"{'<=' if self.high_in else '<'} {self.high:g}"
        if not math.isfinite(self.high):
            return f"{'>=' if self.low_in else '>'} {self.low:g}"
        return f"between {self.low:g} and {self.high:g}"


def interval(text: str) -> Interval:
    """Reads `>110`, `<= 20`, `60..90` (90 not in it) or `between 60 and 90`.

    Raises:
        ValueError: it is none of these.
    """
    if match := _SIDED.fullmatch(text.strip()):
        op, end = match[1], float(match[2])
        low, high = (end, math.inf) if op[0] == ">" else (-math.inf, end)
        return Interval(low=low, high=high, low_in=op == ">=", high_in=op == "<=")
    if match := _WITHIN.fullmatch(text.strip()):
        low, high = (float(v) for v in match.groups() if v is not None)
        if low < high:
            return Interval(low=low, high=high, low_in=True, high_in=match[3] is not None)
    raise ValueError(f"`{text[:40]}` is no stratum; write >110, <=20, 60..90 or between 60 and 90")


def _sound_shares(value: dict[str, float]) -> dict[str, float]:
    parts = sorted((interval(text), text) for text in value)
    if not parts:
        raise ValueError('names no stratum; write for example {">110": 0.15}')
    for (a, one), (b, other) in itertools.pairwise(parts):
        if a.high > b.low or (a.high == b.low and a.high_in and b.low_in):
            raise ValueError(f"`{one}` and `{other}` overlap")
    if (total := sum(value.values())) > 1.0 + _SLACK:
        raise ValueError(f"the shares add up to {total:g}, more than 1")
    return value


def _sound_range(value: tuple[float, float]) -> tuple[float, float]:
    if not value[0] < value[1]:
        raise ValueError(f"range {list(value)} is empty or runs backwards")
    return value


class Uniform(BaseModel):
    """Evenly spread over a range, and never outside it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    uniform: Annotated[tuple[float, float], AfterValidator(_sound_range)]


_Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]


def _kind_of_target(value: Any) -> str:
    if isinstance(value, str):
        return "(uniform)"
    ranged = isinstance(value, Uniform) or (isinstance(value, dict) and "uniform" in value)
    return "(range)" if ranged else "(shares)"


Target = Annotated[
    Annotated[Literal["uniform"], Tag("(uniform)")]
    | Annotated[Uniform, Tag("(range)")]
    | Annotated[dict[str, _Share], AfterValidator(_sound_shares), Tag("(shares)")],
    Discriminator(_kind_of_target),
]


@dataclass(frozen=True, kw_only=True)
class Strata:
    """A target, ready to draw from."""

    quantity: str
    intervals: tuple[Interval, ...]
    shares: tuple[float, ...]
    """Of the intervals, then of the rest."""

    def draw(self, position: float) -> int:
        """Returns the stratum at a position in [0, 1); the number of intervals stands for the rest."""
        ends = np.cumsum(self.shares)
        found = int(np.searchsorted(ends, position * ends[-1], side="right"))
        return min(found, int(np.flatnonzero(self.shares)[-1]))

    def index(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Returns the stratum of each value (n,)."""
        found = np.full(len(values), len(self.intervals), np.int64)
        for i, part in enumerate(self.intervals):
            found[part.holds(values)] = i
        return found

    def pieces(self, stratum: int, low: float, high: float) -> list[tuple[float, float]]:
        """Returns what a range holds of a stratum."""
        if stratum < len(self.intervals):
            part = self.intervals[stratum]
            ends = [(max(low, part.low), min(high, part.high))]
        else:
            edges = [low, *(e for p in self.intervals for e in (p.low, p.high)), high]
            ends = list(zip(edges[::2], edges[1::2], strict=True))
            ends = [(max(low, a), min(high, b)) for a, b in ends]
        return [(a, b) for a, b in ends if a < b]


def strata(quantity: str, target: Any, span: tuple[float, float] | None = None) -> Strata:
    """Parts a quantity as a target says; `span` is what plain `uniform` is over.

    Raises:
        ValueError: plain `uniform` of a quantity that has no range in the recipe.
    """
    if isinstance(target, dict):
        parts = sorted((interval(text), share) for text, share in target.items())
        rest = max(0.0, 1.0 - sum(share for _, share in parts))
        shares = (*(share for _, share in parts), rest if rest > _SLACK else 0.0)
        return Strata(quantity=quantity, intervals=tuple(i for i, _ in parts), shares=shares)
    span = target.uniform if isinstance(target, Uniform) else span
    if span is None or not span[0] < span[1]:
        raise ValueError("has no range to be uniform over; write {uniform: [0, 120]}")
    edges = np.linspace(*span, BINS + 1)
    ends = [(float(a), float(b)) for a, b in itertools.pairwise(edges)]
    return Strata(
        quantity=quantity,
        intervals=tuple(
            Interval(low=a, high=b, low_in=True, high_in=b == ends[-1][1]) for a, b in ends
        ),
        shares=(*[1.0 / BINS] * BINS, 0.0),
    )


def every(
    targets: Mapping[str, Any], ranges: Mapping[str, tuple[float, float]]
) -> Iterator[Strata]:
    """Yields the strata of a recipe's targets in the order of their names; `ranges` are the camera's, by field.

    Raises:
        ValueError: a target that no frame could meet, or a quantity that is drawn before or after frames are.
    """
    for quantity in sorted(targets):
        try:
            yield _sound(quantity, targets[quantity], ranges)
        except ValueError as error:
            raise ValueError(f"{quantity}: {error}") from error


def _sound(quantity: str, target: Any, ranges: Mapping[str, tuple[float, float]]) -> Strata:
    if not _NAME.fullmatch(quantity) or quantity.startswith(("pelvis_t", *_MADE_LATER)):
        raise ValueError(
            f"cannot be a target; an angle of the pose or one of {', '.join(CAMERA)} can"
        )
    if quantity not in CAMERA:
        if quantity.startswith("camera_"):
            raise ValueError(f"cannot be a target; of the camera these can: {', '.join(CAMERA)}")
        return strata(quantity, target)
    span = ranges[CAMERA[quantity]]
    if quantity == "camera_yaw" and not -180.0 <= span[0] <= span[1] <= 180.0:
        raise ValueError(f"needs camera.yaw within [-180, 180], not {list(span)}")
    found = strata(quantity, target, span)
    for i, share in enumerate(found.shares):
        if share > 0.0 and not found.pieces(i, *span):
            which = found.intervals[i].text if i < len(found.intervals) else "the rest"
            raise ValueError(f"{which} lies outside the camera's range {list(span)}")
    return found
