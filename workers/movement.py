"""What all made-up movements share: draws, phases, the feet, what is not solved for, and the way from path to time.

Dims: n = node of a path, c = coordinate, s = side (right, left), t = row in time. Units rad, m, s, but what was asked
is in the recipe's units. OpenSim's ground frame: X forward, Y up, Z to the person's right.

A movement is key poses at whole numbers v. Wishes run between them by monotone cubics in v; a path is solved at nodes
between, splined in v, and walked through in time smoothly, resting where the movement rests.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from schemas.lots import AnklesLot, ProceduralLot
from workers.family import LATERAL, SIDES, TWISTING, model_limits
from workers.motions import Motion
from workers.planting import Goal, Planter, Wish

Array = NDArray[np.float64]
PER_PHASE = 10
"""Nodes between two key poses."""
APART = {"stance": 1.2, "step_width": 1.4, "valgus": 0.7}
EASIER = {"speed": 0.9, "crouch": 0.8, "step": 0.95, "tempo": 1.15}
"""What the next attempt multiplies where legs went into each other, and where they could not keep up."""
NECK_SHARE = 0.6
"""Of the trunk's lean that the neck takes back, so that the eyes stay up."""
FRONTAL_WEIGHT = 15.0
AT_LIMIT, PER_PHASE_AT_LIMIT = np.radians(1.0), 20
"""A path on which stiff ankles run into their limit has a kink, which a curve through wider nodes overshoots by 3 mm of
heel."""
LEANING = 0.5
"""Degrees by which an aim may be missed before it is replaced by what was reached."""


def draw(lot: ProceduralLot, rng: np.random.Generator) -> dict[str, float]:
    """Draws every range of a lot; a fault that is absent takes its value nearest to 0."""
    asked = {}
    for name in sorted(type(lot).model_fields):
        value = getattr(lot, name)
        if name in ("fps", "faulty") or not isinstance(value, tuple):
            continue
        asked[name] = float(rng.uniform(*value))
        absent = rng.random() >= lot.faulty
        if name in lot.FAULTS and absent:
            asked[name] = float(np.clip(0.0, *value))
    return asked


MANNER = {
    "descent_share": (0.45, 0.6),
    "pause": (-0.15, 0.15),
    "bounce": (0.0, 7.0),
    "rest_before": (0.1, 0.3),
    "rest_after": (0.1, 0.3),
    "stand_knee": (4.0, 9.0),
    "lumbar_share": (0.15, 0.4),
}
"""What differs among people who bend and rise again, beside what a recipe asks for: shares of the tempo, accelerations
as in `Rest`, seconds, degrees, the lumbar spine's share of the lean. Movements say what is otherwise in them."""
UPRIGHT = 0.85
"""Share of the pelvis' list that the lumbar spine takes back."""
ARM = ("arm_flex", "arm_add", "arm_rot", "elbow_flex", "pro_sup")
ArmStyle = tuple[tuple[float, ...], tuple[float, ...]]
"""Angles at rest and at the deepest point, degrees."""


