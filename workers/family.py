"""What the Rajagopal/LaiUhlrich family of models has in common: names, natural limits, shares of mass.

Dims: c = coordinate, b = body (= joint). Units rad, m; OpenSim's ground frame: X forward, Y up, Z to the right.
"""

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError
from schemas.skeleton import SkeletonSpec

Array = NDArray[np.float64]
SIDES = (("r", 1.0), ("l", -1.0))
"""And the sign of Z on that side."""
SIGNS = np.array([sign for _, sign in SIDES])
ROOT = ("pelvis_tx", "pelvis_ty", "pelvis_tz", "pelvis_tilt", "pelvis_list", "pelvis_rotation")
LEG = ("hip_flexion", "hip_adduction", "hip_rotation", "knee_angle", "ankle_angle")
LUMBAR = ("lumbar_extension", "L5_S1_Flex_Ext")
LATERAL = ("lumbar_bending", "L5_S1_Lat_Bending")
TWISTING = ("lumbar_rotation", "L5_S1_axial_rotation")
"""Names that one angle of the trunk has in different models."""
NATURAL = {
    "ankle_angle": (-45.0, 45.0),
    "pelvis_tilt": (-75.0, 30.0),
    "subtalar_angle": (-20.0, 20.0),
} | dict.fromkeys(LUMBAR, (-50.0, 15.0))
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
"""Trunk, head: share of body mass, place on the line from the hips' midpoint to the shoulders'. These places are not
de Leva's: her trunk's is 0.595, her forearm's with its hand 0.68 (0.57 above). By hers the centre of mass of squats and
hinges lies 3 mm further forward in the median, 6 mm at worst."""


LIMIT_TOLERANCE_RAD = np.radians(3.0)
"""Recorded angles beyond a limit by less than this are moved onto it; by more, the frame is refused."""


def lacking(spec: SkeletonSpec) -> list[str]:
    """Returns the coordinates and bodies that planted feet need and a skeleton does not have."""
    coordinates = [*ROOT, *(f"{stem}_{side}" for stem in LEG for side in "rl")]
    bodies = {f"{n}_{side}" for segment in SEGMENTS for n in segment[:2] for side in "rl"}
    lacks = [n for n in coordinates if n not in spec.coordinate_names]
    return lacks + sorted((bodies | {"calcn_r", "calcn_l"}) - set(spec.body_names))


def check(spec: SkeletonSpec) -> None:
    """Refuses a skeleton that lacks what planted feet need.

    Raises:
        InputError: names what it lacks.
    """
    if lacks := lacking(spec):
        raise InputError(
            "model",
            f"has no {', '.join(lacks)}, so no motion with planted feet can be made for it",
            "Use a model with the names of the Rajagopal/LaiUhlrich family, a recorded motion, or random poses with "
            "`grounded: 0`",
        )


def model_limits(spec: SkeletonSpec) -> tuple[Array, Array]:
    """Returns every coordinate's lower and upper limit (c,), (c,)."""
    lower = np.array([c.lower for c in spec.coordinates])
    return lower, np.array([c.upper for c in spec.coordinates])


def natural_limits(spec: SkeletonSpec) -> tuple[Array, Array]:
    """Returns the limits (c,), (c,): the model's, narrowed to what people reach."""
    low, high = model_limits(spec)
    for i, name in enumerate(spec.coordinate_names):
        for stem in (s for s in NATURAL if name.startswith(s)):
            natural = np.radians(NATURAL[stem])
            low[i], high[i] = max(low[i], natural[0]), min(high[i], natural[1])
    return low, high


def mass_shares(spec: SkeletonSpec) -> Array:
    """Returns m (b,): m @ joint centres is the centre of mass."""
    m = np.zeros(len(spec.body_names))
    index = {name: i for i, name in enumerate(spec.body_names)}
    for side, _ in SIDES:
        for start, end, mass, place in SEGMENTS:
            m[index[f"{start}_{side}"]] += mass * (1 - place)
            m[index[f"{end}_{side}"]] += mass * place
        for mass, place in TRUNK:
            m[index[f"femur_{side}"]] += mass * (1 - place) / 2
            m[index[f"humerus_{side}"]] += mass * place / 2
    return np.asarray(m / m.sum())


def rotations(axis: Array, angle: Array) -> Array:
    """Returns rotations (…, 3, 3) by angles (…) about unit axes (…, 3)."""
    x, y, z = np.moveaxis(axis, -1, 0)
    zero = np.zeros_like(x)
    K = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*x.shape, 3, 3)
    c, s = np.cos(angle)[..., None, None], np.sin(angle)[..., None, None]
    return np.asarray(np.eye(3) + s * K + (1.0 - c) * (K @ K))
