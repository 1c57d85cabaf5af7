"""What stands about in gyms, clinics and physiotherapists' rooms; made as `workers.props` makes furniture."""

import numpy as np

from workers.props import METALS, WOODS, at, one_of, vivid
from workers.surfaces import Surface, ball, box, cylinder, merge, rod


def treatment_table(rng: np.random.Generator, part: int) -> Surface:
    """A padded plinth on a pedestal or on legs, often with a raised head end."""
    width, depth, height = rng.uniform(1.8, 2.0), rng.uniform(0.6, 0.75), rng.uniform(0.5, 0.85)
    cover, frame = vivid(rng), one_of(rng, METALS)
    split = rng.uniform(0.5, 0.7) * width
    parts = [
        at(box([split, 0.07, depth], cover, part), -(width - split) / 2, height - 0.07, 0),
        at(box([width - split - 0.02, 0.07, depth], cover, part), split / 2, height - 0.07, 0),
        at(box([width * 0.9, 0.05, depth * 0.8], frame, part), 0, height - 0.13, 0),
    ]
    if rng.random() < 0.5:
        parts.append(at(box([0.5, height - 0.13, depth * 0.5], frame * 1.1, part), 0, 0, 0))
        parts.append(at(box([width * 0.7, 0.06, depth * 0.8], frame, part), 0, 0, 0))
    else:
        leg = box([0.05, height - 0.13, 0.05], frame, part)
        parts += [
            at(leg, sx * width * 0.4, 0, sz * depth * 0.38) for sx in (-1, 1) for sz in (-1, 1)
        ]
    return merge(parts, "treatment_table")


def parallel_bars(rng: np.random.Generator, part: int) -> Surface:
    """Two rails to walk between."""
    length, height, gap = rng.uniform(2.0, 3.2), rng.uniform(0.75, 0.95), rng.uniform(0.5, 0.65)
    rail, post = one_of(rng, WOODS + METALS), one_of(rng, METALS)
    parts = []
    for z in (-gap / 2, gap / 2):
        parts.append(rod([-length / 2, height, z], [length / 2, height, z], 0.022, rail, part))
        parts += [at(cylinder(0.02, height, post, part, 12), x * length, 0, z) for x in (-0.4, 0.4)]
    parts += [at(box([0.08, 0.03, gap + 0.3], post, part), x * length, 0, 0) for x in (-0.4, 0.4)]
    return merge(parts, "parallel_bars")


def wall_bars(rng: np.random.Generator, part: int) -> Surface:
    """A ladder of rungs that hangs flat on a wall."""
    width, height, wood = rng.uniform(0.8, 1.0), rng.uniform(2.2, 2.5), one_of(rng, WOODS)
    parts = [at(box([0.04, height, 0.12], wood, part), sx * width / 2, 0, 0) for sx in (-1, 1)]
    parts += [
        rod([-width / 2, y, 0.03], [width / 2, y, 0.03], 0.018, wood * 0.95, part)
        for y in np.arange(0.2, height, 0.17)
    ]
    return merge(parts, "wall_bars")


def kettlebells(rng: np.random.Generator, part: int) -> Surface:
    """A row of kettlebells on the floor."""
    parts, colour = [], np.array([0.1, 0.1, 0.11])
    bright = rng.random() < 0.4
    for k in range(int(rng.integers(2, 6))):
        radius = rng.uniform(0.08, 0.12)
        shade = vivid(rng) if bright else colour
        x = 0.3 * k
        parts.append(at(ball(radius, shade, part, 14), x, 0, 0))
        top = 2 * radius + 0.07
        for sx in (-1, 1):
            foot = [x + sx * 0.05, 2 * radius - 0.03, 0]
            parts.append(rod(foot, [x + sx * 0.055, top, 0], 0.015, shade, part))
        parts.append(rod([x - 0.06, top, 0], [x + 0.06, top, 0], 0.016, shade, part))
    return merge(parts, "kettlebells")


def plate_tree(rng: np.random.Generator, part: int) -> Surface:
    """A stand with weight plates."""
    metal, height = one_of(rng, METALS), rng.uniform(0.9, 1.2)
    parts = [
        box([0.6, 0.05, 0.6], metal, part),
        at(box([0.08, height, 0.08], metal, part), 0, 0, 0),
    ]
    for y in np.arange(0.35, height, 0.33):
        for sx in (-1, 1):
            radius, thick = rng.uniform(0.11, 0.2), rng.uniform(0.04, 0.12)
            colour = vivid(rng) if rng.random() < 0.5 else np.array([0.12, 0.12, 0.12])
            start = [sx * 0.06, y, 0]
            parts.append(rod(start, [sx * (0.06 + thick), y, 0], radius, colour, part))
    return merge(parts, "plate_tree")


