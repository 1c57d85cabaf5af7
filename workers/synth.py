"""Makes one shard of synthetic people: motion -> body -> scene -> picture -> labels, each from its key.

Nothing depends on which other samples share the shard: the randomness of a frame belongs to
(seed, lot, subject, frame), that of a person to (seed, subject).
"""

import functools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas import layout
from schemas.errors import SampleRejected
from schemas.recipes import People, SynthRecipe
from schemas.shards import Quarantined, ShardContents, ShardKey, generator
from schemas.skeleton import SkeletonSpec
from workers import (
    annotate,
    body,
    images,
    osim,
    render,
    scene,
    seat,
    surfaces,
    takes,
    wardrobe,
)
from workers.synth_plan import (
    Sources,
    for_lot,
    frames,
    load,
    photos_digest,
    plan,
    settings,
    spec_of,
    split_of,
)

__all__ = [
    "Sources",
    "for_lot",
    "frames",
    "load",
    "make_shard",
    "photos_digest",
    "plan",
    "settings",
    "split_of",
]


@functools.lru_cache(maxsize=16)
def _body(people: People, model: bytes, seed: int, subject: int) -> body.Body:
    return body.make_body(people, model, generator(seed, "subject", subject))


@functools.lru_cache(maxsize=2)
def _renderer(size_px: int) -> render.Renderer:
    return render.Renderer(size_px)


def make_shard(recipe: SynthRecipe, sources: Sources, key: ShardKey) -> ShardContents:
    """Poses, renders and annotates every frame of a shard; a frame that fails is quarantined."""
    spec = spec_of(sources.osim)
    shard = _Shard(recipe=recipe, key=key, spec=spec)
    for subject in key.members:
        _add_subject(shard, sources, subject)
    return shard.contents()


class _Shard:
    """Collects rows, images, tables and rejects of one shard."""

    def __init__(self, *, recipe: SynthRecipe, key: ShardKey, spec: SkeletonSpec) -> None:
        self.recipe, self.key, self.spec = recipe, key, spec
        self.rows: list[dict[str, np.ndarray]] = []
        self.images: list[bytes] = []
        self.rejected: list[Quarantined] = []
        self.tables: dict[str, Any] = {"subjects": {}, "motions": [], "garments": [], "lights": []}

    def reject(self, subject: int, frame: int, error: SampleRejected) -> None:
        sample = subject * self.recipe.motions[self.key.lot].frames + frame
        entry = Quarantined(sample=str(sample), reason=error.reason, detail=error.detail)
        self.rejected.append(entry)

    def contents(self) -> ShardContents:
        arrays = layout.empty(self.spec.sizes, len(self.rows))
        for i, row in enumerate(self.rows):
            for name, values in row.items():
                arrays[name][i] = values
        return ShardContents(
            images=self.images,
            arrays=arrays,
            tables=self.tables,
            quarantine=tuple(self.rejected),
            planned=frames(self.recipe, self.key),
            skeleton=self.spec.fingerprint,
        )


@dataclass(frozen=True, kw_only=True)
class _Person:
    """One dressed subject with the model scaled to it, and where the motion stands on the floor."""

    body: body.Body
    outfit: wardrobe.Outfit
    model: osim.OsimModel
    seat: surfaces.Surface | None = None

    def surface(self, pose: osim.Pose) -> NDArray[np.float32]:
        """Returns the dressed skin (v, 3) in the ground frame."""
        return self.outfit.shape(self.body.skin(pose.T_ground_from_body), self.body.faces)


def _add_subject(shard: _Shard, sources: Sources, subject: int) -> None:
    recipe, key, seed = shard.recipe, shard.key, shard.recipe.seed
    lot = recipe.motions[key.lot]
    person = person_of(recipe, sources, key.lot, subject)
    human, tables = person.body, shard.tables
    tables["subjects"][str(subject)] = human.description
    tables["garments"].append({"subject": subject} | person.outfit.description)
    standing: dict[int, dict[str, Any]] = {}
    people: dict[int, _Person] = {}
    for take in takes.takes_of(recipe, key.lot, sources, person.model, human, subject):
        for frame, error in take.rejects.items():
            shard.reject(subject, frame, error)
        tables["motions"].append({"subject": subject} | take.about)
        takes.note_unmet(tables, take.unmet)
        number = len(tables["motions"]) - 1
        stands = take.standing(shard.spec, person, lot, number)
        rng = generator(seed, "seat", key.lot, subject)
        people[number] = _with_seat(person, take, stands, rng)
        standing |= stands
    if not standing:
        return
    constant = {
        "group_id": subject,
        "garment_id": len(tables["garments"]) - 1,
        "scale": human.scale,
        "anthropometry": human.anthropometry,
    }
    poses = np.stack([row["q"] for row in standing.values()])
    person = people[min(row["motion_id"] for row in standing.values())]
    fixed = _clip_stage(recipe, person, poses, key.lot, subject) if lot.clip else None
    for frame, posed in sorted(standing.items()):
        changing = posed | {"sample_id": subject * lot.frames + frame}
        rng = generator(seed, "frame", key.lot, subject, frame)
        try:
            labels, jpeg, about = _frame(
                takes.aimed(recipe, key.lot, subject, frame, shard.spec),
                people[posed["motion_id"]],
                posed["q"],
                fixed,
                rng,
            )
        except SampleRejected as error:
            shard.reject(subject, frame, error)
            continue
        if not tables["lights"] or tables["lights"][-1] != about:
            tables["lights"].append(about)
        ids = {"light_id": np.asarray(len(tables["lights"]) - 1)}
        named = {n: np.asarray(v) for n, v in (constant | changing).items()}
        shard.rows.append(named | labels | ids)
        shard.images.append(jpeg)


