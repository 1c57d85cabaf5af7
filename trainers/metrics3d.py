"""How far predicted kinematics are from the truth, as tallies that add up over batches and ranks.

n samples, c coordinates, b bodies, j joints, m markers. Positions are metres in the camera frame, relative to the
root body's origin; results are degrees, millimetres and percent, as people read them.

Beside every figure stands the mean pose's: the train split's mean angles, scales, root rotation and root-relative
positions, predicted for everybody. A net that does not beat it has learnt nothing from the picture. The multi-step
baseline (predicted points, then inverse kinematics) is trainers/multistep.py.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from trainers.metrics import Tally, averaged, total
from trainers.readout import Readout
from trainers.rotations import geodesic

Floats = NDArray[np.float64]
Kinematics = Mapping[str, Floats]
"""What a net or the labels say of n samples: "q" (n, c) rad or m, "scale" (n, b, 3), "R_cam_from_root" (n, 3, 3),
"joints" (n, j, 3), "markers" (n, m, 3), "joints_px" (n, j, 2) in the net's picture, "place" (n, 3). Labels also say
which coordinates are known: "q_known" (n, c), 1 or 0."""
MEAN_OF = ("q", "scale", "R_cam_from_root", "joints", "markers", "place")
"""What a mean pose consists of."""
_DEEP = np.pi / 2
"""Knee flexion from which a squat is deep, radians."""
_TOLERANCE = 1e-4
"""What float32 may leave of a limit, radians or metres."""


def errors(readout: Readout, predicted: Kinematics, truth: Kinematics) -> Tally:
    """Sums up the errors of n samples, all of which have finite labels; `finalise` names the results."""
    distances = {
        name: np.linalg.norm(predicted[name] - truth[name], axis=-1)
        for name in ("joints", "markers", "joints_px")
    }
    outside = _outside(readout, predicted["q"])
    seen, true = (torch.from_numpy(k["R_cam_from_root"]) for k in (predicted, truth))
    turn = geodesic(seen.double(), true.double()).numpy()
    parts = {
        "mpjpe_mm": 1000.0 * distances["joints"][:, readout.scored_joints],
        "marker_mm": 1000.0 * distances["markers"],
        "joints_px": distances["joints_px"],
        "scale_error": np.abs(predicted["scale"] - truth["scale"]),
        "root_deg": np.degrees(turn),
        "limit_violations_percent": 100.0 * outside,
    }
    measured = total(averaged(name, values) for name, values in parts.items())
    return measured + _angle_errors(readout, predicted["q"], truth["q"], truth["q_known"] > 0)


def finalise(tally: Tally) -> dict[str, float]:
    """Divides the sums.

    Keys: `angle_deg` (mean absolute error of all predicted angles whose truth is known), `angle_lower_deg` (hips and
    below), `angle_knee_deep_deg` (knees that truly flex beyond 90 degrees), `angle_deg/<coordinate>`, `mpjpe_mm` (all
    joints but the root's), `marker_mm`, `joints_px` (projected joints, pixels of the net's picture), `scale_error`
    (ratio, per axis), `root_deg`, `limit_violations_percent`. A mean over nothing is left out.
    """
    names = sorted(name for name in tally.sums if f"{name}_count" in tally.sums)
    return {name: tally.mean(name) for name in names if tally.sums[f"{name}_count"] > 0}


def summarise(truth: Kinematics) -> Tally:
    """Sums up the labels of n samples, for `mean_pose`."""
    count = np.asarray(float(len(truth["q"])))
    sums = {name: truth[name].sum(0) for name in MEAN_OF}
    sums["q"] = (truth["q"] * truth["q_known"]).sum(0)
    return Tally(sums=sums | {"q_known": truth["q_known"].sum(0), "samples": count})


def mean_pose(summary: Tally) -> dict[str, Floats]:
    """Returns the mean of all summarised labels, one value for everybody; the rotation is the chordal mean."""
    count = max(float(summary.sums.get("samples", np.zeros(()))), 1.0)
    mean = {name: summary.sums[name] / count for name in MEAN_OF}
    mean["q"] = summary.sums["q"] / np.maximum(summary.sums["q_known"], 1.0)
    u, _, vt = np.linalg.svd(mean["R_cam_from_root"])
    mean["R_cam_from_root"] = u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt
    return mean


def _outside(readout: Readout, q: Floats) -> NDArray[np.bool_]:
    values = q[:, readout.coordinates]
    result: NDArray[np.bool_] = values < readout.low - _TOLERANCE
    return result | (values > readout.high + _TOLERANCE)


def _angle_errors(
    readout: Readout, predicted: Floats, truth: Floats, known: NDArray[np.bool_]
) -> Tally:
    """Sums up errors in degrees of the predicted angles; predicted lengths are no angles and left out."""
    kept = readout.rotational
    turning = readout.coordinates[kept]
    error = np.degrees(np.abs(predicted[:, turning] - truth[:, turning]))
    known = known[:, turning]
    names = np.array(readout.names)[kept]
    masks = {
        "angle_deg": known,
        "angle_lower_deg": known & readout.lower[kept],
        "angle_knee_deep_deg": known & readout.knee[kept] & (np.abs(truth[:, turning]) > _DEEP),
    }
    masks |= {f"angle_deg/{name}": known & (names == name) for name in names}
    return total(averaged(name, error, mask) for name, mask in masks.items())
