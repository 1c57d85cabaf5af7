"""Renders people and scenery with OpenGL: light, body part and depth of every pixel.

EGL without a window: Mesa's llvmpipe on a CPU, the driver on a GPU. Pixels obey `schemas.geometry`: a point whose
projection is (u, v) lies at the centre of column u, row v; the top-left centre is (0, 0). Lengths metres, ground frame
Y up, camera frame x right, y down, z forward. Light is linear; `workers.film` makes a picture of it.

S picture edge in pixels. A frame of `rate` 2 has samples at all pixels' centres and corners. These lie on a square
lattice that is turned by 45 degrees, so the picture is drawn as a diamond in a frame of 2 S + 1 samples an edge: sample
(a, b) lies at u = (a - b + S - 1) / 2, v = (a + b - S - 1) / 2, in pixels; half of the frame stays empty.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import cv2
import moderngl
import numpy as np
from numpy.typing import NDArray

from workers import film
from workers.coarse import coarser
from workers.gpu import CATCHER, SHADOW_PX, SURFACES, VERTEX, Gpu
from workers.light import LUMA, Light, irradiance
from workers.maps import height_camera, shadow_camera
from workers.surfaces import Floats, Normals, Surface, Texture

Array = NDArray[np.float64]
NEAR, FAR = 0.1, 80.0
"""Clip planes along the camera axis, metres."""
_REMEMBERED = 4000
"""Faces of a mesh that is worth remembering from frame to frame; scenery is smaller and new every time."""
_ROOTS = np.rint(255.0 * np.sqrt(film.from_srgb(np.arange(256) / 255.0))).astype(np.uint8)
_ENOUGH_M = 0.005
"""Thinned faces are enough where a pixel is larger than this."""
_FEW = 200
"""Faces of what a person wears (it brings its normals) that throw its shadow as they are."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What the camera sees; (S, S) each, row 0 on top."""

    radiance: Floats
    """(S, S, 3) linear light, exposed as `Light.exposure` says."""
    part: NDArray[np.uint8]
    """0 scenery, 255 occluder, else 1 + OpenSim body index, of what lies at the pixel's centre."""
    depth: Floats
    """Metres along the camera's axis at the pixel's centre; inf where nothing is."""

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """(S, S, 3) sRGB, as a perfect camera would store it."""
        return film.picture_of(self.radiance)


def clip_from_camera(K: Array, size: int, rate: int) -> Array:
    """Returns the GL projection (4, 4) that puts pixel (u, v) on sample (rate u + rate - 1, …), row 0 at clip y -1.

    GL's sample i has its centre at i + 1/2 of `samples`, and spans clip -1..1: x_clip / w = 2 (i + 1/2) / samples - 1.
    """
    samples = size * rate + (rate - 1)
    scale = 2.0 * rate / samples
    shift = 2.0 * (rate - 0.5) / samples - 1.0
    P = np.zeros((4, 4))
    P[:2, :3] = scale * K[:2]
    P[:2, 2] += shift
    P[2, 2:] = (FAR + NEAR) / (FAR - NEAR), -2 * FAR * NEAR / (FAR - NEAR)
    P[3, 2] = 1.0
    return P


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """All surfaces in one vertex and one index array, kind by kind; then what throws shadows."""

    vertices: NDArray[Any]
    faces: NDArray[np.uint32]
    ends: tuple[int, ...]
    """How many faces there are up to the end of each kind of `_KINDS`."""
    casters_two_sided: int
    """How many of the faces that throw shadows do so with both sides."""
    casting: Floats
    """(3, n) vertices that throw shadows."""

    @property
    def seen(self) -> int:
        """How many faces are seen; the rest throw shadows."""
        return self.ends[-1]


_TURNED = np.eye(4)
_TURNED[:2, :2] = (0.5, 0.5), (-0.5, 0.5)
"""From the picture's clip coordinates to the diamond's."""
_KINDS = ("holes", "two-sided textured", "two-sided plain", "plain", "textured")


def _kind(surface: Surface) -> int:
    """Returns the place in `_KINDS`: what is drawn with one program lies together."""
    if surface.holes:
        return 0
    if surface.two_sided:
        return 2 if surface.texture is None else 1
    return 3 if surface.texture is None else 4


