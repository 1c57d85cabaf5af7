"""From a video to kinematics: every frame through the net, one body for all frames, feet on the floor.

t frames, c coordinates, b bodies, j joints, m markers. Metres, radians; ground frame Y up, pixels of the video.

What one camera cannot say is assumed, and said so: the camera stands level; the person's mean heading is ground's X
axis; the pelvis stays above ground's origin (one crop does not tell steps from a moving crop) at the height that puts
the lowest marker of each frame on the floor, so a jump looks like a squat. Nothing is smoothed.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from schemas import layout
from schemas.errors import InputError
from schemas.files import read_bytes
from schemas.layout import Sizes
from schemas.skeleton import SkeletonSpec
from trainers import video
from trainers.readout import read
from trainers.rooting import solve_root
from trainers.skeletal import SkeletalLayer
from trainers.task import UNIFORMS, Batch, Task

Floats = NDArray[np.float64]
FOCAL_MM = 26.0
"""35 mm equivalent of the main camera of most phones."""
_FILM_DIAGONAL_MM = 43.27
"""Of the 36 x 24 mm frame that `35 mm equivalent` refers to."""
_BATCH = 16


@dataclass(frozen=True, kw_only=True)
class Track:
    """What a net said of every frame."""

    times: Floats
    """(t,) s."""
    rate: Fraction
    K: Floats
    """(3, 3) px, of the whole picture."""
    said: dict[str, Floats]
    """The task's prediction by name, (t, …); to the task the whole frame is the stored crop."""


@dataclass(frozen=True, kw_only=True)
class Movement:
    """A video's kinematics."""

    times: Floats
    """(t,) s."""
    rate: Fraction
    q: Floats
    """(t, c) rad or m, couplers applied."""
    scale: Floats
    """(b, 3): the median over the frames, as a body does not change its size."""
    joints: Floats
    """(t, j, 3) m, ground frame."""
    markers: Floats
    """(t, m, 3) m, ground frame."""
    joints_px: Floats
    """(t, j, 2)."""
    markers_px: Floats
    """(t, m, 2)."""


def intrinsics(width: int, height: int, focal_mm: float) -> Floats:
    """Returns K (3, 3) of a picture taken with a 35 mm equivalent focal length, by its diagonal, centred."""
    focal = focal_mm / _FILM_DIAGONAL_MM * float(np.hypot(width, height))
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])


def read_intrinsics(url: str) -> Floats:
    """Reads K (3, 3) from a JSON file {"K": [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]}, pixels of the video.

    Raises:
        InputError: it is none.
    """
    remedy = 'Write {"K": [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]} in pixels of the video'
    data = read_bytes(url)
    try:
        K = np.array(json.loads(data)["K"], dtype=np.float64)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(url, f"holds no intrinsics ({error!r})", remedy) from error
    if K.shape != (3, 3) or not np.isfinite(K).all() or min(K[0, 0], K[1, 1]) <= 0:
        raise InputError(url, "is no 3 x 3 matrix with positive focal lengths", remedy)
    return K


def watch(
    task: Task,
    net: nn.Module,
    url: str,
    *,
    box: Sequence[float] | None,
    K: Floats | None,
    focal_mm: float = FOCAL_MM,
    device: torch.device,
    tick: Callable[[int], object] = lambda _: None,
) -> Track:
    """Runs a net over every frame of a video.

    Args:
        task: what the net was trained for.
        net: on `device`, in evaluation mode.
        url: the video.
        box: x, y, w, h of the person in pixels, for all frames; None takes the whole picture.
        K: intrinsics of the whole picture; None computes them from `focal_mm`.
        focal_mm: 35 mm equivalent.
        device: where the net is.
        tick: told how many frames were just done.

    Raises:
        InputError: no readable video, or the box lies outside the picture.
    """
    times: list[float] = []
    parts: list[dict[str, Floats]] = []
    for chunk in _chunks(video.frames(url), _BATCH):
        times += [seconds for seconds, _ in chunk]
        images = tuple(rgb for _, rgb in chunk)
        height, width = images[0].shape[:2]
        K = intrinsics(width, height, focal_mm) if K is None else K
        prepared = task.prepare(
            _batch(task, images, _checked(box, width, height), K), False, device
        )
        with torch.no_grad():
            said = task.predict(task.run(net, prepared), prepared)
        parts.append({name: value.cpu().double().numpy() for name, value in said.items()})
        tick(len(chunk))
    if K is None:
        raise InputError(url, "holds no frame", "Name another video")
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Track(times=np.array(times), rate=video.frame_rate(url), K=K, said=joined)


