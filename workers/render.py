"""Renders people and scenery with OpenGL: colour, body part and depth of every pixel in one pass.

EGL without a window: Mesa's llvmpipe on a CPU, the driver on a GPU. Pixels obey `schemas.geometry`: a point whose
projection is (u, v) lies at the centre of column u, row v; the top-left centre is (0, 0). Lengths metres, ground frame
Y up, camera frame x right, y down, z forward. Light is linear until the last step, which encodes sRGB.

S picture edge in pixels; a frame of `rate` 2 holds 2 S + 1 samples per edge, of which pixel u is number 2 u + 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cv2
import moderngl
import numpy as np
from numpy.typing import NDArray

from workers.gpu import CATCHER, SHADOW_PX, VERTEX, Gpu
from workers.surfaces import Floats, Surface, Texture, vertex_normals

Array = NDArray[np.float64]
NEAR, FAR = 0.1, 80.0
"""Clip planes along the camera axis, metres."""


@dataclass(frozen=True, kw_only=True)
class Light:
    """One distant sun and a sky. Colours are linear RGB; 1 on a white wall is about full white."""

    direction: Array
    """(3,) unit vector towards the sun, ground frame."""
    sun: Array
    """(3,) irradiance of a surface that faces the sun."""
    sky: Array
    """(3,) irradiance of a surface that faces up, from everything but the sun."""
    bounce: Array
    """(3,) irradiance of a surface that faces down: what the floor throws back."""
    softness: float = 0.02
    """Radius of the shadow's blur, metres."""
    exposure: float = 0.8
    horizon: tuple[float, float, float] = (0.75, 0.82, 0.9)
    """Linear colour of the open sky at eye level, where no wall or photograph hides it."""
    zenith: tuple[float, float, float] = (0.2, 0.42, 0.8)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What the camera sees; (S, S) each, row 0 on top."""

    rgb: NDArray[np.uint8]
    """(S, S, 3) sRGB."""
    part: NDArray[np.uint8]
    """0 scenery, 255 occluder, else 1 + OpenSim body index, of what lies at the pixel's centre."""
    depth: Floats
    """Metres along the camera's axis at the pixel's centre; inf where nothing is."""


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


def _ortho(axes: Array, points: Array, margin: float) -> tuple[Array, Array]:
    """Fits a parallel projection to points (n, 3): rows of `axes` (3, 3) are its right, down and forward.

    Returns (clip_from_ground (4, 4), edges of the fitted box (3) m).
    """
    along = points @ axes.T
    low, high = along.min(axis=0) - margin, along.max(axis=0) + margin
    T = np.eye(4)
    T[:3, :3] = axes * (2 / (high - low))[:, None]
    T[:3, 3] = -(high + low) / (high - low)
    return T, high - low


def shadow_camera(to_sun: Array, casters: Array) -> tuple[Array, Array]:
    """Returns (clip_from_ground (4, 4) of the sun's view of the casters (n, 3), its width and height (2) m)."""
    forward = -to_sun / np.linalg.norm(to_sun)
    side = np.cross(forward, [0.0, 0.0, 1.0] if abs(forward[2]) < 0.9 else [1.0, 0.0, 0.0])
    side /= np.linalg.norm(side)
    T, edges = _ortho(np.stack([side, np.cross(forward, side), forward]), casters, 0.05)
    return T, edges[:2]


def height_camera(casters: Array) -> tuple[Array, Array, Array]:
    """Returns (clip_from_ground, (scale, u0, v0) of map uv = scale xz + (u0, v0), heights at depth 0 and 1).

    It looks straight down, square, and reaches 0.7 m beyond the casters, so that the border is always empty.
    """
    low, high = casters.min(axis=0), casters.max(axis=0)
    centre, half = (low + high) / 2, float((high - low)[[0, 2]].max()) / 2 + 0.7
    top, bottom = float(high[1]) + 0.01, float(low[1]) - 0.01
    T = np.zeros((4, 4))
    T[0, 0], T[0, 3] = 1 / half, -centre[0] / half
    T[1, 2], T[1, 3] = 1 / half, -centre[2] / half
    T[2, 1], T[2, 3] = -2 / (top - bottom), (top + bottom) / (top - bottom)
    T[3, 3] = 1.0
    uv = np.array([0.5 / half, 0.5 - 0.5 * centre[0] / half, 0.5 - 0.5 * centre[2] / half, 0.0])
    return T, uv, np.array([top, bottom])


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """All surfaces in one vertex and one index array, in runs: cut-outs, two-sided, one-sided; casters between."""

    vertices: NDArray[Any]
    faces: NDArray[np.uint32]
    holes: int
    """Faces 0 … are cut out by their texture."""
    two_sided: int
    """Faces 0 … are seen from both sides, the rest from outside only."""
    casters: slice
    """Faces that throw shadows."""
    casting: Array
    """(n, 3) their vertices."""


