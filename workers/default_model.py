"""Writes the project's own full-body model, `workers/models/kineforge_body.osim`, from published anthropometry.

An adult of 1.70 m and 68 kg in the anatomical position: at q = 0 every body frame is parallel to ground (X forward,
Y up, Z to the right), the palms face forward, the soles are on y = 0. Names and signs are those of the Rajagopal
(2016) and Lai-Uhlrich (2022) models, so recorded `.mot` files mean the same; the head adds three coordinates.
`python -m workers.default_model` writes the file anew.

Sources of the numbers, H = stature, all written here from the literature:
- lengths of thigh, shank, foot and hand, heights of ankle and suprasternale: Drillis & Contini 1966 in Winter,
  Biomechanics and Motor Control of Human Movement (thigh 0.245 H, shank 0.246 H, foot 0.152 H, ankle 0.039 H)
- arms, masses, mass centres, radii of gyration: de Leva 1996 (male); masses of the trunk's parts likewise
- hip centres from pelvic width and depth: Harrington et al. 2007, without its leg length
- ankle, subtalar and metatarsal axes: Isman & Inman 1969
- knee: a hinge through the epicondyles, which Hollister et al. 1993 found to serve flexion; the patella goes about it
  on an arc, by two thirds of the flexion (Amis et al. 2006)
- breadths, shoulders, neck and the skin over the bones: rounded from the ANSUR survey (Gordon et al. 1989); markers
  then moved, by 0 to 19 mm, to the skin of 40 adults as workers/rigging.py binds it
"""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.curves import IDENTITY, ZERO, Curve
from schemas.skeleton import (
    GROUND,
    Axis,
    Coordinate,
    Coupler,
    Joint,
    Marker,
    Offset,
    SkeletonSpec,
    Vec3,
)
from workers.osim_xml import Inertia, model_xml

Array = NDArray[np.float64]
CREDIT = (
    "Kineforge. Written from published anthropometry; see workers/default_model.py. Apache-2.0."
)
STATURE, MASS = 1.70, 68.0
X, Y, Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
THIGH, SHANK, ANKLE, FOOT = (share * STATURE for share in (0.245, 0.246, 0.039, 0.152))
UPPER_ARM, FOREARM = 0.1618 * STATURE, 0.1545 * STATURE
PELVIC_WIDTH, PELVIC_DEPTH = 0.24, 0.15
HIP: Vec3 = (
    -0.24 * PELVIC_DEPTH - 0.0099,
    -0.30 * PELVIC_WIDTH - 0.0109,
    0.33 * PELVIC_WIDTH + 0.0073,
)
"""Right hip centre from the middle between the anterior iliac spines, which is the pelvis' origin."""
PELVIS_HEIGHT = ANKLE + SHANK + THIGH - HIP[1]
LUMBAR: Vec3 = (-0.09, 0.05, 0.0)
"""L4/L5: the one joint that stands for the whole lumbar spine."""
TORSO_HEIGHT = PELVIS_HEIGHT + LUMBAR[1]
SHOULDER: Vec3 = (0.01, 0.795 * STATURE - TORSO_HEIGHT, 0.10 * STATURE)
NECK: Vec3 = (-0.02, 0.85 * STATURE - TORSO_HEIGHT, 0.0)
HEEL: Vec3 = (-0.045, -ANKLE, 0.0)
"""The foot's origin from the ankle: on the sole, under the heel; the subtalar axis goes through it."""
BALL: Vec3 = (0.725 * FOOT - 0.052 - HEEL[0], 0.02, 0.0)
RADIAL_HEAD: Vec3 = (0.0, -0.010, 0.018)
WRIST: Vec3 = (0.0, -FOREARM - RADIAL_HEAD[1], -RADIAL_HEAD[2])


class Hinge(NamedTuple):
    """One rotation of a joint: the coordinate without its side, the right side's axis, range in degrees."""

    coordinate: str
    axis: Vec3
    low: float
    high: float


