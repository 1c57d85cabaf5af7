"""Makes one movement of a lot for one body: the right kind, with arms and legs out of each other's way."""

import copy
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from schemas.lots import (
    AnklesLot,
    CalfRaiseLot,
    GaitLot,
    HingeLot,
    LungeLot,
    ProceduralLot,
    SingleLegSquatLot,
    SitToStandLot,
    SquatLot,
)
from workers.body import Body
from workers.family import model_limits
from workers.figure import ARM_BOUND_M, LEG_BOUND_M, Figure
from workers.gait import Gait
from workers.motions import Motion
from workers.movement import Movement
from workers.movement_bend import CalfRaise, Hinge, Squat
from workers.movement_sit import SitToStand
from workers.movement_step import Lunge, SingleLegSquat
from workers.osim import OsimModel
from workers.phases import RATE_HZ
from workers.planting import Planter

Array = NDArray[np.float64]
KINDS: dict[type[ProceduralLot], type[Movement]] = {
    SquatLot: Squat,
    HingeLot: Hinge,
    CalfRaiseLot: CalfRaise,
    SitToStandLot: SitToStand,
    LungeLot: Lunge,
    SingleLegSquatLot: SingleLegSquat,
    GaitLot: Gait,
}
TRIES = 6
FASTEST_DEG_S = 650.0
"""Knees reach about 400 to 500 degrees/s in fast walking; what is faster than this jumped."""
CHECKED = 6
"""One frame in so many is looked at for self-penetration."""
WAYS_OUT = (
    *((0.0, -6.0), (0.0, -12.0), (10.0, -4.0), (0.0, -20.0), (18.0, 0.0), (12.0, -14.0)),
    *((28.0, 0.0), (0.0, -30.0), (25.0, -20.0), (40.0, -10.0), (0.0, -42.0)),
)
"""Degrees of arm flexion and adduction that are added, in turn, until the arms touch nothing."""


def perform(
    lot: ProceduralLot, model: OsimModel, rng: np.random.Generator, body: Body | None = None
) -> Motion:
    """Makes one repetition (of gait: two strides) at 60 Hz, facing +X, feet about x = z = 0.

    `Motion.parameters` holds what was asked, how it was done and what was reached. Where legs would go into each
    other by more than the bound, or could not keep up, other is asked for (`APART`, `EASIER`), and that is then the
    label; of attempts that all fail the best is taken.

    Raises:
        InputError: the model lacks a coordinate or body that the movement needs.
    """
    planter = Planter(model)
    figure = Figure(planter.kinematics, body)
    lot = lot if body is None else _of_person(lot, body)
    tried: list[tuple[float, Motion]] = []
    apart, easier = 0, 0
    for _ in range(TRIES):
        motion = KINDS[type(lot)](planter, lot, copy.deepcopy(rng), apart, easier).motion()
        legs = figure.depths(planter.kinematics.pose(motion.q[::CHECKED]))[0].max() / LEG_BOUND_M
        fastest = _fastest(motion, planter) / FASTEST_DEG_S
        tried.append((max(legs, fastest), motion))
        if tried[-1][0] <= 1.0:
            break
        apart, easier = apart + int(legs > 1.0), easier + int(fastest > 1.0)
    return _arms_out(min(tried, key=lambda t: t[0])[1], planter, figure)


def _of_person(lot: ProceduralLot, body: Body) -> ProceduralLot:
    """Returns the lot with the stiffness of one person's ankles, the same in all that this person does."""
    if not isinstance(lot, AnklesLot):
        return lot
    own = float(np.interp(body.suppleness, (0.0, 1.0), lot.dorsiflexion))
    return lot.model_copy(update={"dorsiflexion": (own, own)})


def _fastest(motion: Motion, planter: Planter) -> float:
    """Returns the highest speed of a leg's or the trunk's angle, degrees/s: what jumps was not found."""
    turning = [i for i in planter.columns if planter.spec.coordinates[i].kind == "rotational"]
    steps = np.abs(np.diff(motion.q[:, turning], axis=0)).max()
    return float(np.degrees(steps) * RATE_HZ)


def _arms_out(motion: Motion, planter: Planter, figure: Figure) -> Motion:
    """Moves the arms, the same all along, until they go into nothing by more than the bound."""
    seen = motion.q[::CHECKED]

    def depth(q: Array) -> float:
        return float(figure.depths(planter.kinematics.pose(q))[1].max())

    best, least = motion.q, depth(seen)
    for flexion, adduction in WAYS_OUT if least > ARM_BOUND_M else ():
        moved = _moved(seen, planter, flexion, adduction)
        if (found := depth(moved)) < least:
            best, least = _moved(motion.q, planter, flexion, adduction), found
        if least <= ARM_BOUND_M:
            break
    return replace(motion, q=best)


def _moved(q: Array, planter: Planter, flexion: float, adduction: float) -> Array:
    moved = q.copy()
    for side in "rl":
        for stem, degrees in (("arm_flex", flexion), ("arm_add", adduction)):
            name = f"{stem}_{side}"
            if planter.movable(name):
                planter.put(moved, name, q[:, planter.coordinate[name]] + np.radians(degrees))
    return np.asarray(np.clip(moved, *model_limits(planter.spec)))
