"""Movements on two planted feet that bend and rise: squats, hinges, calf raises."""

import numpy as np
from numpy.typing import NDArray

from workers.family import SIDES
from workers.movement import MANNER, ArmStyle, Movement
from workers.phases import Feet, along, over_forefoot, there_and_back
from workers.planting import Goal, Wish

Array = NDArray[np.float64]
ARM_STYLES: dict[str, ArmStyle] = {
    "forward": ((15.0, -6.0, 0.0, 12.0, 60.0), (88.0, -8.0, 0.0, 8.0, 40.0)),
    "clasped": ((42.0, -6.0, 28.0, 118.0, 80.0), (52.0, -6.0, 28.0, 112.0, 80.0)),
    "crossed": ((58.0, -5.0, 58.0, 124.0, 70.0), (62.0, -5.0, 58.0, 124.0, 70.0)),
    "hanging": ((2.0, -10.0, 5.0, 12.0, 70.0), (6.0, -16.0, 5.0, 12.0, 70.0)),
}
"""Of crossed arms the right one lies higher."""
AGAINST_VERTICAL = ("forward", "hanging")
"""Styles whose flexion is against the vertical, so that the trunk's lean is added to it."""
CROSSED_LIFT = 7.0
FLAT, ON_TOES = (0.2, 0.8), (1.05, 1.3)
"""Where the centre of mass may be, from ankle (0) to ball (1), with heels down and up."""
SHIFTS = np.array([-0.4, -0.2, 0.2, 0.4])
RELUCTANCE_DEG = 5.0
"""Of lean that moving the centre of mass from ankle to ball must gain."""

GIVES = {
    "heels": [(raised, 0.0) for raised in (0.0, 6.0, 12.0, 18.0, 24.0)],
    "depth": [(0.0, less) for less in (0.0, 8.0, 16.0, 24.0, 32.0, 40.0)],
    "trunk": [(0.0, 0.0)],
}
"""What gives in a squat for which ankles are too stiff: how far heels come up and depth is less, in turn, degrees."""
MISSED_DEG, PRICE = 12.0, 0.1
"""Depth and lean together may be so far from what is wanted; each degree that gives must bring so much."""
LIFTER_DEG, HIGHEST_DEG = 1.0, 28.0
"""Who lifts the heels anyway by more lifts them further, but for this reason no higher."""


