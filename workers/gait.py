"""Level walking: where feet and hips go at a speed; the joint angles follow from them.

Dims as in workers/movement.py; v is time over a stride, 0 where the right heel meets the floor. Written from
published figures, none of them copied as data:

- step length and cadence of a speed: a constant walk ratio of about 0.0063 m/(steps/min) (Sekiya & Nagasaki 1998);
- stance and double support: 62 % and 12 % of the stride at 1.3 m/s, longer when slower (Perry & Burnfield 2010);
- the standing knee: 5 degrees when the heel lands, 16 as it yields, 5 before heel-off (Perry & Burnfield 2010); with it
  the hips rise and fall by themselves;
- the hips' sideways sway: 7.0 to 3.9 cm between 0.7 and 1.6 m/s (Orendurff et al. 2004);
- pelvic turn and drop of about 5 and 4 degrees either way (Perry & Burnfield 2010; Saunders, Inman & Eberhart 1953);
- foot pitch: toes up 15 to 25 degrees when the heel lands, flat from 7 % of the stride, heel off before 40 %, about 60
  degrees at toe-off; toes clear the floor by 1 to 2 cm (Winter 1991, 1992);
- arms swing against the legs, about 15 degrees either way at 1.3 m/s (Murray 1967).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline, PchipInterpolator

from workers.family import LATERAL, SIDES, TWISTING, model_limits
from workers.motions import Motion
from workers.movement import Movement
from workers.phases import RATE_HZ, Feet
from workers.planting import Goal, Wish

Array = NDArray[np.float64]
NODES = 48
STRIDES = 2
MIDSTANCE = 0.255
"""Of the stride after the heel lands: the hips are over the ankle."""
LANDING = 0.35
"""Speed of the swinging foot when it lands, strides per swing time."""
SWING_LIFT = ((0.0, 0.25, 0.7, 0.9, 1.0), (0.0, 0.055, 0.024, 0.017, 0.0))
"""Height of the ball, of the leg's length, along the swing; the pitch of the foot adds its own."""