def person_of(recipe: SynthRecipe, sources: Sources, lot: str, subject: int) -> _Person:
    """Draws a subject's body, its clothes in one lot, and the model scaled to it."""
    human = _body(recipe.people, sources.osim, recipe.seed, subject)
    return _Person(
        body=human,
        outfit=wardrobe.dress(human, generator(recipe.seed, "outfit", lot, subject)),
        model=osim.OsimModel(sources.osim, human.scale),
    )


def _with_seat(
    person: _Person,
    take: takes.Take,
    standing: dict[int, dict[str, Any]],
    rng: np.random.Generator,
) -> _Person:
    """Returns the person with the chair that the motion sits on, where it sits."""
    if take.motion is None or not standing or not seat.sits(take.motion):
        return person
    i = next(i for i, frame in enumerate(take.frames) if frame in standing)
    moved = standing[take.frames[i]]["q"] - take.q[i]
    return replace(person, seat=_seat(person, take.motion.q[0] + moved, rng))


def _seat(
    person: _Person, seated: NDArray[np.float64], rng: np.random.Generator
) -> surfaces.Surface:
    """Returns the chair under a person in the pose (c,)."""
    pose, names = person.model.pose(seated), person.model.spec.body_names
    hips = pose.joint_centres[[names.index("femur_r"), names.index("femur_l")]].mean(axis=0)
    return seat.seat_under(person.surface(pose), hips, rng)


def _facing(spec: SkeletonSpec, pose: osim.Pose) -> NDArray[np.float64]:
    """Returns the person's front as a unit vector (x, z) on the floor."""
    root = pose.T_ground_from_body[spec.body_names.index(spec.root_body)]
    # A trunk bent forward turns the pelvis' X axis towards the floor: cross with Y keeps the heading.
    front = np.cross([0.0, 1.0, 0.0], root[:3, 2])[[0, 2]]
    return np.asarray(front / np.linalg.norm(front))


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """Everything in a picture but the person."""

    view: scene.View
    light: render.Light
    surfaces: list[surfaces.Surface]
    background: NDArray[np.uint8] | None
    development: scene.Development
    about: dict[str, Any]


def _set_stage(
    recipe: SynthRecipe,
    vertices: NDArray[np.float32],
    facing: NDArray[np.float64],
    rng: np.random.Generator,
) -> _Stage:
    """Draws camera, light, room and what stands before a person of vertices (v, 3), or (t, v, 3) in a clip."""
    view = scene.sample_view(recipe.camera, recipe.image_px, vertices, facing, rng)
    light, about_light = scene.sample_light(recipe.scene, rng)
    room, background, about_room = scene.sample_room(recipe.scene, rng, view.eye)
    hidden = rng.random() < recipe.scene.occluder
    occluder = scene.sample_occluder(view, vertices, rng) if hidden else None
    front = [] if occluder is None else [occluder]
    name = {"occluder": "" if occluder is None else occluder.name}
    return _Stage(
        view=view,
        light=light,
        surfaces=[*room, *front],
        background=background,
        development=scene.sample_development(recipe.scene, rng),
        about=view.description | about_light | about_room | name,
    )


def _clip_stage(
    recipe: SynthRecipe, person: _Person, q: NDArray[np.float64], lot: str, subject: int
) -> _Stage:
    """Sets one stage that holds the person of every frame."""
    poses = [person.model.pose(row) for row in q]
    vertices = np.stack([person.surface(pose) for pose in poses])
    facing = _facing(person.model.spec, poses[0])
    return _set_stage(recipe, vertices, facing, generator(recipe.seed, "stage", lot, subject))


def _frame(
    recipe: SynthRecipe,
    person: _Person,
    q: NDArray[np.float64],
    fixed: _Stage | None,
    rng: np.random.Generator,
) -> tuple[dict[str, np.ndarray], bytes, dict[str, Any]]:
    """Renders and labels one pose; returns labels, JPEG, and the description of the stage."""
    spec, pose = person.model.spec, person.model.pose(q)
    vertices = person.surface(pose)
    stage = fixed or _set_stage(recipe, vertices, _facing(spec, pose), rng)
    skin = surfaces.Surface(
        vertices=vertices,
        faces=person.body.faces,
        colours=person.outfit.colours,
        parts=person.body.parts,
    )
    picture = _renderer(recipe.image_px).render(
        [skin, *stage.surfaces, *([person.seat] if person.seat else [])],
        stage.view.K,
        stage.view.T_cam_from_ground,
        stage.light,
        stage.background,
    )
    keypoints = person.body.face_keypoints(person.body.skin(pose.T_ground_from_body))
    labels = annotate.annotate(spec, pose, stage.view, picture, vertices, keypoints)
    developed = scene.develop(picture.rgb, stage.development, rng)
    return labels, images.encode(developed, recipe.jpeg_quality), stage.about
