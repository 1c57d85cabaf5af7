"""Sit-to-stand and back: a chair whose height is asked for, and a trunk whose lean lifts off."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from workers.family import SIDES
from workers.movement import MANNER, ArmStyle, Movement
from workers.phases import Feet, Rest, along, walk
from workers.planting import Goal, Wish

Array = NDArray[np.float64]
ARMS: dict[str, ArmStyle] = {
    "forward": ((30.0, -8.0, 0.0, 50.0, 60.0), (75.0, -10.0, 0.0, 15.0, 50.0)),
    "crossed": ((58.0, -5.0, 58.0, 124.0, 70.0), (62.0, -5.0, 58.0, 124.0, 70.0)),
    "hanging": ((5.0, -16.0, 5.0, 15.0, 70.0), (20.0, -20.0, 5.0, 15.0, 70.0)),
}
HIP_OVER_SEAT = 0.105
"""Height of the hip centres over the seat, of the leg's length: ischium and what is compressed under it."""
LIFT_BALANCE = -0.25
"""Where the centre of mass is when the seat is left, from ankle (0) to ball (1): just behind, momentum does the rest
(Schenkman et al. 1990)."""


class SitToStand(Movement):
    """v = 0 seated, 1 the seat is left, 2 standing, 3 the seat is met, 4 seated."""

    kind = "sit_to_stand"
    manners: Mapping[str, tuple[float, float]] = {
        "rise_share": (0.42, 0.52),
        "stand_pause": (0.0, 0.5),
        "rest_before": (0.1, 0.4),
        "rest_after": (0.1, 0.4),
        "stand_knee": MANNER["stand_knee"],
        "seated_lean": (-10.0, 8.0),
        "lumbar_share": (0.25, 0.5),
        "balance": (0.25, 0.5),
    }
    parts = ((0.0, 2.0), (2.0, 4.0))

    def set_up(self, rng: np.random.Generator) -> None:
        """Stands the feet and finds the pose in which the seat is left: it says where chair and feet are."""
        self.style = {"arms": str(rng.choice(list(ARMS)))}
        self.manner = self.draw_manner(rng)
        half = self.asked["stance"] * self.hip_width / 2
        out = np.full(2, np.radians(self.asked["toe_out"]))
        self.feet = Feet(self.planter, self.start, np.array([[0.0, half], [0.0, -half]]), out)
        posed = self.planter.kinematics.pose(self.start)
        knee = self.planter.joints(posed, "tibia")[0, :, 1].mean()
        self.sole = float(self.feet.heel[:, 1].mean())
        self.seat = self.asked["seat"] * float(knee - self.sole)
        self._lift = None
        lift = self.planter.solve(self.goal(np.array([1.0]), self.aims()))
        posed = self.planter.kinematics.pose(lift)
        self._lift = (lift[0], self.planter.joints(posed, "femur")[0].mean(axis=0))
        hips = self._lift[1]
        height = float(hips[1]) - self.sole - HIP_OVER_SEAT * self.leg
        self.manner |= {"seat_height_m": height, "seat_behind_ankles_m": -float(hips[0])}

    _lift: tuple[Array, Array] | None = None

    def aims(self) -> dict[str, float]:
        """Returns the trunk's lean, degrees."""
        return {"trunk_lean": self.asked["trunk_lean"]}

    def measure(self, q: Array) -> dict[str, float]:
        """Returns the lean, the knees and the faults of a pose."""
        right, left = (float(self.planter.angle(q, f"knee_angle_{s}")) for s, _ in SIDES)
        shift = 100.0 * float(q[self.planter.coordinate["pelvis_tz"]])
        found = {"trunk_lean": self.lean(q), "knee_r": right, "knee_l": left}
        return found | {"asymmetry": right - left, "hip_shift": shift}

    def collapse(self, v: Array) -> Array:
        """Returns the share of the frontal fault: greatest when the seat is left."""
        return np.stack([along(v, (0.2, 1.0, 0.0, 1.0, 0.2))] * 2, axis=1)

    def goal(self, v: Array, aims: dict[str, float]) -> Goal:
        """Returns what is wanted at v (n,): hips that stay while seated, then knees, balance and trunk."""
        manner, count = self.manner, len(v)
        u = along(v, (0.0, 1.0, 0.0, 1.0, 0.0))
        up = along(v, (0.0, 0.0, 1.0, 0.0, 0.0))
        seated = (v <= 1.0) | (v >= 3.0)
        upright = manner["seated_lean"]
        lean = np.radians(along(v, (upright, aims["trunk_lean"], 1.0, aims["trunk_lean"], upright)))
        q = self._guess(count, up, lean)
        self.tail(q, lean, np.zeros((count, 2)))
        self.arms(q, u * (1 - up), ARMS[self.style["arms"]])
        R, origin = self.feet.pitched(np.zeros((count, 2)))
        first = self._lift is None
        lift_knee = np.radians(95.0)
        hips = np.array([0.0, self.sole + self.seat + HIP_OVER_SEAT * self.leg])
        hips_weight = np.tile([0.0, 100.0], (count, 1))
        if self._lift is not None:
            hips = self._lift[1][:2]
            columns = [self.planter.coordinate[f"knee_angle_{s}"] for s, _ in SIDES]
            lift_knee = float(self._lift[0][columns].mean())
            hips_weight = np.where(seated, 100.0, 0.0)[:, None] * np.ones(2)
        knee = lift_knee + (np.radians(manner["stand_knee"]) - lift_knee) * up
        ball, ankle = (float(p[:, 0].mean()) for p in (self.feet.ball, self.feet.ankle))
        balance = LIFT_BALANCE + (manner["balance"] - LIFT_BALANCE) * np.clip(1.6 * up, 0.0, 1.0)
        com = np.stack([ankle + balance * (ball - ankle), np.zeros(count)], axis=1)
        rising = np.ones(count) if first else np.where(seated, 0.0, 1.0)
        loose = 3.0 if self.asked["asymmetry"] else 30.0
        fault = u * (1 - up) if not first else np.ones(count)
        wishes = [
            Wish({"knee_angle_r": 0.5, "knee_angle_l": 0.5}, knee, 100.0 * rising * (not first)),
            Wish({"knee_angle_r": 1.0, "knee_angle_l": -1.0}, self._difference(fault), 20.0),
            Wish({"pelvis_tz": 1.0}, self.asked["hip_shift"] / 100 * fault, 100.0),
            Wish({"pelvis_rotation": 1.0}, 0.0, loose),
            Wish({"pelvis_list": 1.0}, 0.0, loose),
            *self.lean_wishes(lean, manner["lumbar_share"] * lean),
        ]
        return Goal(
            **{"q": q, "R": R, "origin": origin},
            hold=np.ones((count, 2, 2)),
            give=np.zeros((count, 2)),
            wishes=wishes,
            com=com,
            com_weight=np.stack([50.0 * rising, np.zeros(count)], axis=1),
            hips=np.tile(hips, (count, 1)),
            hips_weight=hips_weight,
        )

    def _difference(self, share: Array) -> Array:
        return np.asarray(np.radians(self.asked["asymmetry"]) * share)

    def _guess(self, count: int, up: Array, lean: Array) -> Array:
        """Returns plausible poses (n, c) between sitting and standing."""
        q, put = self.begin(count), self.planter.put
        bend = np.radians(90.0) * (1.0 - up)
        put(q, "pelvis_tilt", -0.6 * lean)
        for side, _ in SIDES:
            put(q, f"knee_angle_{side}", bend)
            put(q, f"ankle_angle_{side}", 0.15 * bend)
            put(q, f"hip_flexion_{side}", 0.85 * bend + 0.5 * lean)
        return q

    def finish(self, q: Array) -> Array:
        """Keeps the trunk upright over an asymmetric pelvis."""
        return self.upright(q)

    def timing(self) -> tuple[Array, Array]:
        """Returns times and v: up, a pause, down."""
        manner, tempo = self.manner, self.asked["tempo"]
        moving = tempo - manner["stand_pause"]
        up = moving * manner["rise_share"]
        parts = (
            Rest(0.0, 2.0, up, manner["stand_pause"]),
            Rest(2.0, 4.0, moving - up, manner["rest_after"]),
        )
        return walk(parts, manner["rest_before"])
