"""What a shard must prove before it is written, and the statistics that it carries along.

A sample that fails is taken out and quarantined; bookkeeping that does not add up stops the shard.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from schemas import geometry
from schemas.quantities import Rows, catalogue
from schemas.shards import Quarantined, ShardContents
from schemas.skeleton import SkeletonSpec
from schemas.statistics import Histogram, Statistics, count_names
from workers.osim import Pose

REPROJECTION_PX = 0.01
MODEL_M = 1e-5
LIMIT_RAD = 1e-6
PosesOf = Callable[[NDArray[np.float64], NDArray[np.float32]], Pose]
"""Poses the model anew from stored numbers, q (n, c) and one scale (b, 3): `Pose` arrays with a leading dim n."""
Check = tuple[str, NDArray[np.bool_], NDArray[np.float64]]
"""Reason, whether each row fails (rows,), and by which value (rows,)."""
_ALWAYS_FINITE = ("box", "A_crop_from_source", "area", "occlusion")
_FINITE_WITH_SKELETON = (
    *("K", "T_cam_from_ground", "T_ground_from_root", "q", "scale", "joints_ground", "joints_cam"),
    *("markers_ground", "markers_cam", "time", "anthropometry", "camera_yaw", "keypoints_cam"),
    *("joints_px", "markers_px", "keypoints"),
)


def checked(
    contents: ShardContents, spec: SkeletonSpec | None, poses_of: PosesOf | None
) -> ShardContents:
    """Returns the contents without the samples that fail a check; these join the quarantine.

    Args:
        contents: a shard before writing.
        spec: its skeleton; None for COCO, whose labels have no model to hold them against.
        poses_of: poses that skeleton anew from the stored numbers.

    Raises:
        RuntimeError: planned samples are neither written nor quarantined.
    """
    # Nothing can be computed with what is not finite, so those rows leave first.
    kept = without(contents, _faults(_finite(contents, spec)))
    if spec is not None and poses_of is not None:
        checks = (_reprojection(kept), _model(kept, spec, poses_of), _limits(kept, spec))
        kept = without(kept, _faults(*checks))
    if kept.planned != len(kept.images) + len(kept.quarantine):
        raise RuntimeError(
            f"{kept.planned} samples planned, {len(kept.images)} made, {len(kept.quarantine)} quarantined"
        )
    return kept


def without(contents: ShardContents, faults: dict[int, tuple[str, str]]) -> ShardContents:
    """Takes rows out of a shard and into its quarantine."""
    keep = [i for i in range(len(contents.images)) if i not in faults]
    entries = tuple(
        Quarantined(sample=str(int(contents.arrays["sample_id"][i])), reason=reason, detail=detail)
        for i, (reason, detail) in sorted(faults.items())
    )
    return replace(
        contents,
        images=[contents.images[i] for i in keep],
        arrays={name: values[keep] for name, values in contents.arrays.items()},
        quarantine=contents.quarantine + entries,
    )


def _faults(*checks: Check) -> dict[int, tuple[str, str]]:
    """Returns the first reason and the value of each row that fails a check."""
    faults: dict[int, tuple[str, str]] = {}
    for reason, bad, values in checks:
        for i in np.flatnonzero(bad):
            faults.setdefault(int(i), (reason, f"{values[i]:.6g}"))
    return faults


def _finite(contents: ShardContents, spec: SkeletonSpec | None) -> Check:
    names = _ALWAYS_FINITE + (_FINITE_WITH_SKELETON if spec is not None else ())
    rows = len(contents.images)
    broken = np.zeros(rows)
    for name in names:
        values = contents.arrays[name]
        broken += (~np.isfinite(values)).sum(axis=tuple(range(1, values.ndim)))
    return "not_finite", broken > 0, broken


def _reprojection(
    contents: ShardContents,
) -> Check:
    arrays = contents.arrays
    error = np.zeros(len(contents.images))
    K, T = arrays["K"].astype(np.float64), arrays["T_cam_from_ground"]
    for kind in ("joints", "markers"):
        ground = arrays[f"{kind}_ground"].astype(np.float64)
        places = (geometry.transform_points(T, ground), arrays[f"{kind}_cam"].astype(np.float64))
        for in_camera in places:
            pixels = geometry.project(K, in_camera)
            error = np.maximum(error, _apart(pixels, arrays[f"{kind}_px"]))
    pixels = geometry.project(K, arrays["keypoints_cam"].astype(np.float64))
    error = np.maximum(error, _apart(pixels, arrays["keypoints"]))
    return "reprojection_px", ~(error <= REPROJECTION_PX), error


def _apart(pixels: NDArray[np.float64], stored: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns each row's largest distance in px between points (rows, n, 2), less what float32 cannot hold."""
    # A point far outside the picture may project to thousands of pixels, where float32 is coarse.
    coarse = np.abs(pixels).max(axis=-1) * 4 * np.finfo(np.float32).eps
    distance = np.linalg.norm(pixels - stored, axis=-1) - coarse
    return np.asarray(distance.max(axis=-1, initial=0.0))


