"""Makes one shard of synthetic people: motion -> body -> scene -> picture -> labels, each from its key.

Nothing depends on which other samples share the shard: the randomness of a frame belongs to
(seed, lot, subject, frame), that of a person to (seed, subject).
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas import layout
from schemas.errors import InputError, SampleRejected
from schemas.recipes import AnyLot, MotLot, People, ProceduralLot, RandomLot, SynthRecipe
from schemas.shards import Quarantined, ShardContents, ShardKey, generator
from schemas.skeleton import SkeletonSpec
from workers import (
    annotate,
    body,
    images,
    manner,
    motions,
    osim,
    render,
    scene,
    squats,
    surfaces,
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
LIMIT_TOLERANCE_RAD = np.radians(3.0)
"""Recorded angles beyond a limit by less than this are moved onto it; by more, the frame is refused."""
DRIFT_M = 0.12
"""Of the feet's height over a recording: measured 0.10 m in squats recorded with another body."""


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

    def surface(self, pose: osim.Pose) -> NDArray[np.float32]:
        """Returns the dressed skin (v, 3) in the ground frame."""
        return self.dressed(self.body.skin(pose.T_ground_from_body))

    def dressed(self, skin: NDArray[np.float32]) -> NDArray[np.float32]:
        """Puts the clothes over a skin (v, 3)."""
        return self.outfit.shape(skin, self.body.faces)


def _add_subject(shard: _Shard, sources: Sources, subject: int) -> None:
    recipe, key, seed = shard.recipe, shard.key, shard.recipe.seed
    lot = recipe.motions[key.lot]
    human = _body(recipe.people, sources.osim, seed, subject)
    person = _Person(
        body=human,
        outfit=wardrobe.dress(human, generator(seed, "outfit", key.lot, subject)),
        model=osim.OsimModel(sources.osim, human.scale),
    )
    rng = generator(seed, "motion", key.lot, subject)
    motion, times, q, rejects = _performance(lot, key.lot, sources, person.model, rng)
    for frame, error in rejects.items():
        shard.reject(subject, frame, error)
    shard.tables["subjects"][str(subject)] = human.description
    shard.tables["motions"].append({"subject": subject} | motion)
    shard.tables["garments"].append({"subject": subject} | person.outfit.description)
    usable = [f for f in range(len(times)) if f not in rejects]
    if not usable:
        return
    on_floor = q.copy()
    on_floor[usable] = _on_floor(q[usable], shard.spec, person, lot)
    constant = {
        "group_id": subject,
        "motion_id": len(shard.tables["motions"]) - 1,
        "garment_id": len(shard.tables["garments"]) - 1,
        "scale": human.scale,
        "anthropometry": human.anthropometry,
    }
    moving_head = manner.moves_head(shard.spec, q[usable])
    fixed = _clip_stage(recipe, person, on_floor[usable], key.lot, subject) if lot.clip else None
    for frame in usable:
        changing = {
            "sample_id": subject * lot.frames + frame,
            "time": times[frame],
            "q": on_floor[frame],
        }
        rng = generator(seed, "frame", key.lot, subject, frame)
        try:
            held = manner.draw_manner(
                generator(seed, "manner", key.lot, subject, *(() if lot.clip else (frame,))),
                lot.hands,
                free_head=isinstance(lot, ProceduralLot) or not moving_head,
            )
            labels, jpeg, about = _frame(recipe, person, on_floor[frame], held, fixed, rng)
        except SampleRejected as error:
            shard.reject(subject, frame, error)
            continue
        if not shard.tables["lights"] or shard.tables["lights"][-1] != about:
            shard.tables["lights"].append(about)
        ids = {"light_id": np.asarray(len(shard.tables["lights"]) - 1)}
        named = {n: np.asarray(v) for n, v in (constant | changing).items()}
        shard.rows.append(named | labels | ids)
        shard.images.append(jpeg)


