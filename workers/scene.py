"""The phone that films, the light it films in, and what it does to the picture; rooms and occluders by its side.

Ground frame metres, Y up; pixels by the rule of `schemas.geometry`. A phone picture of 1080 x 1920 or 1920 x 1080 is
imagined, and the stored picture is a square crop of it, so `K` is the phone's pinhole moved by the crop's affine and
therefore exact. Everything drawn comes back as a small JSON description too.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from schemas import geometry
from schemas.errors import SampleRejected
from schemas.recipes import Camera, Scene
from workers import occluders
from workers.backgrounds import sample_room
from workers.light import Light, hemisphere
from workers.render import NEAR
from workers.surfaces import Surface

__all__ = [
    "Development",
    "View",
    "develop",
    "sample_development",
    "sample_light",
    "sample_occluder",
    "sample_room",
    "sample_view",
]
Array = NDArray[np.float64]
PHONE_PX = (1080, 1920)
FILM_DIAGONAL_MM = float(np.hypot(36.0, 24.0))
"""A focal length "35 mm equivalent" is that of a 36 x 24 mm film with the same diagonal field of view."""
_TRIES = 24


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
        vertices: (v, 3) the person, ground frame; (t, v, 3) for a tripod whose crop holds every frame of a clip.
        facing: (2,) the person's front on the floor, unit (x, z).
        rng: all randomness.

    Raises:
        SampleRejected: the person stands in the camera.
    """
    points = vertices.reshape(-1, 3).astype(np.float64)
    # A film in which the person leaves the frame is one that nobody sends in: draw again, at last step back.
    for attempt in range(_TRIES):
        shot = _sample_shot(camera, points, facing, rng, widest=attempt == _TRIES - 1)
        pixels = geometry.project(shot.K, geometry.transform_points(shot.T_cam_from_ground, points))
        width, height = shot.source_px
        if np.all((pixels > -0.5) & (pixels < [width - 0.5, height - 0.5])):
            break
    return _crop(shot, camera, image_px, points, rng)


def _sample_shot(
    camera: Camera, points: Array, facing: Array, rng: np.random.Generator, *, widest: bool
) -> View:
    """Draws the phone's own picture, aimed at the person."""
    low, high = points.min(axis=0), points.max(axis=0)
    centre = (low + high) / 2
    yaw = float(np.radians(rng.uniform(*camera.yaw)))
    distance = camera.distance[1] if widest else float(rng.uniform(*camera.distance))
    height = float(rng.uniform(*camera.height))
    focal_mm = camera.focal_mm[0] if widest else float(rng.uniform(*camera.focal_mm))
    roll = float(rng.uniform(*camera.roll))
    tall = high[1] - low[1] > 0.8 * float(np.ptp(points[:, [0, 2]], axis=0).max())
    portrait = bool(rng.random() < (0.65 if tall else 0.35))
    left = np.array([facing[1], -facing[0]])  # Y x front, as (x, z)
    towards = np.cos(yaw) * facing + np.sin(yaw) * left
    eye = np.array([centre[0], height, centre[2]]) + distance * np.array(
        [towards[0], 0.0, towards[1]]
    )
    spread = 0.1 * (high - low).max()
    target = centre + rng.normal(0.0, 1.0, 3) * spread * np.array([1.0, 0.7, 1.0])
    short, long = PHONE_PX
    width, tall_px = (short, long) if portrait else (long, short)
    focal = focal_mm / FILM_DIAGONAL_MM * float(np.hypot(short, long))
    K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (tall_px - 1) / 2], [0, 0, 1.0]])
    return View(
        K=K,
        T_cam_from_ground=geometry.look_at(eye, target, np.radians(roll)),
        yaw=yaw,
        A_crop_from_source=np.eye(3),
        source_px=(width, tall_px),
        description={
            "yaw_deg": round(float(np.degrees(yaw)), 2),
            "distance_m": round(distance, 3),
            "height_m": round(height, 3),
            "focal_mm": round(focal_mm, 2),
            "roll_deg": round(roll, 2),
            "portrait": portrait,
        },
    )


def _crop(
    shot: View, camera: Camera, image_px: int, points: Array, rng: np.random.Generator
) -> View:
    """Cuts the square about the person's box out of the phone's picture."""
    in_camera = geometry.transform_points(shot.T_cam_from_ground, points)
    if float(in_camera[:, 2].min()) < 2 * NEAR:
        raise SampleRejected("person_in_camera", "the camera stands inside the person")
    pixels = geometry.project(shot.K, in_camera)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    side = float((high - low).max()) * float(rng.uniform(*camera.margin))
    shift = rng.uniform(-camera.shift, camera.shift, 2) * side
    corner = (low + high) / 2 + shift - side / 2
    A = geometry.affine_from_box(np.array([*corner, side, side]), image_px, image_px)
    return View(
        K=A @ shot.K,
        T_cam_from_ground=shot.T_cam_from_ground,
        yaw=shot.yaw,
        A_crop_from_source=A,
        source_px=shot.source_px,
        description=shot.description | {"crop_px": round(side, 1)},
    )


