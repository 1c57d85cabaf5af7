"""Solves whole paths of poses with the feet where they are wanted: least squares on the model's kinematics.

Dims: n = node of a path, c = coordinate, k = unknown, b = body (= joint), s = side (right, left), p = point. Units
rad, m; OpenSim's ground frame: X forward, Y up, Z to the person's right.

The unknowns are the pelvis' place and turns, the lumbar flexion, both legs' angles, and how far each foot gives: it may
turn about its middle and roll about its length a little, as feet do under a knee that goes inwards. The feet's
places are all but hard conditions; wishes (linear ones of coordinates, the centre of mass, the hips' place, the
knees' frontal angle) give way softly where limits leave no room. All nodes are solved at once.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.bounded import bounded_steps
from workers.family import (
    LEG,
    LUMBAR,
    ROOT,
    SIDES,
    SIGNS,
    check,
    mass_shares,
    natural_limits,
    rotations,
)
from workers.kinematics import Kinematics, Posed
from workers.osim import OsimModel

Array = NDArray[np.float64]
FOOT_WEIGHT = 3e3
SLIP_M, ROLL_DEG = 0.002, 8.0
"""How far a planted foot gives: what half its length may move by turning, and the roll of a foot that pronates or
supinates (rearfoot eversion in squats reaches 8 degrees and more)."""
BALL_GIVES_M = 0.0044
"""What the ball may move by both; a ball that lies high over the sole is moved more by the same roll."""
PIVOT = 1.4
"""Where a foot turns, in half feet before the heel: the ball also moves when the foot rolls, the heel does not."""
GIVE_WEIGHT = 2.0
"""Against giving; one radian of it costs as much as a wish of this weight missed by one."""
DAMPING = 1e-3
MARGIN = np.radians(1.5)
"""Unknowns stay this far inside their limits, so that a curve through solved poses does not leave them."""
MAX_TURN = 0.35
"""Largest change of an unknown in one iteration."""
MAX_ITERATIONS, CLOSE, SETTLED, GIVE_UP = 25, 2e-5, 1e-6, 1e7
RETRIES, WORSE, LOST = 6, 1.5, 1.0
"""A node that costs more than so many times its neighbour, and this, is tried again."""
BOLD = 6
"""First iterations, whose steps all count: going along the feet's stiff conditions first makes things worse."""


class Wish(NamedTuple):
    """A linear condition: sum of factor * coordinate = value."""

    factors: Mapping[str, float]
    value: Array | float
    """(n,), or one for all nodes."""
    weight: Array | float


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What is wanted along a path; weight 0 where nothing is."""

    q: Array
    """(n, c): where the search begins, and what stays of coordinates that are not solved for."""
    R: Array
    """(n, s, 3, 3): the calcanei."""
    origin: Array
    """(n, s, 3)."""
    hold: Array
    """(n, s, 2): shares of FOOT_WEIGHT for a foot's place and direction."""
    give: Array
    """(n, s): share of the turning and rolling allowed to a foot, inwards, or outwards where negative."""
    wishes: list[Wish] = field(default_factory=list)
    com: Array | float = 0.0
    """(n, 2): x and z of the centre of mass."""
    com_weight: Array | float = 0.0
    """(n, 2)."""
    hips: Array | float = 0.0
    """(n, 2): x and y of the middle between the hip centres."""
    hips_weight: Array | float = 0.0
    """(n, 2)."""
    frontal: Array | float = 0.0
    """(n, s): the knees' frontal angles (`Planter.frontal_angles`)."""
    frontal_weight: Array | float = 0.0
    """(n, s)."""


class _State(NamedTuple):
    """Poses with the points that conditions are about."""

    posed: Posed
    points: Array
    """(n, p, 3): joint centres, then the calcanei's origins."""
    rates: Array
    """(n, k, p, 3): by the coordinates among the unknowns."""