def _pack(surfaces: Sequence[Surface], layer: Callable[[Texture | None], int]) -> _Batch:
    # A stable order: within a run the caller's, who names the person first, which spares shading what it hides.
    surfaces = [replace(s, two_sided=True, casts=False) if s.holes else s for s in surfaces]
    ordered = sorted(surfaces, key=lambda s: (not s.holes, not s.two_sided, s.casts == s.two_sided))
    vertices = np.zeros(sum(len(s.vertices) for s in ordered), VERTEX)
    faces, start = [], 0
    for surface in ordered:
        rows = vertices[start : start + len(surface.vertices)]
        rows["in_position"] = surface.vertices
        given = surface.normals
        rows["in_normal"] = (
            vertex_normals(surface.vertices, surface.faces) if given is None else given
        )
        rows["in_uv"] = 0.0 if surface.uv is None else surface.uv
        rows["in_colour"] = np.clip(surface.colours, 0, 1) * 255 + 0.5
        rows["in_part"] = surface.parts
        rough = CATCHER if surface.catcher else min(round(surface.roughness * 255), CATCHER - 1)
        rows["in_finish"] = (layer(surface.texture), rough)
        faces.append(surface.faces.astype(np.uint32) + np.uint32(start))
        start += len(surface.vertices)
    before = sum(len(s.faces) for s in ordered if s.two_sided and not s.casts)
    casting = [s for s in ordered if s.casts]
    return _Batch(
        vertices=vertices,
        faces=np.concatenate(faces),
        holes=sum(len(s.faces) for s in ordered if s.holes),
        two_sided=sum(len(s.faces) for s in ordered if s.two_sided),
        casters=slice(before, before + sum(len(s.faces) for s in casting)),
        casting=np.concatenate([np.zeros((1, 3)), *(s.vertices for s in casting)]),
    )


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
        background: NDArray[np.uint8] | None,
    ) -> Picture:
        """Draws one picture.

        Args:
            surfaces: what stands in the ground frame.
            K: (3, 3) pinhole intrinsics, px; the principal point may lie anywhere.
            T_cam_from_ground: (4, 4) camera pose.
            light: sun and sky; the sky is also the backdrop where `background` is None.
            background: (h, w, 3) sRGB picture that fills the frame behind everything, stretched to it.

        Raises:
            InputError: there is no OpenGL on this machine.
            RuntimeError: called from another thread or a forked process.
        """
        gpu = self._gpu()
        batch = _pack(surfaces, gpu.layer)
        gpu.finish_textures()
        for buffer, data in ((gpu.vertices, batch.vertices), (gpu.indices, batch.faces)):
            if buffer.size < data.nbytes:
                buffer.orphan(2 * data.nbytes)
            buffer.write(data)
        if background is not None:
            gpu.photo.write(_fitted(background, gpu.size))
        _draw_maps(gpu, batch, light)
        _draw_frame(gpu, batch, K, T_cam_from_ground, has_photo=background is not None)
        return _read(gpu)


