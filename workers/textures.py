"""Paints the tiles of floors, walls and furniture: light patterns that multiply a surface's own colour.

Every tile repeats without a seam, is 512 x 512 sRGB, and depends on nothing but its name.
"""

import hashlib
from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.surfaces import Texture

PX = 512
Field = NDArray[np.float32]
"""(512, 512) of about 0..1."""


def _noise(rng: np.random.Generator, across: int, down: int) -> Field:
    """Smooth noise with `across` x `down` bumps per tile, mean 0, about -1..1."""
    grid = rng.uniform(-1, 1, (down, across)).astype(np.float32)
    wrapped = np.pad(grid, 2, mode="wrap")
    scale_x, scale_y = PX / across, PX / down
    size = (round(wrapped.shape[1] * scale_x), round(wrapped.shape[0] * scale_y))
    large = cv2.resize(wrapped, size, interpolation=cv2.INTER_CUBIC)
    top, left = round(2 * scale_y), round(2 * scale_x)
    return np.asarray(large[top : top + PX, left : left + PX], np.float32)


def _clouds(rng: np.random.Generator, bumps: int, octaves: int = 4) -> Field:
    """Fractal noise, mean 0, about -1..1."""
    total = np.zeros((PX, PX), np.float32)
    for octave in range(octaves):
        n = min(bumps << octave, PX)
        total += _noise(rng, n, n) * np.float32(0.5**octave)
    return total / np.float32(1.5)


def _grain(rng: np.random.Generator) -> Field:
    """Wood fibres along x."""
    fibres = 0.6 * _noise(rng, 8, 256) + 0.4 * _noise(rng, 4, 64)
    return np.asarray(fibres * (0.7 + 0.3 * _noise(rng, 4, 4)), np.float32)


def _courses(
    rng: np.random.Generator, rows: int, columns: int, shifted: float, gap: int
) -> tuple[Field, Field]:
    """Boards or bricks: (a random shade of each in -1..1, 1 on the joints), rows offset by `shifted` of a length."""
    y, x = np.mgrid[0:PX, 0:PX]
    height, length = PX // rows, PX // columns
    row = y // height
    along = x + (row * shifted * length).astype(int)
    column = (along // length) % columns
    shade = rng.uniform(-1, 1, (rows, columns)).astype(np.float32)[row, column]
    joint = (y % height < gap) | (along % length < gap)
    return shade, joint.astype(np.float32)


def _planks(rng: np.random.Generator) -> Field:
    shade, joint = _courses(rng, 8, 1, 0.37, 2)
    painted: Field = 0.80 + 0.12 * shade + 0.10 * _grain(rng) - 0.35 * joint
    return painted


def _tiles(rng: np.random.Generator) -> Field:
    shade, joint = _courses(rng, 4, 4, 0.0, 5)
    painted: Field = 0.88 + 0.04 * shade + 0.05 * _clouds(rng, 6) - 0.25 * joint
    return painted


def _bricks(rng: np.random.Generator) -> Field:
    shade, joint = _courses(rng, 8, 4, 0.5, 6)
    body = 0.72 + 0.14 * shade + 0.12 * _clouds(rng, 32, 3)
    return np.where(joint > 0, 0.95 + 0.05 * _clouds(rng, 64, 2), body)


def _mats(rng: np.random.Generator) -> Field:
    shade, joint = _courses(rng, 2, 2, 0.0, 3)
    painted: Field = 0.85 + 0.03 * shade + 0.08 * _noise(rng, 256, 256) - 0.3 * joint
    return painted


def _carpet(rng: np.random.Generator) -> Field:
    return np.asarray(
        0.78 + 0.16 * _noise(rng, 256, 256) + 0.08 * _noise(rng, 128, 128) + 0.07 * _clouds(rng, 5)
    )


def _concrete(rng: np.random.Generator) -> Field:
    return np.asarray(0.82 + 0.13 * _clouds(rng, 4, 6) + 0.04 * _noise(rng, 256, 256))


def _rubber(rng: np.random.Generator) -> Field:
    flecks = (_noise(rng, 200, 200) > 0.72).astype(np.float32)
    return 0.62 + 0.05 * _noise(rng, 256, 256) + 0.38 * flecks


def _grass(rng: np.random.Generator) -> Field:
    blades = 0.6 * _noise(rng, 256, 96) + 0.4 * _noise(rng, 128, 128)
    return 0.66 + 0.26 * blades + 0.14 * _clouds(rng, 6)


def _leaves(rng: np.random.Generator) -> Field:
    return np.asarray(0.62 + 0.34 * np.abs(_noise(rng, 40, 40)) + 0.2 * _noise(rng, 90, 90))


def _plaster(rng: np.random.Generator) -> Field:
    return np.asarray(0.93 + 0.03 * _clouds(rng, 4, 5) + 0.015 * _noise(rng, 256, 256))


def _stripes(rng: np.random.Generator) -> Field:
    stripe = (np.arange(PX) // 32 % 2).astype(np.float32)[None, :]
    return 0.84 + 0.12 * stripe + 0.03 * _clouds(rng, 6)


def _checks(rng: np.random.Generator) -> Field:
    y, x = np.mgrid[0:PX, 0:PX] // 128
    painted: Field = 0.6 + 0.36 * ((x + y) % 2) + 0.05 * _clouds(rng, 6)
    return painted


def _wood(rng: np.random.Generator) -> Field:
    return np.asarray(0.84 + 0.16 * _grain(rng))


def _cloth(rng: np.random.Generator) -> Field:
    return np.asarray(
        0.84 + 0.10 * _noise(rng, 256, 64) * _noise(rng, 64, 256) + 0.06 * _clouds(rng, 8)
    )


PAINTERS: dict[str, Callable[[np.random.Generator], Field]] = {
    "planks": _planks,
    "tiles": _tiles,
    "bricks": _bricks,
    "mats": _mats,
    "carpet": _carpet,
    "concrete": _concrete,
    "rubber": _rubber,
    "grass": _grass,
    "leaves": _leaves,
    "plaster": _plaster,
    "stripes": _stripes,
    "checks": _checks,
    "wood": _wood,
    "cloth": _cloth,
}
TILE_M = {
    "planks": 1.1,
    "tiles": 1.4,
    "bricks": 0.9,
    "mats": 1.2,
    "carpet": 0.8,
    "concrete": 3.0,
    "rubber": 0.9,
    "grass": 1.5,
    "leaves": 0.9,
    "plaster": 2.5,
    "stripes": 1.2,
    "checks": 1.6,
    "wood": 0.8,
    "cloth": 0.4,
}
"""Edge of each tile, metres."""


@lru_cache(maxsize=len(PAINTERS))
def tile(name: str) -> Texture:
    """Paints one of `PAINTERS`."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    rng = np.random.default_rng(seed)
    grey = np.clip(PAINTERS[name](rng), 0.0, 1.0)
    tint = 1.0 + 0.02 * np.stack([_clouds(rng, 3), _clouds(rng, 3), _clouds(rng, 3)], axis=2)
    pixels = np.clip(grey[..., None] * tint, 0.0, 1.0) * 255 + 0.5
    return Texture(name=name, pixels=pixels.astype(np.uint8))
