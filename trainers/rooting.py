"""Finds the root joint's coordinates for a wanted pose of the root body, whatever that joint's axes are.

t frames, c coordinates. Four points of the root body, its origin and the tips of its axes, are the targets of inverse
kinematics (trainers/inverse.py); so no Euler convention is assumed, and any Custom, Free, Pin or Planar root works as
far as it can move.
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from schemas.errors import InputError
from schemas.skeleton import Marker, SkeletonSpec, Vec3
from trainers.clip import unwrap
from trainers.inverse import inverse_kinematics
from trainers.problem import problem_of
from trainers.readout import read
from trainers.targets import Targets

Floats = NDArray[np.float64]
_CLOSE = 1e-4
"""Largest distance of a solved frame's points, m."""
_PRECISE = 1e-10
_TIPS: tuple[Vec3, ...] = ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def solve_root(spec: SkeletonSpec, q: Floats, scale: Floats, T_ground_from_root: Floats) -> Floats:
    """Returns q (t, c) with the root's coordinates such that its body stands at T_ground_from_root (t, 4, 4).

    Args:
        spec: the skeleton.
        q: (t, c) rad or m; the root's entries are overwritten, coupled ones follow.
        scale: (b, 3).
        T_ground_from_root: wanted poses, m.

    Raises:
        InputError: the root joint cannot turn (or move) that way.
    """
    readout = read(spec)
    alone = _root_alone(spec, readout.root)
    problem = problem_of(alone, free_locked=True)
    root_scale = scale[readout.root]
    T = T_ground_from_root
    tips = (np.array(_TIPS) * root_scale) @ T[:, :3, :3].swapaxes(1, 2) + T[:, None, :3, 3]
    found = inverse_kinematics(
        problem,
        Targets(markers=torch.from_numpy(tips)),
        scale=torch.from_numpy(root_scale)[None],
        retries=0,
        tolerance=_PRECISE,
    )
    worst = found.marker_distances.amax(1)
    if len(worst) and float(worst.max()) > _CLOSE:
        raise InputError(
            spec.joint_names[readout.root],
            f"cannot hold the body as seen in frame {int(worst.argmax())} (misses by {float(worst.max()):.2g} m)",
            "Use a model whose root joint turns and moves freely",
        )
    periodic = torch.zeros(len(problem.default), dtype=torch.bool)
    periodic[problem.movers.unknowns] = problem.aliases.periodic
    result = np.array(q, dtype=np.float64)
    columns = readout.root_coordinates
    result[:, columns] = unwrap(found.q, periodic).numpy()[:, columns]
    return spec.couple(result)


def _root_alone(spec: SkeletonSpec, root: int) -> SkeletonSpec:
    """Returns the skeleton that is left of it: the root body, with markers at its origin and its axes' tips."""
    body = spec.body_names[root]
    tips = tuple(Marker(name=f"tip{i}", body=body, location=place) for i, place in enumerate(_TIPS))
    return replace(spec, joints=(spec.joints[root],), markers=tips)
