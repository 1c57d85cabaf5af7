"""Measures made-up movements over many bodies and draws: slip, balance, penetration, speeds, faults, cost.

    OMP_NUM_THREADS=1 python -m benchmarks.movements [--draws 40] [--bodies 8] [--only squat,gait]

Slip is how far a heel or ball moves on the floor while it is within 1.5 mm of it. Balance is the share of frames whose
centre of mass, by published segment masses, lies over the hull of the heels, balls and toes that are on the floor.
Times are CPU times. The last line is one JSON object.
"""

import argparse
import json
import time
from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError

from schemas.lots import PROCEDURAL, ProceduralLot
from schemas.recipes import People
from schemas.shards import generator
from workers import contacts, movements, osim
from workers.body import Body, make_body
from workers.figure import Figure
from workers.kinematics import Posed
from workers.motions import Motion
from workers.planting import Planter

Array = NDArray[np.float64]
NEAR_M, LIFTED_M = 0.0015, 0.012
TOE_M, SOLE_WIDTH_M = 0.055, 0.085
"""Length of the toes beyond the ball, and width of a sole; its heel reaches 2 cm behind the calcaneus' origin."""


def worst_slip(point: Array, floor: float) -> float:
    """Returns the furthest way (m) of a point (n, 3) over the floor within one contact."""
    down = point[:, 1] < floor + NEAR_M
    worst, begin = 0.0, None
    for i, touching in enumerate([*down, False]):
        if touching and begin is None:
            begin = i
        if not touching and begin is not None:
            run = point[begin:i][:, [0, 2]]
            worst, begin = max(worst, float(np.linalg.norm(run - run[0], axis=1).max())), None
    return worst


def balanced(planter: Planter, posed: Posed, heels: Array, balls: Array) -> float:
    """Returns the share of frames whose centre of mass lies over what stands on the floor."""
    com = planter.centre_of_mass(posed)[:, [0, 2]]
    inside = []
    for n in range(len(com)):
        corners = []
        for s in range(2):
            ahead = balls[n, s] - heels[n, s]
            ahead = ahead[[0, 2]] / np.linalg.norm(ahead[[0, 2]])
            across = np.array([-ahead[1], ahead[0]]) * SOLE_WIDTH_M / 2
            for point, more in ((heels[n, s], -0.02), (balls[n, s], TOE_M)):
                if point[1] < LIFTED_M:
                    at = point[[0, 2]]
                    corners += [at + across, at - across, at + more * ahead + 0.6 * across]
                    corners += [at + more * ahead - 0.6 * across]
        inside.append(bool(corners) and _within(np.array(corners), com[n]))
    return float(np.mean(inside))


def _within(corners: Array, point: Array) -> bool:
    try:
        hull = ConvexHull(corners)
    except QhullError:
        return False
    return bool((hull.equations[:, :2] @ point + hull.equations[:, 2] <= 1e-9).all())


def measure(planter: Planter, figure: Figure, motion: Motion) -> dict[str, float]:
    """Returns the figures of one motion."""
    posed = planter.kinematics.pose(motion.q)
    heels, balls = np.moveaxis(contacts.soles(planter, posed), 2, 0)
    heels[..., 1] -= heels[..., 1].min()
    balls[..., 1] -= balls[..., 1].min()
    slips = [worst_slip(p[:, s], 0.0) for p in (heels, balls) for s in range(2)]
    seated = np.zeros(len(motion.q), bool)
    if motion.name == "sit_to_stand":
        height = posed.joint_centres[:, planter.body["femur_r"], 1]
        seated = height < height[0] + 0.01
    legs, arms = figure.depths(posed)
    up = np.flatnonzero(~seated)[::6]
    some = Posed(*(part[up] for part in posed))
    turning = [c.kind == "rotational" for c in planter.spec.coordinates]
    speed = np.gradient(np.degrees(motion.q[:, turning]), motion.times, axis=0)
    faster = np.gradient(speed, motion.times, axis=0)
    low, high = (
        np.array([getattr(c, k) for c in planter.spec.coordinates]) for k in ("lower", "upper")
    )
    return {
        "slip_mm": 1e3 * max(slips),
        "balanced": balanced(planter, some, heels[up], balls[up]),
        "legs_mm": 1e3 * float(legs.max()),
        "arms_mm": 1e3 * float(arms.max()),
        "speed_deg_s": float(np.abs(speed).max()),
        "acceleration_deg_s2": float(np.abs(faster).max()),
        "over_limit_rad": float(np.maximum(low - motion.q, motion.q - high).max()),
    }


def run(
    lot: ProceduralLot, people: list[tuple[Body, osim.OsimModel]], draws: int
) -> dict[str, Any]:
    """Measures one kind of movement."""
    rows, faults, seconds = [], defaultdict(list), []
    for k in range(draws):
        body, model = people[k % len(people)]
        begin = time.process_time()
        motion = movements.perform(lot, model, generator(1, "bench", k), body)
        seconds.append(time.process_time() - begin)
        planter = Planter(model)
        rows.append(measure(planter, Figure(planter.kinematics, body), motion))
        for name, value in motion.parameters.items():
            asked = motion.parameters.get(name.removeprefix("reached_"))
            if name.startswith("reached_") and isinstance(asked, float):
                faults[name.removeprefix("reached_")].append((asked, float(value)))
    column = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return {
        **{n: float(column[n].max()) for n in column if n != "balanced"},
        "slip_p95_mm": float(np.percentile(column["slip_mm"], 95)),
        "balanced": float(column["balanced"].mean()),
        "within_bounds": float(((column["legs_mm"] <= 15) & (column["arms_mm"] <= 30)).mean()),
        "ms_per_motion": 1e3 * float(np.mean(seconds)),
        "faults": {name: _range(np.array(pairs)) for name, pairs in sorted(faults.items())},
    }


def _range(pairs: Array) -> dict[str, float]:
    asked, reached = pairs.T
    return {
        "asked_low": float(asked.min()),
        "asked_high": float(asked.max()),
        "reached_low": float(reached.min()),
        "reached_high": float(reached.max()),
        "missed_median": float(np.median(np.abs(asked - reached))),
    }


def main() -> None:
    """Prints a table per movement and the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--bodies", type=int, default=8)
    parser.add_argument("--model", default="default")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    data = osim.read_model(options.model)
    bodies = [make_body(People(), data, generator(1, "body", i)) for i in range(options.bodies)]
    people = [(body, osim.OsimModel(data, body.scale)) for body in bodies]
    results = {}
    for kind in PROCEDURAL:
        name = str(kind.model_fields["movement"].default)
        if options.only and name not in options.only.split(","):
            continue
        results[name] = found = run(kind(), people, options.draws)
        print(name)
        for key, value in found.items():
            if not isinstance(value, dict):
                print(f"  {key:22} {value:10.2f}")
        for fault, pair in found["faults"].items():
            print(f"  {fault:22} " + "  ".join(f"{k} {v:.1f}" for k, v in pair.items()))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