class Gait(Movement):
    """Walking along +X."""

    kind = "gait"
    parts = ((0.0, 1.0),)

    def set_up(self, rng: np.random.Generator) -> None:
        """Draws the manner, and finds the stride of the speed and how high the hips can go."""
        speed = self.asked["speed"]
        self.manner = {
            "start_phase": float(rng.uniform(0.0, 1.0)),
            "arm_swing": float(rng.uniform(8.0, 22.0) * speed / 1.3),
            "lumbar_share": float(rng.uniform(0.3, 0.6)),
            "land_pitch": float(rng.uniform(14.0, 22.0) * min(1.1, speed / 1.3 + 0.2)),
            "off_pitch": float(rng.uniform(52.0, 62.0) * min(1.05, 0.75 + 0.2 * speed)),
        }
        # The walk ratio is an adult's of 1.7 m; the legs of others are as much longer or shorter.
        ratio = self.asked["walk_ratio"] * self.leg / 0.83
        step = min(np.sqrt(60.0 * speed * ratio), 0.95 * self.leg)
        self.stride, self.seconds = 2 * step, 2 * step / speed
        double = float(np.clip(0.12 + 0.06 * (1.3 - speed), 0.08, 0.18))
        self.stance = 0.5 + double
        self.manner |= {"step_length": step, "cadence": 60.0 * speed / step, "stance": self.stance}
        half = self.asked["step_width"] / 2
        longer = step * self.asked["asymmetry"] / 200
        # Flat on the floor: the right foot at x = 0 and, a step before it, the left one.
        ankles = np.array([[0.0, half], [-step - longer, -half]])
        self.feet = Feet(
            self.planter, self.start, ankles, np.full(2, np.radians(self.asked["toe_out"]))
        )
        for side, _ in SIDES:
            self.planter.put(self.start, f"hip_rotation_{side}", -np.radians(self.asked["toe_out"]))

    def _phase(self, v: Array) -> Array:
        """Returns each foot's time over the stride since it landed (n, s), which goes on counting."""
        return np.asarray(v[:, None] + np.array([0.0, 0.5]))

    def pitch(self, v: Array) -> Array:
        """Returns the feet's pitch (n, s), rad: heels up positive."""
        land, off, end = -self.manner["land_pitch"], self.manner["off_pitch"], self.stance
        knots = (0.0, 0.075, end - 0.26, end - 0.12, end, end + 0.05, 0.86, 0.96, 1.0)
        values = (land, 0.0, 0.0, 0.22 * off, off, off + 3.0, 0.0, land, land)
        return np.asarray(np.radians(PchipInterpolator(knots, values)(self._phase(v) % 1.0)))

    def tracks(self, v: Array) -> tuple[Array, Array]:
        """Returns R (n, s, 3, 3) and origin (n, s, 3) of the feet."""
        phase = self._phase(v)
        swing = np.clip((phase % 1.0 - self.stance) / (1.0 - self.stance), 0.0, 1.0)
        # The foot still moves when it lands: else it would wait ahead of a body that cannot reach it yet.
        ahead = swing**2 * (3.0 - LANDING + (LANDING - 2.0) * swing)
        shift = np.zeros((len(v), 2, 3))
        shift[..., 0] = self.stride * (np.floor(phase) + ahead)
        shift[..., 1] = self.leg * PchipInterpolator(*SWING_LIFT)(swing)
        return self.feet.pitched(self.pitch(v), shift)

    def hips(self, v: Array) -> Array:
        """Returns x of the middle between the hips, and 0 (n, 2): the standing knee says how high they are."""
        along = self.stride * (v - MIDSTANCE) + self.feet.ankle[0, 0]
        return np.stack([along, np.zeros(len(v))], axis=1)

    def knees(self, v: Array) -> tuple[Array, Array]:
        """Returns the standing knees' wished flexion (n, s), rad, and how much each foot carries (n, s)."""
        phase = self._phase(v) % 1.0
        yielding = 9.0 + 7.0 * self.asked["speed"] / 1.3
        knots, end = (0.0, 0.14, 0.4, 0.5, 0.62, 1.0), 6.0 + self.asked["crouch"]
        flexion = (end, yielding + self.asked["crouch"], end, end + 6.0, end + 32.0, end)
        carried = PchipInterpolator(
            (0.0, 0.06, self.stance - 0.22, self.stance - 0.08, 0.93, 1.0),
            (0.7, 1.0, 1.0, 0.0, 0.0, 0.7),
        )
        return np.radians(PchipInterpolator(knots, flexion)(phase)), np.asarray(carried(phase))

    def aims(self) -> dict[str, float]:
        """Returns nothing: what is reached is read off the whole stride."""
        return {}

    def measure(self, q: Array) -> dict[str, float]:
        """Returns nothing, as above."""
        return {}

    def _pelvis(self, v: Array) -> tuple[Array, Array]:
        """Returns the pelvis' list and rotation (n,), rad."""
        part = min(1.3, self.asked["speed"] / 1.3)
        drop, fault = np.radians(4.0) * part, np.radians(self.asked["pelvic_drop"])
        turning = 2 * np.pi * v
        listing = -drop * np.cos(turning - 2 * np.pi * 0.14) - fault * np.cos(
            turning - 2 * np.pi * 0.25
        )
        return listing, np.radians(5.0) * part * np.cos(turning)

    def goal(self, v: Array, aims: dict[str, float]) -> Goal:
        """Returns what is wanted at v (n,): both feet on their tracks, hips and pelvis on theirs."""
        speed = self.asked["speed"]
        listing, rotation = self._pelvis(v)
        lean = np.radians(1.0 + self.asked["trunk_lean"] + 1.0 * np.cos(4 * np.pi * v))
        sway = 0.5 * (0.070 + (0.039 - 0.070) * np.clip((speed - 0.7) / 0.9, 0, 1.1))
        # Nobody sways beyond the standing foot.
        sway = min(sway, 0.5 * self.asked["step_width"])
        side = sway * np.cos(2 * np.pi * (v - MIDSTANCE))
        pitch = self.pitch(v)
        R, origin = self.tracks(v)
        flexion, carried = self.knees(v)
        q = self._guess(v, lean)
        on_floor = self._phase(v) % 1.0 <= self.stance
        swinging = (self._phase(v) % 1.0 - self.stance) / (1.0 - self.stance)
        flat = np.where(on_floor, 1.0, np.clip(1.0 - swinging / 0.6, 0.0, 1.0))
        self.tail(q, lean, pitch * flat)
        self._upper(q, v, listing, rotation)
        hold = np.ones((len(v), 2, 2))
        hold[..., 1] = np.where(on_floor, 1.0, 0.03)
        wishes = [
            *(
                Wish({f"knee_angle_{name}": 1.0}, flexion[:, s], 10.0 * carried[:, s])
                for s, (name, _) in enumerate(SIDES)
            ),
            Wish({"pelvis_tz": 1.0}, side, 60.0),
            Wish({"pelvis_rotation": 1.0}, rotation, 30.0),
            Wish({"pelvis_list": 1.0}, listing, 30.0),
            *self.lean_wishes(lean, self.manner["lumbar_share"] * lean, 20.0),
        ]
        return Goal(
            **{"q": q, "R": R, "origin": origin, "hold": hold},
            give=np.zeros((len(v), 2)),
            wishes=wishes,
            hips=self.hips(v),
            hips_weight=np.tile([100.0, 0.0], (len(v), 1)),
        )

    def _guess(self, v: Array, lean: Array) -> Array:
        """Returns plausible poses (n, c): a walker's knees and hips, roughly."""
        q, put = self.begin(len(v)), self.planter.put
        put(q, "pelvis_tilt", -0.6 * lean)
        q[:, self.planter.coordinate["pelvis_tx"]] = self.hips(v)[:, 0]
        for (side, _), phase in zip(SIDES, self._phase(v).T % 1.0, strict=True):
            bend = np.exp(-(((phase - 0.73) / 0.11) ** 2))
            put(q, f"knee_angle_{side}", np.radians(10.0 + 50.0 * bend))
            put(q, f"hip_flexion_{side}", np.radians(8.0 + 22.0 * np.cos(2 * np.pi * phase)))
        return q

    def _upper(self, q: Array, v: Array, listing: Array, rotation: Array) -> None:
        """Sets trunk and arms of q (n, c): the shoulders stay level and turn against the pelvis."""
        put, swing = self.planter.put, self.manner["arm_swing"]
        for name in LATERAL:
            put(q, name, -0.9 * listing)
        for name in TWISTING:
            put(q, name, -1.7 * rotation)
        for side, sign in SIDES:
            wave = -sign * np.cos(2 * np.pi * (v - 0.03))
            put(q, f"arm_flex_{side}", np.radians(2.0 + swing * wave))
            put(q, f"arm_add_{side}", np.radians(-9.0))
            put(q, f"arm_rot_{side}", np.radians(8.0))
            put(q, f"elbow_flex_{side}", np.radians(20.0 + 0.5 * swing * (1.0 + wave)))
            put(q, f"pro_sup_{side}", np.radians(80.0))

    def timing(self) -> tuple[Array, Array]:
        """Returns times at 60 Hz of two strides, and v."""
        count = int(np.ceil(STRIDES * self.seconds * RATE_HZ)) + 1
        times = np.arange(count) / RATE_HZ
        return times, self.manner["start_phase"] + times / self.seconds

    @property
    def nodes(self) -> Array:
        """The v (n,) of one stride that are solved, its end included."""
        return np.linspace(0.0, 1.0, NODES + 1)

    def motion(self) -> Motion:
        """Solves one stride and walks two."""
        v = self.nodes[:-1]
        q = self.planter.solve(self.goal(v, {}))
        column = self.planter.coordinate["pelvis_tx"]
        q[:, column] -= self.stride * v
        spline = CubicSpline(self.nodes, np.concatenate([q, q[:1]]), bc_type="periodic")
        times, places = self.timing()
        path = spline(places)
        path[:, column] += self.stride * places
        spec = self.planter.spec
        path = spec.couple(np.clip(path, *model_limits(spec)))
        reached = self._reached(q)
        parameters: dict[str, float | str] = {**self.asked, **self.manner, **reached}
        return Motion(
            name=self.kind,
            times=times,
            q=path,
            parameters=parameters,
            phase=places,
            stance=self.planter.standing(),
        )

    def _reached(self, q: Array) -> dict[str, float]:
        """Reads off a stride (n, c) what a gait laboratory reports, degrees and metres."""
        angle, step = self.planter.angle, self.stride / 2
        found: dict[str, float] = {}
        for s, (side, _) in enumerate(SIDES):
            phase = self._phase(self.nodes[:-1])[:, s] % 1.0
            knee = angle(q, f"knee_angle_{side}")
            found[f"reached_swing_knee_{side}"] = float(knee[phase > 0.5].max())
            found[f"reached_stance_knee_{side}"] = float(knee[(phase > 0.2) & (phase < 0.5)].min())
        longer = self.asked["asymmetry"] / 200
        found["reached_step_r"], found["reached_step_l"] = step * (1 + longer), step * (1 - longer)
        found["reached_trunk_lean"] = float(np.mean([self.lean(row) for row in q]))
        listing = angle(q, "pelvis_list")
        found["reached_rise_m"] = float(np.ptp(q[:, self.planter.coordinate["pelvis_ty"]]))
        found["reached_pelvic_list"] = float((listing.max() - listing.min()) / 2)
        return found
