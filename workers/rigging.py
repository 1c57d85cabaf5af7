"""Ties an OpenSim model to a skin: joint centres of the skin, scale factors from them, the pose that fits them.

Dims: b = OpenSim body, c = coordinate, j = joint, k = anny bone, v = vertex. Metres, ground axes (X forward, Y up,
Z right). A joint centre is called by what a clinician calls it: `hip_r`, `lumbar`, …
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from schemas.errors import InputError
from schemas.skeleton import SkeletonSpec
from workers.anny_data import AnnyData
from workers.forward import Forward, each, forward
from workers.landmarks import SIDES, skin_centres
from workers.osim import OsimModel, Pose
from workers.physique import Physique
from workers.thickness import thicken

Array = NDArray[np.float64]
CHILD_BODIES: dict[str, str] = {
    "lumbar": "torso",
    "hip": "femur",
    "knee": "tibia",
    "ankle": "talus",
    "mtp": "toes",
    "shoulder": "humerus",
    "elbow": "ulna",
    "wrist": "hand",
}
"""The body whose joint to its parent has each centre."""
AGREEING = ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
"""Centres that skin and skeleton must share."""
_REQUIRED = ("femur", "tibia", "talus", "calcn", "toes", "humerus", "ulna", "radius", "hand")
_ARM_GUESS = {"arm_add": -0.7, "elbow_flex": 0.5, "pro_sup": 0.8}
"""Radians: anny rests with her arms half raised, far from the model's default pose."""
_STEP = 1e-6
"""Of the finite differences; exact to about 1e-9 in what they are used for."""


@dataclass(frozen=True, kw_only=True)
class Binding:
    """A scaled model in the pose in which its skin was made."""

    scale: Array
    """(b, 3)."""
    q: Array
    """(c,)."""
    pose: Pose
    centres: dict[str, Array]
    """The skin's joint centres (3,)."""
    distances: dict[str, float]
    """From the skin's to the skeleton's centre, m."""


def check_bodies(spec: SkeletonSpec) -> None:
    """Refuses a model that lacks bodies the skin hangs on.

    Raises:
        InputError: naming them.
    """
    wanted = ["pelvis", "torso", *(f"{name}_{side}" for name in _REQUIRED for side in SIDES)]
    missing = [name for name in wanted if name not in spec.body_names]
    if missing:
        raise InputError(
            "the model",
            f"lacks the bodies {', '.join(missing)}; it has {', '.join(spec.body_names)}",
            "Use a full-body model with the body names of the Rajagopal/LaiUhlrich family",
        )


def model_centres(spec: SkeletonSpec, pose: Pose) -> dict[str, Array]:
    """Returns the model's joint centres by the same names."""
    names = [
        name + suffix
        for name, body in CHILD_BODIES.items()
        for suffix in (("",) if body == "torso" else ("_r", "_l"))
    ]
    return {n: pose.joint_centres[spec.body_names.index(joint_body(n))] for n in names}


def joint_body(name: str) -> str:
    """Returns the body that hangs on a joint centre: `hip_r` -> `femur_r`."""
    stem, mark, side = name.partition("_")
    return CHILD_BODIES[stem] + mark + side


def bind(model: OsimModel, osim: bytes, anny: AnnyData, person: Physique) -> Binding:
    """Scales and poses the model so that its joint centres lie on the skin's.

    Lengths come from the distances of joint centres; what is left of each body, its thickness, brings its markers
    nearest to the skin. Both are found in the unscaled model's default pose first, then refined once.
    """
    check_bodies(model.spec)
    spec, centres = model.spec, skin_centres(anny, person.vertices, person.bone_heads)
    hands = _hand_axes(anny, person)
    scale = _length_factors(spec, model.pose(spec.default_pose()), centres)
    posing = forward(spec, osim, scale)
    q = _fit_pose(spec, posing, centres, hands, None)
    if spec.markers:
        scale = thicken(spec, scale, each(posing(q[None]))[0], person.vertices, anny.faces)
        posing = forward(spec, osim, scale)
        q = _fit_pose(spec, posing, centres, hands, q)
    pose = each(posing(q[None]))[0]
    found = model_centres(spec, pose)
    distances = {n: float(np.linalg.norm(found[n] - centres[n])) for n in found}
    return Binding(scale=scale, q=q, pose=pose, centres=centres, distances=distances)


def _hand_axes(anny: AnnyData, person: Physique) -> dict[str, tuple[Array, Array]]:
    """Returns per side the unit vectors from fingers to wrist, and from the left to the right edge of the hand."""
    axes = {}
    for side, sign in (("r", 1.0), ("l", -1.0)):
        up = side.upper()
        wrist, index, middle, little = (
            person.bone_heads[anny.bone(f"{name}.{up}")].astype(float)
            for name in ("wrist", "finger2-1", "finger3-1", "finger5-1")
        )
        axes[side] = (_unit(wrist - middle), _unit(sign * (index - little)))
    return axes


def _unit(vector: Array) -> Array:
    return np.asarray(vector / np.linalg.norm(vector))