def _performance(
    lot: AnyLot, name: str, sources: Sources, model: osim.OsimModel, rng: np.random.Generator
) -> tuple[dict[str, Any], NDArray[np.float64], NDArray[np.float64], dict[int, SampleRejected]]:
    """Returns the motion's description, frame times (t,), poses (t, c), and frames that are unfit."""
    spec = model.spec
    if isinstance(lot, RandomLot):
        q = motions.random_poses(lot, spec, lot.frames, rng)
        return {"name": name, "kind": "random"}, np.arange(float(lot.frames)), q, {}
    if isinstance(lot, MotLot):
        recorded = motions.read_mot(sources.mots[name], lot.mot, spec)
        recorded = motions.perturb(recorded, spec, rng.uniform(*lot.perturb), rng)
        kind = "mot"
    else:
        recorded, kind = squats.squat(lot, model, rng), "squat"
    start, stop = float(recorded.times[0]), float(recorded.times[-1])
    if lot.clip:
        begin = start + rng.uniform(0.0, max(0.0, stop - start - (lot.frames - 1) / lot.fps))
        times = np.minimum(begin + np.arange(lot.frames) / lot.fps, stop)
    else:
        edges = np.linspace(start, stop, lot.frames + 1)
        times = rng.uniform(edges[:-1], edges[1:])
    q, rejects = _within_limits(recorded.at(times), spec)
    for frame in np.flatnonzero(~recorded.covered(times)):
        detail = f"the recording has no sound rows around {times[frame]:.3f} s"
        rejects[int(frame)] = SampleRejected("gap_in_motion", detail)
    description = {"name": name, "kind": kind, "parameters": recorded.parameters}
    left_out = {"rows_left_out": len(recorded.rejected), "filled": list(recorded.filled)}
    return description | left_out, times, q, rejects


def _within_limits(
    q: NDArray[np.float64], spec: SkeletonSpec
) -> tuple[NDArray[np.float64], dict[int, SampleRejected]]:
    low = np.array([c.lower for c in spec.coordinates])
    high = np.array([c.upper for c in spec.coordinates])
    inside = np.clip(q, low, high)
    rejects = {}
    for frame, (was, now) in enumerate(zip(q, inside, strict=True)):
        worst = int(np.argmax(np.abs(was - now)))
        if abs(was[worst] - now[worst]) > LIMIT_TOLERANCE_RAD:
            detail = f"{spec.coordinate_names[worst]} = {was[worst]:.4g}, limit {now[worst]:.4g}"
            rejects[frame] = SampleRejected("beyond_joint_limit", detail)
    return spec.couple(inside), rejects


def _on_floor(
    q: NDArray[np.float64], spec: SkeletonSpec, person: _Person, lot: AnyLot
) -> NDArray[np.float64]:
    """Moves the root so that the lowest skin stands on y = 0 and the person near the origin.

    Random poses each by itself, procedural motions as a whole. In a recording the height of the feet drifts, as the
    root moves as another body's did: lifts up to `DRIFT_M` are taken out, and longer ones (flights) shortened by it.
    """
    each = isinstance(lot, RandomLot)
    drift = np.inf if each else DRIFT_M if isinstance(lot, MotLot) else 0.0
    columns = [_root_column(spec, name) for name in ("pelvis_tx", "pelvis_ty", "pelvis_tz")]
    lowest = np.array([person.surface(person.model.pose(row))[:, 1].min() for row in q])
    moved = q.copy()
    moved[:, columns[1]] -= lowest - np.maximum(0.0, lowest - lowest.min() - drift)
    for column in (columns[0], columns[2]):
        moved[:, column] -= q[:, column] if each else q[:, column].mean()
    return moved


def _root_column(spec: SkeletonSpec, name: str) -> int:
    if name not in spec.coordinate_names:
        raise InputError(
            "the model",
            f"has no coordinate {name}",
            "Use a model whose root joint has pelvis_tx, _ty, _tz",
        )
    return spec.coordinate_names.index(name)


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
    held: manner.Manner,
    fixed: _Stage | None,
    rng: np.random.Generator,
) -> tuple[dict[str, np.ndarray], bytes, dict[str, Any]]:
    """Renders and labels one pose; returns labels, JPEG, and the description of the stage."""
    spec, body, model = person.model.spec, person.body, person.model
    shown = manner.show(body, model, q, held, fixed.view.eye if fixed else None)
    stage = fixed or _set_stage(recipe, person.dressed(shown.skin), _facing(spec, shown.pose), rng)
    if held.gaze == "camera" and not fixed:
        shown = manner.show(body, model, q, held, stage.view.eye)
    vertices = person.dressed(shown.skin)
    skin = surfaces.Surface(
        vertices=vertices,
        faces=person.body.faces,
        colours=person.outfit.colours,
        parts=person.body.parts,
    )
    picture = _renderer(recipe.image_px).render(
        [skin, *stage.surfaces],
        stage.view.K,
        stage.view.T_cam_from_ground,
        stage.light,
        stage.background,
    )
    keypoints = body.face_keypoints(shown.skin)
    labels = annotate.annotate(spec, shown.pose, stage.view, picture, vertices, keypoints)
    about = stage.about | {"gaze": held.gaze or "motion"}
    developed = scene.develop(picture.rgb, stage.development, rng)
    return labels | {"q": shown.q}, images.encode(developed, recipe.jpeg_quality), about
