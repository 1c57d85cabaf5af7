"""The multi-step way to angles, which direct estimation is compared with: predicted points, then inverse kinematics.

n samples, c coordinates, b bodies, j joints, m markers. The points are the net's own, so the column says what the
detour costs or gains. All samples are fitted with one body, as a lab fits all frames with one scaled model: here the
train split's mean body, since who is in the picture is not known. With the scales that the net predicts for each
picture the detour would only return the net's own angles, because its points come from them.
"""

import torch
from torch import Tensor

from trainers.inverse import inverse_kinematics
from trainers.problem import Problem
from trainers.readout import Readout
from trainers.skeletal import forward_kinematics
from trainers.targets import Targets
from trainers.task import Prediction


def refit(problem: Problem, readout: Readout, said: Prediction, scale: Tensor) -> Prediction:
    """Fits a skeleton to what a net says.

    Args:
        problem: of the net's skeleton.
        readout: what is read of it.
        said: "joints" (n, j, 3) and "markers" (n, m, 3), camera frame, relative to the root, m.
        scale: (b, 3), or (n, b, 3).

    Returns:
        "q" (n, c), the root's own coordinates 0; "scale" (n, b, 3); "R_cam_from_root" (n, 3, 3); "joints" and
        "markers" of the fitted skeleton; of the dtype and on the device of `said`.
    """
    like = said["joints"]
    scale = scale.to(problem.default)
    found = inverse_kinematics(
        problem,
        Targets(said["markers"].to(problem.default), like.to(problem.default)),
        scale=scale,
        retries=0,
    )
    scales = scale.expand(len(like), -1, -1)
    pose = forward_kinematics(problem.structure, found.q, scales)
    T_cam_from_root = pose.T_ground_from_body[:, readout.root]
    root = T_cam_from_root[:, None, :3, 3]
    q = found.q.clone()
    q[:, torch.from_numpy(readout.root_coordinates).to(q.device)] = 0.0
    fitted = {
        "q": q,
        "scale": scales,
        "R_cam_from_root": T_cam_from_root[:, :3, :3],
        "joints": pose.joint_centres - root,
        "markers": pose.markers - root,
    }
    return {name: value.to(like) for name, value in fitted.items()}
