"""Movements on one leg or with one in front: single-leg squats, lunges."""

import numpy as np
from numpy.typing import NDArray

from workers.family import LATERAL, SIDES, SIGNS
from workers.movement import MANNER, ArmStyle, Movement
from workers.phases import Feet, along, over_forefoot, there_and_back
from workers.planting import Goal, Wish

Array = NDArray[np.float64]
ARMS: dict[str, ArmStyle] = {
    "forward": ((20.0, -8.0, 0.0, 15.0, 60.0), (80.0, -12.0, 0.0, 12.0, 50.0)),
    "crossed": ((58.0, -5.0, 58.0, 124.0, 70.0), (62.0, -5.0, 58.0, 124.0, 70.0)),
    "spread": ((10.0, -30.0, 0.0, 12.0, 80.0), (20.0, -70.0, 0.0, 8.0, 80.0)),
    "hips": ((-22.0, -42.0, 65.0, 85.0, 60.0), (-22.0, -42.0, 65.0, 85.0, 60.0)),
}
FREE_FULL = 75.0
"""Depth at which the free leg is up all the way."""
FREE_LEG = {
    "behind": ((8.0, 55.0), (12.0, 92.0)),
    "front": ((32.0, 42.0), (80.0, 28.0)),
}
"""Of the free leg, standing and at the bottom: the thigh's angle forward of the vertical, the knee's flexion."""


class OneSided(Movement):
    """A movement whose sides differ: `lead` is 0 where the right leg does the work."""

    manners = MANNER | {
        "pause": (-0.1, 0.12),
        "bounce": (0.0, 4.0),
        "stand_knee": (5.0, 10.0),
        "balance": (0.3, 0.5),
    }
    arm_styles: tuple[str, ...] = tuple(ARMS)

    def set_up(self, rng: np.random.Generator) -> None:
        """Draws the side and what makes people differ."""
        self.lead = int(rng.integers(2))
        self.style = {"side": "right" if self.lead == 0 else "left"}
        self.style["arms"] = str(rng.choice(self.arm_styles))
        self.manner = self.draw_manner(rng)

    @property
    def names(self) -> tuple[str, str]:
        """Returns the suffixes of the leading and of the other leg."""
        return SIDES[self.lead][0], SIDES[1 - self.lead][0]

    def aims(self) -> dict[str, float]:
        """Returns the leading knee's flexion and the trunk's lean, degrees."""
        return {name: self.asked[name] for name in ("depth", "trunk_lean")}

    def measure(self, q: Array) -> dict[str, float]:
        """Returns what a pose reached of the aims."""
        knee = float(self.planter.angle(q, f"knee_angle_{self.names[0]}"))
        return {"depth": knee, "trunk_lean": self.lean(q)}

    def guess(self, q: Array, knee: Array, lean: Array) -> None:
        """Puts a plausible pose of that bend of the leading leg into q (n, c)."""
        put, side = self.planter.put, self.names[0]
        put(q, "pelvis_tilt", -0.7 * lean)
        put(q, f"knee_angle_{side}", knee)
        put(q, f"ankle_angle_{side}", 0.3 * knee)
        put(q, f"hip_flexion_{side}", 0.65 * knee + 0.5 * lean)

    def bend_sideways(self, q: Array, angle: Array) -> None:
        """Bends the lumbar spine to the right (n,) rad."""
        for name in LATERAL:
            self.planter.put(q, name, angle)

    def timing(self) -> tuple[Array, Array]:
        """Returns times and v: a rest, there, perhaps a pause, back, a rest."""
        return there_and_back(self.parts, self.manner, self.asked["tempo"])


