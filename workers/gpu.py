"""The OpenGL context of this thread and the objects that draw one picture size; made once, reused for every frame.

EGL without a window: Mesa's llvmpipe on a CPU, the driver on a GPU. A context survives neither a fork (it hangs) nor a
change of thread (it draws wrong pictures without a word), so both are refused.
"""

import os
import threading
from pathlib import Path
from typing import Any

import moderngl
import numpy as np

from schemas.errors import InputError
from workers.surfaces import TILE_PX, Texture

SHADERS = Path(__file__).parent / "shaders"
SHADOW_PX, HEIGHT_PX, LAYERS = 512, 128, 24
VERTEX = np.dtype(
    [
        ("in_position", "f4", 3),
        ("in_normal", "f4", 3),
        ("in_uv", "f4", 2),
        ("in_root", "u1", 3),
        ("in_part", "u1"),
        ("in_finish", "u1", 2),
        ("unused", "u1", 2),
    ]
)
_FORMATS = ("3f", "3f", "2f", "3f1", "1u1", "2u1", "2x")
"""Of the fields of `VERTEX`, as moderngl writes them."""
_CLIP_DISTANCE0 = 0x3000
"""GL's number, which moderngl does not name."""
CATCHER = 255
"""The roughness, of 255, that marks a shadow catcher."""
_PROGRAMS = {
    "textured": ("surface", "surface", ""),
    "plain": ("surface", "surface", "PLAIN"),
    # A program of its own: one that may discard costs every surface its early depth test.
    "holes": ("surface", "surface", "HOLES"),
    "depth": ("depth", "depth", ""),
    "resolve": ("screen", "resolve", ""),
}
"""Vertex shader, fragment shader, and what is defined for both."""
_SAMPLERS = (
    *("textures", "ambient_part", "sun_bare", "normal_rough", "depth", "photo"),
    *("shadow_map", "height_map"),
)
"""By the unit that they read."""
SURFACES = ("textured", "plain", "holes")
"""The programs that draw what is seen."""


class _Threads(threading.local):
    context: Any = None


_OWN = _Threads()
RENDERING_PROCESS: list[int] = []


def context() -> Any:
    """Returns this thread's GL context, made on first use: contexts survive neither fork nor a change of thread."""
    if RENDERING_PROCESS and RENDERING_PROCESS[0] != os.getpid():
        raise RuntimeError(
            "This process was forked from one that had already rendered, where OpenGL would hang. "
            "Start workers by spawn, or render only in the workers."
        )
    if _OWN.context is None:
        # llvmpipe's own threads cost more than they give at this size, and workers fill the cores already.
        os.environ.setdefault("LP_NUM_THREADS", "0")
        settings: Any = {"backend": "egl"}
        try:
            _OWN.context = moderngl.create_context(standalone=True, require=330, **settings)
        except Exception as error:
            raise InputError(
                "OpenGL",
                f"no context could be made without a window ({error})",
                "Install Mesa: apt-get install -y libegl1 libgl1 libgl1-mesa-dri "
                "(or run scripts/bootstrap.sh); in a GPU container allow the driver capability 'graphics'",
            ) from error
        RENDERING_PROCESS[:] = [os.getpid()]
    return _OWN.context