class Planter:
    """Solves paths of one model; coordinates that are not unknowns stay as given."""

    def __init__(self, model: OsimModel) -> None:
        self.model, self.spec = model, model.spec
        check(self.spec)
        self.kinematics = Kinematics.of(model)
        self.coordinate = {name: i for i, name in enumerate(self.spec.coordinate_names)}
        self.body = {name: i for i, name in enumerate(self.spec.body_names)}
        self.low, self.high = natural_limits(self.spec)
        self.lumbar = next((n for n in LUMBAR if self.movable(n)), None)
        stems = [s for s in (*LEG, "subtalar_angle") if self.movable(f"{s}_r", f"{s}_l")]
        names = [*ROOT, *([self.lumbar] if self.lumbar else [])]
        names += [f"{stem}_{side}" for stem in stems for side in "rl"]
        self.columns = np.array([self.coordinate[n] for n in names])
        of_axis = self.kinematics.axis_coordinate[:, None] == self.columns
        self._axes = np.flatnonzero(of_axis.any(axis=1))
        self._of_axis = of_axis[self._axes].astype(float)
        self._calcanei = np.array([self.body["calcn_r"], self.body["calcn_l"]])
        self._on = np.concatenate([np.arange(len(self.spec.joints)), self._calcanei])
        self.mass = mass_shares(self.spec)
        standing = self.kinematics.pose(self.standing())
        heels = standing.T_ground_from_body[0, :, :3, 3][self._calcanei]
        balls = self.joints(standing, "toes")[0]
        self.half_foot = float(np.linalg.norm(balls - heels, axis=1).mean()) / 2
        """Half the distance from heel to ball."""
        height = float((balls - heels)[:, 1].max())
        rolled = BALL_GIVES_M - (2.0 - PIVOT) * SLIP_M
        roll = min(np.sin(np.radians(ROLL_DEG)), rolled / max(height, rolled))
        self.most_give = np.array([SLIP_M / self.half_foot, np.arcsin(roll)])
        """How far a foot may turn and roll, rad."""
        hips, knees, ankles = (self.joints(standing, b)[0] for b in ("femur", "tibia", "talus"))
        self.hip_width = float(np.linalg.norm(hips[0] - hips[1]))
        self.leg = sum(
            float(np.linalg.norm(a - b, axis=1).mean()) for a, b in ((hips, knees), (knees, ankles))
        )
        """Length of the legs, hip to knee to ankle."""

    def stiffer(self, dorsiflexion: float) -> "Planter":
        """Returns the solver for ankles that bend so far (degrees) and no further."""
        limited = copy.copy(self)
        limited.high = self.high.copy()
        for side, _ in SIDES:
            i = self.coordinate[f"ankle_angle_{side}"]
            limited.high[i] = min(self.high[i], np.radians(dorsiflexion) + MARGIN)
        return limited

    def ankles_left(self, q: Array) -> float:
        """Returns how much further the ankle that bends most could bend in a pose (c,), rad."""
        ankles = [self.coordinate[f"ankle_angle_{side}"] for side, _ in SIDES]
        return float((self.high[ankles] - MARGIN - q[ankles]).min())

    def movable(self, *names: str) -> bool:
        """Says whether the model has all these coordinates, unlocked."""
        index = self.coordinate
        return all(n in index and not self.spec.coordinates[index[n]].locked for n in names)

    def put(self, q: Array, name: str, value: Array | float) -> None:
        """Sets a coordinate of q (…, c) within its limits, where the model has it and does not lock it."""
        if self.movable(name):
            i = self.coordinate[name]
            q[..., i] = np.clip(value, self.low[i], self.high[i])

    def angle(self, q: Array, name: str) -> Array:
        """Returns a coordinate (n,) of q (n, c) in degrees."""
        return np.asarray(np.degrees(q[..., self.coordinate[name]]))

    def joints(self, posed: Posed, stem: str) -> Array:
        """Returns both sides' joint centres (n, s, 3) at the near end of a body."""
        return posed.joint_centres[:, [self.body[f"{stem}_{side}"] for side, _ in SIDES]]

    def gain(self, q: Array, coordinate: str, body: str) -> float:
        """Returns how far a body's X axis dips per unit of a coordinate at q (c,); 0 where there is none."""
        if not self.movable(coordinate) or body not in self.body:
            return 0.0
        step = 1e-6 * np.eye(len(q))[self.coordinate[coordinate]]
        T = self.kinematics.pose(np.stack([q, q + step])).T_ground_from_body
        before, after = T[:, self.body[body], 1, 0]
        return float(before - after) / 1e-6

    def centre_of_mass(self, posed: Posed) -> Array:
        """Returns the centre of mass (n, 3) by published segment masses."""
        return np.asarray(np.einsum("b,nbx->nx", self.mass, posed.joint_centres))

    def frontal_angles(self, posed: Posed) -> Array:
        """Returns the knees' frontal angles (n, s), rad, positive inwards (valgus).

        The inward slope of the thigh, hip to knee, plus that of the shank, ankle to knee, each against its full
        length. On a straight leg this is the frontal plane projection angle; unlike it, it does not grow without bound
        where a bent leg's thigh is seen end on.
        """
        hip, knee, ankle = (self.joints(posed, b) for b in ("femur", "tibia", "talus"))
        slopes = [
            (end - knee)[..., 2] / np.linalg.norm(end - knee, axis=-1) for end in (hip, ankle)
        ]
        return np.asarray(SIGNS * np.sum(np.arcsin(slopes), axis=0))

    def standing(self) -> Array:
        """Returns the default pose (c,), upright: its feet are flat on one level."""
        q = self.spec.default_pose()
        for name in ROOT[3:]:
            self.put(q, name, 0.0)
        return q

    def solve(self, goal: Goal) -> Array:
        """Finds the path (n, c) near goal.q.

        A node that ends worse than its neighbours is tried again from their poses, which spreads what was found from
        node to node.
        """
        x, cost = self._search(goal, self._begin(goal))
        for _ in range(RETRIES if len(x) > 2 else 0):
            moved = False
            for step in (-1, 1):
                near = np.flatnonzero(cost > WORSE * np.roll(cost, -step) + LOST)
                if len(near):
                    again, found = self._search(_rows(goal, near), x[(near + step) % len(x)])
                    better = found < cost[near] - LOST / 2
                    x[near[better]], cost[near[better]] = again[better], found[better]
                    moved |= bool(better.any())
            if not moved:
                break
        return self._posed(goal.q, x)

    def near(self, goal: Goal) -> Array:
        """Finds the path (n, c) next to goal.q, downhill all the way."""
        return self._posed(goal.q, self._search(goal, self._begin(goal), bold=0)[0])

    def _begin(self, goal: Goal) -> Array:
        """Returns the unknowns (n, k + 4) of goal.q."""
        return np.hstack([goal.q[:, self.columns], np.zeros((len(goal.q), 4))])

    def _search(self, goal: Goal, start: Array, bold: int = BOLD) -> tuple[Array, Array]:
        """Returns the unknowns (n, k + 4) after damped Gauss-Newton steps that end at the limits, and the cost.

        The damping of a node rises where a step made things worse (Levenberg and Marquardt); that step is undone.
        """
        bottom, top = self._box(goal)
        x = np.clip(start, bottom, top)
        J, residual = self._conditions(x, goal)
        cost, damping = np.square(residual).sum(axis=1), np.full(len(x), DAMPING)
        going = np.arange(len(x))
        for iteration in range(MAX_ITERATIONS):
            here = x[going]
            step = bounded_steps(
                *(J[going], residual[going]),
                *(bottom[going] - here, top[going] - here),
                damping[going],
            )
            size = np.abs(step).max(axis=1)
            step *= np.minimum(1.0, MAX_TURN / np.maximum(size, CLOSE))[:, None]
            there = np.clip(here + step, bottom[going], top[going])
            J_there, residual_there = self._conditions(there, _rows(goal, going))
            cost_there = np.square(residual_there).sum(axis=1)
            better = (cost_there <= cost[going]) | (iteration < bold)
            settled = better & (cost_there > cost[going] * (1.0 - SETTLED)) & (iteration >= bold)
            won = going[better]
            x[won], J[won], cost[won] = there[better], J_there[better], cost_there[better]
            residual[won] = residual_there[better]
            damping[going] *= np.where(better, 0.2, 20.0)
            damping = np.maximum(damping, DAMPING)
            going = going[(size > CLOSE) & (damping[going] < GIVE_UP) & ~settled]
            if not len(going):
                break
        return x, cost

    def _box(self, goal: Goal) -> tuple[Array, Array]:
        """Returns the unknowns' limits (n, k + 4): coordinates, then what feet give."""
        low, high = self.low[self.columns] + MARGIN, self.high[self.columns] - MARGIN
        most = (goal.give[:, :, None] * self.most_give).reshape(-1, 4)
        bottom = np.hstack([np.tile(np.minimum(low, high), (len(most), 1)), np.minimum(most, 0.0)])
        top = np.hstack([np.tile(np.maximum(low, high), (len(most), 1)), np.maximum(most, 0.0)])
        return bottom, top

    def _posed(self, q: Array, x: Array) -> Array:
        """Returns q (n, c) with the unknowns' values x (n, k + 4)."""
        posed = q.copy()
        posed[:, self.columns] = x[:, :-4]
        return posed

    def _by_unknown(self, rates: Array) -> Array:
        """Returns rates by unknown coordinate (n, k, p, 3) from those by axis (n, e, p, 3)."""
        summed = self._of_axis.T @ rates.reshape(*rates.shape[:2], -1)
        return np.asarray(summed.reshape(len(rates), -1, *rates.shape[2:]))

    def _conditions(self, x: Array, goal: Goal) -> tuple[Array, Array]:
        """Returns J (n, m, k + 4) and the residuals (n, m) of all that is wanted at x (n, k + 4)."""
        q, give = self._posed(goal.q, x), x[:, -4:]
        posed = self.kinematics.pose(q)
        heels = posed.T_ground_from_body[..., :3, 3][:, self._calcanei]
        points = np.concatenate([posed.joint_centres, heels], axis=1)
        by_axis = self.kinematics.point_rates(posed, points, self._on, self._axes)
        state = _State(posed, points, self._by_unknown(by_axis))
        parts = [
            self._feet(state, give, goal),
            self._linear(q, goal.wishes),
            self._places(state, goal),
            self._frontal(state, goal),
        ]
        count = len(self.columns)
        blocks, residuals = [], []
        for block, residual in parts:
            wide = np.zeros((*block.shape[:2], count + 4))
            wide[:, :, : block.shape[2]] = block
            blocks.append(wide)
            residuals.append(residual)
        staying = np.zeros((len(q), 4, count + 4))
        staying[:, np.arange(4), count + np.arange(4)] = GIVE_WEIGHT
        return (
            np.concatenate([*blocks, staying], axis=1),
            np.concatenate([*residuals, GIVE_WEIGHT * give], axis=1),
        )

    def _feet(self, state: _State, give: Array, goal: Goal) -> tuple[Array, Array]:
        """Returns the conditions of both feet: place and direction."""
        turn = self.kinematics.turn_rates(state.posed, self._calcanei, self._axes)
        turn = self._by_unknown(turn)
        R, origin, axes, levers = _given(goal, give, self.half_foot)
        T = state.posed.T_ground_from_body[:, self._calcanei]
        error = T[..., :3, :3] @ np.swapaxes(R, -1, -2)
        off = (error[..., [2, 0, 1], [1, 2, 0]] - error[..., [1, 2, 0], [2, 0, 1]]) / 2
        place = T[..., :3, 3] - origin
        count, columns = len(give), turn.shape[1]
        J = np.zeros((count, 2, 2, 3, columns + 4))
        J[..., 0, :, :columns] = np.moveaxis(state.rates[:, :, -2:], 1, -1)
        J[..., 1, :, :columns] = np.moveaxis(turn, 1, -1)
        for s in range(2):
            for j in range(2):
                J[:, s, 0, :, columns + 2 * s + j] = -levers[:, s, j]
                J[:, s, 1, :, columns + 2 * s + j] = -axes[:, s, j]
        weight = FOOT_WEIGHT * goal.hold[..., None]
        residual = np.stack([place, off], axis=2) * weight
        J *= weight[..., None]
        return J.reshape(count, 12, -1), residual.reshape(count, 12)

    def _linear(self, q: Array, wishes: list[Wish]) -> tuple[Array, Array]:
        A = np.zeros((len(wishes), len(self.coordinate)))
        for i, wish in enumerate(wishes):
            for name, factor in wish.factors.items():
                A[i, self.coordinate[name]] = factor
        shape = (len(q), len(wishes))
        weights = np.zeros(shape)
        values = np.zeros(shape)
        for i, wish in enumerate(wishes):
            weights[:, i], values[:, i] = wish.weight, wish.value
        J = weights[:, :, None] * A[:, self.columns]
        return J, weights * (q @ A.T - values)

    def _places(self, state: _State, goal: Goal) -> tuple[Array, Array]:
        """Returns the conditions of the centre of mass (x, z) and of the hips' middle (x, y)."""
        count = len(self.mass)
        centre = np.einsum("b,nbx->nx", self.mass, state.points[:, :count])
        rates = np.einsum("b,nkbx->nxk", self.mass, state.rates[:, :, :count])
        femora = [self.body["femur_r"], self.body["femur_l"]]
        hips, hip_rates = state.points[:, femora].mean(1), state.rates[:, :, femora].mean(2)
        hip_rates = np.swapaxes(hip_rates, 1, 2)
        J = np.concatenate([rates[:, [0, 2]], hip_rates[:, :2]], axis=1)
        off = np.hstack([centre[:, [0, 2]] - goal.com, hips[:, :2] - goal.hips])
        two = np.ones((len(off), 2))
        weight = np.hstack([two * goal.com_weight, two * goal.hips_weight])
        return J * weight[..., None], off * weight

    def _frontal(self, state: _State, goal: Goal) -> tuple[Array, Array]:
        """Returns the conditions of the knees' frontal angles."""
        index = [
            [self.body[f"{b}_{side}"] for side, _ in SIDES] for b in ("femur", "tibia", "talus")
        ]
        hip, knee, ankle = (state.points[:, i] for i in index)
        rates = [np.moveaxis(state.rates[:, :, i, 2], 1, -1) for i in index]
        angle, J = 0.0, 0.0
        for end, rate in ((hip, rates[0]), (ankle, rates[2])):
            length = np.linalg.norm(end - knee, axis=-1)
            slope = (end - knee)[..., 2] / length
            angle = angle + SIGNS * np.arcsin(slope)
            by = SIGNS / (length * np.sqrt(1.0 - slope**2))
            J = J + by[..., None] * (rate - rates[1])
        weight = np.ones((len(hip), 2)) * goal.frontal_weight
        return np.asarray(J * weight[..., None]), np.asarray((angle - goal.frontal) * weight)


