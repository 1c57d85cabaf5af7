"""Poses a body with its feet where they are wanted: least squares on OpenSim's own kinematics.

Dims: c = coordinate, k = unknown, j = joint (joint i carries body i), s = side (right, left). Units rad, m; OpenSim's
ground frame: X forward, Y up, Z to the person's right.

The unknowns are the pelvis' position and tilt, the lumbar flexion and both legs' angles. Both calcaneus poses
are all but hard conditions; linear wishes (knee flexion, trunk lean) and the balance of the centre of mass over
the feet give way softly where joint limits leave no room.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError
from schemas.skeleton import SkeletonSpec
from workers.osim import OsimModel

Array = NDArray[np.float64]
ROOT = ("pelvis_tx", "pelvis_ty", "pelvis_tz", "pelvis_tilt")
LEG = ("hip_flexion", "hip_adduction", "hip_rotation", "knee_angle", "ankle_angle")
LUMBAR = ("lumbar_extension", "L5_S1_Flex_Ext")
NATURAL = {"ankle_angle": (-40.0, 45.0), "pelvis_tilt": (-60.0, 25.0)} | dict.fromkeys(
    LUMBAR, (-45.0, 10.0)
)
"""Degrees: what people reach where models allow more."""
SEGMENTS = (
    *(
        ("femur", "tibia", 0.145, 0.39),
        ("tibia", "talus", 0.045, 0.44),
        ("talus", "toes", 0.013, 0.4),
    ),
    *(("humerus", "ulna", 0.026, 0.57), ("ulna", "hand", 0.021, 0.57)),
)
"""From joint, to joint, share of body mass of one side, place along it (de Leva 1996, men and women averaged)."""
TRUNK = ((0.43, 0.56), (0.07, 1.45))
"""Trunk, head: share of body mass, place on the line from the hips' midpoint to the shoulders'."""
FOOT_WEIGHT, BALANCE_WEIGHT = 1e4, 50.0
STEP = 1e-6
MARGIN = np.radians(1.5)
"""Unknowns stay this far inside their limits, so that a curve through solved poses does not leave them."""
MAX_TURN = 0.3
"""Largest change of an unknown in one iteration."""
MAX_ITERATIONS = 25
RELEASE = 1e-6


class Feet(NamedTuple):
    """Where both calcanei are wanted, right then left."""

    R: Array
    """(s, 3, 3)."""
    origin: Array
    """(s, 3)."""


class Wish(NamedTuple):
    """A linear condition: sum of factor * coordinate = value."""

    factors: dict[str, float]
    value: float
    weight: float


class Planter:
    """Solves poses of one model; coordinates that are not unknowns stay as given."""

    def __init__(self, model: OsimModel) -> None:
        self.model, self.spec = model, model.spec
        _check(self.spec)
        self.coordinate = {name: i for i, name in enumerate(self.spec.coordinate_names)}
        self.body = {name: i for i, name in enumerate(self.spec.body_names)}
        self.low, self.high = _limits(self.spec)
        self.lumbar = next((n for n in LUMBAR if self.movable(n)), None)
        roots = [self.coordinate[n] for n in ROOT]
        self._turns = [roots[3], *([self.coordinate[self.lumbar]] if self.lumbar else [])]
        stems = [s for s in (*LEG, "subtalar_angle") if self.movable(f"{s}_r", f"{s}_l")]
        self._legs = [[self.coordinate[f"{s}_{side}"] for side in "rl"] for s in stems]
        self._columns = np.array([*roots[:3], *self._turns, *(i for p in self._legs for i in p)])
        self._calcanei = [self.body["calcn_r"], self.body["calcn_l"]]
        self._mass = _mass(self.spec)

    def movable(self, *names: str) -> bool:
        """Says whether the model has all these coordinates, unlocked."""
        index = self.coordinate
        return all(n in index and not self.spec.coordinates[index[n]].locked for n in names)

    def within(self, name: str, value: float) -> float:
        """Returns a value moved inside the coordinate's limits; as it is where the model has no such coordinate."""
        if name not in self.coordinate:
            return value
        i = self.coordinate[name]
        return float(np.clip(value, self.low[i], self.high[i]))

    def put(self, q: Array, name: str, value: float) -> None:
        """Sets a coordinate of q (c,) within its limits, where the model has it and does not lock it."""
        if self.movable(name):
            q[self.coordinate[name]] = self.within(name, value)

    def gain(self, q: Array, coordinate: str, body: str) -> float:
        """Returns how far a body's X axis dips per unit of a coordinate at q (c,); 0 where there is none."""
        if not self.movable(coordinate) or body not in self.body:
            return 0.0
        moved = q.copy()
        moved[self.coordinate[coordinate]] += STEP
        at = self.body[body], 1, 0
        before, after = (self.model.pose(p).T_ground_from_body[at] for p in (q, moved))
        return float(before - after) / STEP

    def solve(self, q: Array, feet: Feet, balance_x: float, wishes: list[Wish]) -> Array:
        """Finds the pose (c,) near q (c,) by Gauss-Newton steps that end at the limits."""
        A, b = self._linear(wishes)
        low, high = self.low[self._columns] + MARGIN, self.high[self._columns] - MARGIN
        q = q.copy()
        for _ in range(MAX_ITERATIONS):
            at = self._measure(q, feet)
            J = np.vstack([self._jacobian(q, feet, at), A[:, self._columns]])
            balance = BALANCE_WEIGHT * (at[12:].sum() - balance_x)
            residual = np.array([*(FOOT_WEIGHT * at[:12]), balance, *(A @ q - b)])
            here = q[self._columns]
            step = _bounded_step(J, residual, low - here, high - here)
            q[self._columns] = np.clip(here + step, low, high)
            if np.abs(step).max() < 1e-5:
                break
        return q

    def _measure(self, q: Array, feet: Feet) -> Array:
        """Returns the errors of both calcanei (6 + 6) and the shares of the centre of mass' x (3)."""
        pose = self.model.pose(q)
        T = pose.T_ground_from_body[self._calcanei]
        E = np.swapaxes(feet.R, 1, 2) @ T[:, :3, :3]
        turned = (E[:, [2, 0, 1], [1, 2, 0]] - E[:, [1, 2, 0], [2, 0, 1]]) / 2
        errors = np.hstack([T[:, :3, 3] - feet.origin, turned])
        return np.concatenate([errors.ravel(), self._mass @ pose.joint_centres[:, 0]])

    def _jacobian(self, q: Array, feet: Feet, at: Array) -> Array:
        """Returns d(feet, balance) / d(unknowns) (13, k): both legs move at once, as neither moves the other."""
        first = 3 + len(self._turns)
        J = np.zeros((13, len(self._columns)))
        for axis in range(3):
            J[[axis, axis + 6], axis] = FOOT_WEIGHT
        J[12, 0] = BALANCE_WEIGHT
        for k, column in enumerate(self._turns, start=3):
            change = self._change(q, feet, at, [column])
            J[:, k] = [*(FOOT_WEIGHT * change[:12]), BALANCE_WEIGHT * change[12:].sum()]
        for k, pair in enumerate(self._legs):
            right = first + 2 * k
            change = self._change(q, feet, at, pair)
            J[:6, right] = FOOT_WEIGHT * change[:6]
            J[6:12, right + 1] = FOOT_WEIGHT * change[6:12]
            J[12, right : right + 2] = BALANCE_WEIGHT * change[13:]
        return J

    def _change(self, q: Array, feet: Feet, at: Array, columns: list[int]) -> Array:
        moved = q.copy()
        moved[columns] += STEP
        return (self._measure(moved, feet) - at) / STEP

    def _linear(self, wishes: list[Wish]) -> tuple[Array, Array]:
        A, b = np.zeros((len(wishes), len(self.coordinate))), np.zeros(len(wishes))
        for i, (factors, value, weight) in enumerate(wishes):
            b[i] = weight * value
            for name, factor in factors.items():
                A[i, self.coordinate[name]] = weight * factor
        return A, b


