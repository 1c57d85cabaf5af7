"""The chair of a sit-to-stand: as high as the seated skin is, behind the feet. Metres, ground frame."""

import numpy as np
from numpy.typing import NDArray

from workers.motions import Motion
from workers.props import METALS, WOODS
from workers.surfaces import Surface, box, merge, place

Array = NDArray[np.float64]
BACKGROUND = 0
SINK_M = 0.01
"""How far flesh presses into the seat."""


def seat_under(seated: NDArray[np.float32], hips: Array, rng: np.random.Generator) -> Surface:
    """Makes the chair under a seated skin (v, 3) whose hip centres' middle is at `hips` (3,), the person facing +X."""
    below = np.hypot(seated[:, 0] - hips[0], seated[:, 2] - hips[2]) < 0.16
    height = float(seated[below, 1].min()) + SINK_M
    edge, thick = rng.uniform(0.38, 0.46), rng.uniform(0.03, 0.06)
    cover = np.array(rng.uniform(0.15, 0.85, 3))
    colours = WOODS + METALS
    frame = np.array(colours[int(rng.integers(len(colours)))])
    parts = [(np.array([edge, thick, edge]), np.array([0.0, height - thick, 0.0]), cover)]
    for x in (-1, 1):
        for z in (-1, 1):
            at = np.array([x * (edge / 2 - 0.025), 0.0, z * (edge / 2 - 0.025)])
            parts.append((np.array([0.035, height - thick, 0.035]), at, frame))
    if rng.random() < 0.5:  # else a stool
        at = np.array([-edge / 2, height - thick, 0.0])
        parts.append((np.array([0.03, rng.uniform(0.35, 0.5), edge]), at, cover))
    made = [place(box(size, colour, BACKGROUND), at=at, turn=0.0) for size, at, colour in parts]
    # Its front edge lies under the middle of the thighs.
    forward = np.array([hips[0] + 0.16 - edge / 2, 0.0, hips[2]])
    return place(merge(made, "seat"), at=forward, turn=0.0)


def sits(motion: Motion | None) -> bool:
    """Says whether a motion begins seated."""
    return motion is not None and "seat_height_m" in motion.parameters