def _fitted(background: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Stretches a picture to the frame, by area where it shrinks."""
    if background.shape[:2] == (size, size):
        return np.ascontiguousarray(background)
    shrinks = min(background.shape[:2]) > size
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(background, (size, size), interpolation=how), np.uint8)


def _draw_maps(gpu: Gpu, batch: _Batch, light: Light) -> None:
    to_sun = np.asarray(light.direction, np.float64)
    shadow, edges = shadow_camera(to_sun, batch.casting)
    texel = float(edges.max()) / SHADOW_PX
    height, uv, heights = height_camera(batch.casting)
    for target, matrix in ((gpu.shadow, shadow), (gpu.height, height)):
        target.use()
        target.clear(depth=1.0)
        gpu.set("depth", map_from_ground=matrix)
        gpu.ctx.enable_only(moderngl.DEPTH_TEST)
        gpu.run(gpu.draw_depth, batch.casters.start, min(batch.two_sided, batch.casters.stop))
        gpu.ctx.enable_only(moderngl.DEPTH_TEST | moderngl.CULL_FACE)
        gpu.run(gpu.draw_depth, max(batch.two_sided, batch.casters.start), batch.casters.stop)
    gpu.set(
        "visible",
        shadow_from_ground=shadow,
        texel_m=texel,
        penumbra=np.maximum(light.softness / edges, 1.5 / SHADOW_PX),
        heights_from_ground=uv,
        height_range=heights,
        to_sun=to_sun,
    )
    gpu.set(
        "shade",
        to_sun=to_sun,
        sun=light.sun,
        sky=light.sky,
        bounce=light.bounce,
        horizon=light.horizon,
        zenith=light.zenith,
        exposure=light.exposure,
    )


def _draw_frame(
    gpu: Gpu, batch: _Batch, K: Array, T_cam_from_ground: Array, *, has_photo: bool
) -> None:
    P = clip_from_camera(K, gpu.size, gpu.rate)
    rotation = T_cam_from_ground[:3, :3]
    gpu.seen.use()
    gpu.seen.clear(depth=1.0)
    gpu.bind(textures=gpu.textures)
    for program in ("surface", "holes"):
        gpu.set(program, clip_from_ground=P @ T_cam_from_ground)
    gpu.ctx.enable_only(moderngl.DEPTH_TEST)
    gpu.run(gpu.draw, batch.holes, batch.two_sided)
    gpu.ctx.enable_only(moderngl.DEPTH_TEST | moderngl.CULL_FACE)
    gpu.run(gpu.draw, batch.two_sided, len(batch.faces))
    gpu.ctx.enable_only(moderngl.DEPTH_TEST)
    gpu.run(gpu.draw_holes, 0, batch.holes)
    gpu.ctx.enable_only(moderngl.NOTHING)

    albedo_rough, normal_part, depth = gpu.seen.color_attachments
    ray_from_corner = rotation.T @ np.linalg.inv(P[[0, 1, 3], :3])
    gpu.reached.use()
    gpu.bind(
        normal_part=normal_part, depth=depth, shadow_map=gpu.shadow_map, height_map=gpu.height_map
    )
    gpu.set(
        "visible",
        eye=-rotation.T @ T_cam_from_ground[:3, 3],
        ray_from_corner=ray_from_corner,
        rate=gpu.rate,
        samples=(float(gpu.samples),) * 2,
    )
    gpu.visible.render(moderngl.TRIANGLES)

    (reached,) = gpu.reached.color_attachments
    gpu.lit.use()
    gpu.bind(
        albedo_rough=albedo_rough,
        normal_part=normal_part,
        depth=depth,
        reached=reached,
        photo=gpu.photo,
    )
    gpu.set("shade", ray_from_corner=ray_from_corner, has_photo=float(has_photo), rate=gpu.rate)
    gpu.shade.render(moderngl.TRIANGLES)

    gpu.picture.use()
    gpu.bind(lit=gpu.lit.color_attachments[0], normal_part=normal_part, depth=depth)
    gpu.set("resolve", rate=gpu.rate)
    gpu.resolve.render(moderngl.TRIANGLES)


def _read(gpu: Gpu) -> Picture:
    rgb_part, depth = (texture.read() for texture in gpu.picture.color_attachments)
    pixels = np.frombuffer(rgb_part, np.uint8).reshape(gpu.size, gpu.size, 4)
    return Picture(
        rgb=pixels[..., :3].copy(),
        part=pixels[..., 3].copy(),
        depth=np.frombuffer(depth, np.float32).reshape(gpu.size, gpu.size),
    )