def weight_bench(rng: np.random.Generator, part: int) -> Surface:
    """A padded bench, flat or inclined."""
    cover, metal, height = vivid(rng) * 0.6, one_of(rng, METALS), rng.uniform(0.42, 0.5)
    parts = [
        at(box([1.15, 0.07, 0.28], cover, part), 0, height - 0.07, 0),
        at(box([1.0, 0.05, 0.06], metal, part), 0, height - 0.13, 0),
    ]
    parts += [at(box([0.06, height - 0.1, 0.06], metal, part), x, 0, 0) for x in (-0.45, 0.45)]
    parts += [at(box([0.05, 0.04, 0.45], metal, part), x, 0, 0) for x in (-0.45, 0.45)]
    return merge(parts, "weight_bench")


def treadmill(rng: np.random.Generator, part: int) -> Surface:
    """A treadmill with handles and a console."""
    dark, metal = np.array([0.1, 0.1, 0.11]), one_of(rng, METALS)
    parts = [
        box([0.75, 0.16, 1.7], dark * 1.6, part),
        at(box([0.5, 0.01, 1.5], dark, part), 0, 0.16, 0.05),
        at(box([0.75, 0.2, 0.12], dark, part), 0, 1.1, -0.7),
    ]
    for sx in (-1, 1):
        parts.append(at(box([0.06, 1.2, 0.08], metal, part), sx * 0.36, 0, -0.7))
        parts.append(rod([sx * 0.36, 0.95, -0.7], [sx * 0.36, 0.92, 0.0], 0.022, dark, part))
    return merge(parts, "treadmill")


def stool(rng: np.random.Generator, part: int) -> Surface:
    """A round stool on a column."""
    height, cover = rng.uniform(0.45, 0.62), vivid(rng)
    parts = [
        cylinder(0.24, 0.04, one_of(rng, METALS), part),
        at(cylinder(0.03, height - 0.08, np.full(3, 0.6), part, 10), 0, 0.03, 0),
        at(cylinder(0.18, 0.08, cover, part), 0, height - 0.08, 0),
    ]
    return merge(parts, "stool")


def folding_screen(rng: np.random.Generator, part: int) -> Surface:
    """A privacy screen of three panels on wheels."""
    colour, metal = vivid(rng) * 0.4 + 0.5, np.full(3, 0.75)
    parts = []
    for k, turn in enumerate((0.35, -0.35, 0.35)):
        x = (k - 1) * 0.6
        parts.append(at(box([0.58, 1.5, 0.015], colour, part), x, 0.2, 0, turn))
        parts.append(at(cylinder(0.015, 1.75, metal, part, 8), x - 0.29, 0, 0.1 * np.sign(turn)))
    return merge(parts, "folding_screen")


def walking_frame(rng: np.random.Generator, part: int) -> Surface:
    """A walker."""
    height, metal = rng.uniform(0.8, 0.95), np.full(3, rng.uniform(0.6, 0.8))
    parts = []
    for sx in (-1, 1):
        parts += [
            rod([sx * 0.27, 0.0022, z], [sx * 0.25, height, z * 0.5], 0.014, metal, part)
            for z in (-0.24, 0.24)
        ]
        parts.append(
            rod([sx * 0.25, height, -0.12], [sx * 0.25, height, 0.12], 0.018, metal * 0.3, part)
        )
    for y in (0.45, 0.7):
        parts.append(rod([-0.26, y, -0.18], [0.26, y, -0.18], 0.013, metal, part))
    return merge(parts, "walking_frame")


def step_platform(rng: np.random.Generator, part: int) -> Surface:
    """An aerobic step or a low box."""
    size = [rng.uniform(0.6, 1.1), rng.uniform(0.1, 0.25), rng.uniform(0.35, 0.45)]
    top = at(box([size[0], 0.02, size[2]], np.array([0.15, 0.15, 0.17]), part), 0, size[1], 0)
    return merge([box(size, vivid(rng), part), top], "step_platform")


def foam_rollers(rng: np.random.Generator, part: int) -> Surface:
    """Rollers or rolled mats, lying or standing in a corner."""
    parts = []
    for k in range(int(rng.integers(1, 4))):
        radius, length, colour = rng.uniform(0.06, 0.09), rng.uniform(0.35, 0.9), vivid(rng)
        if rng.random() < 0.5:
            parts.append(at(cylinder(radius, length, colour, part, 16), 0.25 * k, 0, 0))
        else:
            start = [0.25 * k - length / 2, radius, 0.1]
            parts.append(rod(start, [start[0] + length, radius, 0.1], radius, colour, part))
    return merge(parts, "foam_rollers")
