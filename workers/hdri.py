"""Environment maps: the light of a real place, in every direction, distilled to a sun and a smooth rest.

A map is equirectangular, (h, 2 h, 3) linear radiance, row 0 straight up; seen from inside, columns run to the right,
and the middle one looks along +X. Ground frame, Y up, Z right of X. Irradiance is divided by pi, as in
`workers.light`.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError
from schemas.recipes import Scene
from workers import catalogue
from workers.light import ALL_ROUND, LUMA, Light, basis, irradiance

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
KIND = (".hdr", ".exr")
MAX_PIXELS = 4096 * 2048
_KEPT_PX = (1024, 512)
_ANALYSED_PX = (512, 256)
_SUN_CAP = np.radians(10.0)
"""A sun, a lamp or a window reaches no farther from its brightest point."""
_SUN_SHARE = 0.12
"""Of the brightest point's radiance, what still belongs to the sun."""
_LOWEST_SUN = np.radians(4.0)
_SHADOW_M = 0.5
"""Typical distance from what throws a shadow to where it falls: a sun of angular radius r blurs it by tan(r) times."""
_CAPTURED_M = 1.6
"""Height of the tripod that the map was taken from."""
_DOME_M = 14.0
"""Radius of the ground that is stretched below the map; what lies beyond is infinitely far."""
_STEP = 1 / 256
_EXPOSURE = 0.5
"""Radiance of a grey floor before metering, which keeps everything within half floats."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """One distilled map, not yet turned."""

    name: str
    panorama: NDArray[np.uint16]
    """At most (512, 1024 + 2, 3): the root of the radiance in steps of `_STEP`; the first two columns once more."""
    direction: Array
    """(3,) towards the brightest light."""
    sun: Array
    """(3,) its irradiance on a surface that faces it."""
    radius: float
    """Its angular radius, rad."""
    ambient: Array
    """(9, 3) irradiance polynomial of the rest."""


def identify(scene: Scene) -> str:
    """Identifies the maps as they are now by their names and bytes; "" without maps.

    Raises:
        InputError: the folder cannot be listed, or holds no map.
    """
    return "" if scene.hdri is None else catalogue.identify(scene.hdri, KIND)


def sample_surroundings(folder: str, rng: np.random.Generator) -> tuple[Surroundings, float]:
    """Draws a map of the folder, and the angle, rad, by which it is turned about the vertical.

    Raises:
        InputError: a map that cannot be read.
    """
    maps = catalogue.entries(folder, KIND)
    url, digest = maps[int(rng.integers(len(maps)))]
    return _distilled(url, digest), float(rng.uniform(-np.pi, np.pi))


@lru_cache(maxsize=64)
def _distilled(url: str, digest: str) -> Surroundings:
    return distil(decode(catalogue.read(url, digest), url), url.rsplit("/", 1)[-1])


def decode(data: bytes, url: str) -> Floats:
    """Returns the radiance (h, w, 3) of a Radiance `.hdr` or an OpenEXR file; broken numbers become 0.

    Raises:
        InputError: not such a file, broken, of another shape than 2 : 1, or larger than 4096 x 2048.
    """
    kind = "exr" if data[:4] == b"\x76\x2f\x31\x01" else "hdr"
    width, height = _exr_size(data) if kind == "exr" else _hdr_size(data)
    if width != 2 * height or height < 8:
        why = f"has {width} x {height} pixels" if width else "is no Radiance .hdr or OpenEXR file"
        raise InputError(url, why, "Name maps of the whole sphere, twice as wide as high")
    if width * height > MAX_PIXELS:
        why = f"has {width} x {height} pixels, more than 4096 x 2048"
        raise InputError(url, why, "Reduce it; light and backdrop need no more than 1024 x 512")
    try:
        codec: Any = av.CodecContext.create(kind, "r")
        codec.thread_count, codec.options = 1, {"max_pixels": str(MAX_PIXELS)}
        frame = [*codec.decode(av.Packet(data)), *codec.decode(None)][0]
        if (frame.width, frame.height) != (width, height) or "gbr" not in frame.format.name:
            raise ValueError(f"{frame.width} x {frame.height} pixels as {frame.format.name}")
        planes = [_plane(frame, k) for k in (2, 0, 1)]
    except (av.error.FFmpegError, ValueError, IndexError) as error:
        remedy = "Save it as Radiance .hdr, or as .exr of the channels R, G, B in one part"
        raise InputError(url, f"cannot be decoded ({error or 'no picture'})", remedy) from error
    radiance = np.stack(planes, axis=2)
    return np.clip(np.nan_to_num(radiance, nan=0.0, posinf=0.0, neginf=0.0), 0.0, 6.0e4)


def _plane(frame: Any, index: int) -> Floats:
    if frame.format.name not in ("gbrpf32le", "gbrapf32le"):
        raise ValueError(f"pixels as {frame.format.name}")
    plane = frame.planes[index]
    rows = np.frombuffer(plane, np.float32).reshape(-1, plane.line_size // 4)
    return rows[: frame.height, : frame.width].copy()


def _hdr_size(data: bytes) -> tuple[int, int]:
    """Reads the resolution line of a Radiance file (Ward, "Real pixels", 1991); (0, 0) where there is none."""
    found = re.match(rb"#\?[^\n]*\n.{0,4000}?\n\n-Y (\d{1,6}) \+X (\d{1,6})\n", data[:8192], re.S)
    return (int(found[2]), int(found[1])) if found else (0, 0)


def _exr_size(data: bytes) -> tuple[int, int]:
    """Reads the data window of an OpenEXR file (its "Technical Introduction"); (0, 0) where there is none."""
    start = data.find(b"dataWindow\0box2i\0\x10\0\0\0", 8, 65536) + 21
    if start < 21 or len(data) < start + 16:
        return 0, 0
    x0, y0, x1, y1 = np.frombuffer(data, "<i4", 4, start).astype(int)
    return max(0, int(x1 - x0 + 1)), max(0, int(y1 - y0 + 1))


def directions(height: int) -> Array:
    """Returns the unit vectors (h, 2 h, 3) that a map's pixels look along."""
    up = np.pi / 2 - (np.arange(height) + 0.5) / height * np.pi
    turn = (np.arange(2 * height) + 0.5) / height * np.pi - np.pi
    flat = np.cos(up)[:, None]
    x, z = flat * np.cos(turn), flat * np.sin(turn)
    return np.stack([x, np.broadcast_to(np.sin(up)[:, None], x.shape), z], axis=-1)