class Gpu:
    """The GL objects of one picture size; all made once, so that memory does not grow with the frames."""

    def __init__(self, size: int, rate: int) -> None:
        self.owner = threading.get_ident()
        self.ctx = ctx = context()
        # Row 0 is the picture's top, so the picture is upside down to GL, and its front faces run clockwise.
        ctx.front_face = "cw"
        self.size, self.rate, self.samples = size, rate, size * rate + (rate - 1)
        self.programs = {name: self._program(*kind) for name, kind in _PROGRAMS.items()}
        for program in self.programs.values():
            for unit, name in enumerate(_SAMPLERS):
                if name in program:
                    program[name].value = unit
        self.depth = ctx.depth_texture((self.samples, self.samples))
        self.depth.compare_func = ""
        self.depth.filter = (moderngl.NEAREST, moderngl.NEAREST)
        self.seen = self._targets(self.samples, ((4, "f1"),) * 3, self.depth)
        self.picture = self._targets(size, ((4, "f4"), (1, "f4")))
        self.shadow_map = ctx.depth_texture((SHADOW_PX, SHADOW_PX))
        self.shadow_map.compare_func = "<="
        self.height_map = ctx.depth_texture((HEIGHT_PX, HEIGHT_PX))
        self.height_map.compare_func = ""
        for texture in (self.shadow_map, self.height_map):
            texture.repeat_x = texture.repeat_y = False
            texture.filter = (moderngl.LINEAR, moderngl.LINEAR)
        self.shadow = ctx.framebuffer(depth_attachment=self.shadow_map)
        self.height = ctx.framebuffer(depth_attachment=self.height_map)
        self.photo = ctx.texture((size, size), 3, dtype="f2")
        self.photo.repeat_x = self.photo.repeat_y = False
        self.textures = ctx.texture_array((TILE_PX, TILE_PX, LAYERS), 4)
        # The samples of a pixel filter a texture well enough; bilinear taps would cost a fifth of the pass.
        self.textures.filter = (moderngl.NEAREST_MIPMAP_NEAREST, moderngl.NEAREST)
        self.layers: dict[str, int] = {}
        self._stale = False
        self._arrays()

    def _program(self, vertex: str, fragment: str, define: str) -> Any:
        def source(name: str) -> str:
            text = (SHADERS / f"{name}.glsl").read_text()
            return text.replace(
                "#version 330\n",
                f"#version 330\n#define {define}\n" if define else "#version 330\n",
            )

        return self.ctx.program(
            vertex_shader=source(f"{vertex}.vert"), fragment_shader=source(f"{fragment}.frag")
        )

    def _targets(self, size: int, kinds: tuple[tuple[int, str], ...], depth: Any = None) -> Any:
        textures = [self.ctx.texture((size, size), n, dtype=dtype) for n, dtype in kinds]
        for texture in textures:
            texture.filter = (moderngl.NEAREST, moderngl.NEAREST)
        return self.ctx.framebuffer(textures, depth)

    def _arrays(self) -> None:
        ctx, programs = self.ctx, self.programs
        self.vertices = ctx.buffer(reserve=VERTEX.itemsize * 32768)
        self.indices = ctx.buffer(reserve=12 * 65536)
        corners = ctx.buffer(np.array([-1, -1, 3, -1, -1, 3], "f4").tobytes())
        self.draw = {
            name: self._mesh(program) for name, program in programs.items() if name != "resolve"
        }
        self.resolve = ctx.vertex_array(programs["resolve"], [(corners, "2f", "in_corner")])

    def _mesh(self, program: Any) -> Any:
        """Returns the array that feeds a program with those fields of the vertices that it reads."""
        fields = list(zip(VERTEX.names or (), _FORMATS, strict=True))
        layout = [form if name in program else f"{VERTEX[name].itemsize}x" for name, form in fields]
        names = [name for name, _ in fields if name in program]
        return self.ctx.vertex_array(
            program, [(self.vertices, " ".join(layout), *names)], self.indices
        )

    def layer(self, texture: Texture) -> int:
        """Returns the layer that holds a texture; when all are taken, the longest unused gives way.

        `finish_textures` must follow before anything is drawn.
        """
        index = self.layers.pop(texture.name, None)
        if index is not None:
            self.layers[texture.name] = index
            return index
        full = len(self.layers) == LAYERS
        index = self.layers.pop(next(iter(self.layers))) if full else len(self.layers)
        self.layers[texture.name] = index
        pixels = np.full((TILE_PX, TILE_PX, 4), 255, np.uint8)
        pixels[..., : texture.pixels.shape[2]] = texture.pixels
        self.textures.write(pixels, viewport=(0, 0, index, TILE_PX, TILE_PX, 1))
        self._stale = True
        return index

    def finish_textures(self) -> None:
        """Shrinks what `layer` has written since; once for all, as GL only does all layers at a time."""
        if self._stale:
            self.textures.build_mipmaps()
            self._stale = False

    def check_owner(self) -> None:
        """Refuses to draw for any other thread or process than the one that made these objects."""
        if self.owner != threading.get_ident() or os.getpid() not in RENDERING_PROCESS:
            raise RuntimeError(
                "A renderer is used in another thread or process than the one it was first used in, where OpenGL "
                "would draw wrong pictures. Give every thread and process its own Renderer."
            )

    def clip(self, count: int) -> None:
        """Lets the first `count` clip distances of the vertex shaders count, of 4."""
        for i in range(4):
            (self.ctx.enable_direct if i < count else self.ctx.disable_direct)(_CLIP_DISTANCE0 + i)

    def run(self, program: str, start: int, stop: int) -> None:
        """Draws faces start … stop-1."""
        if stop > start:
            self.draw[program].render(
                moderngl.TRIANGLES, first=3 * start, vertices=3 * (stop - start)
            )

    def bind(self, **textures: Any) -> None:
        """Puts textures on the units that the samplers of their name read."""
        for name, texture in textures.items():
            texture.use(_SAMPLERS.index(name))

    def set(self, program: str, **uniforms: Any) -> None:
        """Sets uniforms; matrices are given in row order, as numpy has them. Unused ones are skipped."""
        for name, value in uniforms.items():
            member = self.programs[program].get(name, None)
            if member is None:
                continue
            if isinstance(value, np.ndarray):
                value = np.ascontiguousarray(value.T, "f4").tobytes()
            if isinstance(value, bytes):
                member.write(value)
            else:
                member.value = value