class SingleLegSquat(OneSided):
    """A squat on one leg."""

    kind = "single_leg_squat"

    def set_up(self, rng: np.random.Generator) -> None:
        """Stands the working foot near the middle; the other is free."""
        super().set_up(rng)
        self.style["free_leg"] = str(rng.choice(list(FREE_LEG)))
        sign = SIGNS[self.lead]
        out = np.full(2, np.radians(self.asked["toe_out"]))
        ankles = np.array([[0.0, 0.2 * self.hip_width], [0.0, -0.2 * self.hip_width]])
        self.feet = Feet(self.planter, self.start, ankles, out)
        self.planter.put(self.start, f"hip_rotation_{self.names[0]}", -out[0])
        self.planter.put(self.start, "pelvis_tz", 0.2 * self.hip_width * sign)

    def collapse(self, v: Array) -> Array:
        """Returns the share of the frontal fault: of the standing knee, growing with the bend."""
        share = np.zeros((len(v), 2))
        share[:, self.lead] = along(v, (0.0, 1.0, 0.0))
        return share

    def measure(self, q: Array) -> dict[str, float]:
        """Adds the drop of the free side."""
        drop = -SIGNS[self.lead] * float(self.planter.angle(q, "pelvis_list"))
        return super().measure(q) | {"pelvic_drop": drop}

    def goal(self, v: Array, aims: dict[str, float]) -> Goal:
        """Returns what is wanted at v (n,): all of the body over one foot, the other off the floor."""
        manner, u, (side, other) = self.manner, along(v, (0.0, 1.0, 0.0)), self.names
        sign, s = SIGNS[self.lead], self.lead
        knee = np.radians(manner["stand_knee"] + (aims["depth"] - manner["stand_knee"]) * u)
        lean = np.radians(2.0 + (aims["trunk_lean"] - 2.0) * u)
        drop = np.radians(self.asked["pelvic_drop"]) * u
        pitch = np.zeros((len(v), 2))
        pitch[:, s] = np.radians(self.asked["heel_lift"]) * u**2
        R, origin = self.feet.pitched(pitch)
        q = self.begin(len(v))
        self.guess(q, knee, lean)
        self.tail(q, lean, pitch)
        self.arms(q, u, ARMS[self.style["arms"]])
        self.bend_sideways(q, sign * (np.radians(self.asked["side_lean"]) * u + drop))
        hold = np.zeros((len(v), 2, 2))
        hold[:, s] = 1.0
        foot = self.feet.ball[s] - self.feet.ankle[s]
        place = over_forefoot(manner["balance"], pitch[:, s])
        com = (self.feet.ankle[s] + place[:, None] * foot)[:, [0, 2]]
        (thigh0, knee0), (thigh1, knee1) = FREE_LEG[self.style["free_leg"]]
        thigh1 = thigh0 + (thigh1 - thigh0) * min(1.0, self.asked["depth"] / FREE_FULL)
        thigh, free = (
            np.radians(thigh0 + (thigh1 - thigh0) * u),
            np.radians(knee0 + (knee1 - knee0) * u),
        )
        apart = np.radians(-4.0 - 5.0 * self.apart)
        put = self.planter.put
        put(q, f"knee_angle_{other}", free)
        put(q, f"hip_flexion_{other}", thigh + 0.7 * lean)
        wishes = [
            Wish({f"knee_angle_{side}": 1.0}, knee, 100.0),
            Wish({f"knee_angle_{other}": 1.0}, free, 20.0),
            Wish({f"hip_flexion_{other}": 1.0, "pelvis_tilt": 1.0}, thigh, 20.0),
            Wish({f"hip_adduction_{other}": 1.0}, apart - drop, 10.0),
            Wish({f"hip_rotation_{other}": 1.0}, 0.0, 10.0),
            Wish({f"ankle_angle_{other}": 1.0}, np.radians(-8.0), 10.0),
            *([Wish({f"subtalar_angle_{other}": 1.0}, 0.0, 10.0)] if self._subtalar else []),
            Wish({"pelvis_rotation": 1.0}, 0.0, 30.0),
            Wish({"pelvis_list": 1.0}, -sign * drop, 30.0),
            *self.lean_wishes(lean, manner["lumbar_share"] * lean),
        ]
        return Goal(
            **{"q": q, "R": R, "origin": origin, "hold": hold},
            give=np.zeros((len(v), 2)),
            wishes=wishes,
            com=com,
            com_weight=np.full((len(v), 2), 50.0),
        )

    @property
    def _subtalar(self) -> bool:
        return self.planter.movable("subtalar_angle_r", "subtalar_angle_l")