def _solid_angles(height: int) -> Array:
    """Returns the solid angle (h, 1) of each row's pixels, sr."""
    edges = np.sin(np.pi / 2 - np.arange(height + 1) / height * np.pi)
    return np.asarray((edges[:-1] - edges[1:])[:, None] * np.pi / height)


def distil(radiance: Floats, name: str = "") -> Surroundings:
    """Takes the brightest light out of a map (h, 2 h, 3) and describes the rest by an irradiance polynomial."""
    if radiance.shape[0] > _KEPT_PX[1]:
        radiance = np.asarray(cv2.resize(radiance, _KEPT_PX, interpolation=cv2.INTER_AREA))
    small = radiance.astype(np.float64)
    if radiance.shape[0] > _ANALYSED_PX[1]:
        small = cv2.resize(radiance, _ANALYSED_PX, interpolation=cv2.INTER_AREA).astype(np.float64)
    ways, angles = directions(len(small)), _solid_angles(len(small))
    level = small @ LUMA
    upper = np.where(np.arcsin(ways[..., 1]) > _LOWEST_SUN, level, 0.0)
    peak = np.unravel_index(int(upper.argmax()), upper.shape)
    near = ways @ ways[peak] > np.cos(_SUN_CAP)
    around = float(np.median(level[near]))
    own = near & (upper > max(_SUN_SHARE * float(upper[peak]), 2.0 * around))
    # What the sky would be there without the sun stays with the rest.
    surplus = np.where(
        own[..., None], small * (1 - around / np.maximum(level, 1e-9))[..., None], 0.0
    )
    energy = np.maximum(surplus @ LUMA, 0.0) * angles
    total = float(energy.sum())
    direction = (ways * energy[..., None]).sum(axis=(0, 1)) if total > 0 else ways[peak].copy()
    direction /= np.linalg.norm(direction)
    apart = np.arccos(np.clip(ways @ direction, -1.0, 1.0))
    spread = float(np.sqrt((energy * apart**2).sum() / total)) if total > 0 else 0.0
    return Surroundings(
        name=name,
        panorama=_packed(radiance),
        direction=direction,
        sun=np.maximum((surplus * angles[..., None]).sum(axis=(0, 1)), 0.0) / np.pi,
        radius=float(np.sqrt(2.0)) * spread,
        ambient=harmonics(small - surplus),
    )


def _packed(radiance: Floats) -> NDArray[np.uint16]:
    """Stores a map in a quarter of the bytes, ready for `backdrop`, which reads across the seam."""
    root = np.sqrt(radiance) / np.float32(_STEP) + np.float32(0.5)
    whole = np.minimum(root, np.float32(65535.0)).astype(np.uint16)
    return np.concatenate([whole, whole[:, :2]], axis=1)


def harmonics(radiance: Array) -> Array:
    """Returns the irradiance polynomial (9, 3) of a map (h, 2 h, 3).

    Ramamoorthi & Hanrahan 2001, eq. 8-9: E_lm = A_l L_lm with A = pi, 2 pi / 3, pi / 4; here divided by pi.
    """
    ways, angles = directions(len(radiance)), _solid_angles(len(radiance))
    factors = np.array(
        [0.282095, *[0.488603] * 3, 1.092548, 1.092548, 0.315392, 1.092548, 0.546274]
    )
    lobes = np.array([1.0, *[2 / 3] * 3, *[1 / 4] * 5])
    weighted = (radiance * angles[..., None]).reshape(-1, 3)
    return np.asarray((lobes * factors**2)[:, None] * (basis(ways).reshape(-1, 9).T @ weighted))


