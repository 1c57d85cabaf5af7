"""Makes one shard of synthetic people: motion -> body -> scene -> picture -> labels, each from its key.

Nothing depends on which other samples share the shard: the randomness of a frame belongs to
(seed, lot, subject, frame), that of a person to (seed, subject).
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas import layout
from schemas.errors import InputError, SampleRejected
from schemas.recipes import AnyLot, MotLot, People, RandomLot, SynthRecipe
from schemas.shards import Quarantined, ShardContents, ShardKey, generator
from schemas.skeleton import SkeletonSpec
from workers import (
    annotate,
    body,
    images,
    motions,
    osim,
    render,
    scene,
    selection,
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
_WHOLE = 9
"""Poses that stand for a rendition when it is put on the floor."""
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
        return self.outfit.shape(self.body.skin(pose.T_ground_from_body), self.body.faces)


@dataclass(frozen=True, kw_only=True)
class Take:
    """Frames of one rendition of a subject's motion: t = frame, c = coordinate."""

    about: dict[str, Any]
    """The motion's description."""
    frames: tuple[int, ...]
    times: NDArray[np.float64]
    q: NDArray[np.float64]
    """(t, c), not yet on the floor."""
    rejects: dict[int, SampleRejected]
    """Frames that are unfit."""
    whole: NDArray[np.float64] | None = None
    """(n, c) poses all along a rendition of which the frames show moments; None where they themselves stand for it."""
    unmet: tuple[tuple[str, ...], ...] = ()
    """Targets that frames miss."""