class Part(NamedTuple):
    """A body, its joint, and where the joint sits in the parent; right-side numbers, names without side."""

    body: str
    joint: str
    parent: str
    at: Vec3
    hinges: tuple[Hinge, ...] = ()


class Side(NamedTuple):
    """How a part is written down for one side; the left is the mirror image in the plane z = 0."""

    suffix: str
    sign: float

    def point(self, at: Vec3) -> Vec3:
        """Mirrors a point."""
        return (at[0], at[1], at[2] * self.sign)

    def turn(self, axis: Vec3) -> Vec3:
        """Mirrors a rotation axis, so that a positive angle means the same on both sides."""
        return (axis[0] * self.sign, axis[1] * self.sign, axis[2])


RIGHT, LEFT, MIDDLE = Side("_r", 1.0), Side("_l", -1.0), Side("", 1.0)


def _direction(*vector: float) -> Vec3:
    x, y, z = (round(float(v), 6) for v in np.array(vector) / np.linalg.norm(vector))
    return (x, y, z)


def _outwards(backwards: float, down: float) -> Vec3:
    """The axis that points to the right, turned backwards and down by so many degrees."""
    back, below = math.radians(backwards), math.radians(down)
    return _direction(
        -math.sin(back) * math.cos(below), -math.sin(below), math.cos(back) * math.cos(below)
    )


def _inwards(forwards: float) -> Vec3:
    """The axis that points to the left, turned forwards by so many degrees."""
    x, y, z = _outwards(forwards, 0)
    return (-x, -y, -z)


def _forwards(up: float, inwards: float) -> Vec3:
    """The axis that points forward, raised by so many degrees and turned to the left by so many."""
    above, left = math.radians(up), math.radians(inwards)
    return _direction(
        math.cos(above) * math.cos(left), math.sin(above), -math.cos(above) * math.sin(left)
    )


# fmt: off
TRUNK = (
    Part("torso", "back", "pelvis", LUMBAR, (
        Hinge("lumbar_extension", Z, -90, 45), Hinge("lumbar_bending", X, -45, 45),
        Hinge("lumbar_rotation", Y, -60, 60))),
    # As in Pose2Sim's model, a positive neck_flexion tips the head backwards.
    Part("head", "neck", "torso", NECK, (
        Hinge("neck_flexion", Z, -50, 60), Hinge("neck_bending", X, -40, 40),
        Hinge("neck_rotation", Y, -75, 75))),
)
LEG = (
    Part("femur", "hip", "pelvis", HIP, (
        Hinge("hip_flexion", Z, -40, 140), Hinge("hip_adduction", X, -60, 40),
        Hinge("hip_rotation", Y, -50, 50))),
    Part("tibia", "walker_knee", "femur", (0.0, -THIGH, 0.0), (
        Hinge("knee_angle", (0.0, 0.0, -1.0), -5, 155),)),
    Part("patella", "patellofemoral", "femur", (0.0, -THIGH, 0.0)),
    Part("talus", "ankle", "tibia", (0.0, -SHANK, 0.0), (
        Hinge("ankle_angle", _outwards(6, 10), -60, 50),)),
    Part("calcn", "subtalar", "talus", HEEL, (
        Hinge("subtalar_angle", _forwards(42, 23), -35, 35),)),
    # As in both lab models, a positive mtp_angle bends the toes down.
    Part("toes", "mtp", "calcn", BALL, (
        Hinge("mtp_angle", _inwards(28), -70, 45),)),
)
ARM = (
    Part("humerus", "acromial", "torso", SHOULDER, (
        Hinge("arm_flex", Z, -90, 180), Hinge("arm_add", X, -180, 90),
        Hinge("arm_rot", Y, -90, 120))),
    Part("ulna", "elbow", "humerus", (0.0, -UPPER_ARM, 0.0), (Hinge("elbow_flex", Z, 0, 150),)),
    # About the line from the wrist to the radial head: turning the palm leaves the wrist in place.
    Part("radius", "radioulnar", "ulna", RADIAL_HEAD, (
        Hinge("pro_sup", _direction(-WRIST[0], -WRIST[1], -WRIST[2]), 0, 160),)),
    Part("hand", "radius_hand", "radius", WRIST),
)
SIDED = {part.body for part in (*LEG, *ARM)}