def _pack(surfaces: Sequence[Surface], layer: Callable[[Texture], int]) -> _Batch:
    # A stable order: within a run the caller's, who names the person first, which spares shading what it hides.
    surfaces = [replace(s, two_sided=True, casts=False) if s.holes else s for s in surfaces]
    ordered = sorted(surfaces, key=_kind)
    sizes = [len(s.vertices) for s in ordered]
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.uint32)
    vertices = np.zeros(int(starts[-1]), VERTEX)
    faces = [s.faces.astype(np.uint32) + start for s, start in zip(ordered, starts, strict=False)]
    for surface, start, count in zip(ordered, starts, sizes, strict=False):
        rows = vertices[start : start + count]
        rows["in_position"] = surface.vertices
        if surface.uv is not None:
            rows["in_uv"] = surface.uv
        rows["in_root"] = _roots(surface.colours)
        rows["in_part"] = surface.parts
        rough = CATCHER if surface.catcher else min(round(surface.roughness * 255), CATCHER - 1)
        rows["in_finish"] = (0 if surface.texture is None else layer(surface.texture), rough)
        if surface.normals is not None:
            rows["in_normal"] = surface.normals
        elif len(surface.faces) > _REMEMBERED:
            faces_of = np.ascontiguousarray(surface.faces, np.int32)
            rows["in_normal"] = _normals(faces_of.tobytes(), count)(surface.vertices)
    unknown = zip(ordered, faces, strict=True)
    _scenery_normals(
        vertices, [f for s, f in unknown if s.normals is None and len(f) <= _REMEMBERED]
    )
    casting = [(s, k) for k, s in enumerate(ordered) if s.casts]
    throwing = [_coarse(s, faces[k], starts[k]) for s, k in casting]
    return _Batch(
        vertices=vertices,
        faces=np.concatenate([*faces, *throwing]),
        ends=tuple(
            sum(len(s.faces) for s in ordered if _kind(s) <= kind) for kind in range(len(_KINDS))
        ),
        casters_two_sided=sum(
            len(f) for f, (s, _) in zip(throwing, casting, strict=True) if s.two_sided
        ),
        casting=np.ascontiguousarray(
            np.concatenate([np.zeros((1, 3), np.float32), *(s.vertices for s, _ in casting)]).T
        ),
    )


def _roots(colours: Floats) -> NDArray[np.uint8]:
    """Returns the square roots, of 255, of the linear light of sRGB colours (v, 3) in 0..1."""
    levels = colours * np.float32(255)
    levels += np.float32(0.5)
    np.clip(levels, 0.0, 255.0, out=levels)
    return np.asarray(_ROOTS.take(levels.astype(np.uint8)))


def _thinned(surface: Surface, K: Array, T_cam_from_ground: Array) -> Surface:
    """Returns a surface with the faces that are enough for what the camera sees of it."""
    if surface.thinned is None:
        return surface
    nearest = float((surface.vertices @ T_cam_from_ground[2, :3].astype(np.float32)).min())
    pixel_m = (nearest + T_cam_from_ground[2, 3]) / max(K[0, 0], K[1, 1])
    return replace(surface, faces=surface.thinned) if pixel_m > _ENOUGH_M else surface


def _coarse(surface: Surface, faces: NDArray[np.uint32], start: np.uint32) -> NDArray[np.uint32]:
    """Returns the faces by which a surface throws its shadow."""
    if len(faces) <= (_REMEMBERED if surface.normals is None else _FEW):
        return faces
    return coarser(surface.faces, len(surface.vertices)).astype(np.uint32) + start


@lru_cache(maxsize=8)
def _normals(faces: bytes, count: int) -> Normals:
    return Normals(np.frombuffer(faces, np.int32).reshape(-1, 3), count)


