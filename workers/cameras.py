"""The phone that films: where it stands, how it is held, and the square that is cut from its picture.

Ground frame metres, Y up; pixels by the rule of `schemas.geometry`. A phone picture of 1080 x 1920 or 1920 x 1080 is
imagined, and the stored picture is a square crop of it, so `K` is the phone's pinhole moved by the crop's affine and
therefore exact. Everything drawn comes back as a small JSON description too.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from schemas import geometry
from schemas.errors import SampleRejected
from schemas.recipes import Camera
from workers.render import NEAR

Array = NDArray[np.float64]
PHONE_PX = (1080, 1920)
FILM_DIAGONAL_MM = float(np.hypot(36.0, 24.0))
"""A focal length "35 mm equivalent" is that of a 36 x 24 mm film with the same diagonal field of view."""
_TRIES = 32
_DIRECTIONS = {"front": (0.0,), "side": (90.0, -90.0), "oblique": (45.0, -45.0)}
"""Yaw of the views that therapists film from, degrees."""
_SWAY_M_PER_RAD = 0.35
"""A hand that turns a phone moves it too: about the forearm's length from the elbow it turns about."""


@dataclass(frozen=True, kw_only=True)
class View:
    """The stored square crop of a phone's picture, as a camera of its own."""

    K: Array
    """(3, 3) px, of the crop."""
    T_cam_from_ground: Array
    """(4, 4)."""
    yaw: float
    """Direction of the camera about the person, rad: 0 in front, +pi/2 on the person's left."""
    A_crop_from_source: Array
    """(3, 3) affine from the phone's picture to the crop."""
    source_px: tuple[int, int]
    """Width and height of the phone's picture."""
    description: dict[str, Any]
    spin: Array | None = None
    """(3,) rad/s, camera frame, about which the hand turns the phone; None on a tripod."""

    @property
    def eye(self) -> Array:
        """The camera's position (3), ground frame."""
        return geometry.invert_rigid(self.T_cam_from_ground)[:3, 3]


def sample_view(
    camera: Camera,
    image_px: int,
    vertices: NDArray[np.float32],
    facing: Array,
    rng: np.random.Generator,
) -> View:
    """Draws a phone that films the person, and the crop about it.

    Args:
        camera: ranges of the phone's place, focal length and crop.
        image_px: edge of the stored square.
        vertices: (v, 3) the person, ground frame; (t, v, 3) for a camera whose crop holds every frame of a clip.
        facing: (2,) the person's front on the floor, unit (x, z).
        rng: all randomness.

    Raises:
        SampleRejected: the person stands in the camera.
    """
    points = vertices.reshape(-1, 3)
    outline = _outline(points)
    # A film in which the person leaves the frame is one that nobody sends in: draw again, at last step back.
    for attempt in range(_TRIES):
        shot = _sample_shot(camera, outline, facing, rng, widest=attempt == _TRIES - 1)
        in_camera = geometry.transform_points(shot.T_cam_from_ground, outline)
        if float(in_camera[:, 2].min()) < 2 * NEAR:
            continue
        pixels = geometry.project(shot.K, in_camera)
        width, height = shot.source_px
        if np.all((pixels > -0.5) & (pixels < [width - 0.5, height - 0.5])):
            break
    return _crop(shot, camera, image_px, points, rng)


