"""Puts things and people into a place: along its walls, or scattered over open ground, never in the way.

A place has a frame of its own: a vertical axis through its middle, turned against the ground frame and moved. Metres.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from workers.props import Maker
from workers.surfaces import SCENERY, Floats, Surface, merge, place

Array = NDArray[np.float64]
CLEAR_M = 1.3
"""Furniture stands no nearer to the person."""
_GUEST_CLEAR_M = 0.8
_VARIANTS = 32
_TRIES = 10


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where things may stand, and what must stay free."""

    halves: Array
    """(2,) half its width and depth."""
    offset: Array
    """(2,) its middle in the turned frame about the person's place."""
    turn: float
    eye: Array | None
    """(3,) the camera, ground frame, where there is one yet."""

    def to_ground(self, thing: Surface) -> Surface:
        """Moves a mesh from the place's own frame to the ground frame."""
        shift = np.array([self.offset[0], 0.0, self.offset[1]])
        return place(place(thing, at=shift), at=np.zeros(3), turn=self.turn)

    def inside(self, xz: Array) -> Array:
        """Moves a point (2,) of the ground frame into the place's own."""
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        turned = np.array([cos * xz[0] - sin * xz[1], sin * xz[0] + cos * xz[1]])
        return turned - self.offset

    def blocks(self, footprint: Floats, clear: float = CLEAR_M) -> bool:
        """True if a footprint (n, 2), own frame, is on the person's place or in the wedge before the camera."""
        from_person = footprint + self.offset
        if float((from_person**2).sum(axis=1).min()) < clear**2:
            return True
        if self.eye is None:
            return False
        camera = self.inside(self.eye[[0, 2]]) + self.offset
        ahead = camera / np.linalg.norm(camera)
        forward = from_person @ ahead
        aside = np.abs(from_person @ np.array([-ahead[1], ahead[0]]))
        # The picture is widest at the person; a wedge twice as wide at the camera keeps near things out too.
        return bool(np.any((forward > -0.3) & (aside < 1.2 + 0.1 * forward)))


def stocked(maker: Maker, part: int, rng: np.random.Generator) -> Surface:
    """Draws one of the things that a maker has made before: building one anew costs as much as drawing it."""
    return _stock(maker, part, int(rng.integers(_VARIANTS)))


@lru_cache(maxsize=2048)
def _stock(maker: Maker, part: int, variant: int) -> Surface:
    seed = int.from_bytes(hashlib.sha256(maker.__name__.encode()).digest()[:8], "big")
    return maker(np.random.default_rng([seed, variant]), part)


def along_walls(
    where: Place, makers: Sequence[Maker], count: int, rng: np.random.Generator
) -> list[Surface]:
    """Returns up to `count` things before the walls, as one mesh in the place's own frame."""
    standing: list[Surface] = []
    taken: list[tuple[Floats, Floats]] = []
    for _ in range(count):
        thing = stocked(makers[int(rng.integers(len(makers)))], SCENERY, rng)
        side, along = int(rng.integers(4)), float(rng.uniform(-0.85, 0.85))
        depth = float(np.ptp(thing.vertices[:, 2]))
        away = max(float(where.halves[side % 2]) - depth / 2 - rng.uniform(0.05, 0.5), 0.0)
        spot = np.array([along * float(where.halves[1 - side % 2]), 0.0, -away])
        thing = place(thing, at=spot, turn=rng.uniform(-0.15, 0.15))
        _stand(place(thing, at=np.zeros(3), turn=side * np.pi / 2), where, standing, taken)
    return _joined(standing)


def scattered(
    where: Place, makers: Sequence[Maker], count: int, rng: np.random.Generator
) -> list[Surface]:
    """Returns up to `count` things anywhere on the ground, as one mesh in the place's own frame."""
    standing: list[Surface] = []
    taken: list[tuple[Floats, Floats]] = []
    for _ in range(count):
        thing = stocked(makers[int(rng.integers(len(makers)))], SCENERY, rng)
        x, z = rng.uniform(-1.0, 1.0, 2) * where.halves
        turned = place(thing, at=np.array([x, 0.0, z]), turn=rng.uniform(-np.pi, np.pi))
        _stand(turned, where, standing, taken)
    return _joined(standing)


def _stand(
    thing: Surface, where: Place, standing: list[Surface], taken: list[tuple[Floats, Floats]]
) -> None:
    """Adds a thing where it is in nobody's way."""
    footprint = thing.vertices[:, [0, 2]]
    low, high = footprint.min(axis=0), footprint.max(axis=0)
    free = all((low > top).any() or (high < bottom).any() for bottom, top in taken)
    if free and not where.blocks(footprint):
        standing.append(thing)
        taken.append((low, high))


def _joined(standing: list[Surface]) -> list[Surface]:
    return [replace(merge(standing, "furniture"), roughness=0.6)] if standing else []


def behind(
    where: Place, figures: Sequence[Sequence[Surface]], rng: np.random.Generator
) -> tuple[list[Surface], int]:
    """Puts figures that stand about the origin where the camera sees them past the person; those that fit.

    Returns what they are drawn with, ground frame, and how many there are. Without a camera none fits.
    """
    if where.eye is None:
        return [], 0
    found: list[Surface] = []
    spots: list[Array] = []
    camera = where.eye[[0, 2]]
    ahead = -camera / np.linalg.norm(camera)
    aside = np.array([-ahead[1], ahead[0]])
    for figure in figures:
        for _ in range(_TRIES):
            depth = float(rng.uniform(-0.3, 4.0))
            reach = float(rng.uniform(0.25, 0.55 + 0.3 * max(depth, 0.0)))
            spot = depth * ahead + float(rng.choice([-1.0, 1.0])) * reach * aside
            turn = float(rng.uniform(-np.pi, np.pi))
            apart = [float(np.linalg.norm(spot - other)) for other in spots]
            free = min(apart, default=np.inf) > 0.7 and np.linalg.norm(spot) > _GUEST_CLEAR_M
            if free and np.all(np.abs(where.inside(spot)) < where.halves - 0.4):
                at = np.array([spot[0], 0.0, spot[1]])
                found += [place(surface, at=at, turn=turn) for surface in figure]
                spots.append(spot)
                break
    return found, len(spots)
