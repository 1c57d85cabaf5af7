"""Procedural squats: the feet stay planted, the rest follows from depth, lean and balance.

Dims: t = row in time, n = node of the path, c = coordinate, s = side (right, left). Units rad, m, s, but a plan's
numbers are in the recipe's units. OpenSim's ground frame: X forward, Y up, Z to the person's right.

The path is solved at nodes v in [0, 2] (0 standing, 1 bottom, 2 standing again) with the knee target linear in
u = (1 - cos(pi v)) / 2, splined in v, and walked through in time smoothly. What was asked and what was reached is
in `Motion.parameters`.
"""

from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from schemas.recipes import ProceduralLot
from workers.motions import Motion
from workers.osim import OsimModel
from workers.planting import Feet, Planter, Wish, model_limits

Array = NDArray[np.float64]
RATE_HZ = 60.0
NODES = 17
SIDES = (("r", 1.0), ("l", -1.0))
"""And the sign of Z on that side."""
ASKED = ("depth", "stance", "toe_out", "trunk_lean", "valgus", "asymmetry", "heel_lift", "tempo")
ARM = ("arm_flex", "arm_add", "arm_rot", "elbow_flex", "pro_sup")
ARM_STYLES = {
    "forward": ((15.0, -6.0, 0.0, 12.0, 60.0), (88.0, -8.0, 0.0, 8.0, 40.0)),
    "clasped": ((42.0, -6.0, 28.0, 118.0, 80.0), (52.0, -6.0, 28.0, 112.0, 80.0)),
    "crossed": ((58.0, -5.0, 58.0, 124.0, 70.0), (62.0, -5.0, 58.0, 124.0, 70.0)),
    "hanging": ((2.0, -10.0, 5.0, 12.0, 70.0), (6.0, -16.0, 5.0, 12.0, 70.0)),
}
"""ARM angles standing and at the bottom, degrees; the flexion of `forward` and `hanging` is against the vertical, so
the trunk's lean is added to it. Of crossed arms the right one lies higher."""
CROSSED_LIFT = 7.0
SLIP_M, ROLL_DEG = 0.003, 6.0
"""What a planted foot may turn (at heel and ball) and roll to let the knee go inwards."""


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """One draw: the recipe's eight, then what makes people differ. Angles in degrees."""

    depth: float
    stance: float
    toe_out: float
    trunk_lean: float
    valgus: float
    asymmetry: float
    heel_lift: float
    tempo: float
    arms: str
    descent_share: float
    """Of the moving time."""
    pause: float
    """Share of the tempo spent at the bottom."""
    bounce: float
    """Upward acceleration at the bottom, 1 / (duration of the half)^2; 4.9 is a cosine's, 0 comes to a stand."""
    rest_before: float
    rest_after: float
    stand_knee: float
    lumbar_share: float
    """Of the trunk's lean."""
    ascent_lean: float
    """Extra lean on the way up."""
    balance: float
    """Where the centre of mass stays, from ankle (0) to ball of the foot (1)."""
    twist: float
    list: float


def _draw(lot: ProceduralLot, rng: np.random.Generator) -> _Plan:
    asked = {name: float(rng.uniform(*getattr(lot, name))) for name in ASKED}
    return _Plan(
        **asked,
        arms=str(rng.choice(list(ARM_STYLES))),
        descent_share=float(rng.uniform(0.45, 0.6)),
        pause=float(max(0.0, rng.uniform(-0.15, 0.15))),
        bounce=float(rng.uniform(0.0, 7.0)),
        rest_before=float(rng.uniform(0.1, 0.3)),
        rest_after=float(rng.uniform(0.1, 0.3)),
        stand_knee=float(rng.uniform(4.0, 9.0)),
        lumbar_share=float(rng.uniform(0.15, 0.4)),
        ascent_lean=float(rng.uniform(0.0, 6.0)),
        balance=float(rng.uniform(0.25, 0.5)),
        twist=float(rng.normal(0.0, 1.5)),
        list=float(rng.normal(0.0, 1.0)),
    )


def squat(lot: ProceduralLot, model: OsimModel, rng: np.random.Generator) -> Motion:
    """Makes one repetition, standing to standing, at 60 Hz, facing +X, feet about x = z = 0.

    Raises:
        InputError: the model lacks a coordinate or body that a squat needs.
    """
    plan = _draw(lot, rng)
    squatter = _Squatter(model, plan)
    nodes = np.linspace(0.0, 2.0, NODES)
    path = squatter.path(nodes)
    times, v = _timing(plan)
    q = CubicSpline(nodes, path, bc_type="clamped")(v)
    q = model.spec.couple(np.clip(q, *model_limits(model.spec)))
    parameters: dict[str, float | str] = {**asdict(plan), **squatter.reached(path)}
    return Motion(name="squat", times=times, q=q, parameters=parameters)