def sample_occluder(
    view: View, vertices: NDArray[np.float32], rng: np.random.Generator
) -> Surface | None:
    """Draws something that hides a part of the person (v, 3); None where nothing fits. Its `name` says what it is."""
    return occluders.sample_occluder(view.K, view.T_cam_from_ground, vertices, rng)


def sample_light(scene: Scene, rng: np.random.Generator) -> tuple[Light, dict[str, Any]]:
    """Draws a sun (or a lamp far away) of any height and colour, a sky, and the camera's exposure for them."""
    azimuth, elevation = rng.uniform(-np.pi, np.pi), np.radians(rng.uniform(25.0, 80.0))
    flat = np.cos(elevation)
    direction = np.array([flat * np.cos(azimuth), np.sin(elevation), flat * np.sin(azimuth)])
    sun, ambient = float(rng.uniform(*scene.sun)), float(rng.uniform(*scene.ambient))
    warmth = float(rng.beta(2.0, 2.0))
    sun_colour = _mix((0.93, 0.98, 1.08), (1.12, 0.96, 0.76), warmth)
    sky_colour = _mix((1.03, 1.0, 0.95), (0.9, 0.97, 1.1), warmth)
    softness = float(np.exp(rng.uniform(np.log(0.006), np.log(0.09))))
    exposure = 1.45 / (0.6 * sun + ambient) * float(2.0 ** rng.normal(0.0, 0.2))
    cloud = float(rng.uniform())
    light = Light(
        direction=direction,
        sun=sun * sun_colour,
        ambient=hemisphere(
            ambient * sky_colour,
            (0.35 * ambient + 0.2 * sun * np.sin(elevation)) * np.array([1.0, 0.95, 0.88]),
        ),
        softness=softness,
        exposure=exposure,
        horizon=_colour(_mix((0.55, 0.68, 0.86), (0.8, 0.82, 0.85), cloud)),
        zenith=_colour(_mix((0.16, 0.36, 0.72), (0.6, 0.65, 0.72), cloud)),
    )
    description = {
        "sun_azimuth_deg": round(float(np.degrees(azimuth)), 1),
        "sun_elevation_deg": round(float(np.degrees(elevation)), 1),
        "sun": round(sun, 3),
        "ambient": round(ambient, 3),
        "warmth": round(warmth, 3),
        "softness_m": round(softness, 4),
        "exposure": round(exposure, 3),
    }
    return light, description


def _mix(cold: tuple[float, ...], warm: tuple[float, ...], share: float) -> Array:
    return np.asarray((1 - share) * np.array(cold) + share * np.array(warm))


def _colour(values: Array) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


@dataclass(frozen=True, kw_only=True)
class Development:
    """What lens, sensor and firmware do to the picture."""

    gains: tuple[float, float, float]
    """White balance and exposure: factors of linear red, green, blue."""
    blur: float
    """Standard deviation of the lens' blur, px."""
    noise: float
    """Standard deviation of the sensor's noise at mid grey, of 255."""


def sample_development(scene: Scene, rng: np.random.Generator) -> Development:
    """Draws blur, noise, white balance and a residual exposure error."""
    exposure = 2.0 ** rng.normal(0.0, 0.15)
    gains = exposure * np.exp(rng.normal(0.0, 0.04, 3))
    blur, noise = float(rng.uniform(*scene.blur)), float(rng.uniform(*scene.noise))
    return Development(gains=_colour(gains), blur=blur, noise=noise)


def develop(
    rgb: NDArray[np.uint8], how: Development, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Turns a rendered picture (h, w, 3) into one that a phone could have taken; `rng` draws the noise."""
    levels = np.arange(256) / 255.0
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    exposed = np.clip(linear[:, None] * np.array(how.gains), 0.0, 1.0)
    srgb = np.where(exposed <= 0.0031308, exposed * 12.92, 1.055 * exposed ** (1 / 2.4) - 0.055)
    table = (srgb * 255.0).astype(np.float32)
    picture = cv2.LUT(rgb, table[None])
    if how.blur > 0.05:
        picture = cv2.GaussianBlur(picture, (0, 0), how.blur)
    if how.noise > 0:
        # Mostly grey grain with a little colour, as after a phone's chroma denoising.
        grain = rng.standard_normal((*rgb.shape[:2], 1), dtype=np.float32)
        coloured = cv2.blur(rng.standard_normal(rgb.shape, dtype=np.float32), (3, 3))
        picture = picture + np.float32(how.noise) * (0.85 * grain + coloured)
    result: NDArray[np.uint8] = np.clip(picture + 0.5, 0, 255).astype(np.uint8)
    return result
