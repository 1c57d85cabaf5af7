"""The root joint's coordinates are found for any pose, whatever the joint's axes are."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from tiny_samples import pose
from tiny_skeleton import tiny_skeleton

from schemas.curves import IDENTITY, ZERO
from schemas.errors import InputError
from schemas.skeleton import Axis, SkeletonSpec
from trainers.rooting import solve_root

SPEC = tiny_skeleton()


def _wanted(count: int) -> np.ndarray:
    rng = np.random.default_rng(4)
    T = np.tile(np.eye(4), (count, 1, 1))
    T[:, :3, :3] = Rotation.random(count, rng=rng).as_matrix()
    T[:, :3, 3] = rng.normal(size=(count, 3))
    return T


def _with_root(axes: list[Axis]) -> SkeletonSpec:
    a, b, c, d, e, f = axes
    joint = replace(SPEC.joints[0], axes=(a, b, c, d, e, f))
    return replace(SPEC, joints=(joint, *SPEC.joints[1:]))


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_any_pose_is_held_for_any_order_of_axes(order: tuple[int, int, int]) -> None:
    axes = list(SPEC.joints[0].axes)
    directions = [a.direction for a in axes[:3]]
    turned = [replace(axes[i], direction=directions[k]) for i, k in enumerate(order)]
    spec = _with_root([*turned, *axes[3:]])
    T, scale = _wanted(12), np.full((len(spec.joints), 3), 1.1)
    q = solve_root(spec, np.tile(spec.default_pose(), (12, 1)), scale, T)
    posed = pose(spec, q, np.tile(scale, (12, 1, 1)))
    np.testing.assert_allclose(posed.T_ground_from_body[:, 0].numpy(), T, atol=1e-6)
    middle = spec.coordinate_names.index("pelvis_list")
    assert np.abs(q[:, middle]).max() <= np.pi / 2 + 1e-6


def test_coordinates_of_a_turning_person_do_not_jump() -> None:
    """Two full turns on the spot read as a straight line, not as a saw."""
    count = 60
    angle = np.linspace(0.3, 0.3 + 4 * np.pi, count)
    T = np.tile(np.eye(4), (count, 1, 1))
    T[:, :3, :3] = Rotation.from_rotvec(angle[:, None] * np.array([0.0, 1.0, 0.0])).as_matrix()
    scale = np.ones((len(SPEC.joints), 3))
    q = solve_root(SPEC, np.tile(SPEC.default_pose(), (count, 1)), scale, T)
    turn = q[:, SPEC.coordinate_names.index("pelvis_rotation")]
    np.testing.assert_allclose(turn - turn[0], angle - angle[0], atol=1e-5)


def test_other_coordinates_stay_and_couplers_follow() -> None:
    q = np.tile(SPEC.default_pose(), (3, 1))
    knee = SPEC.coordinate_names.index("knee_angle_r")
    q[:, knee] = [0.2, 0.5, 1.0]
    solved = solve_root(SPEC, q, np.ones((len(SPEC.joints), 3)), _wanted(3))
    beta = SPEC.coordinate_names.index("knee_angle_r_beta")
    np.testing.assert_allclose(solved[:, knee], q[:, knee])
    np.testing.assert_allclose(solved[:, beta], 0.4 * q[:, knee])


def test_a_root_that_cannot_turn_that_way_is_refused_by_name() -> None:
    still = [Axis(direction=a.direction, curve=ZERO) for a in SPEC.joints[0].axes]
    still[1] = Axis(direction=(1.0, 0.0, 0.0), curve=IDENTITY, coordinates=(1,))
    with pytest.raises(InputError, match="ground_pelvis"):
        solve_root(
            _with_root(still),
            np.tile(SPEC.default_pose(), (2, 1)),
            np.ones((len(SPEC.joints), 3)),
            _wanted(2),
        )