def _timing(plan: _Plan) -> tuple[Array, Array]:
    """Returns times (t,) and the place v (t,) on the path."""
    hold = plan.tempo * plan.pause
    down = (plan.tempo - hold) * plan.descent_share
    up = plan.tempo - hold - down
    total = plan.rest_before + plan.tempo + plan.rest_after
    times = np.arange(int(np.ceil(total * RATE_HZ)) + 1) / RATE_HZ
    since = times - plan.rest_before
    descent = _progress(since / down, plan.bounce)
    ascent = 1.0 - _progress(1.0 - (since - down - hold) / up, plan.bounce)
    return times, (np.arccos(1.0 - 2.0 * descent) + np.arccos(1.0 - 2.0 * ascent)) / np.pi


def _progress(tau: Array, bounce: float) -> Array:
    """Runs from 0 at tau = 0 to 1 at 1: minimum jerk (Flash & Hogan 1985), but for the acceleration -bounce at 1."""
    tau = np.clip(tau, 0.0, 1.0)
    stopping = tau**3 * (10.0 - 15.0 * tau + 6.0 * tau**2)
    return np.asarray(np.clip(stopping - bounce / 2 * tau**3 * (1.0 - tau) ** 2, 0.0, 1.0))


class _Squatter:
    """One body carrying out one plan."""

    def __init__(self, model: OsimModel, plan: _Plan) -> None:
        self.planter, self.plan, self._aim = Planter(model), plan, plan
        q = model.spec.default_pose()
        for name in ("pelvis_tilt", "pelvis_list", "pelvis_rotation"):
            self.planter.put(q, name, 0.0)
        self._toe_gain = [self.planter.gain(q, f"mtp_angle_{s}", f"toes_{s}") for s, _ in SIDES]
        self._neck_gain = self.planter.gain(q, "neck_flexion", "head")
        self._plant(q)
        for side, _ in SIDES:
            self.planter.put(q, f"hip_rotation_{side}", -np.radians(plan.toe_out))
            self.planter.put(q, f"knee_angle_{side}", np.radians(plan.stand_knee))
        self._start = q

    def _plant(self, q: Array) -> None:
        """Decides where the feet stand: level as in the default pose, turned out, about the origin."""
        pose, body = self.planter.model.pose(q), self.planter.body
        at = {name: pose.joint_centres[i] for name, i in body.items()}
        half = self.plan.stance * float(np.linalg.norm(at["femur_r"] - at["femur_l"])) / 2
        T = pose.T_ground_from_body[[body["calcn_r"], body["calcn_l"]]]
        level = T[:, 1, 3].mean()
        turn = np.array([_turn("y", -sign * self.plan.toe_out) for _, sign in SIDES])
        ankle = np.array([at["talus_r"], at["talus_l"]])
        place = np.array([[0.0, 0.0, half], [0.0, 0.0, -half]])
        place[:, 1] = level + ankle[:, 1] - T[:, 1, 3]
        toes = np.array([at["toes_r"], at["toes_l"]])
        self._R = turn @ T[:, :3, :3]
        self._heel = place + np.einsum("sij,sj->si", turn, T[:, :3, 3] - ankle)
        self._ball = place + np.einsum("sij,sj->si", turn, toes - ankle)
        self._half_foot = float(np.linalg.norm(self._ball - self._heel, axis=1).mean()) / 2
        self._balance_x = self.plan.balance * float(self._ball[:, 0].mean())

    def path(self, nodes: Array) -> Array:
        """Solves every node (n,) -> q (n, c), each from its neighbour; the last is the first.

        The bottom comes first: what limits leave of the depth and lean asked for is then aimed at all along, so
        that nothing gives way in the middle.
        """
        q = self._start
        for v in np.linspace(0.0, 1.0, 6):
            q = self._pose(q, float(v), self.plan.valgus)
        index = self.planter.coordinate
        knees = float(np.degrees(q[[index["knee_angle_r"], index["knee_angle_l"]]].mean()))
        lean, share = self._lean(q)
        at_limit = abs(knees - self.plan.depth) > 0.5 or abs(lean - self.plan.trunk_lean) > 0.5
        self._aim = replace(
            self.plan,
            depth=knees,
            trunk_lean=lean,
            lumbar_share=share,
            ascent_lean=0.0 if at_limit else self.plan.ascent_lean,
        )
        solved, q = [], self._start
        for v in nodes[:-1]:
            q = self._pose(q, float(v), self.plan.valgus)
            solved.append(q)
        return np.array([*solved, solved[0]])

    def _lean(self, q: Array) -> tuple[float, float]:
        """Returns the trunk's forward lean, degrees, and the lumbar spine's share of it."""
        index, lumbar = self.planter.coordinate, self.planter.lumbar
        back = -float(q[index[lumbar]]) if lumbar else 0.0
        lean = back - float(q[index["pelvis_tilt"]])
        return float(np.degrees(lean)), back / lean if abs(lean) > 1e-3 else 0.0

    def _pose(self, q: Array, v: float, valgus: float) -> Array:
        plan, lumbar = self._aim, self.planter.lumbar
        u = (1.0 - np.cos(np.pi * v)) / 2
        lean = 1.0 + (plan.trunk_lean - 1.0) * u
        lean = np.radians(lean + plan.ascent_lean * np.sin(np.pi * max(v - 1.0, 0.0)) ** 2)
        knee = np.radians(plan.stand_knee + (plan.depth - plan.stand_knee) * u)
        wishes = [
            Wish({"knee_angle_r": 0.5, "knee_angle_l": 0.5}, knee, 100.0),
            Wish({"pelvis_tz": 1.0}, plan.asymmetry / 100 * u, 100.0),
            Wish({name: -1.0 for name in ("pelvis_tilt", lumbar) if name}, lean, 3.0),
        ]
        if lumbar:
            wishes.append(Wish({lumbar: -1.0}, plan.lumbar_share * lean, 1.0))
        q = self._prescribe(q.copy(), u, lean)
        return self.planter.solve(q, self._feet(u, valgus), self._balance_x, wishes)

    def _prescribe(self, q: Array, u: float, lean: float) -> Array:
        """Sets what is not solved for: arms, neck, toes, the small twist and list of the pelvis."""
        plan, put = self.plan, self.planter.put
        for (side, sign), toe_gain in zip(SIDES, self._toe_gain, strict=True):
            for stem, standing, bottom in zip(ARM, *self._arms(sign), strict=True):
                ends = [self.planter.within(f"{stem}_{side}", a) for a in (standing, bottom)]
                put(q, f"{stem}_{side}", ends[0] + (ends[1] - ends[0]) * u)
            if toe_gain:
                put(q, f"mtp_angle_{side}", -np.radians(plan.heel_lift) * u**2 / toe_gain)
        if self._neck_gain:
            put(q, "neck_flexion", -0.6 * lean / self._neck_gain)
        put(q, "pelvis_rotation", np.radians(plan.twist) * u)
        put(q, "pelvis_list", np.radians(plan.list) * u)
        return q

    def _arms(self, sign: float) -> tuple[Array, Array]:
        """Returns one arm's angles standing and at the bottom."""
        standing, bottom = (np.radians(a) for a in ARM_STYLES[self.plan.arms])
        if self.plan.arms == "crossed":
            standing[0] += sign * np.radians(CROSSED_LIFT)
            bottom[0] += sign * np.radians(CROSSED_LIFT)
        if self.plan.arms in ("forward", "hanging"):
            bottom[0] += np.radians(self._aim.trunk_lean)
        return standing, bottom

    def _feet(self, u: float, valgus: float) -> Feet:
        """Returns the calcanei's places: planted, but for the heel lift and what valgus needs.

        The model's knee does not turn about the shank, so with rigidly planted feet the knees' place is no
        free choice. Valgus comes from the foot, as pronation does: a small inward turn about its middle and
        roll about its length. 1 degree of turn gives about 0.75, of roll 0.55 degrees of hip adduction (the
        Rajagopal ankle, 80 to 120 degrees of knee flexion); both are bounded, so valgus ends near 5 degrees.
        """
        most = np.degrees(SLIP_M / self._half_foot)
        turn = float(np.clip(0.5 * valgus, -most, most))
        roll = float(np.clip((valgus - 0.75 * turn) / 0.55, -ROLL_DEG, ROLL_DEG))
        rotations, origins = [], []
        for R, heel, ball, (_, sign) in zip(self._R, self._heel, self._ball, SIDES, strict=True):
            inward = _turn("y", sign * turn * u) @ R @ _turn("x", -sign * roll * u)
            lifted = inward @ _turn("z", -self.plan.heel_lift * u**2)
            middle = (heel + ball) / 2
            ball_now = middle + inward @ R.T @ (ball - middle)
            rotations.append(lifted)
            origins.append(ball_now + lifted @ R.T @ (heel - ball))
        return Feet(np.array(rotations), np.array(origins))

    def reached(self, path: Array) -> dict[str, float]:
        """Says what the path (n, c) came to, in degrees: each knee, the trunk, and valgus against flat feet."""
        index, bottom = self.planter.coordinate, path[len(path) // 2]
        flat = self._pose(bottom, 1.0, 0.0) if self.plan.valgus else bottom
        adduction = [index["hip_adduction_r"], index["hip_adduction_l"]]
        return {
            "reached_knee_r": float(np.degrees(bottom[index["knee_angle_r"]])),
            "reached_knee_l": float(np.degrees(bottom[index["knee_angle_l"]])),
            "reached_lean": self._lean(bottom)[0],
            "reached_valgus": float(np.degrees((bottom - flat)[adduction].mean())),
        }


def _turn(axis: str, degrees: float) -> Array:
    return np.asarray(Rotation.from_euler(axis, degrees, degrees=True).as_matrix())
