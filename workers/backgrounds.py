"""What stands around the person: furnished rooms, gardens and yards about the origin, or a bare floor to catch shadows.

Ground frame, metres, Y up, floor at y = 0. Nothing stands within `CLEAR_M` of the origin, where the person is, nor
between the person and the camera where a view is given.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.recipes import Scene
from workers import equipment, props, textures
from workers.furnishing import CLEAR_M, Place, along_walls, behind, scattered
from workers.surfaces import Surface, merge, place, sheet

Array = NDArray[np.float64]
FLOOR_M = 9.0
"""Half the edge of the floor."""
_WHITE = np.full(3, 0.94)


@dataclass(frozen=True, kw_only=True)
class _Style:
    """What a kind of place is furnished with."""

    floors: tuple[tuple[str, tuple[float, float, float]], ...]
    walls: tuple[str, ...]
    things: tuple[props.Maker, ...]
    indoors: bool = True
    pictures: float = 0.5
    """Share of walls with something hanging on them."""
    rugs: float = 0.15
    """Share of places with a mat or a rug under the person."""


_WOOD_FLOORS = (
    ("planks", (0.72, 0.55, 0.38)),
    ("planks", (0.5, 0.36, 0.25)),
    ("planks", (0.82, 0.73, 0.6)),
)
STYLES = {
    "home": _Style(
        floors=(*_WOOD_FLOORS, ("carpet", (0.72, 0.68, 0.62)), ("tiles", (0.85, 0.83, 0.8))),
        walls=("plaster", "plaster", "stripes"),
        things=(
            props.sofa,
            props.shelf,
            props.plant,
            props.lamp,
            props.cabinet,
            props.table,
            props.chair,
        ),
    ),
    "gym": _Style(
        floors=(
            ("rubber", (0.2, 0.2, 0.21)),
            ("mats", (0.25, 0.3, 0.38)),
            ("mats", (0.3, 0.3, 0.3)),
            _WOOD_FLOORS[0],
        ),
        walls=("plaster", "bricks", "concrete"),
        things=(
            props.rack,
            props.dumbbells,
            props.crate,
            props.exercise_ball,
            equipment.kettlebells,
            equipment.plate_tree,
            equipment.weight_bench,
            equipment.treadmill,
            equipment.step_platform,
            equipment.foam_rollers,
        ),
        rugs=0.4,
    ),
    "clinic": _Style(
        floors=(("tiles", (0.84, 0.86, 0.86)), ("concrete", (0.66, 0.72, 0.74)), _WOOD_FLOORS[2]),
        walls=("plaster",),
        things=(
            equipment.treatment_table,
            equipment.parallel_bars,
            equipment.wall_bars,
            equipment.stool,
            equipment.folding_screen,
            equipment.walking_frame,
            equipment.step_platform,
            equipment.foam_rollers,
            props.cabinet,
            props.chair,
            props.exercise_ball,
            props.plant,
        ),
        rugs=0.25,
    ),
    "garage": _Style(
        floors=(("concrete", (0.62, 0.61, 0.6)),),
        walls=("bricks", "concrete"),
        things=(props.crate, props.shelf, props.rack, props.table, props.cabinet),
        pictures=0.2,
    ),
    "garden": _Style(
        floors=(("grass", (0.42, 0.56, 0.24)), ("grass", (0.56, 0.58, 0.3))),
        walls=("leaves", "planks"),
        things=(props.tree, props.garden_bench, props.plant),
        indoors=False,
    ),
    "yard": _Style(
        floors=(
            ("concrete", (0.66, 0.65, 0.63)),
            ("bricks", (0.66, 0.5, 0.42)),
            ("tiles", (0.7, 0.68, 0.64)),
        ),
        walls=("bricks", "plaster", "leaves"),
        things=(props.garden_bench, props.tree, props.plant, props.crate),
        indoors=False,
    ),
}
_STYLE_WEIGHTS = {
    "home": 0.27,
    "gym": 0.25,
    "clinic": 0.18,
    "garage": 0.08,
    "garden": 0.1,
    "yard": 0.12,
}


def sample_room(
    scene: Scene,
    rng: np.random.Generator,
    eye: Array | None = None,
    guests: Sequence[Sequence[Surface]] = (),
) -> tuple[list[Surface], dict[str, Any]]:
    """Draws a painted place about a person near the origin.

    Args:
        scene: unused ranges are the callers'; a place's own variety is not a matter of taste.
        rng: all randomness.
        eye: (3,) camera position, ground frame: no furniture is put between it and the person.
        guests: other people about the origin, who are put where the camera sees them.

    Returns:
        The surfaces (part 0), and a JSON description.
    """
    names = list(_STYLE_WEIGHTS)
    kind = names[int(rng.choice(len(names), p=list(_STYLE_WEIGHTS.values())))]
    style = STYLES[kind]
    pattern, colour = style.floors[int(rng.integers(len(style.floors)))]
    tint = np.clip(np.array(colour) * rng.uniform(0.75, 1.2) * rng.uniform(0.94, 1.06, 3), 0.02, 1)
    turn = float(rng.uniform(-np.pi, np.pi))
    halves = rng.uniform(2.2, 4.6, 2) if style.indoors else rng.uniform(4.0, 7.5, 2)
    offset = rng.uniform(-0.4, 0.4, 2) * (halves - CLEAR_M)
    where = Place(halves=halves, offset=offset, turn=turn, eye=eye)
    low, high = (2.4, 3.4) if style.indoors else (1.2, 4.0)
    height = float(rng.uniform(low, high))
    walls, wall_names = _walls(style, halves, height, rng)
    things = along_walls(where, style.things, int(rng.integers(4, 11)), rng)
    surfaces = [_floor(pattern, tint), *(where.to_ground(s) for s in (*walls, *things))]
    if rng.random() < style.rugs:
        surfaces.append(_rug(rng))
    people, present = behind(where, guests, rng)
    if style.indoors:
        surfaces.append(_ceiling(height, rng))
    about = {
        "room": kind,
        "floor": pattern,
        "floor_colour": [round(float(c), 3) for c in tint],
        "walls": wall_names,
        "room_size": [round(float(2 * h), 2) for h in halves],
        "bystanders": present,
    }
    return [*surfaces, *people], about


def sample_ground(
    rng: np.random.Generator, eye: Array, guests: Sequence[Sequence[Surface]] = ()
) -> tuple[list[Surface], dict[str, Any]]:
    """Draws what stands on the floor of a photograph or an environment map, and the floor that catches its shadow."""
    where = Place(halves=np.full(2, 4.5), offset=np.zeros(2), turn=0.0, eye=eye)
    kind = str(rng.choice(["none", "gym", "clinic", "home", "yard"], p=[0.4, 0.2, 0.2, 0.1, 0.1]))
    count = int(rng.integers(1, 5))
    things = scattered(where, STYLES[kind].things, count, rng) if kind != "none" else []
    people, present = behind(where, guests, rng)
    ground = replace(_floor("", np.ones(3)), catcher=True)
    rug = [_rug(rng)] if rng.random() < 0.15 else []
    return [ground, *rug, *things, *people], {
        "things": kind,
        "bystanders": present,
    }


def _rug(rng: np.random.Generator) -> Surface:
    """A mat under the person, flat, so that feet stand on the floor all the same."""
    width, depth = rng.uniform(0.6, 1.2), rng.uniform(1.5, 2.2)
    name = str(rng.choice(["cloth", "carpet", "mats", "rubber"]))
    flat = sheet(
        np.array([-width / 2, 0.004, -depth / 2]),
        np.array([0, 0, depth]),
        np.array([width, 0, 0]),
        props.vivid(rng),
        tile=textures.TILE_M[name],
    )
    mat = place(
        flat, at=[*rng.normal(0, 0.1, 1), 0, *rng.normal(0, 0.1, 1)], turn=rng.uniform(0, np.pi)
    )
    return _textured(replace(mat, casts=False, name="rug"), name, 0.9)


def _textured(surface: Surface, name: str, roughness: float = 0.8) -> Surface:
    return replace(surface, texture=textures.tile(name), roughness=roughness)


def _floor(pattern: str, colour: Array) -> Surface:
    edge = 2 * FLOOR_M
    tile = textures.TILE_M.get(pattern, 1.0)
    flat = sheet(
        np.array([-FLOOR_M, 0, -FLOOR_M]),
        np.array([0, 0, edge]),
        np.array([edge, 0, 0]),
        colour,
        steps=4,
        tile=tile,
    )
    flat = replace(flat, casts=False, name="floor")
    shine = {"planks": 0.45, "tiles": 0.35}.get(pattern, 0.9)
    return _textured(flat, pattern, shine) if pattern else flat


def _ceiling(height: float, rng: np.random.Generator) -> Surface:
    edge = 2 * FLOOR_M
    flat = sheet(
        np.array([-FLOOR_M, height, -FLOOR_M]),
        np.array([edge, 0, 0]),
        np.array([0, 0, edge]),
        np.ones(3) * rng.uniform(0.92, 1.0),
        steps=2,
        tile=textures.TILE_M["plaster"],
    )
    return _textured(replace(flat, casts=False, name="ceiling"), "plaster")


def _walls(
    style: _Style, halves: Array, height: float, rng: np.random.Generator
) -> tuple[list[Surface], list[str]]:
    """Four inward walls of a room about the origin and what hangs on them, one surface per texture."""
    shared, paint = _pick(style.walls, rng), _wall_colour(rng)
    by_texture: dict[str, list[Surface]] = {}
    names = []
    for side in range(4):
        pattern, colour = shared, paint
        if rng.random() < 0.3:
            pattern, colour = _pick(style.walls, rng), _wall_colour(rng)
        half, reach = float(halves[side % 2]), float(halves[1 - side % 2])
        pieces = {pattern: [_wall(pattern, _own_colour(pattern, colour, rng), reach, height)]}
        if style.indoors:
            pieces[""] = [_panel((2 * reach, 0.09, 0.02), _WHITE)]
            if rng.random() < style.pictures:
                pieces[""] += _hangings(reach, height, rng)
        for name, surfaces in pieces.items():
            outwards = [place(s, at=np.array([0, 0, -half])) for s in surfaces]
            turned = [place(s, at=np.zeros(3), turn=side * np.pi / 2) for s in outwards]
            by_texture.setdefault(name, []).extend(turned)
        names.append(pattern)
    merged = [replace(merge(found, "walls"), casts=False) for found in by_texture.values()]
    return [
        _textured(m, name) if name else replace(m, roughness=0.5)
        for m, name in zip(merged, by_texture, strict=True)
    ], names


def _panel(size: tuple[float, float, float], colour: Array) -> Surface:
    """The front of a box before a wall; without sides, so that it vanishes from behind as the wall does."""
    width, height, thick = size
    corner = np.array([-width / 2, 0, thick])
    return sheet(corner, np.array([width, 0, 0]), np.array([0, height, 0]), colour)


def _pick(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]


def _wall(pattern: str, colour: Array, reach: float, height: float) -> Surface:
    """A wall in the plane z = 0 that faces +z, darker towards the floor and the corners as in real rooms."""
    wall = sheet(
        np.array([-reach, 0, 0]),
        np.array([2 * reach, 0, 0]),
        np.array([0, height, 0]),
        colour,
        steps=8,
        tile=textures.TILE_M[pattern],
    )
    x, y = np.abs(wall.vertices[:, 0]), wall.vertices[:, 1]
    shade = 1 - 0.16 * np.exp(-(reach - x) / 0.5) - 0.14 * np.exp(-y / 0.4)
    return replace(wall, colours=(wall.colours * shade[:, None]).astype(np.float32))


def _wall_colour(rng: np.random.Generator) -> Array:
    """Mostly off-white, sometimes painted."""
    if rng.random() < 0.65:
        return np.asarray(rng.uniform(0.78, 0.96) * rng.uniform(0.96, 1.0, 3))
    return props.vivid(rng) * 0.6 + 0.3


def _own_colour(pattern: str, paint: Array, rng: np.random.Generator) -> Array:
    """Bricks, hedges, boards and concrete have colours of their own; the rest is painted."""
    own = {
        "bricks": (0.62, 0.38, 0.3),
        "leaves": (0.3, 0.45, 0.2),
        "planks": (0.55, 0.42, 0.3),
        "concrete": (0.66, 0.65, 0.64),
    }
    if pattern not in own or (pattern == "bricks" and rng.random() < 0.3):
        return paint
    return np.clip(
        np.array(own[pattern]) * rng.uniform(0.75, 1.2) * rng.uniform(0.93, 1.07, 3), 0, 1
    )


def _hangings(reach: float, height: float, rng: np.random.Generator) -> list[Surface]:
    """A door, a window, pictures or posters on a wall in the plane z = 0."""
    kind = rng.choice(["door", "window", "pictures"])
    middle = float(rng.uniform(-0.6, 0.6)) * reach
    if kind == "door":
        colour = props.vivid(rng) if rng.random() < 0.3 else _WHITE * rng.uniform(0.7, 1.0)
        sizes = [((1.0, 2.1, 0.03), _WHITE * 0.9, 0.0, 0.0), ((0.86, 2.03, 0.04), colour, 0.0, 0.0)]
        sizes.append(((0.12, 0.025, 0.08), np.full(3, 0.4), 0.34, 1.0))
    elif kind == "window":
        w, h, sill = rng.uniform(0.9, 1.8), rng.uniform(0.9, 1.3), 0.95
        glass = np.array([0.84, 0.93, 1.0]) * rng.uniform(0.9, 1.0)
        sizes = [((w + 0.14, h + 0.14, 0.03), _WHITE, 0.0, sill - 0.07)]
        sizes += [((w / 2 - 0.03, h, 0.035), glass, sx * w / 4, sill) for sx in (-1, 1)]
        sizes.append(((w + 0.3, 0.04, 0.16), _WHITE, 0.0, sill - 0.1))
    else:
        sizes = []
        for k in range(int(rng.integers(1, 4))):
            w, h = rng.uniform(0.3, 0.9), rng.uniform(0.3, 0.9)
            x, y = 1.0 * (k - 1), float(rng.uniform(1.2, 1.6)) - h / 2 + 0.2
            sizes.append(((w + 0.06, h + 0.06, 0.025), props.vivid(rng) * 0.5, x, y - 0.03))
            sizes.append(((w, h, 0.03), props.vivid(rng), x, y))
            sizes.append(
                ((w * 0.6, h * rng.uniform(0.2, 0.7), 0.033), props.vivid(rng), x, y + h * 0.15)
            )
    fitting = [
        (size, c, x, y)
        for size, c, x, y in sizes
        if y + size[1] < height and abs(middle + x) < reach
    ]
    return [place(_panel(size, c), at=np.array([middle + x, y, 0])) for size, c, x, y in fitting]
