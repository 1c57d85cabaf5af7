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
from schemas.recipes import People, ProceduralLot, SynthRecipe
from schemas.shards import Quarantined, ShardContents, ShardKey, generator
from schemas.skeleton import SkeletonSpec
from workers import (
    annotate,
    body,
    bystanders,
    development,
    images,
    manner,
    motions,
    osim,
    outfits,
    performance,
    render,
    seat,
    stage,
    streaks,
    surfaces,
    wardrobe,
)
from workers.kinematics import Kinematics
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
    outfit: outfits.Outfit
    model: osim.OsimModel
    seat: surfaces.Surface | None = None

    def surface(self, pose: osim.Pose) -> NDArray[np.float32]:
        """Returns all points (p, 3) of the dressed person in the ground frame."""
        skin = self.body.skin(pose.T_ground_from_body)
        return self.outfit.points(skin, pose.T_ground_from_body)


def _add_subject(shard: _Shard, sources: Sources, subject: int) -> None:
    recipe, key, seed = shard.recipe, shard.key, shard.recipe.seed
    lot = recipe.motions[key.lot]
    human = _body(recipe.people, sources.osim, seed, subject)
    model, rng = (
        osim.OsimModel(sources.osim, human.scale),
        generator(seed, "outfit", key.lot, subject),
    )
    outfit = wardrobe.dress(human, model, recipe.wardrobe, sources.assets, rng)
    person = _Person(body=human, outfit=outfit, model=model)
    rng = generator(seed, "motion", key.lot, subject)
    played = performance.perform(lot, key.lot, sources, person.model, rng, human)
    times, q, rejects = played.times, played.q, played.rejects
    for frame, error in rejects.items():
        shard.reject(subject, frame, error)
    shard.tables["subjects"][str(subject)] = human.description
    shard.tables["motions"].append({"subject": subject} | played.description)
    shard.tables["garments"].append({"subject": subject} | person.outfit.description)
    usable = [f for f in range(len(times)) if f not in rejects]
    if not usable:
        return
    on_floor = q.copy()
    on_floor[usable] = performance.on_floor(q[usable], shard.spec, person, lot)
    if seat.sits(played.motion) and played.motion is not None:
        moved = on_floor[usable[0]] - q[usable[0]]
        rng = generator(seed, "seat", key.lot, subject)
        person = replace(person, seat=_seat(person, played.motion.q[0] + moved, rng))
    constant = {
        "group_id": subject,
        "motion_id": len(shard.tables["motions"]) - 1,
        "garment_id": len(shard.tables["garments"]) - 1,
        "scale": human.scale,
        "anthropometry": human.anthropometry,
    }
    drifts = _drifts(person.model, played.motion, times, on_floor, usable)
    crowd = _crowd(recipe, sources)
    fixed = None
    if lot.clip:
        rng = generator(seed, "stage", key.lot, subject)
        fixed = _clip_stage(recipe, person, on_floor[usable], crowd, rng)
    moving_head = manner.moves_head(shard.spec, q[usable])
    for frame in usable:
        changing = {
            "sample_id": subject * lot.frames + frame,
            "time": times[frame],
            "q": on_floor[frame],
            "q_mask": 1 if played.q_mask is None else played.q_mask[frame],
        }
        rng = generator(seed, "frame", key.lot, subject, frame)
        since = float(times[frame] - times[usable[0]]) if lot.clip else 0.0
        moment = _Moment(q=on_floor[frame], drift=drifts.get(frame), time=since)
        try:
            held = manner.draw_manner(
                generator(seed, "manner", key.lot, subject, *(() if lot.clip else (frame,))),
                lot.hands,
                free_head=isinstance(lot, ProceduralLot) or not moving_head,
            )
            labels, jpeg, about = _frame(recipe, person, moment, held, fixed, crowd, rng)
        except SampleRejected as error:
            shard.reject(subject, frame, error)
            continue
        if not shard.tables["lights"] or shard.tables["lights"][-1] != about:
            shard.tables["lights"].append(about)
        ids = {"light_id": np.asarray(len(shard.tables["lights"]) - 1)}
        named = {n: np.asarray(v) for n, v in (constant | changing).items()}
        shard.rows.append(named | labels | ids)
        shard.images.append(jpeg)


_HALF_STEP_S = 0.005