def _outline(points: NDArray[np.float32]) -> Array:
    """Returns points (n, 3) that are extreme in some of 98 directions: enough to frame the rest by."""
    few = points[:: 1 + len(points) // 8192]  # many vertices lie closer than the frame's margin
    grid = np.stack(np.meshgrid(*[[-1.0, -0.5, 0.0, 0.5, 1.0]] * 3), axis=-1).reshape(-1, 3)
    ways = grid[np.abs(grid).max(axis=1) == 1.0].astype(np.float32)
    return np.asarray(few[np.unique((ways @ few.T).argmax(axis=1))], np.float64)


def _sample_yaw(camera: Camera, rng: np.random.Generator) -> float:
    """Draws the direction, rad: near one of the named views, or anywhere; always inside `camera.yaw`."""
    weights = camera.views.weights
    name = list(weights)[int(rng.choice(len(weights), p=list(weights.values())))]
    anywhere = float(rng.uniform(*camera.yaw))
    if name == "any":
        return float(np.radians(anywhere))
    directions = _DIRECTIONS[name]
    middle = directions[int(rng.integers(len(directions)))]
    near = middle + float(rng.uniform(-camera.views.spread, camera.views.spread))
    low, high = camera.yaw
    return float(np.radians(near if low <= near <= high else anywhere))


def _sample_shot(
    camera: Camera, points: Array, facing: Array, rng: np.random.Generator, *, widest: bool
) -> View:
    """Draws the phone's own picture, aimed at the person."""
    low, high = points.min(axis=0), points.max(axis=0)
    centre = (low + high) / 2
    yaw = _sample_yaw(camera, rng)
    distance = camera.distance[1] if widest else float(rng.uniform(*camera.distance))
    height = float(rng.uniform(*camera.height))
    focal_mm = camera.focal_mm[0] if widest else float(rng.uniform(*camera.focal_mm))
    roll, pitch = float(rng.uniform(*camera.roll)), float(rng.uniform(*camera.pitch))
    portrait = bool(rng.random() < camera.portrait)
    left = np.array([facing[1], -facing[0]])  # Y x front, as (x, z)
    towards = np.cos(yaw) * facing + np.sin(yaw) * left
    eye = np.array([centre[0], height, centre[2]]) + distance * np.array(
        [towards[0], 0.0, towards[1]]
    )
    spread = 0.1 * (high - low).max()
    target = centre + rng.normal(0.0, 1.0, 3) * spread * np.array([1.0, 0.3, 1.0])
    aimed = geometry.look_at(eye, target, np.radians(roll))
    tilt = np.eye(4)
    tilt[:3, :3] = Rotation.from_rotvec([np.radians(-pitch), 0.0, 0.0]).as_matrix()
    T = np.asarray(tilt @ aimed)
    short, long = PHONE_PX
    width, tall_px = (short, long) if portrait else (long, short)
    focal = focal_mm / FILM_DIAGONAL_MM * float(np.hypot(short, long))
    K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (tall_px - 1) / 2], [0, 0, 1.0]])
    return View(
        K=K,
        T_cam_from_ground=T,
        yaw=yaw,
        A_crop_from_source=np.eye(3),
        source_px=(width, tall_px),
        description={
            "yaw_deg": round(float(np.degrees(yaw)), 2),
            "distance_m": round(distance, 3),
            "height_m": round(height, 3),
            "focal_mm": round(focal_mm, 2),
            "pitch_deg": round(float(np.degrees(np.arcsin(T[2, 1]))), 2),
            "roll_deg": round(roll, 2),
            "portrait": portrait,
        },
    )


def _crop(
    shot: View,
    camera: Camera,
    image_px: int,
    points: NDArray[np.float32],
    rng: np.random.Generator,
) -> View:
    """Cuts the square about the person's box out of the phone's picture."""
    low, high, nearest = geometry.projected_bounds(shot.K, shot.T_cam_from_ground, points)
    if nearest < 2 * NEAR:
        raise SampleRejected("person_in_camera", "the camera stands inside the person")
    side = float((high - low).max()) * float(rng.uniform(*camera.margin))
    shift = rng.uniform(-camera.shift, camera.shift, 2) * side
    corner = (low + high) / 2 + shift - side / 2
    A = geometry.affine_from_box(np.array([*corner, side, side]), image_px, image_px)
    return replace(
        shot,
        K=A @ shot.K,
        A_crop_from_source=A,
        description=shot.description | {"crop_px": round(side, 1)},
    )


def sample_hand(camera: Camera, rng: np.random.Generator) -> "Hand | None":
    """Draws whether and how much a hand shakes the phone; None is a tripod."""
    held = rng.random() < camera.handheld
    degrees = float(rng.uniform(*camera.shake))
    # Of physiological tremor and sway, what a hand's mass lets through: slow drift most, little above 4 Hz.
    hertz = np.exp(rng.uniform(np.log(0.15), np.log(4.0), (3, 5)))
    phase = rng.uniform(0.0, 2 * np.pi, (3, 5))
    size = rng.normal(0.0, 1.0, (3, 5)) / hertz**0.7
    size *= np.radians(degrees) / np.sqrt((size**2).sum(axis=1, keepdims=True) / 2)
    if not held:
        return None
    return Hand(hertz=hertz, phase=phase, size=size, shake_deg=round(degrees, 3))


@dataclass(frozen=True, kw_only=True)
class Hand:
    """A hand that holds the phone: the smooth sum of a few oscillations about each axis of the camera."""

    hertz: Array
    """(3, k)."""
    phase: Array
    """(3, k) rad."""
    size: Array
    """(3, k) rad."""
    shake_deg: float
    """Standard deviation about each axis."""

    def move(self, view: View, time: float, since: float) -> View:
        """Returns the view at a time, s, of a clip whose stage was set at `since`, with the phone's spin."""
        wave = 2 * np.pi * self.hertz * time + self.phase
        start = 2 * np.pi * self.hertz * since + self.phase
        turn = (self.size * (np.sin(wave) - np.sin(start))).sum(axis=1)
        spin = (self.size * 2 * np.pi * self.hertz * np.cos(wave)).sum(axis=1)
        T = np.eye(4)
        T[:3, :3] = Rotation.from_rotvec(turn).as_matrix()
        T[:2, 3] = _SWAY_M_PER_RAD * turn[[1, 0]] * [1.0, -1.0]
        return replace(view, T_cam_from_ground=T @ view.T_cam_from_ground, spin=spin)