def _bounded_step(J: Array, residual: Array, low: Array, high: Array) -> Array:
    """Minimises |J x + residual| over low <= x <= high (k,), an active-set descent, and shortens long steps.

    Unknowns that a solution drives beyond a limit are held there, and let go when the rest pulls them back.
    """
    x = np.zeros(len(low))
    held = np.zeros(len(low), bool)
    for _ in range(3 * len(low)):
        x[~held] = np.linalg.lstsq(J[:, ~held], -residual - J[:, held] @ x[held], rcond=None)[0]
        beyond = ~held & ((x < low) | (x > high))
        if beyond.any():
            x = np.clip(x, low, high)
            held |= beyond
            continue
        slope = J.T @ (J @ x + residual)
        back = held & np.where(x <= low, slope < -RELEASE, slope > RELEASE)
        if not back.any():
            break
        held[np.argmax(np.where(back, np.abs(slope), 0.0))] = False
    return x * min(1.0, MAX_TURN / max(float(np.abs(x).max()), STEP))


def _check(spec: SkeletonSpec) -> None:
    coordinates = [*ROOT, *(f"{stem}_{side}" for stem in LEG for side in "rl")]
    bodies = {f"{n}_{side}" for segment in SEGMENTS for n in segment[:2] for side in "rl"}
    lacking = [n for n in coordinates if n not in spec.coordinate_names]
    lacking += sorted((bodies | {"calcn_r", "calcn_l"}) - set(spec.body_names))
    if lacking:
        raise InputError(
            "model",
            f"has no {', '.join(lacking)}, so no motion with planted feet can be made for it",
            "Use a model with the names of the Rajagopal/LaiUhlrich family, or a recorded motion",
        )


def model_limits(spec: SkeletonSpec) -> tuple[Array, Array]:
    """Returns every coordinate's lower and upper limit (c,), (c,)."""
    lower = np.array([c.lower for c in spec.coordinates])
    return lower, np.array([c.upper for c in spec.coordinates])


def _limits(spec: SkeletonSpec) -> tuple[Array, Array]:
    """Returns the limits (c,), (c,): the model's, narrowed to what people reach."""
    low, high = model_limits(spec)
    for i, name in enumerate(spec.coordinate_names):
        for stem in (s for s in NATURAL if name.startswith(s)):
            natural = np.radians(NATURAL[stem])
            low[i], high[i] = max(low[i], natural[0]), min(high[i], natural[1])
    return low, high


def _mass(spec: SkeletonSpec) -> Array:
    """Returns M (3, j): M @ joint centres is what trunk with arms, right leg, left leg add to the centre of mass."""
    M = np.zeros((3, len(spec.body_names)))
    index = {name: i for i, name in enumerate(spec.body_names)}
    for side, leg in (("r", 1), ("l", 2)):
        for start, end, mass, place in SEGMENTS:
            part = 0 if start in ("humerus", "ulna") else leg
            M[part, index[f"{start}_{side}"]] += mass * (1 - place)
            M[part, index[f"{end}_{side}"]] += mass * place
        for mass, place in TRUNK:
            M[0, index[f"femur_{side}"]] += mass * (1 - place) / 2
            M[0, index[f"humerus_{side}"]] += mass * place / 2
    return np.asarray(M / M.sum())
