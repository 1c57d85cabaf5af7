"""The numpy kinematics of the fit equal OpenSim's own."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tiny_skeleton import tiny_skeleton

from workers import osim
from workers.forward import forward
from workers.kinematics import Kinematics


@pytest.fixture(params=["default", "opencap/LaiUhlrich2022", "pose2sim/Model_Pose2Sim_simple"])
def model(request: pytest.FixtureRequest) -> bytes:
    if request.param == "default":
        return osim.read_model("default")
    folder: Path = request.getfixturevalue("shared_data")
    return osim.read_model(str(folder / "opensim" / f"{request.param}.osim"))


def test_equals_opensim_in_scaled_poses(model: bytes) -> None:
    spec, rng = osim.read_skeleton(model), np.random.default_rng(3)
    scale = rng.uniform(0.8, 1.2, (len(spec.body_names), 3))
    low = np.array([max(c.lower, -1.5) for c in spec.coordinates])
    high = np.array([min(c.upper, 1.5) for c in spec.coordinates])
    q = rng.uniform(low, high, (5, len(low)))
    poses, reference = forward(spec, model, scale)(q), osim.OsimModel(model, scale)
    for i, row in enumerate(q):
        wanted = reference.pose(row)
        np.testing.assert_allclose(
            poses.T_ground_from_body[i], wanted.T_ground_from_body, atol=1e-12
        )
        np.testing.assert_allclose(poses.joint_centres[i], wanted.joint_centres, atol=1e-12)
        np.testing.assert_allclose(poses.markers[i], wanted.markers, atol=1e-12)


def test_a_joint_on_the_ground_that_has_a_shape_stays_as_in_the_default_pose() -> None:
    spec = tiny_skeleton()
    spec = replace(spec, joints=(replace(spec.joints[0], reverse=True), *spec.joints[1:]))
    plain = Kinematics(tiny_skeleton(), np.ones((len(spec.joints), 3)))
    wanted = plain.pose(spec.default_pose()).T_ground_from_body
    model: Any = SimpleNamespace(
        spec=spec, scale=None, pose=lambda q: osim.Pose(wanted[0], np.zeros(0), np.zeros(0))
    )
    found = Kinematics.of(model).pose(spec.default_pose()).T_ground_from_body
    np.testing.assert_allclose(found[0, 0], wanted[0, 0], atol=1e-12)
