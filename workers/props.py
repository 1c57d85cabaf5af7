"""Furniture, gym and garden things made of simple solids, standing on y = 0 about the vertical axis, front to +z.

Every maker draws its size and colours from `rng` and returns one mesh; the same things serve as background and, with
`part` 255, as occluders.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from workers.surfaces import Surface, ball, box, cylinder, lathe, merge, place, rod

Colour = NDArray[np.float64]
Maker = Callable[[np.random.Generator, int], Surface]

WOODS = ((0.72, 0.53, 0.34), (0.55, 0.37, 0.22), (0.84, 0.72, 0.55), (0.36, 0.24, 0.16))
METALS = ((0.20, 0.20, 0.22), (0.62, 0.63, 0.65), (0.12, 0.12, 0.13), (0.75, 0.10, 0.10))


def vivid(rng: np.random.Generator) -> Colour:
    """Draws a painted or woven colour: any hue, mostly muted."""
    hue, chroma, value = rng.uniform(), rng.beta(1.5, 2.5), rng.uniform(0.2, 0.92)
    phase = (hue + np.array([0.0, 1 / 3, 2 / 3])) % 1.0
    pure = np.clip(np.abs(phase * 6 - 3) - 1, 0, 1)
    return np.asarray(value * (1 - chroma * (1 - pure)))


def one_of(rng: np.random.Generator, colours: tuple[tuple[float, float, float], ...]) -> Colour:
    """Draws one of some colours, a little lighter or darker."""
    base = np.array(colours[int(rng.integers(len(colours)))])
    return np.asarray(np.clip(base * rng.uniform(0.85, 1.15), 0, 1))


def at(surface: Surface, x: float, y: float, z: float, turn: float = 0.0) -> Surface:
    """Turns a thing about the vertical and moves it."""
    return place(surface, at=np.array([x, y, z]), turn=turn)


def crate(rng: np.random.Generator, part: int) -> Surface:
    """A plyo box or a moving carton."""
    size = np.array([rng.uniform(0.35, 0.8), rng.uniform(0.3, 0.8), rng.uniform(0.35, 0.7)])
    wooden = rng.random() < 0.6
    colour = one_of(rng, WOODS) if wooden else vivid(rng)
    body = box(size, colour, part, tile=0.8)
    lid = at(
        box(np.array([size[0], 0.02, size[2]]) * 1.01, colour * 0.8, part), 0, size[1] - 0.015, 0
    )
    return merge([body, lid], "crate")


def table(rng: np.random.Generator, part: int) -> Surface:
    """A table, a desk or a treatment bench."""
    width, depth, height = rng.uniform(1.0, 1.9), rng.uniform(0.5, 0.8), rng.uniform(0.5, 0.8)
    thick = rng.uniform(0.03, 0.12)
    top = at(box(np.array([width, thick, depth]), vivid(rng), part), 0, height - thick, 0)
    colour = one_of(rng, WOODS + METALS)
    x, z = width / 2 - 0.05, depth / 2 - 0.05
    legs = [
        at(box(np.array([0.05, height - thick, 0.05]), colour, part), sx * x, 0, sz * z)
        for sx in (-1, 1)
        for sz in (-1, 1)
    ]
    return merge([top, *legs], "table")


def chair(rng: np.random.Generator, part: int) -> Surface:
    """A kitchen or office chair."""
    seat, back, edge = rng.uniform(0.42, 0.5), rng.uniform(0.8, 1.0), rng.uniform(0.4, 0.5)
    cover, frame = vivid(rng), one_of(rng, WOODS + METALS)
    parts = [
        at(box(np.array([edge, 0.05, edge]), cover, part), 0, seat - 0.05, 0),
        at(box(np.array([edge, back - seat - 0.12, 0.03]), cover, part), 0, seat + 0.12, -edge / 2),
    ]
    for sx in (-1, 1):
        x = sx * (edge / 2 - 0.02)
        parts.append(
            at(box(np.array([0.035, seat - 0.05, 0.035]), frame, part), x, 0, edge / 2 - 0.02)
        )
        parts.append(at(box(np.array([0.035, back, 0.035]), frame, part), x, 0, -edge / 2 + 0.02))
    return merge(parts, "chair")


def plant(rng: np.random.Generator, part: int) -> Surface:
    """A pot with long arching leaves."""
    pot_r, pot_h = rng.uniform(0.12, 0.22), rng.uniform(0.2, 0.45)
    profile = np.array([0.0, 0.75, 1.0, 0.9, 0.0]) * pot_r
    levels = np.array([0.0, 0.0, 1.0, 1.0, 0.93]) * pot_h
    parts = [lathe(profile, levels, vivid(rng), part)]
    green = np.array([rng.uniform(0.12, 0.3), rng.uniform(0.35, 0.6), rng.uniform(0.1, 0.25)])
    reach, rise = rng.uniform(0.25, 0.5), rng.uniform(0.5, 1.2)
    for k in range(int(rng.integers(12, 22))):
        leaf = _leaf(reach * rng.uniform(0.5, 1.1), rise * rng.uniform(0.5, 1.1), rng)
        colour = np.clip(green * rng.uniform(0.75, 1.3), 0, 1)
        mesh = _strip(leaf, rng.uniform(0.03, 0.07), colour, part)
        parts.append(at(mesh, 0, pot_h * 0.9, 0, turn=2.4 * k + rng.uniform(-0.3, 0.3)))
    return merge(parts, "plant")


def _leaf(reach: float, rise: float, rng: np.random.Generator) -> NDArray[np.float64]:
    s = np.linspace(0, 1, 7)
    droop = rng.uniform(0.2, 0.7)
    return np.stack([reach * s**1.3, rise * (s - droop * s**3), np.zeros(7)], axis=1)


def _strip(spine: NDArray[np.float64], width: float, colour: Colour, part: int) -> Surface:
    """A leaf: a ribbon about a spine (n, 3) in the xy plane, with both faces."""
    half = width * np.sin(np.linspace(0.25, np.pi, len(spine)))[:, None] * np.array([0, 0, 1.0])
    vertices = np.concatenate([spine - half, spine + half]).astype(np.float32)
    n = len(spine)
    a = np.arange(n - 1)
    up = np.concatenate([np.stack([a, a + n, a + 1], 1), np.stack([a + 1, a + n, a + n + 1], 1)])
    faces = np.concatenate([up, up[:, ::-1] + 2 * n]).astype(np.int32)
    doubled = np.concatenate([vertices, vertices])
    return Surface(
        vertices=doubled,
        faces=faces,
        colours=np.broadcast_to(np.asarray(colour, np.float32), doubled.shape),
        parts=np.full(len(doubled), part, np.uint8),
    )


def exercise_ball(rng: np.random.Generator, part: int) -> Surface:
    """A gym ball or a medicine ball."""
    return ball(rng.choice([0.14, 0.28, 0.33, 0.38]), vivid(rng), part, 24)


def rack(rng: np.random.Generator, part: int) -> Surface:
    """A squat rack: two or four uprights with crossbars."""
    width, height, depth = rng.uniform(1.1, 1.3), rng.uniform(1.8, 2.4), rng.uniform(0.5, 1.2)
    colour, edge = one_of(rng, METALS), rng.uniform(0.05, 0.08)
    post = box(np.array([edge, height, edge]), colour, part)
    beam = box(np.array([width, edge, edge]), colour, part)
    rail = box(np.array([edge, edge, depth]), colour, part)
    parts = []
    for z in (-depth / 2, depth / 2):
        parts += [at(post, sx * width / 2, 0, z) for sx in (-1, 1)]
        parts.append(at(beam, 0, height - edge, z))
    parts += [at(rail, sx * width / 2, y, 0) for sx in (-1, 1) for y in (0.0, height - edge)]
    return merge(parts, "rack")


def barbell(rng: np.random.Generator, part: int) -> Surface:
    """A loaded bar along x on two stands."""
    length, radius = rng.uniform(1.5, 2.1), rng.uniform(0.11, 0.225)
    height, steel = rng.uniform(0.4, 1.3), one_of(rng, METALS)
    ends = np.array([[-length / 2, height, 0], [length / 2, height, 0]])
    parts = [rod(ends[0], ends[1], 0.014, steel, part)]
    frame = one_of(rng, METALS)
    for x in (-0.3 * length, 0.3 * length):
        foot, top = np.array([x, 0.0, 0.0]), np.array([x, height, 0.0])
        parts.append(rod(foot, top, 0.025, frame, part))
        parts.append(at(box(np.array([0.06, 0.04, 0.5]), frame, part), x, 0, 0))
    colour = vivid(rng) if rng.random() < 0.5 else np.array([0.1, 0.1, 0.11])
    for sign in (-1.0, 1.0):
        inner = sign * length * 0.4
        for k in range(int(rng.integers(1, 3))):
            start = np.array([inner + sign * 0.05 * k, height, 0])
            end = start + [sign * 0.04, 0, 0]
            parts.append(rod(start, end, radius * (1 - 0.2 * k), colour, part))
    return merge(parts, "barbell")


def dumbbells(rng: np.random.Generator, part: int) -> Surface:
    """A low rack of dumbbells."""
    width, frame = rng.uniform(0.9, 1.6), one_of(rng, METALS)
    parts = [at(box(np.array([width, 0.04, 0.35]), frame, part), 0, y, 0) for y in (0.25, 0.6)]
    parts += [
        at(box(np.array([0.05, 0.65, 0.3]), frame, part), sx * width / 2, 0, 0) for sx in (-1, 1)
    ]
    weights = vivid(rng) if rng.random() < 0.4 else np.array([0.12, 0.12, 0.13])
    for y in (0.29, 0.64):
        for x in np.arange(-width / 2 + 0.12, width / 2 - 0.1, 0.17):
            r = rng.uniform(0.045, 0.075)
            for z in (-0.12, 0.06):
                parts.append(
                    rod(np.array([x, y + r, z]), np.array([x, y + r, z + 0.08]), r, weights, part)
                )
    return merge(parts, "dumbbells")


def shelf(rng: np.random.Generator, part: int) -> Surface:
    """A bookcase with books, boxes and gaps."""
    width, height, depth = rng.uniform(0.6, 1.4), rng.uniform(0.9, 2.1), 0.3
    colour = one_of(rng, WOODS) if rng.random() < 0.6 else np.full(3, rng.uniform(0.75, 0.95))
    board = box(np.array([width, 0.025, depth]), colour, part)
    parts = [
        at(box(np.array([0.025, height, depth]), colour, part), sx * width / 2, 0, 0)
        for sx in (-1, 1)
    ]
    parts.append(at(box(np.array([width, height, 0.02]), colour * 0.8, part), 0, 0, -depth / 2))
    for level in np.linspace(0.05, height - 0.03, max(3, round(height / 0.38))):
        parts.append(at(board, 0, level, 0))
        x = -width / 2 + 0.04
        while x < width / 2 - 0.08 and level < height - 0.2:
            w, h = rng.uniform(0.02, 0.1), rng.uniform(0.14, 0.28)
            if rng.random() < 0.8:
                book = box(np.array([w, h, rng.uniform(0.15, 0.24)]), vivid(rng), part)
                parts.append(at(book, x + w / 2, level + 0.025, 0.01))
            x += w + 0.004
    return merge(parts, "shelf")


def sofa(rng: np.random.Generator, part: int) -> Surface:
    """A sofa or an armchair with cushions."""
    width, depth, colour = rng.uniform(0.9, 2.2), rng.uniform(0.8, 0.95), vivid(rng)
    seats = max(1, round(width / 0.75))
    parts = [
        at(box(np.array([width, 0.28, depth]), colour * 0.85, part), 0, 0.06, 0),
        at(box(np.array([width, 0.6, 0.2]), colour, part), 0, 0.25, -depth / 2 + 0.1),
    ]
    parts += [
        at(box(np.array([0.18, 0.5, depth]), colour * 0.95, part), sx * (width / 2 - 0.09), 0.06, 0)
        for sx in (-1, 1)
    ]
    foot = box(np.array([0.06, 0.07, 0.06]), one_of(rng, WOODS), part)
    parts += [
        at(foot, sx * (width / 2 - 0.1), 0, sz * (depth / 2 - 0.1))
        for sx in (-1, 1)
        for sz in (-1, 1)
    ]
    inner = (width - 0.38) / seats
    for k in range(seats):
        x = -width / 2 + 0.19 + inner * (k + 0.5)
        parts.append(
            at(box(np.array([inner - 0.02, 0.14, depth - 0.22]), colour, part), x, 0.34, 0.09)
        )
    return merge(parts, "sofa")


def lamp(rng: np.random.Generator, part: int) -> Surface:
    """A standing lamp."""
    height, metal = rng.uniform(1.3, 1.8), one_of(rng, METALS)
    shade = lathe(
        np.array([0.2, 0.13]), np.array([height, height + 0.28]), np.array([0.95, 0.9, 0.78]), part
    )
    inside = lathe(
        np.array([0.13, 0.2]), np.array([height + 0.28, height]), np.array([0.95, 0.9, 0.78]), part
    )
    return merge(
        [
            cylinder(0.14, 0.03, metal, part),
            cylinder(0.012, height + 0.1, metal, part),
            shade,
            inside,
        ],
        "lamp",
    )


def cabinet(rng: np.random.Generator, part: int) -> Surface:
    """A cupboard or a chest of drawers, with fronts and handles."""
    width, height, depth = rng.uniform(0.6, 1.6), rng.uniform(0.7, 2.0), rng.uniform(0.4, 0.55)
    colour = one_of(rng, WOODS) if rng.random() < 0.5 else np.full(3, rng.uniform(0.7, 0.95))
    parts = [box(np.array([width, height, depth]), colour * 0.85, part)]
    columns, rows = max(1, round(width / 0.5)), max(1, round(height / rng.uniform(0.3, 0.9)))
    w, h = width / columns, height / rows
    for i in range(columns):
        for j in range(rows):
            x, y = -width / 2 + w * (i + 0.5), h * j
            front = box(np.array([w - 0.015, h - 0.015, 0.02]), colour, part)
            handle = box(np.array([0.1, 0.015, 0.02]), np.full(3, 0.25), part)
            parts += [at(front, x, y + 0.008, depth / 2 + 0.01)]
            parts += [at(handle, x, y + h * 0.8, depth / 2 + 0.03)]
    return merge(parts, "cabinet")


def tree(rng: np.random.Generator, part: int) -> Surface:
    """A trunk under a few round clumps of leaves."""
    height = rng.uniform(2.2, 4.0)
    bark = np.array([0.36, 0.27, 0.2]) * rng.uniform(0.8, 1.2)
    parts = [lathe(np.array([0.16, 0.1, 0.06]), np.array([0, 0.6, 1]) * height, bark, part, 10)]
    green = np.array([rng.uniform(0.2, 0.4), rng.uniform(0.4, 0.58), rng.uniform(0.14, 0.25)])
    for _ in range(int(rng.integers(5, 9))):
        clump = ball(rng.uniform(0.5, 1.0), np.clip(green * rng.uniform(0.8, 1.2), 0, 1), part, 14)
        x, z = rng.normal(0, 0.5, 2)
        parts.append(at(clump, float(x), height * rng.uniform(0.6, 0.9), float(z)))
    return merge(parts, "tree")


def garden_bench(rng: np.random.Generator, part: int) -> Surface:
    """A park bench of slats."""
    width, wood = rng.uniform(1.2, 1.8), one_of(rng, WOODS)
    slat = box(np.array([width, 0.03, 0.09]), wood, part)
    parts = [at(slat, 0, 0.42, -0.2 + 0.11 * k) for k in range(4)]
    upright = box(np.array([width, 0.09, 0.03]), wood, part)
    parts += [at(upright, 0, 0.55 + 0.12 * k, -0.27) for k in range(3)]
    iron = one_of(rng, METALS)
    for sx in (-1, 1):
        parts.append(at(box(np.array([0.05, 0.42, 0.4]), iron, part), sx * width * 0.42, 0, -0.03))
        parts.append(at(box(np.array([0.05, 0.85, 0.04]), iron, part), sx * width * 0.42, 0, -0.3))
    return merge(parts, "garden_bench")