class Bend(Movement):
    """Down and up again about a deepest point at v = 1."""

    manners = MANNER | {"ascent_lean": (0.0, 6.0), "balance": (0.25, 0.5)}
    arm_styles: tuple[str, ...] = tuple(ARM_STYLES)
    shift: Array | float = 0.0
    """How much further forward the centre of mass is at the deepest point, from ankle (0) to ball (1)."""

    def set_up(self, rng: np.random.Generator) -> None:
        """Draws the manner and stands the feet side by side about the origin."""
        self.style = {"arms": str(rng.choice(self.arm_styles))}
        self.manner = self.draw_manner(rng)
        self.manner |= {n: float(rng.normal(0.0, sd)) for n, sd in (("twist", 1.5), ("list", 1.0))}
        half = self.asked["stance"] * self.hip_width / 2
        out = np.full(2, np.radians(self.asked["toe_out"]))
        self.feet = Feet(self.planter, self.start, np.array([[0.0, half], [0.0, -half]]), out)
        for side, _ in SIDES:
            self.planter.put(self.start, f"hip_rotation_{side}", -out[0])

    def aims(self) -> dict[str, float]:
        """Returns the mean knee flexion and the trunk's lean, degrees."""
        return {name: self.asked[name] for name in ("depth", "trunk_lean")}

    def measure(self, q: Array) -> dict[str, float]:
        """Returns what a pose reached of the aims, and each knee."""
        angle = self.planter.angle
        knees = {f"knee_{s}": float(angle(q, f"knee_angle_{s}")) for s, _ in SIDES}
        mean = (knees["knee_r"] + knees["knee_l"]) / 2
        reached = {"depth": mean, "trunk_lean": self.lean(q)} | knees
        difference = knees["knee_r"] - knees["knee_l"]
        return reached | {"asymmetry": difference, "hip_shift": 100.0 * self._shift(q)}

    def pitches(self, q: Array) -> Array:
        """Returns how far each heel (s,) is up in a pose (c,), degrees."""
        posed = self.planter.kinematics.pose(q)
        feet = [self.planter.body[f"calcn_{side}"] for side, _ in SIDES]
        dips = np.arcsin(-posed.T_ground_from_body[0, feet, 1, 0])
        return np.asarray(np.degrees(dips - np.arcsin(-self.feet.R[:, 1, 0])))

    def _shift(self, q: Array) -> float:
        """Returns how far the pelvis is to the right of where it stood, m."""
        return float(q[self.planter.coordinate["pelvis_tz"]])

    def lumbar(self, v: Array, lean: Array) -> Array:
        """Returns the wished lumbar flexion (n,) rad."""
        return self.manner["lumbar_share"] * lean

    def pitch(self, u: Array) -> Array:
        """Returns how far the heels are up (n, s), rad: not at all."""
        return np.zeros((len(u), 2))

    def balance(self, u: Array) -> Array:
        """Returns where the centre of mass is wanted, from ankle (0) to ball (1)."""
        return over_forefoot(self.manner["balance"], self.pitch(u).min(axis=1))

    def settle(self, wanted: dict[str, float]) -> tuple[dict[str, float], Array]:
        """Moves the centre of mass over the feet where the trunk's lean then is nearer to what is wanted."""
        return wanted, self.balanced(wanted)

    def balanced(self, wanted: dict[str, float]) -> Array:
        """Chooses where over the feet the centre of mass is at the deepest point, and returns the pose (c,) there."""
        at = float(self.balance(np.ones(1))[0])
        low, high = FLAT if at < FLAT[1] else ON_TOES
        self.shift = np.array([0.0, *(np.clip(at + SHIFTS, low, high) - at)])
        found = self.planter.solve(self.goal(np.full(len(self.shift), self.deepest), wanted))
        off = [abs(self.lean(q) - wanted["trunk_lean"]) for q in found]
        cost = np.array(off) + RELUCTANCE_DEG * np.abs(self.shift)
        best = int(np.argmin(cost))
        self.shift = float(self.shift[best])
        return np.asarray(found[best])

    def knee_difference(self, u: Array) -> Array:
        """Returns how much more the right knee bends (n,), rad."""
        return np.asarray(np.radians(self.asked["asymmetry"]) * u)

    def collapse(self, v: Array) -> Array:
        """Returns the share of the frontal fault: it grows with the bend."""
        return np.stack([along(v, (0.0, 1.0, 0.0))] * 2, axis=1)

    def goal(self, v: Array, aims: dict[str, float]) -> Goal:
        """Returns knees, trunk and balance at v (n,) over feet that stay."""
        manner, u = self.manner, along(v, (0.0, 1.0, 0.0))
        knee = np.radians(manner["stand_knee"] + (aims["depth"] - manner["stand_knee"]) * u)
        lean = np.radians(1.0 + (aims["trunk_lean"] - 1.0) * u)
        lean = lean + np.radians(manner["ascent_lean"]) * np.sin(np.pi * np.maximum(v - 1, 0)) ** 2
        pitch = self.pitch(u)
        R, origin = self.feet.pitched(pitch)
        q = self.begin(len(v))
        self._guess(q, knee, lean)
        self.tail(q, lean, pitch)
        self.set_arms(q, u, aims["trunk_lean"])
        ball, ankle = (float(p[:, 0].mean()) for p in (self.feet.ball, self.feet.ankle))
        com = np.zeros((len(v), 2))
        com[:, 0] = ankle + (self.balance(u) + self.shift * u**2) * (ball - ankle)
        difference = self.knee_difference(u)
        loose = 3.0 if self.asked["asymmetry"] else 30.0
        wishes = [
            Wish({"knee_angle_r": 0.5, "knee_angle_l": 0.5}, knee, 100.0),
            Wish({"knee_angle_r": 1.0, "knee_angle_l": -1.0}, difference, 20.0),
            Wish({"pelvis_tz": 1.0}, self.asked["hip_shift"] / 100 * u, 100.0),
            Wish({"pelvis_rotation": 1.0}, np.radians(manner["twist"]) * u, loose),
            Wish({"pelvis_list": 1.0}, np.radians(manner["list"]) * u, loose),
            *self.lean_wishes(lean, self.lumbar(v, lean), firm=1.0),
        ]
        return Goal(
            q=q,
            R=R,
            origin=origin,
            hold=np.ones((len(v), 2, 2)),
            give=np.zeros((len(v), 2)),
            wishes=wishes,
            com=com,
            com_weight=np.tile([50.0, 0.0], (len(v), 1)),
        )

    def _guess(self, q: Array, knee: Array, lean: Array) -> None:
        """Puts a plausible pose of that bend into q (n, c)."""
        put = self.planter.put
        put(q, "pelvis_tilt", -0.7 * lean)
        for side, _ in SIDES:
            put(q, f"knee_angle_{side}", knee)
            put(q, f"ankle_angle_{side}", 0.3 * knee)
            put(q, f"hip_flexion_{side}", np.minimum(0.7 * knee + 0.3 * lean, 1.9))

    def set_arms(self, q: Array, u: Array, lean: float) -> None:
        """Sets the arms of q (n, c) in the drawn style."""
        name = self.style["arms"]
        self.arms(q, u, ARM_STYLES[name], lean if name in AGAINST_VERTICAL else 0.0)
        if name == "crossed":
            for side, sign in SIDES:
                i = self.planter.coordinate.get(f"arm_flex_{side}")
                if i is not None:
                    self.planter.put(
                        q, f"arm_flex_{side}", q[:, i] + sign * np.radians(CROSSED_LIFT)
                    )

    def finish(self, q: Array) -> Array:
        """Keeps the trunk upright over an asymmetric pelvis."""
        return self.upright(q)

    def timing(self) -> tuple[Array, Array]:
        """Returns times and v: a rest, down, perhaps a pause, up, a rest."""
        return there_and_back(self.parts, self.manner, self.asked["tempo"])