PATELLA_RADIUS, PATELLA_ANGLE, PATELLA_SHARE = 0.0466, 15.0, 2.0 / 3.0
"""The patella's distance from the knee's axis, its angle above the horizontal at full extension, and its turning
as a share of the knee's."""

MARKERS: tuple[tuple[str, str, str, Vec3], ...] = (
    # right name, left name ("" = in the middle, or none), body without side, place on the right side
    ("r.ASIS_study", "L.ASIS_study", "pelvis", (0.016, 0.002, PELVIC_WIDTH / 2 + 0.004)),
    ("r.PSIS_study", "L.PSIS_study", "pelvis", (-PELVIC_DEPTH - 0.010, 0.022, 0.047)),
    ("r_knee_study", "L_knee_study", "femur", (0.004, -THIGH, 0.057)),
    ("r_mknee_study", "L_mknee_study", "femur", (0.003, -THIGH, -0.054)),
    ("r_ankle_study", "L_ankle_study", "tibia", (-0.005, -SHANK - 0.006, 0.030)),
    ("r_mankle_study", "L_mankle_study", "tibia", (0.007, -SHANK + 0.006, -0.033)),
    ("r_toe_study", "L_toe_study", "calcn", (BALL[0] - 0.004, 0.028, -0.008)),
    ("r_5meta_study", "L_5meta_study", "calcn", (BALL[0] - 0.030, 0.020, 0.050)),
    ("r_calc_study", "L_calc_study", "calcn", (-0.010, 0.028, 0.000)),
    ("r_shoulder_study", "L_shoulder_study", "torso", (0.009, SHOULDER[1] + 0.044, 0.180)),
    ("C7_study", "", "torso", (-0.059, NECK[1] + 0.013, 0.000)),
    ("r_lelbow_study", "L_lelbow_study", "humerus", (0.000, -UPPER_ARM, 0.038)),
    ("r_melbow_study", "L_melbow_study", "humerus", (0.000, -UPPER_ARM - 0.005, -0.040)),
    ("r_lwrist_study", "L_lwrist_study", "radius", (0.000, WRIST[1], WRIST[2] + 0.033)),
    ("r_mwrist_study", "L_mwrist_study", "radius", (0.000, WRIST[1], WRIST[2] - 0.033)),
    ("r_thigh1_study", "L_thigh1_study", "femur", (0.075, -0.150, 0.050)),
    ("r_thigh2_study", "L_thigh2_study", "femur", (0.045, -0.260, 0.060)),
    ("r_thigh3_study", "L_thigh3_study", "femur", (-0.010, -0.140, 0.071)),
    ("r_sh1_study", "L_sh1_study", "tibia", (0.005, -0.110, 0.058)),
    ("r_sh2_study", "L_sh2_study", "tibia", (0.032, -0.220, 0.036)),
    ("r_sh3_study", "L_sh3_study", "tibia", (-0.035, -0.215, 0.045)),
    ("RHJC_study", "LHJC_study", "pelvis", HIP),
    ("RFHD", "LFHD", "head", (0.105, 0.170, 0.055)),
    ("VERT", "", "head", (0.020, STATURE - TORSO_HEIGHT - NECK[1], 0.000)),
    ("CLAV", "", "torso", (0.079, 0.818 * STATURE - TORSO_HEIGHT, 0.000)),
    ("RFIN", "LFIN", "hand", (-0.011, -0.085, 0.000)),
)

