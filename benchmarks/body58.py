"""A full body of D3KE's size and kind for the benchmarks: 58 bodies, 95 coordinates, 87 markers, 21 couplers.

Which bones and joints there are follows the published description (every vertebra by itself, a shoulder girdle with
phantom bodies, three-axis knees; 42 joints that move, 16 welds; translations only at the root). The numbers are
this project's own, plausible for an adult. Units m and rad; OpenSim's frames.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from schemas.curves import ZERO, Curve
from schemas.skeleton import (
    GROUND,
    Axis,
    Coordinate,
    CoordinateKind,
    Coupler,
    Joint,
    Marker,
    Offset,
    SkeletonSpec,
    Vec3,
)

X, Y, Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
ZXY, ZYX = (Z, X, Y), (Z, Y, X)
NOWHERE = (0.0, 0.0, 0.0)


class Turn(NamedTuple):
    """One rotation axis that moves: coordinate, ± its value, limits in degrees."""

    coordinate: str
    sign: float
    lower: float
    upper: float


class Row(NamedTuple):
    """One joint of the table."""

    joint: str
    parent: str
    body: str
    at: Vec3
    """Joint in the parent body."""
    turns: tuple[Turn, ...] = ()
    """On the first axes of `directions`; the others stand still."""
    directions: tuple[Vec3, Vec3, Vec3] = ZXY
    turned: Vec3 = NOWHERE
    """Body-fixed X-Y-Z angles of the joint's frame, in the parent and in the child alike."""
    inside: Vec3 = NOWHERE
    """Joint in the child body."""


class Tie(NamedTuple):
    """A coordinate that follows another along a straight line."""

    dependent: str
    independent: str
    start: tuple[float, float]
    end: tuple[float, float]


ROOT_TRANSLATIONS = ("pelvis_tx", "pelvis_ty", "pelvis_tz")


def _small(name: str, size: float = 10.0) -> tuple[Turn, ...]:
    return tuple(Turn(f"{name}_{end}", 1.0, -size, size) for end in ("FE", "LB", "AR"))


def _spine() -> list[Row]:
    lower = [f"lumbar{i}" for i in (5, 4, 3, 2, 1)] + [f"thoracic{i}" for i in range(12, 0, -1)]
    moving = {"lumbar5", "lumbar4", "thoracic8", "thoracic1"} | {
        f"thoracic{i}" for i in range(9, 13)
    }
    rows = []
    for i, (parent, body) in enumerate(zip(["pelvis", *lower], lower, strict=False)):
        at = (-0.002 * i + 0.015, 0.036 - 0.0009 * i, 0.0) if i else (-0.08, 0.035, 0.0)
        turns = _small(f"{body}_{parent}") if body in moving else ()
        turned = (0.0, 0.0, 0.05 - 0.01 * i) if i < 8 else NOWHERE
        rows.append(Row(f"{body}_{parent}", parent, body, at, turns, turned=turned))
    rows.append(Row("T1_neck", "thoracic1", "neck", (0.01, 0.02, 0.0), _small("neck", 30.0)))
    skull = tuple(Turn(f"skull_{a}", 1.0, -20.0, 20.0) for a in "zyx")
    rows.append(Row("neck_skull", "neck", "skull", (0.012, 0.105, 0.0), skull, ZYX))
    rows.append(Row("jaw", "skull", "jaw", (0.03, -0.01, 0.0)))
    neck = ["neck", *(f"cervical{i}" for i in (6, 5, 4, 3, 2, 1))]
    rows += [
        Row(f"{body}_weld", parent, body, (0.003, 0.016, 0.0), inside=(0.0, -0.001, 0.0))
        for parent, body in pairwise(neck)
    ]
    ribs = (Turn("ribs_bending", 1.0, -20.0, 20.0),)
    rows.append(Row("T1_ribs", "thoracic1", "thorax", (0.03, -0.02, 0.0), ribs))
    return rows