class Squat(Bend):
    """A squat. Where ankles are too stiff for it, people lift their heels, stop higher or lean more."""

    kind = "squat"
    raised = 0.0
    """How far the heels come up at the bottom beyond what was asked, degrees."""

    def set_up(self, rng: np.random.Generator) -> None:
        """Draws also what gives where the ankles end."""
        super().set_up(rng)
        drawn = str(rng.choice([*GIVES]))
        self.style["gives"] = "heels" if self.asked["heel_lift"] > LIFTER_DEG else drawn

    def pitch(self, u: Array) -> Array:
        """Returns how far the heels are up (n, s), rad: asked for, and for want of dorsiflexion."""
        lift = np.radians(self.asked["heel_lift"] + self.raised)
        return np.asarray(lift * np.stack([u, u], 1) ** 2)

    def settle(self, wanted: dict[str, float]) -> tuple[dict[str, float], Array]:
        """Lets heels or depth give as little as it takes to get near the depth and the lean."""
        tried = []
        room = max(0.0, HIGHEST_DEG - self.asked["heel_lift"])
        steps = dict.fromkeys((min(r, room), less) for r, less in GIVES[self.style["gives"]])
        for raised, less in steps:
            self.raised, aims = raised, wanted | {"depth": wanted["depth"] - less}
            pose = self.balanced(aims)
            found = self.measure(pose)
            missed = sum(abs(found[name] - value) for name, value in aims.items())
            cost = max(missed, MISSED_DEG) + PRICE * (raised + less)
            tried.append((cost, raised, self.shift, aims, pose))
            if missed <= MISSED_DEG:
                break
        _, self.raised, self.shift, aims, pose = min(tried, key=lambda t: t[0])
        return aims, pose

    def lumbar(self, v: Array, lean: Array) -> Array:
        """Returns the lumbar share of the lean, and the butt wink in the lowest third."""
        low = np.clip((along(v, (0.0, 1.0, 0.0)) - 0.6) / 0.4, 0.0, 1.0)
        wink = low * low * (3.0 - 2.0 * low)
        ordinary = super().lumbar(v, lean)
        return np.asarray(ordinary + np.radians(self.asked["butt_wink"]) * wink)

    def measure(self, q: Array) -> dict[str, float]:
        """Adds the heel lift and the lumbar flexion beyond the ordinary share."""
        lift = float(self.pitches(q).mean())
        return super().measure(q) | {"heel_lift": lift} | _rounding(self, q, "butt_wink")


class Hinge(Bend):
    """A hip hinge."""

    kind = "hinge"
    arm_styles = ("hanging", "crossed")

    def lumbar(self, v: Array, lean: Array) -> Array:
        """Returns the lumbar share of the lean, and the rounding that grows with it."""
        u = along(v, (0.0, 1.0, 0.0))
        return np.asarray(super().lumbar(v, lean) + np.radians(self.asked["rounding"]) * u)

    def measure(self, q: Array) -> dict[str, float]:
        """Adds the rounding of the back."""
        return super().measure(q) | _rounding(self, q, "rounding")


class CalfRaise(Bend):
    """Both heels up."""

    kind = "calf_raise"
    arm_styles = ("hanging", "crossed", "forward")

    def set_up(self, rng: np.random.Generator) -> None:
        """Draws the manner; no bounce at the top."""
        super().set_up(rng)
        self.manner["bounce"] = 0.0

    def pitch(self, u: Array) -> Array:
        """Returns how far the heels are up; asymmetry raises the right one more."""
        rise = self.asked["rise"] + self.asked["asymmetry"] / 2 * np.array([1.0, -1.0])
        return np.asarray(np.radians(rise) * u[:, None])

    def knee_difference(self, u: Array) -> Array:
        """Returns none: asymmetry is of the heels."""
        return np.zeros(len(u))

    def measure(self, q: Array) -> dict[str, float]:
        """Adds the pitch of the feet."""
        right, left = self.pitches(q).tolist()
        return super().measure(q) | {"rise": (right + left) / 2, "asymmetry": right - left}


def _rounding(movement: Bend, q: Array, name: str) -> dict[str, float]:
    """Returns the lumbar flexion beyond its ordinary share of the lean, degrees."""
    if movement.planter.lumbar is None:
        return {name: 0.0}
    flexion = -float(movement.planter.angle(q, movement.planter.lumbar))
    return {name: flexion - movement.manner["lumbar_share"] * movement.lean(q)}