def _scenery_normals(vertices: NDArray[Any], faces: list[NDArray[np.uint32]]) -> None:
    """Writes area-weighted normals of all small meshes at once; the shaders normalise them."""
    if not faces:
        return
    corners = np.concatenate(faces)
    points, owner = np.ascontiguousarray(vertices["in_position"].T), corners.T.ravel()
    (ax, bx, cx), (ay, by, cy), (az, bz, cz) = points[:, corners.T]
    px, py, pz, qx, qy, qz = bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az
    across = (py * qz - pz * qy, pz * qx - px * qz, px * qy - py * qx)
    sums = [np.bincount(owner, np.tile(part, 3), points.shape[1]) for part in across]
    normals = np.stack(sums, axis=1)
    lengths = np.sqrt(np.einsum("vi,vi->v", normals, normals))
    own = np.flatnonzero(lengths)
    vertices["in_normal"][own] = normals[own] / lengths[own, None]


class Renderer:
    """Draws square pictures; costs nothing until its first use, and belongs to the thread of that use.

    The same inputs give the same bytes in any process on the same `backend_name`.
    """

    def __init__(self, size_px: int, *, supersample: bool = True) -> None:
        self.size_px, self._rate = size_px, 2 if supersample else 1

    @cached_property
    def _made(self) -> Gpu:
        return Gpu(self.size_px, self._rate)

    def _gpu(self) -> Gpu:
        gpu = self._made
        gpu.check_owner()
        return gpu

    @property
    def backend_name(self) -> str:
        """What draws, for provenance: GL renderer and version; pixels agree only between equal backends."""
        info = self._gpu().ctx.info
        return f"{info['GL_RENDERER']}; OpenGL {info['GL_VERSION']}"

    def render(
        self,
        surfaces: Sequence[Surface],
        K: Array,
        T_cam_from_ground: Array,
        light: Light,
        background: NDArray[np.uint8] | Floats | None,
    ) -> Picture:
        """Draws one picture.

        Args:
            surfaces: what stands in the ground frame.
            K: (3, 3) pinhole intrinsics, px; the principal point may lie anywhere.
            T_cam_from_ground: (4, 4) camera pose.
            light: sun and sky; its open sky is the backdrop where `background` is None.
            background: fills the frame behind everything, stretched to it: (h, w, 3) an sRGB picture, or radiance
                exposed as the light says.

        Raises:
            InputError: there is no OpenGL on this machine.
            RuntimeError: called from another thread or a forked process.
        """
        gpu = self._gpu()
        batch = _pack([_thinned(s, K, T_cam_from_ground) for s in surfaces], gpu.layer)
        gpu.finish_textures()
        for buffer, data in ((gpu.vertices, batch.vertices), (gpu.indices, batch.faces)):
            if buffer.size < data.nbytes:
                buffer.orphan(2 * data.nbytes)
            buffer.write(data)
        if background is not None:
            gpu.photo.write(_fitted(background, gpu.size))
        _draw_maps(gpu, batch, light)
        _draw_surfaces(gpu, batch, K, T_cam_from_ground, light)
        _light_frame(gpu, K, T_cam_from_ground, light, has_photo=background is not None)
        return _read(gpu)


def _fitted(background: NDArray[np.uint8] | Floats, size: int) -> NDArray[np.float16]:
    """Stretches a picture to the frame, by area where it shrinks, and returns its radiance."""
    if background.shape[:2] != (size, size):
        shrinks = min(background.shape[:2]) > size
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        resized: Any = cv2.resize(background, (size, size), interpolation=how)
        background = resized
    if background.dtype == np.uint8:
        return np.ascontiguousarray(film.radiance_of(background.astype(np.uint8)))
    return np.ascontiguousarray(background, np.float16)


def _draw_maps(gpu: Gpu, batch: _Batch, light: Light) -> None:
    to_sun = np.asarray(light.direction, np.float64)
    shadow, edges = shadow_camera(to_sun, batch.casting)
    height, uv, heights = height_camera(batch.casting)
    for target, matrix in ((gpu.shadow, shadow), (gpu.height, height)):
        target.use()
        target.clear(depth=1.0)
        gpu.set("depth", map_from_ground=matrix)
        gpu.ctx.enable_only(moderngl.DEPTH_TEST)
        gpu.run("depth", batch.seen, batch.seen + batch.casters_two_sided)
        gpu.ctx.enable_only(moderngl.DEPTH_TEST | moderngl.CULL_FACE)
        gpu.run("depth", batch.seen + batch.casters_two_sided, len(batch.faces))
    gpu.set(
        "resolve",
        shadow_from_ground=shadow,
        texel_m=float(edges.max()) / SHADOW_PX,
        penumbra=np.maximum(light.softness / edges, 1.5 / SHADOW_PX),
        heights_from_ground=uv,
        height_range=heights,
    )