_FIT = np.linalg.pinv(basis(ALL_ROUND))


def turned(polynomial: Array, turn: float) -> Array:
    """Turns an irradiance polynomial (9, 3) about the vertical, from X towards Z by `turn` rad; the fit is exact."""
    return np.asarray(_FIT @ basis(_turn(ALL_ROUND, -turn)) @ polynomial)


def _turn(vectors: Array, turn: float) -> Array:
    cos, sin = np.cos(turn), np.sin(turn)
    x, y, z = np.moveaxis(vectors, -1, 0)
    return np.stack([cos * x - sin * z, y, sin * x + cos * z], axis=-1)


def light_of(place: Surroundings, turn: float) -> tuple[Light, dict[str, Any]]:
    """Returns the light of a map turned by `turn` rad, and its description."""
    direction, ambient = _turn(place.direction, turn), turned(place.ambient, turn)
    on_floor = irradiance(ambient, np.array([0.0, 1.0, 0.0])) + place.sun * direction[1]
    exposure = _EXPOSURE / max(float(on_floor @ LUMA), 1e-6)
    light = Light(
        direction=direction,
        sun=place.sun,
        ambient=ambient,
        softness=float(np.clip(_SHADOW_M * np.tan(place.radius), 0.006, 0.12)),
        exposure=exposure,
    )
    azimuth, elevation = np.arctan2(direction[2], direction[0]), np.arcsin(direction[1])
    return light, {
        "hdri": place.name,
        "hdri_turn_deg": round(float(np.degrees(turn)), 1),
        "sun_azimuth_deg": round(float(np.degrees(azimuth)), 1),
        "sun_elevation_deg": round(float(np.degrees(elevation)), 1),
        "sun": round(float(place.sun @ LUMA * exposure), 3),
        "ambient": round(float(irradiance(ambient, np.array([0, 1.0, 0])) @ LUMA * exposure), 3),
        "softness_m": round(light.softness, 4),
    }


def backdrop(
    place: Surroundings, turn: float, light: Light, K: Array, T_cam_from_ground: Array, size: int
) -> Floats:
    """Returns what the camera sees of the map (S, S, 3), as exposed radiance.

    Below the horizon the map is laid on the floor as seen from where it was taken, up to a dome (as three.js'
    GroundedSkybox does it); so the ground stays under the feet wherever the camera stands.
    """
    rotation = T_cam_from_ground[:3, :3]
    eye = -rotation.T @ T_cam_from_ground[:3, 3]
    ray = _rays(K, rotation, size)
    way = _seen_from_tripod(ray, eye.astype(np.float32))
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    x, z = cos * way[0] + sin * way[2], cos * way[2] - sin * way[0]
    shape, (height, columns) = (size, size), place.panorama.shape[:2]
    # cv2.phase is good to 0.01 degrees, a thirtieth of the finest map's pixel, and ten times as fast as arctan2.
    east = np.asarray(cv2.phase(-x.reshape(shape), -z.reshape(shape)), np.float32)
    flat = np.sqrt(x * x + z * z).reshape(shape)
    down = np.asarray(cv2.phase(way[1].reshape(shape), flat), np.float32)
    u = east * np.float32((columns - 2) / (2 * np.pi)) - np.float32(0.5)
    u[u < 0] += np.float32(columns - 2)
    v = down * np.float32(height / np.pi) - np.float32(0.5)
    root = cv2.remap(place.panorama, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    level = root.astype(np.float32) * np.float32(_STEP * np.sqrt(light.exposure))
    return np.minimum(level * level, np.float32(6.0e4))


def _rays(K: Array, rotation: Array, size: int) -> Floats:
    """Returns the unit vectors (3, S * S), ground frame, along which the pixels of a camera look."""
    inverse = (rotation.T @ np.linalg.inv(K)).astype(np.float32)
    number = np.arange(size, dtype=np.float32)
    across, along = inverse[:, :1] * number + inverse[:, 2:], inverse[:, 1:2] * number
    ray = (across[:, None, :] + along[:, :, None]).reshape(3, -1)
    ray /= np.sqrt(ray[0] * ray[0] + ray[1] * ray[1] + ray[2] * ray[2])
    return ray


def _seen_from_tripod(ray: Floats, eye: Floats) -> Floats:
    """Returns the directions (3, n) in which the map shows what unit rays (3, n) from the eye (3) meet."""
    downwards = np.minimum(ray[1], np.float32(-1e-6))
    to_floor = -eye[1] / downwards
    along = ray.T @ eye
    to_dome = -along + np.sqrt(np.maximum(along**2 + np.float32(_DOME_M**2) - eye @ eye, 0.0))
    reach = np.where((ray[1] < 0) & (to_floor < to_dome), to_floor, to_dome)
    met = eye[:, None] + ray * reach
    met[1] -= np.float32(_CAPTURED_M)
    return met
