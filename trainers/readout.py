"""What the 3D net reads out of a picture, for any skeleton: which coordinates, in which bounds, which scales together.

c coordinates, a of them predicted, b bodies in g groups of equal scale.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError
from schemas.skeleton import Coordinate, SkeletonSpec

SCALE_LIMITS = (0.5, 1.8)
"""Bounds of a body's scale factors: our synthetic adults span 0.63 to 1.57, thickness included."""
_TURN = np.pi
"""Where a model allows a joint more than this either way, the prediction stops here."""
_LOWER_WORDS = ("hip", "knee", "ankle", "subtalar", "mtp")


@dataclass(frozen=True, kw_only=True)
class Readout:
    """Indices and bounds that a skeleton's net and metrics share."""

    names: tuple[str, ...]
    """The predicted coordinates (a): all but the root's own, the coupled and the locked."""
    coordinates: NDArray[np.intp]
    """(a,) their places in q."""
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    """(a,) their limits, rad or m."""
    rotational: NDArray[np.bool_]
    """(a,) angles; the others are lengths."""
    lower: NDArray[np.bool_]
    """(a,) hips and what hangs on them."""
    knee: NDArray[np.bool_]
    """(a,) each side's knee flexion: the knee coordinate with the widest range."""
    groups: tuple[str, ...]
    """Bodies that share one scale vector (g): left and right."""
    group_of_body: NDArray[np.intp]
    """(b,)."""
    root: int
    """The root body."""
    root_coordinates: NDArray[np.intp]
    """The places in q of the root joint's coordinates."""
    scored_joints: NDArray[np.intp]
    """All joints but the root's own, whose error is none by definition."""


def read(spec: SkeletonSpec) -> Readout:
    """Decides what is predicted of a skeleton.

    Raises:
        InputError: nothing is left to predict.
    """
    root = spec.body_names.index(spec.root_body)
    root_coordinates = _driving(spec, range(len(spec.joints[root].axes)), root)
    hidden = set(root_coordinates) | {
        i for i, c in enumerate(spec.coordinates) if c.locked or c.coupler is not None
    }
    places = [i for i in range(len(spec.coordinates)) if i not in hidden]
    if not places:
        raise InputError("skeleton", "has no free joint", "Use a model whose joints move")
    chosen = [spec.coordinates[i] for i in places]
    rotational = np.array([turns(spec, i) for i in places])
    limit = np.where(rotational, _TURN, np.inf)
    groups, group_of_body = _tie(spec.body_names)
    return Readout(
        names=tuple(c.name for c in chosen),
        coordinates=np.array(places, dtype=np.intp),
        low=np.maximum([c.lower for c in chosen], -limit),
        high=np.minimum([c.upper for c in chosen], limit),
        rotational=rotational,
        lower=np.array([any(word in c.name.lower() for word in _LOWER_WORDS) for c in chosen]),
        knee=_knees(chosen, rotational),
        groups=groups,
        group_of_body=group_of_body,
        root=root,
        root_coordinates=np.array(root_coordinates, dtype=np.intp),
        scored_joints=np.array([j for j in range(len(spec.joints)) if j != root], dtype=np.intp),
    )


def side_and_base(name: str) -> tuple[str, str]:
    """Splits `femur_r`, `r_femur`, `right_femur` or `femur_right` into ("r", "femur"); no side is ""."""
    for word, side in (("right", "r"), ("left", "l"), ("r", "r"), ("l", "l")):
        if name.lower().endswith(f"_{word}"):
            return side, name[: -len(word) - 1]
        if name.lower().startswith(f"{word}_"):
            return side, name[len(word) + 1 :]
    return "", name


def _tie(bodies: tuple[str, ...]) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    bases = [side_and_base(name)[1].lower() for name in bodies]
    groups = tuple(dict.fromkeys(bases))
    return groups, np.array([groups.index(base) for base in bases], dtype=np.intp)


def _driving(spec: SkeletonSpec, axes: range, joint: int) -> list[int]:
    return sorted({c for i in axes for c in spec.joints[joint].axes[i].coordinates})


def turns(spec: SkeletonSpec, coordinate: int) -> bool:
    """Says whether a coordinate is an angle; one that moves both ways is, if it drives a rotation."""
    kind = spec.coordinates[coordinate].kind
    rotations = (coordinate in _driving(spec, range(3), j) for j in range(len(spec.joints)))
    return kind == "rotational" or (kind == "coupled" and any(rotations))


def _knees(chosen: list[Coordinate], rotational: NDArray[np.bool_]) -> NDArray[np.bool_]:
    widest: dict[str, int] = {}
    for i, c in enumerate(chosen):
        if "knee" not in c.name.lower() or not rotational[i]:
            continue
        side, _ = side_and_base(c.name)
        best = widest.get(side)
        if best is None or c.upper - c.lower > chosen[best].upper - chosen[best].lower:
            widest[side] = i
    return np.isin(np.arange(len(chosen)), list(widest.values()))