def _add_subject(shard: _Shard, sources: Sources, subject: int) -> None:
    recipe, key, seed = shard.recipe, shard.key, shard.recipe.seed
    lot = recipe.motions[key.lot]
    person = person_of(recipe, sources, key.lot, subject)
    human, tables = person.body, shard.tables
    tables["subjects"][str(subject)] = human.description
    tables["garments"].append({"subject": subject} | person.outfit.description)
    standing: dict[int, tuple[int, float, NDArray[np.float64]]] = {}
    for take in takes_of(recipe, key.lot, sources, person.model, subject):
        for frame, error in take.rejects.items():
            shard.reject(subject, frame, error)
        tables["motions"].append({"subject": subject} | take.about)
        _note_unmet(tables, take.unmet)
        usable = [i for i, frame in enumerate(take.frames) if frame not in take.rejects]
        if not usable:
            continue
        moved = _on_floor(take.q[usable], shard.spec, person, lot, take.whole)
        for i, q in zip(usable, moved, strict=True):
            standing[take.frames[i]] = (len(tables["motions"]) - 1, float(take.times[i]), q)
    if not standing:
        return
    constant = {
        "group_id": subject,
        "garment_id": len(tables["garments"]) - 1,
        "scale": human.scale,
        "anthropometry": human.anthropometry,
    }
    poses = np.stack([q for _, _, q in standing.values()])
    fixed = _clip_stage(recipe, person, poses, key.lot, subject) if lot.clip else None
    for frame, (motion, time, q) in sorted(standing.items()):
        changing = {
            "sample_id": subject * lot.frames + frame,
            "motion_id": motion,
            "time": time,
            "q": q,
        }
        rng = generator(seed, "frame", key.lot, subject, frame)
        try:
            labels, jpeg, about = _frame(
                aimed(recipe, key.lot, subject, frame, shard.spec), person, q, fixed, rng
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


def _note_unmet(tables: dict[str, Any], unmet: Sequence[Sequence[str]]) -> None:
    if unmet:
        counts = tables.setdefault("unmet", {})
        for name, count in selection.count_unmet(unmet).items():
            counts[name] = counts.get(name, 0) + count


def person_of(recipe: SynthRecipe, sources: Sources, lot: str, subject: int) -> _Person:
    """Draws a subject's body, its clothes in one lot, and the model scaled to it."""
    human = _body(recipe.people, sources.osim, recipe.seed, subject)
    return _Person(
        body=human,
        outfit=wardrobe.dress(human, generator(recipe.seed, "outfit", lot, subject)),
        model=osim.OsimModel(sources.osim, human.scale),
    )


def aimed(
    recipe: SynthRecipe, lot: str, subject: int, frame: int, spec: SkeletonSpec
) -> SynthRecipe:
    """Returns the recipe with the camera's ranges cut to what the targets want of this frame."""
    if not recipe.targets or recipe.motions[lot].clip:
        return recipe
    aim = selection.Aim.of(recipe, lot, subject, spec)
    rng = generator(recipe.seed, "aim", lot, subject, frame)
    camera = aim.narrowed(recipe.camera, aim.strata(frame)[1].tolist(), rng)
    return recipe.model_copy(update={"camera": camera})


def takes_of(
    recipe: SynthRecipe, name: str, sources: Sources, model: osim.OsimModel, subject: int
) -> list[Take]:
    """Returns what a subject's frames of one lot show: one rendition, or where targets ask for more, several."""
    lot = recipe.motions[name]
    if recipe.targets and not lot.clip:
        return _aimed_takes(recipe, name, sources, model, subject)
    rng = generator(recipe.seed, "motion", name, subject)
    about, times, q, rejects = _performance(lot, name, sources, model, rng)
    return [Take(about=about, frames=tuple(range(len(q))), times=times, q=q, rejects=rejects)]


def _aimed_takes(
    recipe: SynthRecipe, name: str, sources: Sources, model: osim.OsimModel, subject: int
) -> list[Take]:
    lot, spec = recipe.motions[name], model.spec
    aim = selection.Aim.of(recipe, name, subject, spec)
    if isinstance(lot, RandomLot):
        return [_aimed_poses(lot, recipe.seed, name, aim, subject)]
    kinds = []

    def perform(number: int) -> motions.Motion | None:
        narrowed = selection.deeper(lot, number, aim.depths())
        if narrowed is None:
            return None
        again = [number] if number else []
        rng = generator(recipe.seed, "motion", name, subject, *again)
        motion, kind = _recorded(narrowed, name, sources, model, rng)
        kinds.append(kind)
        return motion

    def fits(q: NDArray[np.float64]) -> NDArray[np.bool_]:
        unfit = _within_limits(q, spec)[1]
        return np.array([i not in unfit for i in range(len(q))])

    renditions = selection.Renditions(aim=aim, perform=perform, fits=fits)
    chosen = {frame: renditions.choose(frame) for frame in range(lot.frames)}
    takes = []
    for number, grid in enumerate(renditions.made):
        mine = [m for m in chosen.values() if m is not None and m.rendition == number]
        lost = [f for f, m in chosen.items() if m is None and number == 0]
        if not mine and not lost:
            continue
        motion, times = grid.motion, np.array([m.time for m in mine])
        detail = "no moment of the motion keeps the limits"
        takes.append(
            Take(
                about=_about(motion, name, kinds[number]),
                frames=tuple(m.frame for m in mine),
                times=times,
                q=_within_limits(motion.at(times), spec)[0],
                rejects=dict.fromkeys(lost, SampleRejected("beyond_joint_limit", detail)),
                whole=motion.at(np.linspace(motion.times[0], motion.times[-1], _WHOLE)),
                unmet=tuple(m.unmet for m in mine),
            )
        )
    return takes


def _aimed_poses(lot: RandomLot, seed: int, name: str, aim: selection.Aim, subject: int) -> Take:
    shown, unmet = [], []
    for frame in range(lot.frames):
        rng = generator(seed, "motion", name, subject, frame)
        poses = motions.random_poses(lot, aim.spec, selection.POSES, rng)
        found, missed = selection.pose(aim, frame, poses)
        shown.append(poses[found])
        unmet.append(missed)
    return Take(
        about={"name": name, "kind": "random"},
        frames=tuple(range(lot.frames)),
        times=np.arange(float(lot.frames)),
        q=np.stack(shown),
        rejects={},
        unmet=tuple(unmet),
    )


def _performance(
    lot: AnyLot, name: str, sources: Sources, model: osim.OsimModel, rng: np.random.Generator
) -> tuple[dict[str, Any], NDArray[np.float64], NDArray[np.float64], dict[int, SampleRejected]]:
    """Returns the motion's description, frame times (t,), poses (t, c), and frames that are unfit."""
    spec = model.spec
    if isinstance(lot, RandomLot):
        q = motions.random_poses(lot, spec, lot.frames, rng)
        return {"name": name, "kind": "random"}, np.arange(float(lot.frames)), q, {}
    recorded, kind = _recorded(lot, name, sources, model, rng)
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
    return _about(recorded, name, kind), times, q, rejects


def _recorded(
    lot: AnyLot, name: str, sources: Sources, model: osim.OsimModel, rng: np.random.Generator
) -> tuple[motions.Motion, str]:
    """Returns one rendition of a lot's motion, and its kind."""
    if isinstance(lot, MotLot):
        recorded = motions.read_mot(sources.mots[name], lot.mot, model.spec)
        return motions.perturb(recorded, model.spec, rng.uniform(*lot.perturb), rng), "mot"
    if isinstance(lot, RandomLot):
        raise TypeError(f"{name} is no motion")
    return squats.squat(lot, model, rng), "squat"


def _about(recorded: motions.Motion, name: str, kind: str) -> dict[str, Any]:
    return {
        "name": name,
        "kind": kind,
        "parameters": recorded.parameters,
        "start_s": float(recorded.times[0]),
        "stop_s": float(recorded.times[-1]),
        "rows_left_out": len(recorded.rejected),
        "filled": list(recorded.filled),
    }


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
    q: NDArray[np.float64],
    spec: SkeletonSpec,
    person: _Person,
    lot: AnyLot,
    whole: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Moves the root so that the lowest skin stands on y = 0 and the person near the origin.

    Args:
        whole: (n, c) poses that stand for the motion where `q` (t, c) are moments of it; then no pose depends on
            the others in `q`.

    Random poses each by itself, procedural motions as a whole. In a recording the height of the feet drifts, as the
    root moves as another body's did: lifts up to `DRIFT_M` are taken out, and longer ones (flights) shortened by it.
    """
    each = isinstance(lot, RandomLot)
    drift = np.inf if each else DRIFT_M if isinstance(lot, MotLot) else 0.0
    columns = [_root_column(spec, name) for name in ("pelvis_tx", "pelvis_ty", "pelvis_tz")]
    lowest = _lowest(q, person)
    floor = (lowest if whole is None else _lowest(whole, person)).min()
    moved = q.copy()
    moved[:, columns[1]] -= lowest - np.maximum(0.0, lowest - floor - drift)
    for column in (columns[0], columns[2]):
        middle = (q if whole is None else whole)[:, column].mean()
        moved[:, column] -= q[:, column] if each else middle
    return moved


def _lowest(q: NDArray[np.float64], person: _Person) -> NDArray[np.float64]:
    """Returns the height of the lowest skin (t,) in poses (t, c)."""
    return np.array([person.surface(person.model.pose(row))[:, 1].min() for row in q])


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
        [skin, *stage.surfaces],
        stage.view.K,
        stage.view.T_cam_from_ground,
        stage.light,
        stage.background,
    )
    keypoints = person.body.face_keypoints(person.body.skin(pose.T_ground_from_body))
    labels = annotate.annotate(spec, pose, stage.view, picture, vertices, keypoints)
    developed = scene.develop(picture.rgb, stage.development, rng)
    return labels, images.encode(developed, recipe.jpeg_quality), stage.about