class Movement(ABC):
    """One body carrying out one draw."""

    kind: str
    manners: Mapping[str, tuple[float, float]] = {}
    """Ranges of what makes people differ, in the order in which it is drawn."""
    parts: tuple[tuple[float, float], ...] = ((0.0, 1.0), (1.0, 2.0))
    """Stretches of v between stops."""
    deepest = 1.0
    """The v at which aims and faults are read."""
    per_phase = PER_PHASE

    def __init__(
        self,
        planter: Planter,
        lot: ProceduralLot,
        rng: np.random.Generator,
        apart: int = 0,
        easier: int = 0,
    ) -> None:
        """Draws the movement, by so many attempts further apart and easier to keep up with."""
        self.apart = apart
        self.asked = draw(lot, rng)
        self.stiff = isinstance(lot, AnklesLot)
        if self.stiff:
            planter = planter.stiffer(self.asked["dorsiflexion"])
        self.planter = planter
        for factors, times in ((APART, apart), (EASIER, easier)):
            for name, factor in factors.items():
                if name in self.asked and (name != "valgus" or self.asked[name] > 0):
                    self.asked[name] *= factor**times
        self.manner: dict[str, float] = {}
        self.style: dict[str, str] = {}
        self.start = planter.standing()
        self._toe_gain = [planter.gain(self.start, f"mtp_angle_{s}", f"toes_{s}") for s, _ in SIDES]
        self._neck_gain = planter.gain(self.start, "neck_flexion", "head")
        self.hip_width, self.leg = planter.hip_width, planter.leg
        self.set_up(rng)

    @abstractmethod
    def set_up(self, rng: np.random.Generator) -> None:
        """Draws what makes people differ and decides where the feet stand."""

    def draw_manner(self, rng: np.random.Generator) -> dict[str, float]:
        """Draws what makes people differ; who draws a pause below 0 makes none."""
        drawn = {name: float(rng.uniform(*span)) for name, span in self.manners.items()}
        return drawn | {n: max(0.0, drawn[n]) for n in ("pause",) if n in drawn}

    @abstractmethod
    def aims(self) -> dict[str, float]:
        """Returns what is aimed at at the deepest point, by name; limits may leave less of it."""

    @abstractmethod
    def goal(self, v: Array, aims: dict[str, float]) -> Goal:
        """Returns what is wanted at v (n,)."""

    @abstractmethod
    def measure(self, q: Array) -> dict[str, float]:
        """Returns what a pose (c,) reached of `aims`."""

    @abstractmethod
    def timing(self) -> tuple[Array, Array]:
        """Returns times (t,) and v (t,)."""

    def settle(self, wanted: dict[str, float]) -> tuple[dict[str, float], Array]:
        """Returns the aims and the deepest pose (c,), after choosing what is open for their sake; nothing here."""
        return wanted, self.planter.solve(self.goal(np.array([self.deepest]), wanted))[0]

    def collapse(self, v: Array) -> Array:
        """Returns the share (n, s) of the frontal fault that each knee shows."""
        return np.zeros((len(v), 2))

    @property
    def nodes(self) -> Array:
        """The v (n,) that are solved."""
        first, last = self.parts[0][0], self.parts[-1][1]
        return np.linspace(first, last, round((last - first) * self.per_phase) + 1)

    def path(self) -> tuple[Array, dict[str, float]]:
        """Solves every node (n, c) of a path that ends where it began, and says what was reached.

        The deepest point comes first: what limits leave of the aims is then aimed at all along, so that nothing
        gives way in the middle.
        """
        wanted, deep = self.settle(self.aims())
        found = self.measure(deep)
        if self.stiff and self.planter.ankles_left(deep) < AT_LIMIT:
            self.per_phase = PER_PHASE_AT_LIMIT
        aims = {n: found[n] if abs(found[n] - a) > LEANING else a for n, a in wanted.items()}
        v = self.nodes[:-1]
        goal = self.goal(v, aims)
        plain = self.planter.solve(goal)
        q = self.finish(self._collapsed(plain, goal, v))
        at = int(np.argmin(np.abs(v - self.deepest)))
        reached = {f"reached_{n}": value for n, value in self.measure(q[at]).items()}
        reached |= self._frontal(q[at], plain[at])
        return np.concatenate([q, q[:1]]), reached

    def finish(self, q: Array) -> Array:
        """Returns solved poses (n, c) with what follows from them; nothing here."""
        return q

    def upright(self, q: Array) -> Array:
        """Returns poses (n, c) whose trunk stays upright over a pelvis that lists and turns."""
        done = q.copy()
        for names, root, share in (
            (LATERAL, "pelvis_list", UPRIGHT),
            (TWISTING, "pelvis_rotation", UPRIGHT / 2),
        ):
            for name in names:
                self.planter.put(done, name, -share * q[:, self.planter.coordinate[root]])
        return done

    def _collapsed(self, plain: Array, goal: Goal, v: Array) -> Array:
        """Adds the frontal fault to a path: the knees go inwards, the feet give for it."""
        fault = np.radians(self.asked.get("valgus", 0.0)) * self.collapse(v)
        if not fault.any():
            return plain
        angles = self.planter.frontal_angles(self.planter.kinematics.pose(plain))
        shown = self.collapse(v)
        return self.planter.solve(
            replace(
                goal,
                q=plain,
                frontal=angles + fault,
                frontal_weight=FRONTAL_WEIGHT * np.minimum(1.0, 4.0 * shown),
                give=np.sign(fault) * shown,
            )
        )

    def _frontal(self, q: Array, plain: Array) -> dict[str, float]:
        """Returns the knees' frontal angles at a pose, and how far they are from the same pose without the fault."""
        posed = self.planter.kinematics.pose(np.stack([q, plain]))
        with_fault, without = np.degrees(self.planter.frontal_angles(posed))
        share = self.collapse(np.array([self.deepest]))[0]
        change = (with_fault - without)[share > 0]
        angles = {
            f"frontal_angle_{s}": float(a) for (s, _), a in zip(SIDES, with_fault, strict=True)
        }
        return angles | ({"reached_valgus": float(change.mean())} if len(change) else {})

    def motion(self) -> Motion:
        """Solves the path and walks it, at 60 Hz, facing +X."""
        path, reached = self.path()
        times, v = self.timing()
        q = CubicSpline(self.nodes, path, bc_type="clamped")(v)
        spec = self.planter.spec
        q = spec.couple(np.clip(q, *model_limits(spec)))
        parameters: dict[str, float | str] = {**self.asked, **self.manner, **self.style, **reached}
        first, last = self.parts[0][0], self.parts[-1][1]
        return Motion(
            name=self.kind,
            times=times,
            q=q,
            parameters=parameters,
            phase=(v - first) / (last - first),
            stance=self.planter.standing(),
        )

    def begin(self, count: int) -> Array:
        """Returns the pose that a search begins with, once per node (n, c)."""
        return np.tile(self.start, (count, 1))

    def lean(self, q: Array) -> float:
        """Returns the trunk's forward lean, degrees, at a pose (c,)."""
        names = [n for n in ("pelvis_tilt", self.planter.lumbar) if n]
        return float(-sum(self.planter.angle(q, n) for n in names))

    def lean_wishes(
        self, lean: Array, lumbar: Array, weight: float = 3.0, firm: float = 0.25
    ) -> list[Wish]:
        """Wishes for a trunk leaning forward (n,) rad, of which the lumbar spine takes (n,) rad, that as `firm`."""
        names = [n for n in ("pelvis_tilt", self.planter.lumbar) if n]
        wishes = [Wish(dict.fromkeys(names, -1.0), lean, weight)]
        if self.planter.lumbar:
            wishes.append(Wish({self.planter.lumbar: -1.0}, lumbar, firm * weight))
        return wishes

    def tail(self, q: Array, lean: Array, pitch: Array) -> None:
        """Sets neck and toes of q (n, c) for the trunk's lean (n,) and the feet's pitch (n, s), rad."""
        if self._neck_gain:
            self.planter.put(q, "neck_flexion", -NECK_SHARE * lean / self._neck_gain)
        for (side, _), gain, column in zip(SIDES, self._toe_gain, pitch.T, strict=True):
            if gain:
                self.planter.put(q, f"mtp_angle_{side}", -np.maximum(column, 0.0) / gain)

    def arms(self, q: Array, u: Array, style: ArmStyle, lean: float = 0.0) -> None:
        """Sets both arms of q (n, c) between the style's angles by u (n,); `lean` degrees are added to the flexion."""
        for side, _ in SIDES:
            for stem, rest, deep in zip(ARM, *style, strict=True):
                more = lean if stem == "arm_flex" else 0.0
                value = np.radians(rest) + (np.radians(deep + more) - np.radians(rest)) * u
                self.planter.put(q, f"{stem}_{side}", value)