class Lunge(OneSided):
    """A lunge: v = 1 the foot is in front, v = 2 the bottom, v = 3 up again; a forward lunge steps before and after."""

    kind = "lunge"
    deepest = 2.0
    per_phase = 16

    def set_up(self, rng: np.random.Generator) -> None:
        """Draws split squat or forward lunge and stands the feet one before the other."""
        super().set_up(rng)
        self.style["manner"] = str(rng.choice(["split", "forward"]))
        forward = self.style["manner"] == "forward"
        self.parts = ((0.0, 2.0), (2.0, 4.0)) if forward else ((1.0, 2.0), (2.0, 3.0))
        self.manner |= {
            "forward_share": float(rng.uniform(0.52, 0.66)),
            "rear_pitch": float(rng.uniform(36.0, 46.0)),
            "top_knee": float(rng.uniform(12.0, 22.0)),
        }
        self.step = self.asked["step"] * self.leg
        half = self.asked["stance"] * self.hip_width / 2
        ankles = np.array([[0.0, half], [0.0, -half]])
        ankles[self.lead, 0], ankles[1 - self.lead, 0] = self.step / 2, -self.step / 2
        out = np.full(2, np.radians(self.asked["toe_out"]))
        out[1 - self.lead] *= 0.3  # a foot behind points ahead
        self.feet = Feet(self.planter, self.start, ankles, out)

    def collapse(self, v: Array) -> Array:
        """Returns the share of the frontal fault: of the front knee, growing with the bend."""
        share = np.zeros((len(v), 2))
        share[:, self.lead] = along(v, (0.0, 0.0, 1.0, 0.0, 0.0))
        return share

    def measure(self, q: Array) -> dict[str, float]:
        """Adds the rear knee and the pelvis' shift towards the front leg."""
        shift = 100.0 * SIGNS[self.lead] * float(q[self.planter.coordinate["pelvis_tz"]])
        rear = float(self.planter.angle(q, f"knee_angle_{self.names[1]}"))
        return super().measure(q) | {"hip_shift": shift, "rear_knee": rear}

    def _feet(self, v: Array) -> tuple[Array, Array, Array]:
        """Returns the pitch (n, s), R and origin of both feet: the front one swings before v = 1 and after 3."""
        out = along(v, (1.0, 0.0, 0.0, 0.0, 1.0))
        rear = self.manner["rear_pitch"]
        pitch = np.zeros((len(v), 2))
        pitch[:, 1 - self.lead] = np.radians(along(v, (0.0, 0.45 * rear, rear, 0.45 * rear, 0.0)))
        shift = np.zeros((len(v), 2, 3))
        # It goes straight up and comes straight down, so that it never slides.
        ahead = along(v, (1.0, 1.0, 0.0, 0.0, 1.0, 1.0), (0.0, 0.1, 0.88, 3.12, 3.9, 4.0))
        shift[:, self.lead, 0] = -self.step * ahead
        shift[:, self.lead, 1] = 0.1 * self.leg * np.sin(np.pi * out)
        return pitch, *self.feet.pitched(pitch, shift)

    def _com(self, v: Array) -> Array:
        """Returns where the centre of mass is wanted (n, 2): near the rear foot while that stands alone."""
        front, rear = self.feet.ankle[self.lead], self.feet.ball[1 - self.lead]
        home = self.feet.ankle[1 - self.lead][0] + 0.4 * (rear - self.feet.ankle[1 - self.lead])[0]
        deep = rear[0] + self.manner["forward_share"] * (front - rear)[0]
        top = rear[0] + (self.manner["forward_share"] - 0.12) * (front - rear)[0]
        x = along(v, (home, top, deep, top, home))
        share = along(
            v, (0.0, 0.75, 0.6, 0.0, 0.0, 0.6, 0.75, 0.0), (0, 0.3, 0.6, 1.2, 2.8, 3.4, 3.7, 4)
        )
        return np.stack([x, share * self.feet.ankle[1 - self.lead][2]], axis=1)

    def goal(self, v: Array, aims: dict[str, float]) -> Goal:
        """Returns what is wanted at v (n,)."""
        manner, (side, other) = self.manner, self.names
        stand, top = manner["stand_knee"], manner["top_knee"]
        knee = np.radians(along(v, (stand, top, aims["depth"], top, stand)))
        u = along(v, (0.0, 0.2, 1.0, 0.2, 0.0))
        lean = np.radians(2.0 + (aims["trunk_lean"] - 2.0) * u)
        pitch, R, origin = self._feet(v)
        q = self.begin(len(v))
        self.guess(q, knee, lean)
        self.planter.put(q, f"knee_angle_{other}", 0.9 * knee)
        self.tail(q, lean, pitch)
        self.arms(q, u, ARMS[self.style["arms"]])
        both = along(v, (0.0, 0.0, 1.0, 1.0, 0.0, 0.0), (0.0, 0.35, 1.0, 3.0, 3.65, 4.0))
        com, shift = self._com(v), self.asked["hip_shift"] / 100 * SIGNS[self.lead] * u
        wishes = [
            Wish({f"knee_angle_{side}": 1.0}, knee, 1.0 + 99.0 * both**2),
            # In the swing the leg that stands alone says how high the pelvis is.
            Wish({f"knee_angle_{other}": 1.0}, np.radians(12.0), 15.0 * (1.0 - both) ** 2),
            Wish({"pelvis_tz": 1.0}, shift + com[:, 1], 100.0),
            Wish({"pelvis_rotation": 1.0}, 0.0, 30.0),
            Wish({"pelvis_list": 1.0}, 0.0, 30.0),
            *self.lean_wishes(lean, manner["lumbar_share"] * lean, 20.0),
        ]
        return Goal(
            **{"q": q, "R": R, "origin": origin},
            hold=np.ones((len(v), 2, 2)),
            give=np.zeros((len(v), 2)),
            wishes=wishes,
            com=com,
            com_weight=np.stack([30.0 - 22.0 * both, np.zeros(len(v))], axis=1),
        )