SEGMENTS: dict[str, tuple[float, float, Vec3, Vec3]] = {
    # share of body mass, length that the radii refer to, mass centre, radii of gyration / length (x, y, z)
    "pelvis": (0.1117, 0.0837 * STATURE, (-0.07, HIP[1] + 0.055, 0.0), (0.551, 0.587, 0.615)),
    "torso": (0.3229, 0.36, (0.01, 0.19, 0.0), (0.347, 0.191, 0.372)),
    "head": (0.0694, 0.1168 * STATURE, (0.025, 0.136, 0.0), (0.376, 0.312, 0.362)),
    "femur": (0.1401, THIGH, (0.0, -0.4095 * THIGH, 0.0), (0.329, 0.149, 0.329)),
    "tibia": (0.0433, SHANK, (0.0, -0.4459 * SHANK, 0.0), (0.249, 0.103, 0.255)),
    "patella": (0.0015, 0.05, (0.0, 0.0, 0.0), (0.3, 0.3, 0.3)),
    "talus": (0.0015, 0.05, (0.0, 0.0, 0.0), (0.3, 0.3, 0.3)),
    "calcn": (0.0100, FOOT, (0.4415 * FOOT, 0.03, 0.0), (0.124, 0.245, 0.257)),
    "toes": (0.0022, 0.07, (0.03, -0.005, 0.0), (0.3, 0.3, 0.3)),
    "humerus": (0.0271, UPPER_ARM, (0.0, -0.5772 * UPPER_ARM, 0.0), (0.269, 0.158, 0.285)),
    "ulna": (0.0081, FOREARM, (0.0, -0.4574 * FOREARM, 0.0), (0.265, 0.121, 0.276)),
    "radius": (0.0081, FOREARM, (0.0, -0.4574 * FOREARM, 0.0), (0.265, 0.121, 0.276)),
    "hand": (0.0061, 0.0862, (0.0, -0.79 * 0.0862, 0.0), (0.513, 0.401, 0.628)),
}
# fmt: on


def _coordinate(name: str, low: float, high: float) -> Coordinate:
    return Coordinate(
        name=name,
        kind="rotational",
        lower=round(math.radians(low), 9),
        upper=round(math.radians(high), 9),
        default=0.0,
    )


def _pelvis(coordinates: list[Coordinate]) -> Joint:
    """The free joint of the whole body, in the order tilt, list, rotation."""
    turns = (("pelvis_tilt", Z, 90), ("pelvis_list", X, 90), ("pelvis_rotation", Y, 180))
    coordinates += [_coordinate(name, -limit, limit) for name, _, limit in turns]
    moves = (("pelvis_tx", X, -5.0), ("pelvis_ty", Y, -1.0), ("pelvis_tz", Z, -5.0))
    for name, axis, low in moves:
        default = round(PELVIS_HEIGHT, 6) if axis is Y else 0.0
        coordinates.append(
            Coordinate(name=name, kind="translational", lower=low, upper=5.0, default=default)
        )
    axes = [
        Axis(direction=axis, curve=IDENTITY, coordinates=(i,))
        for i, (_, axis, _) in enumerate((*turns, *moves))
    ]
    return Joint(
        name="ground_pelvis",
        parent=GROUND,
        child="pelvis",
        parent_frames=(),
        child_frames=(),
        axes=(axes[0], axes[1], axes[2], axes[3], axes[4], axes[5]),
    )


def _still(*directions: Vec3) -> list[Axis]:
    return [Axis(direction=d, curve=ZERO) for d in directions]


def _joint(part: Part, side: Side, turns: list[Axis], moves: list[Axis]) -> Joint:
    at = side.point(part.at)
    return Joint(
        name=part.joint + side.suffix,
        parent=part.parent + (side.suffix if part.parent in SIDED else ""),
        child=part.body + side.suffix,
        parent_frames=(Offset(translation=(round(at[0], 6), round(at[1], 6), round(at[2], 6))),),
        child_frames=(),
        axes=(turns[0], turns[1], turns[2], moves[0], moves[1], moves[2]),
    )