def _leg(end: str, side: float) -> list[Row]:
    def turns(*given: tuple[str, float, float, float]) -> tuple[Turn, ...]:
        return tuple(Turn(f"{n}_{end}", sign, low, high) for n, sign, low, high in given)

    hip = turns(
        ("hip_flexion", 1.0, -120.0, 150.0),
        ("hip_adduction", side, -100.0, 60.0),
        ("hip_rotation", side, -90.0, 90.0),
    )
    knee = turns(
        ("knee_angle", 1.0, -150.0, 10.0),
        ("knee_angle_y", side, -10.0, 10.0),
        ("knee_angle_x", side, -10.0, 10.0),
    )
    ankle = ((-0.10 * side, -0.17 * side, 0.980), X, Y)
    subtalar = ((0.79, 0.60 * side, -0.12), X, Y)
    toes = ((-0.58, 0.0, 0.81 * side), X, Y)
    calcn = f"calcn_{end}"
    return [
        Row(f"hip_{end}", "pelvis", f"femur_{end}", (-0.06, -0.07, 0.08 * side), hip),
        Row(f"knee_{end}", f"femur_{end}", f"tibia_{end}", (0.003, -0.41, 0.0), knee, ZYX),
        Row(
            f"ankle_{end}",
            f"tibia_{end}",
            f"talus_{end}",
            (-0.004, -0.42, 0.0),
            turns(("ankle_angle", 1.0, -80.0, 50.0)),
            ankle,
        ),
        Row(
            f"subtalar_{end}",
            f"talus_{end}",
            calcn,
            (-0.05, -0.04, 0.008 * side),
            turns(("subtalar_angle", 1.0, -20.0, 45.0)),
            subtalar,
        ),
        Row(
            f"mtp_{end}",
            calcn,
            f"toes_{end}",
            (0.18, -0.002, 0.001 * side),
            turns(("mtp_angle", 1.0, -20.0, 5.0)),
            toes,
        ),
    ]


def _arm(end: str, side: float) -> list[Row]:
    def turns(*given: tuple[str, float, float]) -> tuple[Turn, ...]:
        return tuple(Turn(f"{name}_{end}", side, low, high) for name, low, high in given)

    upright = ((0.02, 0.99 * side, 0.06), (0.99, 0.02, 0.13), (0.13, -0.06, 0.99))
    plane = ((0.0, 1.0, 0.0), X, Z)
    lifted = ((-1.0, 0.02, 0.03), Y, Z)
    forearm = ((0.05, 0.04, 0.99), X, Y)
    along = ((-0.02, 0.99, -0.11), X, Z)
    chain: list[tuple[str, Vec3, tuple[Turn, ...], tuple[Vec3, Vec3, Vec3], Vec3]] = [
        ("clavicle", (0.01, 0.0, 0.025 * side), turns(("sternoclavicular_r2", -90.0, 45.0),
         ("sternoclavicular_r3", -30.0, 30.0)), upright, (0.0, 0.1 * side, 0.0)),
        ("clavphant", (-0.01, 0.02, 0.135 * side), turns(("unrotscap_r3", -90.0, 90.0),
         ("unrotscap_r2", -90.0, 90.0)), upright, NOWHERE),
        ("scapula", NOWHERE, turns(("acromioclavicular_r2", -90.0, 90.0),
         ("acromioclavicular_r3", -90.0, 90.0), ("acromioclavicular_r1", -90.0, 90.0)), upright,
         NOWHERE),
        ("scapphant", (-0.01, -0.035, 0.01 * side), turns(("unrothum_r1", -90.0, 90.0),
         ("unrothum_r3", -90.0, 90.0), ("unrothum_r2", -90.0, 90.0)), upright, NOWHERE),
        ("humphant", NOWHERE, turns(("elv_angle", -90.0, 150.0)), plane, NOWHERE),
        ("humphant1", NOWHERE, turns(("shoulder_elv", 0.0, 170.0), ("shoulder1_r2", -150.0, 150.0)),
         lifted, NOWHERE),
        ("humerus", NOWHERE, turns(("shoulder_rot", -90.0, 90.0)), plane, NOWHERE),
        ("ulna", (0.006, -0.29, -0.012 * side), turns(("elbow_flexion", -10.0, 160.0),
         ("elbow_x", -40.0, 40.0), ("elbow_y", -40.0, 40.0)), forearm, NOWHERE),
        ("radius", (0.001, -0.012, 0.026 * side), turns(("pro_sup", -150.0, 90.0)), along, NOWHERE),
        ("hand", (0.018, -0.24, 0.025 * side), turns(("deviation", -25.0, 25.0),
         ("flexion", -70.0, 70.0)), ZXY, NOWHERE),
    ]  # fmt: skip
    rows, parent = [], "thorax"
    for body, at, moved, directions, turned in chain:
        name = f"{body}_{end}"
        rows.append(Row(f"to_{name}", parent, name, at, moved, directions, turned))
        parent = name
    return rows


def rows() -> list[Row]:
    """Returns the joints, parents first."""
    root = tuple(Turn(f"pelvis_{n}", 1.0, -180.0, 180.0) for n in ("tilt", "list", "rotation"))
    legs = [row for end, side in (("r", 1.0), ("l", -1.0)) for row in _leg(end, side)]
    arms = [row for end, side in (("r", 1.0), ("l", -1.0)) for row in _arm(end, side)]
    return [Row("ground_pelvis", GROUND, "pelvis", NOWHERE, root), *_spine(), *legs, *arms]


