"""Random poses that a body can hold: limbs out of each other, a share of them balanced on both feet.

Dims: n = pose, c = coordinate, s = side. rad and m; ground frame.
"""

import numpy as np
from numpy.typing import NDArray

from schemas.lots import RandomLot
from workers.body import Body
from workers.family import LEG, ROOT, SIDES, model_limits
from workers.figure import Figure
from workers.kinematics import Kinematics
from workers.motions import random_poses
from workers.osim import OsimModel
from workers.phases import Feet
from workers.planting import Goal, Planter, Wish

Array = NDArray[np.float64]
ROUNDS = 12
SHRINK, SHRINKS = 0.75, 8
MISSED_M = 0.003
"""A foot that limits leave further than this from where it should stand makes the stance unfit."""


def stances(
    lot: RandomLot, model: OsimModel, rng: np.random.Generator, body: Body | None = None
) -> Array:
    """Draws independent poses (n, c) without self-penetration beyond the bound, `lot.grounded` of them on both feet.

    A pose that goes into itself is drawn again; what still does after `ROUNDS` moves towards the default pose.

    Raises:
        InputError: some poses should be on both feet, and the model lacks coordinates or bodies for that.
    """
    on_feet = rng.random(lot.frames) < lot.grounded
    planter = Planter(model) if lot.grounded > 0 else None
    figure = Figure(planter.kinematics if planter else Kinematics.of(model), body)
    q = np.tile(model.spec.default_pose(), (lot.frames, 1))
    waiting = np.arange(lot.frames)
    for _ in range(ROUNDS):
        drawn = random_poses(lot, model.spec, len(waiting), rng)
        fit = np.ones(len(waiting), bool)
        grounded = on_feet[waiting]
        if planter is not None and grounded.any():
            drawn[grounded], fit[grounded] = _planted(drawn[grounded], lot, planter, rng)
        q[waiting] = np.where(fit[:, None], drawn, q[waiting])
        waiting = waiting[~(fit & figure.clear(drawn))]
        if not len(waiting):
            return q
    return _shrunk(q, waiting, figure)


def _shrunk(q: Array, rows: NDArray[np.intp], figure: Figure) -> Array:
    """Moves some rows of q (n, c) towards the default pose until they are clear."""
    default = figure.kinematics.spec.default_pose()
    for _ in range(SHRINKS):
        rows = rows[~figure.clear(q[rows])] if len(rows) else rows
        q[rows] = default + SHRINK * (q[rows] - default)
    return figure.kinematics.spec.couple(q)


def _planted(
    q: Array, lot: RandomLot, planter: Planter, rng: np.random.Generator
) -> tuple[Array, NDArray[np.bool_]]:
    """Stands poses (n, c) on both feet, each its own stance; also says which of them could."""
    solved = q.copy()
    goals = [_goal(row, lot, planter, rng) for row in q]
    goal = Goal(
        **{
            name: np.concatenate([getattr(g, name) for g in goals])
            for name in ("q", "R", "origin", "hold", "give", "com", "com_weight")
        },
        wishes=[
            Wish(w.factors, np.array([float(g.wishes[i].value) for g in goals]), w.weight)
            for i, w in enumerate(goals[0].wishes)
        ],
    )
    found = planter.solve(goal)
    solved[:, planter.columns] = found[:, planter.columns]
    posed = planter.kinematics.pose(solved)
    heels = posed.T_ground_from_body[..., :3, 3][:, [planter.body[f"calcn_{s}"] for s, _ in SIDES]]
    fit = np.linalg.norm(heels - goal.origin, axis=-1).max(axis=1) < MISSED_M
    low, high = model_limits(planter.spec)
    return planter.spec.couple(np.clip(solved, low, high)), np.asarray(fit)


def _goal(row: Array, lot: RandomLot, planter: Planter, rng: np.random.Generator) -> Goal:
    """Draws a stance: where the feet are, how deep, how the trunk leans, turns and shifts."""
    start = row.copy()
    for name in (*ROOT[3:], *(f"{stem}_{side}" for stem in LEG for side, _ in SIDES)):
        planter.put(start, name, 0.0)
    wide = planter.half_foot * rng.uniform(0.5, 0.8 + 2.6 * lot.spread)
    fore = planter.half_foot * rng.uniform(-2.0, 2.0) * lot.spread
    ankles = np.array([[fore, wide], [-fore, -wide]])
    feet = Feet(planter, start, ankles, np.radians(rng.uniform(-5.0, 30.0, 2)))
    R, origin = feet.pitched(np.zeros((1, 2)))
    knee = rng.uniform(5.0, 15.0 + 115.0 * lot.spread)
    lean = rng.uniform(-5.0, 15.0 + 50.0 * lot.spread)
    for side, _ in SIDES:
        planter.put(start, f"knee_angle_{side}", np.radians(knee))
        planter.put(start, f"ankle_angle_{side}", np.radians(0.3 * knee))
        planter.put(start, f"hip_flexion_{side}", np.radians(0.65 * knee + 0.4 * lean))
    ball, ankle = feet.ball[:, 0].mean(), feet.ankle[:, 0].mean()
    trunk = {name: -1.0 for name in ("pelvis_tilt", planter.lumbar) if name}
    wishes = [
        Wish({"knee_angle_r": 0.5, "knee_angle_l": 0.5}, np.radians(knee), 30.0),
        Wish({"pelvis_tz": 1.0}, rng.normal(0.0, 0.03 * lot.spread), 30.0),
        Wish({"pelvis_rotation": 1.0}, rng.normal(0.0, 0.25 * lot.spread), 10.0),
        Wish({"pelvis_list": 1.0}, rng.normal(0.0, 0.08 * lot.spread), 10.0),
        Wish(trunk, np.radians(lean), 3.0),
    ]
    if planter.lumbar:
        wishes.append(Wish({planter.lumbar: -1.0}, np.radians(0.3 * lean), 1.0))
    com = np.array([[ankle + rng.uniform(0.1, 0.7) * (ball - ankle), 0.0]])
    return Goal(
        **{"q": start[None], "R": R, "origin": origin, "com": com},
        hold=np.ones((1, 2, 2)),
        give=np.zeros((1, 2)),
        wishes=wishes,
        com_weight=np.array([[50.0, 0.0]]),
    )