def assemble(spec: SkeletonSpec, track: Track) -> Movement:
    """Turns what a 3D net said of each frame into one movement of one body on the ground.

    Raises:
        InputError: the model's root joint cannot hold the body as seen.
    """
    root = read(spec).root
    scale = np.median(track.said["scale"], axis=0)
    R_cam_from_root = track.said["R_cam_from_root"]
    joints, markers = _in_root(spec, root, track.said["q"], scale)
    R_ground_from_root = _level(R_cam_from_root) @ R_cam_from_root
    points = np.concatenate([joints, markers], axis=1) @ R_ground_from_root.swapaxes(1, 2)
    T = np.tile(np.eye(4), (len(points), 1, 1))
    T[:, :3, :3] = R_ground_from_root
    T[:, 1, 3] = -points[..., 1].min(1)
    on_floor = points + T[:, None, :3, 3]
    in_cam = np.concatenate([joints, markers], axis=1) @ R_cam_from_root.swapaxes(1, 2)
    pixels = _project(track.K, in_cam + track.said["root_cam"][:, None])
    count = joints.shape[1]
    return Movement(
        times=track.times,
        rate=track.rate,
        q=solve_root(spec, track.said["q"], scale, T),
        scale=scale,
        joints=on_floor[:, :count],
        markers=on_floor[:, count:],
        joints_px=pixels[:, :count],
        markers_px=pixels[:, count:],
    )


def skeleton_bones(spec: SkeletonSpec) -> list[tuple[int, int, tuple[int, int, int]]]:
    """Returns the lines to draw between joint centres: parent to child, right red, left blue, middle green."""
    colours = {"_r": (230, 60, 50), "_l": (60, 110, 240)}
    return [
        (parent, child, colours.get(spec.body_names[child][-2:], (70, 200, 90)))
        for child, parent in enumerate(spec.parents)
        if parent >= 0
    ]


def overlay(
    url: str,
    points_px: Floats,
    bones: Sequence[tuple[int, int, tuple[int, int, int]]],
    dots_px: Floats,
) -> Iterator[NDArray[np.uint8]]:
    """Yields the video's frames with bones between points (t, p, 2) and dots (t, d, 2) drawn over."""
    for i, (_, rgb) in enumerate(video.frames(url)):
        yield video.draw(rgb, points_px[i], bones, dots_px[i])


def _chunks(
    frames: Iterator[tuple[float, NDArray[np.uint8]]], size: int
) -> Iterator[list[tuple[float, NDArray[np.uint8]]]]:
    chunk = []
    for frame in frames:
        chunk.append(frame)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _checked(box: Sequence[float] | None, width: int, height: int) -> Floats:
    if box is None:
        return np.array([0.0, 0.0, width, height])
    x, y, w, h = box
    if w <= 0 or h <= 0 or x >= width or y >= height or x + w <= 0 or y + h <= 0:
        raise InputError(
            f"box {x:g},{y:g},{w:g},{h:g}",
            f"lies outside the {width} x {height} picture",
            "Give x,y,w,h in pixels of the video, from its top-left corner",
        )
    return np.array([x, y, w, h])


def _batch(task: Task, images: tuple[NDArray[np.uint8], ...], box: Floats, K: Floats) -> Batch:
    """Makes frames look like stored samples whose labels nobody knows."""
    count = len(images)
    sizes = task.skeleton.sizes if task.skeleton is not None else Sizes()
    unknown = layout.empty(sizes, count)
    arrays: dict[str, Any] = {name: unknown[name] for name in task.arrays}
    given = {"box": box, "K": K, "T_cam_from_ground": np.eye(4), "A_crop_from_source": np.eye(3)}
    arrays |= {name: np.repeat(value[None], count, 0) for name, value in given.items()}
    arrays |= {name: np.arange(count) for name in ("sample_id", "group_id", "picture")}
    return Batch(images=images, arrays=arrays, uniforms=np.zeros((count, UNIFORMS)))


def _in_root(spec: SkeletonSpec, root: int, q: Floats, scale: Floats) -> tuple[Floats, Floats]:
    """Poses the one body at every q (t, c): joints and markers in the root's frame."""
    layer = SkeletalLayer(spec).double()
    scales = torch.from_numpy(scale).expand(len(q), -1, -1)
    with torch.no_grad():
        pose = layer(torch.from_numpy(q), scales)
    T = pose.T_ground_from_body[:, root].numpy()
    R, t = T[:, :3, :3], T[:, None, :3, 3]
    return (pose.joint_centres.numpy() - t) @ R, (pose.markers.numpy() - t) @ R


def _level(R_cam_from_root: Floats) -> Floats:
    """Returns R_ground_from_cam (3, 3) of a level camera, turned so that the person's mean heading is ground's X."""
    up = np.diag([1.0, -1.0, -1.0])
    heading = (up @ R_cam_from_root)[:, :, 0].mean(0)
    angle = np.arctan2(heading[2], heading[0])
    cos, sin = np.cos(angle), np.sin(angle)
    turned: Floats = np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]]) @ up
    return turned


def _project(K: Floats, points_cam: Floats) -> Floats:
    z = np.maximum(points_cam[..., 2:], 1e-3)
    pixels: Floats = points_cam[..., :2] / z * np.diag(K)[:2] + K[:2, 2]
    return pixels
