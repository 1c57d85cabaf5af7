"""Finds the root joint's coordinates for a wanted pose of the root body, whatever that joint's axes are.

t frames, c coordinates, r of them the root's. A damped Gauss-Newton search on the skeletal layer itself, started for
every frame from the nearest of a grid of turns; so no Euler convention is assumed, and any Custom, Free, Pin or Planar
root works as far as it can move.
"""

import itertools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schemas.errors import InputError
from schemas.skeleton import SkeletonSpec
from trainers.readout import read
from trainers.skeletal import SkeletalLayer

Floats = NDArray[np.float64]
_ITERATIONS = 25
_STEP = 1e-6
_CLOSE = 1e-4
"""Largest residual of a solved frame: radians, roughly, and metres."""
_TURNS = (
    (0.0, np.pi / 2, np.pi, -np.pi / 2),
    (0.0, 0.7, -0.7),
    (0.0, np.pi / 2, np.pi, -np.pi / 2),
)
"""Where the search starts: the middle angle stays within a quarter turn, as Euler angles are read."""


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
    columns = torch.from_numpy(readout.root_coordinates)
    search = _Search(spec, scale, readout.root, columns)
    wanted = search.flatten(torch.from_numpy(T_ground_from_root))
    x = search.refine(search.start(wanted), wanted)
    residual = (search.values(x) - wanted).abs().amax(1)
    if residual.max() > _CLOSE:
        raise InputError(
            spec.joint_names[readout.root],
            f"cannot hold the body as seen in frame {int(residual.argmax())} (misses by {float(residual.max()):.2g})",
            "Use a model whose root joint turns and moves freely",
        )
    result = np.array(q, dtype=np.float64)
    result[:, readout.root_coordinates] = _unwrapped(spec, readout.root_coordinates, x.numpy())
    return spec.couple(result)


class _Search:
    """The root body's pose as a function of the root's coordinates x (t, r)."""

    def __init__(self, spec: SkeletonSpec, scale: Floats, root: int, columns: Tensor) -> None:
        self.layer = SkeletalLayer(spec).double()
        self.default = torch.from_numpy(spec.default_pose())
        self.scale = torch.from_numpy(scale)
        self.root, self.columns = root, columns
        kinds = [spec.coordinates[int(i)].kind for i in columns]
        self.turning = [k for k, kind in enumerate(kinds) if kind != "translational"]

    def flatten(self, T: Tensor) -> Tensor:
        """Returns what is compared (t, 12): the rotation's entries, then the position."""
        return torch.cat([T[:, :3, :3].flatten(1), T[:, :3, 3]], dim=1)

    def values(self, x: Tensor) -> Tensor:
        """Poses the root at x."""
        q = self.default.expand(len(x), -1).index_copy(1, self.columns, x)
        with torch.no_grad():
            pose = self.layer(q, self.scale.expand(len(x), -1, -1))
        return self.flatten(pose.T_ground_from_body[:, self.root])

    def start(self, wanted: Tensor) -> Tensor:
        """Picks for every frame the grid's nearest turn."""
        grid = [_TURNS[k % len(_TURNS)] for k in range(len(self.turning))]
        turns = torch.tensor(list(itertools.product(*grid)), dtype=torch.float64)
        starts = torch.zeros(len(turns), len(self.columns), dtype=torch.float64)
        starts[:, self.turning] = turns
        distance = torch.cdist(wanted[:, :9], self.values(starts)[:, :9])
        return starts[distance.argmin(1)]

    def refine(self, x: Tensor, wanted: Tensor) -> Tensor:
        """Runs the search; the damping keeps steps sane where axes line up."""
        eye = torch.eye(x.shape[1], dtype=torch.float64)
        for _ in range(_ITERATIONS):
            residual = self.values(x) - wanted
            columns = [
                (self.values(x + _STEP * e) - self.values(x - _STEP * e)) / (2 * _STEP) for e in eye
            ]
            J = torch.stack(columns, dim=-1)
            normal = J.transpose(1, 2) @ J + 1e-9 * eye
            step = torch.linalg.solve(normal, (J.transpose(1, 2) @ residual[..., None])[..., 0])
            x = x - step.clamp(-1.0, 1.0)
            if step.abs().max() < 1e-10:
                break
        return x


def _unwrapped(spec: SkeletonSpec, columns: NDArray[np.intp], x: Floats) -> Floats:
    """Takes whole turns out: the first frame within half a turn, the others near the one before."""
    result = x.copy()
    for k, i in enumerate(columns):
        if spec.coordinates[int(i)].kind != "translational":
            first = result[0, k]
            whole = 2 * np.pi * np.round(first / (2 * np.pi))
            result[:, k] = np.unwrap(result[:, k] - whole)
    return result