def _model(contents: ShardContents, spec: SkeletonSpec, poses_of: PosesOf) -> Check:
    """Compares what is stored in the ground frame with the model posed anew from the stored numbers."""
    arrays, root = contents.arrays, spec.body_names.index(spec.root_body)
    error = np.zeros(len(contents.images))
    people, whose = np.unique(arrays["scale"], axis=0, return_inverse=True)
    for number, scale in enumerate(people):
        rows = np.flatnonzero(whose == number)
        again = poses_of(arrays["q"][rows].astype(np.float64), scale)
        pairs = (
            (again.markers, arrays["markers_ground"][rows]),
            (again.joint_centres, arrays["joints_ground"][rows]),
            (again.T_ground_from_body[:, root], arrays["T_ground_from_root"][rows]),
        )
        apart = [np.abs(a - b).reshape(len(rows), -1).max(axis=1, initial=0.0) for a, b in pairs]
        error[rows] = np.max(apart, axis=0)
    return "stored_vs_model_m", ~(error <= MODEL_M), error


def _limits(contents: ShardContents, spec: SkeletonSpec) -> Check:
    low = np.array([c.lower for c in spec.coordinates])
    high = np.array([c.upper for c in spec.coordinates])
    q = contents.arrays["q"]
    over = np.maximum(low - q, q - high).max(axis=1, initial=0.0)
    return "joint_limit_rad", over > LIMIT_RAD, over


def statistics(contents: ShardContents, spec: SkeletonSpec | None) -> Statistics:
    """Counts every quantity of a shard's samples; adds up over shards."""
    rows = Rows(arrays=contents.arrays, tables=contents.tables, spec=spec)
    histograms: dict[str, Histogram] = {}
    names: dict[str, dict[str, int]] = {}
    for quantity in catalogue(spec, contents.tables).values():
        if not quantity.counted:
            continue
        values = quantity.of(rows)
        if quantity.named:
            names[quantity.name] = count_names(value for value in values if value)
        else:
            histograms[quantity.name] = Histogram.of(values, quantity.unit)
    distances = np.array(_skin_distances(contents), dtype=np.float64) * 1000.0
    if distances.size:
        histograms["skin_to_joint"] = Histogram.of(distances, "mm")
    counts = {"planned": contents.planned, "rows": len(contents.images)}
    counts |= {f"quarantined_{q.reason}": 0 for q in contents.quarantine}
    for entry in contents.quarantine:
        counts[f"quarantined_{entry.reason}"] += 1
    unmet = contents.tables.get("unmet", {})
    counts |= {f"unmet_{quantity}": int(count) for quantity, count in unmet.items()}
    return Statistics(histograms=histograms, names=names, counts=counts)


def _skin_distances(contents: ShardContents) -> list[float]:
    subjects = contents.tables.get("subjects", {})
    return [d for s in subjects.values() for d in s.get("skin_to_skeleton_m", {}).values()]