def ties() -> list[Tie]:
    """Returns what follows what: the shoulder girdle follows the arm's elevation, the ribs the spine."""
    girdle = {
        "sternoclavicular_r2": -0.24, "sternoclavicular_r3": 0.14, "unrotscap_r3": -0.14,
        "unrotscap_r2": 0.24, "acromioclavicular_r2": 0.12, "acromioclavicular_r3": 0.51,
        "acromioclavicular_r1": -0.05, "unrothum_r1": 0.05, "unrothum_r3": -0.51, "unrothum_r2": -0.12,
    }  # fmt: skip
    found = [
        Tie(f"{name}_{end}", f"shoulder_elv_{end}", (0.0, 0.02), (3.1, 0.02 + 3.1 * slope))
        for end in "rl"
        for name, slope in girdle.items()
    ]
    bend = "thoracic8_thoracic9_FE"
    return [*found, Tie("ribs_bending", bend, (-0.2, -0.1), (0.2, 0.1))]


MARKERS = {
    "pelvis": 11, "lumbar4": 1, "thoracic12": 1, "thoracic11": 1, "thoracic10": 1, "thoracic9": 1, "thoracic8": 1,
    "thoracic1": 1, "neck": 2, "skull": 5, "thorax": 2,
} | {
    f"{body}_{end}": count for end in "rl" for body, count in {
        "clavicle": 1, "scapula": 2, "humerus": 4, "ulna": 1, "radius": 2, "femur": 4, "tibia": 4, "calcn": 6, "toes": 6
    }.items()
}  # fmt: skip
"""Markers per body."""


def _axis(direction: Vec3, curve: Curve, coordinates: tuple[int, ...]) -> Axis:
    x, y, z = (float(v) for v in np.array(direction) / np.linalg.norm(direction))
    return Axis(direction=(x, y, z), curve=curve, coordinates=coordinates)


def _line(sign: float) -> Curve:
    return Curve(kind="linear", coefficients=(sign, 0.0))


def _tied(tie: Tie, index: dict[str, int]) -> Coupler:
    (x0, y0), (x1, y1) = tie.start, tie.end
    slope = (y1 - y0) / (x1 - x0)
    curve = Curve(kind="spline", x=(x0, x1), y=(y0, y1), slopes=(slope, slope))
    return Coupler(independents=(index[tie.independent],), curve=curve)


def body58() -> SkeletonSpec:
    """Builds the skeleton; coordinates in the table's order, the root's translations after its rotations."""
    table, limits = rows(), dict[str, tuple[CoordinateKind, float, float]]()
    for row in table:
        for turn in row.turns:
            limits[turn.coordinate] = ("rotational", *np.radians([turn.lower, turn.upper]).tolist())
        if row.parent == GROUND:
            limits |= dict.fromkeys(ROOT_TRANSLATIONS, ("translational", -2.0, 2.0))
    index = {name: i for i, name in enumerate(limits)}
    tied = {tie.dependent: _tied(tie, index) for tie in ties()}
    joints = []
    for row in table:
        axes = [_axis(d, ZERO, ()) for d in (*row.directions, X, Y, Z)]
        for i, turn in enumerate(row.turns):
            axes[i] = _axis(row.directions[i], _line(turn.sign), (index[turn.coordinate],))
        if row.parent == GROUND:
            for i, (along, name) in enumerate(zip((X, Y, Z), ROOT_TRANSLATIONS, strict=True)):
                axes[3 + i] = _axis(along, _line(1.0), (index[name],))
        a, b, c, x, y, z = axes
        joints.append(
            Joint(
                name=row.joint,
                parent=row.parent,
                child=row.body,
                parent_frames=(Offset(translation=row.at, orientation=row.turned),),
                child_frames=(Offset(translation=row.inside, orientation=row.turned),),
                axes=(a, b, c, x, y, z),
            )
        )
    coordinates = tuple(
        Coordinate(name=name, kind=kind, lower=low, upper=high, default=0.0, coupler=tied.get(name))
        for name, (kind, low, high) in limits.items()
    )
    return SkeletonSpec(joints=tuple(joints), coordinates=coordinates, markers=tuple(_markers()))


def _markers() -> list[Marker]:
    rng = np.random.default_rng(58)
    found = []
    for body, count in MARKERS.items():
        for i in range(count):
            x, y, z = (float(v) for v in rng.uniform(-0.1, 0.1, 3).round(3))
            found.append(Marker(name=f"{body}_{i}", body=body, location=(x, y, z)))
    return found
