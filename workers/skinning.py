"""Lets a skin follow OpenSim bodies.

Dims: b = OpenSim body, h = helper, v = vertex. Metres, ground frame. Plain linear blending loses the volume of a joint
that bends far, because it averages two rotations 130° apart. Between the two bodies of each large joint lie `BETWEEN`
helpers that turn about the joint's centre by even shares of the rotation; a vertex is blended between neighbours of the
chain parent - helpers - child, so at most 25° apart, which loses 2 % of the distance from the centre at worst.
benchmarks/bodies.py compares it with others: docs/bodies.md.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.spatial.transform import Rotation

from schemas.geometry import invert_rigid
from schemas.skeleton import SkeletonSpec

Array = NDArray[np.float64]
F4 = NDArray[np.float32]
HEAD = "head"
BETWEEN = 5
HELPED = (
    ("pelvis", "femur"),
    ("femur", "tibia"),
    ("tibia", "calcn"),
    ("calcn", "toes"),
    ("torso", "humerus"),
    ("humerus", "ulna"),
    ("radius", "hand"),
    ("pelvis", "torso"),
    ("torso", HEAD),
)
"""Pairs of bodies with helpers between them; the second has the joint."""
_JOINT = {"calcn": "talus"}
"""Bodies that turn about another's joint centre."""


@dataclass(frozen=True, kw_only=True)
class Skin:
    """A skin tied to bodies and helpers in its bind pose.

    A model without a head gets one here, body number b, that turns on the torso about the neck.
    """

    placed: csr_array
    """(v, 4 (b + 1 + h)): each vertex' homogeneous place times its weight, in the columns of what it follows."""
    T_body_from_ground: Array
    """(b + 1, 4, 4) of the bind pose."""
    torso: int
    neck: Array
    """(4,): where the head turns, bind pose, homogeneous."""
    pairs: NDArray[np.intp]
    """(j, 3): the bodies that helpers lie between, and the body whose joint they turn about."""
    between: int
    """Helpers of a pair: h = j · between."""
    pivots: Array
    """(j, 4): joint centres in the bind pose, homogeneous."""

    def moves(self, T_ground_from_body: Array, look: Array | None = None) -> Array:
        """Returns what bodies, head and helpers do to the bind pose: (b + 1 + h, 4, 4).

        Args:
            T_ground_from_body: (b, 4, 4).
            look: how a head that the model does not have is turned on the torso (3, 3), ground axes of the bind
                pose; None leaves it straight.
        """
        moves = np.empty((len(self.T_body_from_ground), 4, 4))
        moves[:-1] = T_ground_from_body @ self.T_body_from_ground[:-1]
        moves[-1] = moves[self.torso]
        if look is not None:
            moves[-1, :3, :3] = moves[self.torso, :3, :3] @ look
            neck = (moves[self.torso] @ self.neck)[:3]
            moves[-1, :3, 3] = neck - moves[-1, :3, :3] @ self.neck[:3]
        return np.concatenate([moves, self._helpers(moves)])

    def deform(self, moves: Array) -> F4:
        """Returns the vertices (v, 3) for what `moves` returned."""
        columns = np.swapaxes(moves[:, :3], 1, 2).reshape(-1, 3).astype(np.float32)
        return np.asarray(self.placed @ columns)

    def _helpers(self, moves: Array) -> Array:
        """Returns the helpers' moves (h, 4, 4): shares of the rotation, the joint centre where it belongs."""
        parent = moves[self.pairs[:, 0], :3, :3]
        between = np.swapaxes(parent, 1, 2) @ moves[self.pairs[:, 1], :3, :3]
        turn = Rotation.from_matrix(between).as_rotvec()
        count = self.between
        shares = np.arange(1, count + 1) / (count + 1)
        parts = Rotation.from_rotvec((turn[:, None] * shares[:, None]).reshape(-1, 3)).as_matrix()
        helpers = np.tile(np.eye(4), (len(self.pairs), count, 1, 1))
        helpers[..., :3, :3] = parent[:, None] @ parts.reshape(-1, count, 3, 3)
        centres = np.einsum("jab,jb->ja", moves[self.pairs[:, 2]], self.pivots)[:, :3]
        turned = np.einsum("jhab,jb->jha", helpers[..., :3, :3], self.pivots[:, :3])
        helpers[..., :3, 3] = centres[:, None] - turned
        return helpers.reshape(-1, 4, 4)


def make_skin(
    spec: SkeletonSpec,
    vertices: F4,
    weights: Array,
    T_ground_from_body: Array,
    joint_centres: Array,
    neck: Array,
    between: int = BETWEEN,
) -> Skin:
    """Ties vertices (v, 3) with weights (v, b + 1) to a bind pose, putting helpers between bodies.

    `neck` (3,) is where the head of a model turns that has no head.
    """
    body = {name: i for i, name in enumerate(spec.body_names)}
    body.setdefault(HEAD, len(body))
    blend, helpers, pairs = [*weights.T.copy()], [], []
    for first, second, joint in _pairs(body):
        blend[first], *middle, blend[second] = _hats(blend[first], blend[second], between)
        helpers += middle
        pairs.append((first, second, joint))
    centres = np.concatenate([joint_centres, neck[None]])[[joint for *_, joint in pairs]]
    return Skin(
        placed=_placed(vertices, np.stack(blend + helpers, axis=1)),
        T_body_from_ground=np.concatenate([invert_rigid(T_ground_from_body), np.eye(4)[None]]),
        torso=body["torso"],
        neck=np.append(neck, 1.0),
        pairs=np.array(pairs, np.intp),
        between=between,
        pivots=np.concatenate([centres, np.ones((len(centres), 1))], axis=1),
    )


def _pairs(body: dict[str, int]) -> list[tuple[int, int, int]]:
    """Lists the numbers of both bodies and of the one with the joint, of the pairs that there are."""
    found = []
    for parent, child in HELPED:
        for suffix in ("", "_r", "_l"):
            first = parent if parent in body else parent + suffix
            second = child + suffix
            if first in body and second in body:
                found.append((body[first], body[second], body[_JOINT.get(child, child) + suffix]))
    return found


def _hats(first: Array, second: Array, between: int) -> list[Array]:
    """Splits two weights (v,) over the chain first - helpers - second: each vertex between two neighbours."""
    both = (first > 0) & (second > 0)
    share = np.divide(second, first + second, out=np.zeros_like(first), where=both)
    places = share * (between + 1)
    hats = [
        np.where(both, np.maximum(0.0, 1.0 - np.abs(places - i)) * (first + second), 0.0)
        for i in range(between + 2)
    ]
    hats[0], hats[-1] = np.where(both, hats[0], first), np.where(both, hats[-1], second)
    return hats


def _placed(vertices: F4, weights: Array) -> csr_array:
    rows, columns = np.nonzero(weights > 1e-6)
    share = weights[rows, columns]
    homogeneous = np.concatenate([vertices, np.ones((len(vertices), 1))], axis=1)
    values = (share[:, None] * homogeneous[rows]).astype(np.float32).ravel()
    starts = 4 * np.searchsorted(rows, np.arange(len(vertices) + 1))
    where = (4 * columns[:, None] + np.arange(4)).ravel()
    return csr_array((values, where, starts), shape=(len(vertices), 4 * weights.shape[1]))