def _length_factors(spec: SkeletonSpec, rest: Pose, skin: Mapping[str, Array]) -> Array:
    """Returns scale factors (b, 3) from the distances of joint centres; thickness as length."""
    model = model_centres(spec, rest)
    factors = np.ones((len(spec.body_names), 3))

    def put(bodies: tuple[str, ...], values: Any) -> None:
        for name in bodies:
            if name in spec.body_names:
                factors[spec.body_names.index(name)] = values

    def ratio(a: str, b: str) -> float:
        return float(np.linalg.norm(skin[a] - skin[b]) / np.linalg.norm(model[a] - model[b]))

    def mean(f: Any) -> float:
        return float(np.mean([f(side) for side in SIDES]))

    def trunk(centres: Mapping[str, Array], pair: str) -> float:
        middle = (centres[f"{pair}_r"] + centres[f"{pair}_l"]) / 2
        return float(np.linalg.norm((centres["lumbar"] - middle)[:2]))

    for bodies, pair in ((("pelvis", "sacrum"), "hip"), (("torso", "head"), "shoulder")):
        height = trunk(skin, pair) / trunk(model, pair)
        put(bodies, (height, height, ratio(f"{pair}_r", f"{pair}_l")))
    foot = [mean(lambda s, a=axis: _foot(skin, s)[a] / _foot(model, s)[a]) for axis in (0, 1)]
    for side in SIDES:
        put((f"femur_{side}", f"patella_{side}"), mean(lambda s: ratio(f"hip_{s}", f"knee_{s}")))
        put((f"tibia_{side}",), mean(lambda s: ratio(f"knee_{s}", f"ankle_{s}")))
        put(tuple(f"{b}_{side}" for b in ("talus", "calcn", "toes")), (*foot, foot[0]))
        put((f"humerus_{side}",), mean(lambda s: ratio(f"shoulder_{s}", f"elbow_{s}")))
        forearm = mean(lambda s: ratio(f"elbow_{s}", f"wrist_{s}"))
        put(tuple(f"{b}_{side}" for b in ("ulna", "radius", "hand")), forearm)
    return factors


def _foot(centres: Mapping[str, Array], side: str) -> tuple[float, float]:
    """Returns how far the ball of a flat foot lies before and below the ankle."""
    forward, down, right = centres[f"mtp_{side}"] - centres[f"ankle_{side}"]
    return float(np.hypot(forward, right)), float(-down)


def _fit_pose(
    spec: SkeletonSpec,
    posing: Forward,
    skin: Mapping[str, Array],
    hands: Mapping[str, tuple[Array, Array]],
    start: Array | None,
) -> Array:
    """Finds q (c,) with joint centres on the skin's, soles level and palms as the skin holds them."""
    free = np.array([i for i in spec.free if not spec.coordinates[i].locked])
    low = np.array([spec.coordinates[i].lower for i in free])
    high = np.array([spec.coordinates[i].upper for i in free])
    q = _guess(spec, posing, skin) if start is None else start.copy()
    begin = np.clip(q[free], low + 1e-3, high - 1e-3)
    misfit = _misfit(spec, skin, hands)

    def residuals(x: Array) -> Array:
        """Of many x (n, free) at once: (n, r)."""
        many = np.repeat(q[None], len(x), axis=0)
        many[:, free] = x
        # What nothing else decides stays where it was.
        return np.concatenate([misfit(posing(many)), 1e-4 * (x - begin)], axis=1)

    def jacobian(x: Array) -> Array:
        rows = residuals(np.concatenate([x[None], x + _STEP * np.eye(len(x))]))
        return np.asarray((rows[1:] - rows[0]).T / _STEP)

    result = least_squares(
        lambda x: residuals(x[None])[0],
        begin,
        jac=jacobian,
        bounds=(low, high),
        x_scale="jac",
        ftol=1e-6,
        xtol=1e-6,
        max_nfev=40,
    )
    q[free] = result.x
    return spec.couple(q)


def _misfit(
    spec: SkeletonSpec, skin: Mapping[str, Array], hands: Mapping[str, tuple[Array, Array]]
) -> Callable[[Pose], Array]:
    """Returns the function from poses (n) to residuals (n, r): centres, level soles, palms."""
    names = [n for n in skin if n.split("_")[0] in CHILD_BODIES]
    targets = np.stack([skin[n] for n in names])
    weights = np.array([1.0 if n.split("_")[0] in AGREEING else 0.4 for n in names])[:, None]
    joints = [spec.body_names.index(joint_body(n)) for n in names]
    body = {name: i for i, name in enumerate(spec.body_names)}

    def misfit(poses: Pose) -> Array:
        count, turns = len(poses.joint_centres), poses.T_ground_from_body[:, :, :3, :3]
        parts = [((poses.joint_centres[:, joints] - targets) * weights).reshape(count, -1)]
        for side in SIDES:
            parts.append(0.1 * (turns[:, body[f"calcn_{side}"], :, 1] - [0.0, 1.0, 0.0]))
            hand = turns[:, body[f"hand_{side}"]]
            parts += [0.02 * (hand[:, :, axis] - hands[side][axis - 1]) for axis in (1, 2)]
        return np.concatenate(parts, axis=1)

    return misfit


def _guess(spec: SkeletonSpec, posing: Forward, skin: Mapping[str, Array]) -> Array:
    """Returns the default q (c,) with arms half raised and the hips on the skin's."""
    q, names = spec.default_pose(), spec.coordinate_names
    for stem, value in _ARM_GUESS.items():
        for side in SIDES:
            if f"{stem}_{side}" in names:
                q[names.index(f"{stem}_{side}")] = value
    found = model_centres(spec, each(posing(q[None]))[0])
    move = np.mean([skin[f"hip_{s}"] - found[f"hip_{s}"] for s in SIDES], axis=0)
    for axis, step in zip("xyz", move, strict=True):
        if f"pelvis_t{axis}" in names:
            q[names.index(f"pelvis_t{axis}")] += step
    return q