def _drifts(
    model: osim.OsimModel,
    motion: motions.Motion | None,
    times: NDArray[np.float64],
    q: NDArray[np.float64],
    usable: list[int],
) -> dict[int, NDArray[np.float64]]:
    """Returns how the points of each body move in each usable frame, (b, 3, 4) m/s: velocity = drift @ (x, y, z, 1).

    Poses without a motion stand still.
    """
    if motion is None:
        return {}
    start, stop = float(motion.times[0]), float(motion.times[-1])
    here = times[usable]
    before, after = (np.clip(here + d, start, stop) for d in (-_HALF_STEP_S, _HALF_STEP_S))
    apart = np.maximum(after - before, 1e-6)[:, None]
    # The pose of the frame itself stands on the floor, where it was moved by a constant.
    rate = (motion.at(after) - motion.at(before)) / apart
    posed = Kinematics(model)
    ends = [
        posed.pose(q[usable] + sign * _HALF_STEP_S * rate).T_ground_from_body for sign in (-1, 1)
    ]
    middle = np.linalg.inv((ends[0] + ends[1]) / 2)
    drift = ((ends[1] - ends[0]) @ middle)[:, :, :3] / (2 * _HALF_STEP_S)
    return dict(zip(usable, np.asarray(drift), strict=True))


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


def _crowd(recipe: SynthRecipe, sources: Sources) -> stage.Crowd:
    """Returns what draws other people for the background."""
    return functools.partial(bystanders.draw, recipe.people, sources.osim, recipe.seed)


def _clip_stage(
    recipe: SynthRecipe,
    person: _Person,
    q: NDArray[np.float64],
    crowd: stage.Crowd,
    rng: np.random.Generator,
) -> stage.Stage:
    """Sets one stage that holds the person of every frame."""
    poses = [person.model.pose(row) for row in q]
    vertices = np.stack([person.surface(pose) for pose in poses])
    return stage.set_stage(recipe, vertices, _facing(person.model.spec, poses[0]), crowd, rng)


@dataclass(frozen=True, kw_only=True)
class _Moment:
    """One pose and how it changes."""

    q: NDArray[np.float64]
    """(c,)."""
    drift: NDArray[np.float64] | None
    """(b, 3, 4) m/s, see `_drifts`; None stands still."""
    time: float
    """Seconds since the clip began; 0 without a clip."""


def _frame(
    recipe: SynthRecipe,
    person: _Person,
    moment: _Moment,
    held: manner.Manner,
    fixed: stage.Stage | None,
    crowd: stage.Crowd,
    rng: np.random.Generator,
) -> tuple[dict[str, np.ndarray], bytes, dict[str, Any]]:
    """Renders and labels one pose; returns labels, JPEG, and the description of the stage."""
    spec, model = person.model.spec, person.model
    eye = fixed.at(moment.time).eye if fixed else None
    shown = manner.show(person.body, model, moment.q, held, eye)
    worn = person.outfit.surfaces(shown.skin, shown.pose, shown.look)
    vertices = np.concatenate([surface.vertices for surface in worn])
    place = fixed or stage.set_stage(recipe, vertices, _facing(spec, shown.pose), crowd, rng)
    view = place.at(moment.time)
    if held.gaze == "camera" and not fixed:
        shown = manner.show(person.body, model, moment.q, held, view.eye)
        worn = person.outfit.surfaces(shown.skin, shown.pose, shown.look)
        vertices = np.concatenate([surface.vertices for surface in worn])
    picture = _renderer(recipe.image_px).render(
        [*worn, *place.surfaces, *([person.seat] if person.seat else [])],
        view.K,
        view.T_cam_from_ground,
        place.light,
        place.backdrop(view, recipe.image_px),
    )
    keypoints = person.body.face_keypoints(shown.skin)
    labels = annotate.annotate(spec, shown.pose, view, picture, vertices, keypoints)
    how = place.development
    radiance, streak = streaks.exposed(picture, view, moment.drift, how.shutter)
    developed = development.develop(radiance, how, rng)
    numbers = {"shutter": how.shutter, "motion_blur": streak, "exposure": how.exposure}
    numbers |= {"compression": how.compression}
    labels |= {name: np.asarray(value) for name, value in numbers.items()} | {"q": shown.q}
    about = place.about | {"gaze": held.gaze or "motion"}
    return labels, images.encode(developed, recipe.jpeg_quality), about