def _draw_surfaces(
    gpu: Gpu, batch: _Batch, K: Array, T_cam_from_ground: Array, light: Light
) -> None:
    clip_from_ground = clip_from_camera(K, gpu.size, gpu.rate) @ T_cam_from_ground
    if gpu.rate == 2:
        clip_from_ground = _TURNED @ clip_from_ground
    gpu.seen.use()
    gpu.seen.clear(1.0, 1.0, 1.0, 1.0, depth=1.0)
    gpu.bind(textures=gpu.textures)
    for program in SURFACES:
        gpu.set(
            program,
            clip_from_ground=clip_from_ground,
            turned=int(gpu.rate == 2),
            to_sun=light.direction,
            sun=light.sun / max(float(light.sun.max()), 1e-6),
            ambient=(light.ambient / light.white).T,
            side=1.0,
        )
    holes, textured, two_sided, plain, seen = batch.ends
    gpu.ctx.enable_only(moderngl.DEPTH_TEST | moderngl.CULL_FACE)
    gpu.clip(4)
    gpu.run("textured", holes, textured)
    gpu.run("plain", textured, plain)
    gpu.run("textured", plain, seen)
    gpu.run("holes", 0, holes)
    if two_sided:
        for program in SURFACES:
            gpu.set(program, side=-1.0)
        gpu.ctx.cull_face = "front"
        gpu.run("textured", holes, textured)
        gpu.run("plain", textured, two_sided)
        gpu.run("holes", 0, holes)
        gpu.ctx.cull_face = "back"
    gpu.clip(0)


def _light_frame(
    gpu: Gpu, K: Array, T_cam_from_ground: Array, light: Light, *, has_photo: bool
) -> None:
    rotation = T_cam_from_ground[:3, :3]
    P = clip_from_camera(K, gpu.size, gpu.rate)
    ray_from_corner = rotation.T @ np.linalg.inv(P[[0, 1, 3], :3])
    ambient_part, sun_bare, normal_rough = gpu.seen.color_attachments
    mirror_white = light.sun + light.white
    gpu.ctx.enable_only(moderngl.NOTHING)
    gpu.picture.use()
    gpu.bind(
        ambient_part=ambient_part,
        sun_bare=sun_bare,
        normal_rough=normal_rough,
        depth=gpu.depth,
        shadow_map=gpu.shadow_map,
        height_map=gpu.height_map,
        photo=gpu.photo,
    )
    on_floor = irradiance(light.ambient, np.array([0.0, 1.0, 0.0]))
    from_sun = light.sun * max(float(light.direction[1]), 0.0)
    gpu.set(
        "resolve",
        eye=-rotation.T @ T_cam_from_ground[:3, 3],
        to_sun=light.direction,
        sun_level=float(light.sun @ LUMA / (mirror_white @ LUMA)),
        level=light.ambient @ LUMA / (mirror_white @ LUMA),
        samples=float(gpu.samples),
        floor_ambient=on_floor / (on_floor + from_sun),
        floor_sun=from_sun / (on_floor + from_sun),
        ray_from_corner=ray_from_corner,
        ambient_white=light.white,
        sun_white=np.full(3, max(float(light.sun.max()), 1e-6)),
        mirror_white=mirror_white,
        exposure=light.exposure,
        horizon=film.untone(light.horizon),
        zenith=film.untone(light.zenith),
        has_photo=float(has_photo),
        planes=(NEAR, FAR),
        rate=gpu.rate,
    )
    gpu.resolve.render(moderngl.TRIANGLES)


def _read(gpu: Gpu) -> Picture:
    radiance_part, depth = (texture.read() for texture in gpu.picture.color_attachments)
    shape = (gpu.size, gpu.size)
    pixels = np.frombuffer(radiance_part, np.float32).reshape(*shape, 4)
    return Picture(
        radiance=np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB), np.float32),
        part=(pixels[..., 3] * np.float32(255.0) + np.float32(0.5)).astype(np.uint8),
        depth=np.frombuffer(depth, np.float32).reshape(shape),
    )
