"""Which arrays a shard holds: name, dims, dtype, unit and frame of each; the same for both sources.

A source that cannot know an array's values stores the unknown: NaN for floats, `UNLABELLED` for
visibilities, and zero-length c, b, j, m dims where there is no skeleton at all (COCO).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Dim = Literal["c", "b", "j", "m"]


@dataclass(frozen=True, kw_only=True)
class ArraySpec:
    """One array of a shard; its first dim is always the sample."""

    name: str
    dtype: str
    dims: tuple[Dim | int, ...]
    """Dims after the sample: numbers, or the sizes of the skeleton (c, b, j, m)."""
    unit: str
    doc: str
    fill: int = 0
    """What stands for the unknown in an array of integers."""


def _spec(
    name: str, dims: tuple[Dim | int, ...], unit: str, doc: str, dtype: str = "f4", fill: int = 0
) -> ArraySpec:
    return ArraySpec(name=name, dtype=dtype, dims=dims, unit=unit, doc=doc, fill=fill)


ARRAYS: tuple[ArraySpec, ...] = (
    _spec("sample_id", (), "", "COCO annotation id, or the frame's number within its lot", "i8"),
    _spec("group_id", (), "", "What a split never divides: subject number, or COCO image id", "i8"),
    _spec("box", (4,), "px", "Person box x, y, w, h in the stored crop, outer edges"),
    _spec("keypoints", (17, 2), "px", "COCO-17 keypoints in the stored crop"),
    _spec("keypoint_visibility", (17,), "", "schemas.keypoints.Visibility", "u1"),
    _spec("keypoints_cam", (17, 3), "m", "COCO-17 keypoints, camera frame"),
    _spec("A_crop_from_source", (3, 3), "px", "Affine from the source picture to the crop", "f8"),
    _spec("area", (), "px^2", "Person's segment area in the stored crop, as COCO's OKS wants it"),
    _spec("licence", (), "", "COCO licence number of the picture, 0 where unknown", "i4"),
    _spec("K", (3, 3), "px", "Intrinsics of the stored crop"),
    _spec("T_cam_from_ground", (4, 4), "m", "Camera pose", "f8"),
    _spec("T_ground_from_root", (4, 4), "m", "Pose of the root body (child of ground)", "f8"),
    _spec("q", ("c",), "rad or m", "OpenSim coordinates in the skeleton's order", "f8"),
    _spec("q_mask", ("c",), "", "1 where the coordinate is known, 0 where it is not", "u1", fill=1),
    _spec("scale", ("b", 3), "", "Scale factor of every body along its axes"),
    _spec("joints_ground", ("j", 3), "m", "Joint centres, ground frame"),
    _spec("joints_cam", ("j", 3), "m", "Joint centres, camera frame"),
    _spec("joints_px", ("j", 2), "px", "Joint centres in the stored crop"),
    _spec("joint_visibility", ("j",), "", "schemas.keypoints.Visibility", "u1"),
    _spec("markers_ground", ("m", 3), "m", "Markers, ground frame"),
    _spec("markers_cam", ("m", 3), "m", "Markers, camera frame"),
    _spec("markers_px", ("m", 2), "px", "Markers in the stored crop"),
    _spec("marker_visibility", ("m",), "", "schemas.keypoints.Visibility", "u1"),
    _spec("time", (), "s", "Time within the motion"),
    _spec("phase", (), "1", "Share of the movement that is over; NaN where there is no such thing"),
    _spec("motion_id", (), "", "Index into the shard attribute `motions`", "i4"),
    _spec("garment_id", (), "", "Index into the shard attribute `garments`", "i4"),
    _spec("light_id", (), "", "Index into the shard attribute `lights`", "i4"),
    _spec("anthropometry", (4,), "m, kg, year, 1", "Stature, mass, age, sex (0 female, 1 male)"),
    _spec("camera_yaw", (), "rad", "Direction of the camera about the person, 0 = in front"),
    _spec("shutter", (), "s", "How long the picture was exposed"),
    _spec("motion_blur", (), "px", "Mean streak of the person's pixels during the exposure"),
    _spec("exposure", (), "stop", "By how much the picture is exposed above what was metered"),
    _spec("compression", (), "1", "Strength of video compression, 0 where there was none"),
    _spec("occlusion", (), "1", "Share of the labelled lower keypoints that are hidden"),
)
BY_NAME = {spec.name: spec for spec in ARRAYS}


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The skeleton's counts, which give the open dims their length."""

    c: int = 0
    b: int = 0
    j: int = 0
    m: int = 0

    def shape(self, spec: ArraySpec, rows: int) -> tuple[int, ...]:
        """Returns the full shape of an array holding `rows` samples."""
        return (rows, *(d if isinstance(d, int) else int(getattr(self, d)) for d in spec.dims))


def empty(sizes: Sizes, rows: int) -> dict[str, np.ndarray]:
    """Makes every array, filled with the unknown."""
    arrays = {}
    for spec in ARRAYS:
        fill = np.nan if spec.dtype.startswith("f") else spec.fill
        arrays[spec.name] = np.full(sizes.shape(spec, rows), fill, dtype=spec.dtype)
    return arrays
