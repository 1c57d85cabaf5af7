"""Where points were seen: what a caller gives to inverse kinematics, checked and laid out.

Dims: n = sample, b = body (= joint), m = marker, p = point (joint centres, then markers). Metres, ground frame.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from schemas.errors import InputError
from trainers.problem import Problem

_FAR = 20.0
"""m: where half the points of a skeleton are not."""


class Targets(NamedTuple):
    """Where points were seen, ground frame, m; NaN = not seen."""

    markers: Tensor | None = None
    """(n, m, 3)."""
    joint_centres: Tensor | None = None
    """(n, b, 3)."""
    marker_weights: Tensor | None = None
    """(m) or (n, m), 0 = not used; None is 1 for all."""
    joint_weights: Tensor | None = None
    """(b) or (n, b)."""


class Points(NamedTuple):
    """Targets of all points, ready for the search."""

    targets: Tensor
    """(n, p, 3), finite."""
    weights: Tensor
    """(n, p), 0 where not seen."""
    scale: Tensor | None
    """(n, b, 3)."""

    def pick(self, rows: Tensor | slice) -> "Points":
        """Returns those of some samples."""
        scale = None if self.scale is None else self.scale[rows]
        return Points(self.targets[rows], self.weights[rows], scale)


def read_targets(problem: Problem, targets: Targets, scale: Tensor | None) -> Points:
    """Lays joint centres and markers end to end; what is not seen gets weight 0.

    Raises:
        InputError: shapes that do not fit, bad weights or scales, or points that cannot be in metres.
    """
    bodies = problem.structure.carries.shape[1]
    sizes = (bodies, len(problem.stage) - bodies)
    given = (targets.joint_centres, targets.markers)
    known = [t for t in given if t is not None]
    if not known:
        raise InputError("targets", "name no points", "Give markers or joint_centres")
    count = len(known[0])
    places, weights = [], []
    kinds = (targets.joint_weights, targets.marker_weights)
    names = ("joint_centres", "markers")
    for name, part, weight, size in zip(names, given, kinds, sizes, strict=True):
        place, weight = _read_kind(problem, name, part, weight, (count, size))
        places.append(place)
        weights.append(weight)
    place, weight = torch.cat(places, dim=1), torch.cat(weights, dim=1)
    seen = place.isfinite().all(2)
    weight = torch.where(seen, weight, 0.0)
    _check_metres(torch.where(weight[..., None] > 0, place, torch.nan))
    return Points(
        torch.where(weight[..., None] > 0, place, 0.0),
        weight,
        _read_scale(scale, count, bodies, problem),
    )


def _read_kind(
    problem: Problem, name: str, part: Tensor | None, weight: Tensor | None, shape: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    like = problem.default
    if part is None:
        return like.new_full((*shape, 3), torch.nan), like.new_zeros(shape)
    if part.shape != (*shape, 3):
        raise InputError(
            f"{name} of shape {tuple(part.shape)}",
            f"are not {shape[0]} x {shape[1]} points of the skeleton",
            "Give all of the skeleton's, in its order; NaN for what is missing",
        )
    weight = like.new_ones(shape) if weight is None else weight.to(like)
    if weight.shape not in (shape, shape[1:]) or not (weight.isfinite() & (weight >= 0)).all():
        raise InputError(
            f"weights of {name}, shape {tuple(weight.shape)}",
            "are not one number from 0 on per point",
            "Give one per point, or one per sample and point",
        )
    return part.to(like), weight.expand(shape)


def _check_metres(place: Tensor) -> None:
    """Refuses points (n, p, 3), NaN where not used, that lie further apart than any skeleton's."""
    middle = torch.nanmedian(place, dim=1, keepdim=True).values
    spread = torch.nanmedian((place - middle).abs()).item() if place.numel() else 0.0
    if spread > _FAR:
        raise InputError(
            f"points {spread:.0f} m from their middle",
            "are no skeleton's",
            "Give metres; .trc files are mostly in millimetres",
        )


def _read_scale(scale: Tensor | None, count: int, bodies: int, problem: Problem) -> Tensor | None:
    if scale is None:
        return None
    if (
        scale.shape not in ((bodies, 3), (count, bodies, 3))
        or not ((scale > 0) & scale.isfinite()).all()
    ):
        raise InputError(
            f"scale of shape {tuple(scale.shape)}",
            f"is not {bodies} x 3 positive numbers, for all samples or each",
            "Give one factor per body and axis",
        )
    return scale.to(problem.default).expand(count, -1, -1)


def read_start(problem: Problem, start: Tensor, count: int) -> Tensor:
    size = len(problem.default)
    if start.shape not in ((size,), (count, size)) or not start.isfinite().all():
        raise InputError(
            f"start of shape {tuple(start.shape)}",
            f"is not {size} finite coordinates, for all samples or each",
            "Give a pose in the order of the skeleton's coordinates",
        )
    return start.to(problem.default).expand(count, -1)[:, problem.movers.unknowns]