def _rows(goal: Goal, rows: NDArray[np.intp]) -> Goal:
    """Returns the goal of some nodes."""

    def pick(value: Array | float) -> Array | float:
        return value[rows] if isinstance(value, np.ndarray) and value.ndim else value

    wishes = [Wish(w.factors, pick(w.value), pick(w.weight)) for w in goal.wishes]
    places = ("com", "com_weight", "hips", "hips_weight", "frontal", "frontal_weight")
    picked: dict[str, Any] = {name: pick(getattr(goal, name)) for name in places}
    feet = {name: getattr(goal, name)[rows] for name in ("q", "R", "origin", "hold", "give")}
    return Goal(wishes=wishes, **picked, **feet)


def _given(goal: Goal, give: Array, half_foot: float) -> tuple[Array, Array, Array, Array]:
    """Returns the calcanei's R and origin (n, s, …) for what the feet gave (n, 4), and what more of it would change.

    A foot turns inwards about the vertical and rolls inwards about its own length, both about a point on the sole
    nearer to its ball than to its heel. Axes and levers: (n, s, 2, 3).
    """
    turn, roll = np.moveaxis(give.reshape(-1, 2, 2), -1, 0)
    up = np.broadcast_to(np.array([0.0, 1.0, 0.0]), (*turn.shape, 3))
    along = goal.R[..., :, 0]
    axes = np.stack([SIGNS[:, None] * up, -SIGNS[:, None] * along], axis=2)
    Q = rotations(axes[:, :, 0], turn) @ rotations(axes[:, :, 1], roll)
    pivot = goal.origin + PIVOT * half_foot * along
    origin = pivot + (Q @ (goal.origin - pivot)[..., None])[..., 0]
    levers = np.cross(axes, (origin - pivot)[:, :, None])
    return Q @ goal.R, origin, axes, levers