def _turning(part: Part, side: Side, coordinates: list[Coordinate]) -> Joint:
    """Adds a joint that only turns, and its coordinates."""
    first = len(coordinates)
    names = [hinge.coordinate + side.suffix for hinge in part.hinges]
    coordinates += [
        _coordinate(name, h.low, h.high) for name, h in zip(names, part.hinges, strict=True)
    ]
    turns = [
        Axis(direction=side.turn(hinge.axis), curve=IDENTITY, coordinates=(first + i,))
        for i, hinge in enumerate(part.hinges)
    ]
    return _joint(part, side, turns + _still(Z, X, Y)[len(turns) :], _still(X, Y, Z))


def _patella(part: Part, side: Side, coordinates: list[Coordinate]) -> Joint:
    """Adds the patella: it goes round the knee's axis on an arc and turns with it."""
    knee = next(i for i, c in enumerate(coordinates) if c.name == f"knee_angle{side.suffix}")
    low, high = coordinates[knee].lower, coordinates[knee].upper
    coordinates.append(
        Coordinate(
            name=f"knee_angle{side.suffix}_beta",
            kind="coupled",
            lower=low,
            upper=high,
            default=0.0,
            coupler=Coupler(independents=(knee,), curve=IDENTITY),
        )
    )
    beta = len(coordinates) - 1
    knots = np.radians(np.arange(-10.0, 161.0, 10.0))
    at = math.radians(PATELLA_ANGLE) - PATELLA_SHARE * knots
    moves = [
        Axis(direction=axis, curve=_arc(knots, value), coordinates=(beta,), scales=True)
        for axis, value in ((X, np.cos(at)), (Y, np.sin(at)))
    ]
    turn = Curve(kind="linear", coefficients=(-round(PATELLA_SHARE, 9), 0.0))
    turns = [Axis(direction=Z, curve=turn, coordinates=(beta,)), *_still(X, Y)]
    return _joint(part, side, turns, [*moves, *_still(Z)])


def _arc(knots: Array, share_of_radius: Array) -> Curve:
    """A SimmSpline through an arc's points."""
    x = tuple(round(float(v), 9) for v in knots)
    y = tuple(round(float(v), 6) for v in PATELLA_RADIUS * share_of_radius)
    # The file holds no slopes: whoever reads it takes OpenSim's.
    slopes = tuple(float(v) for v in np.gradient(y, x))
    return Curve(kind="spline", x=x, y=y, slopes=slopes)


def _markers() -> tuple[Marker, ...]:
    found = []
    for right, left, body, at in MARKERS:
        for name, side in ((right, RIGHT), (left, LEFT)):
            x, y, z = (round(v, 6) for v in side.point(at))
            on = body + (side.suffix if body in SIDED else "")
            if name:
                found.append(Marker(name=name, body=on, location=(x, y, z)))
    return tuple(found)


def _inertia(body: str) -> Inertia:
    share, length, (x, y, z), radii = SEGMENTS[body.removesuffix("_r").removesuffix("_l")]
    mass = share * MASS
    moments = [round(mass * (radius * length) ** 2, 9) for radius in radii]
    return Inertia(
        mass=round(mass, 6),
        centre=(round(x, 6), round(y, 6), round(z, 6)),
        moments=(moments[0], moments[1], moments[2]),
    )


def build() -> bytes:
    """Returns the model's `.osim`; equal to the file in `workers/models`."""
    coordinates: list[Coordinate] = []
    joints = [_pelvis(coordinates)]
    chains = ((LEG, RIGHT), (LEG, LEFT), (TRUNK, MIDDLE), (ARM, RIGHT), (ARM, LEFT))
    for parts, side in chains:
        for part in parts:
            make = _patella if part.body == "patella" else _turning
            joints.append(make(part, side, coordinates))
    spec = SkeletonSpec(joints=tuple(joints), coordinates=tuple(coordinates), markers=_markers())
    inertias = {body: _inertia(body) for body in spec.body_names}
    return model_xml(spec, name="kineforge_body", inertias=inertias, credit=CREDIT)


if __name__ == "__main__":
    Path(__file__).with_name("models").joinpath("kineforge_body.osim").write_bytes(build())
