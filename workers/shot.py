"""Takes one picture: a person at a moment, on a stage, through a camera, with all its labels.

Dims: b = OpenSim body, c = coordinate, t = frame, v = vertex. rad, m, s; ground frame.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.lots import AnyLot, ProceduralLot
from schemas.recipes import SynthRecipe
from schemas.shards import generator
from schemas.skeleton import SkeletonSpec
from workers import (
    annotate,
    bystanders,
    development,
    images,
    manner,
    motions,
    osim,
    render,
    stage,
    streaks,
)
from workers.cameras import View
from workers.cast import Person
from workers.forward import each, forward_of
from workers.kinematics import Kinematics
from workers.surfaces import Surface
from workers.synth_plan import Sources

Array = NDArray[np.float64]
_HALF_STEP_S = 0.005


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One pose, how it changes, and what the head and hands do in it."""

    q: Array
    """(c,)."""
    held: manner.Manner
    drift: Array | None = None
    """(b, 3, 4) m/s, see `drifts`; None stands still."""
    pose: osim.Pose | None = None
    """At q, where it is known before the neck turns."""
    time: float = 0.0
    """Seconds since the clip began; 0 without a clip."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """All that is before the camera when the shutter opens."""

    shown: manner.Shown
    worn: Sequence[Surface]
    """The person."""
    place: stage.Stage
    view: View


@functools.lru_cache(maxsize=2)
def renderer(size_px: int) -> render.Renderer:
    """Returns this process' renderer of pictures of that size."""
    return render.Renderer(size_px)


def crowd_of(recipe: SynthRecipe, sources: Sources) -> stage.Crowd:
    """Returns what draws other people for the background."""
    return functools.partial(bystanders.draw, recipe.people, sources.osim, recipe.seed)


def manner_of(
    recipe: SynthRecipe, name: str, subject: int, frame: int, *, moving_head: bool
) -> manner.Manner:
    """Draws what head and hands do in a frame, or in all frames of a clip.

    `moving_head` says that the motion turns the model's own head; a recorded one is left as it is.
    """
    lot: AnyLot = recipe.motions[name]
    of_frame = () if lot.clip else (frame,)
    rng = generator(recipe.seed, "manner", name, subject, *of_frame)
    free = isinstance(lot, ProceduralLot) or not moving_head
    return manner.draw_manner(rng, lot.hands, free_head=free)


def drifts(model: osim.OsimModel, motion: motions.Motion | None, times: Array, q: Array) -> Array:
    """Returns how the points of each body move (t, b, 3, 4) m/s: velocity = drift @ (x, y, z, 1).

    Args:
        model: the subject's.
        motion: what the frames are moments of; None for poses that stand still, which drift by 0.
        times: of the frames (t,).
        q: their poses on the floor (t, c), which differ from the motion's by a constant.
    """
    if motion is None:
        return np.zeros((len(q), len(model.spec.body_names), 3, 4))
    start, stop = float(motion.times[0]), float(motion.times[-1])
    before, after = (np.clip(times + d, start, stop) for d in (-_HALF_STEP_S, _HALF_STEP_S))
    rate = (motion.at(after) - motion.at(before)) / np.maximum(after - before, 1e-6)[:, None]
    posed = Kinematics.of(model)
    ends = [posed.pose(q + sign * _HALF_STEP_S * rate).T_ground_from_body for sign in (-1, 1)]
    middle = np.linalg.inv((ends[0] + ends[1]) / 2)
    return np.asarray(((ends[1] - ends[0]) @ middle)[:, :, :3] / (2 * _HALF_STEP_S))


def facing(spec: SkeletonSpec, pose: osim.Pose) -> Array:
    """Returns the person's front as a unit vector (x, z) on the floor."""
    root = pose.T_ground_from_body[spec.body_names.index(spec.root_body)]
    # A trunk bent forward turns the pelvis' X axis towards the floor: cross with Y keeps the heading.
    front = np.cross([0.0, 1.0, 0.0], root[:3, 2])[[0, 2]]
    return np.asarray(front / np.linalg.norm(front))


def clip_stage(
    recipe: SynthRecipe, person: Person, q: Array, crowd: stage.Crowd, name: str, subject: int
) -> stage.Stage:
    """Sets one stage that holds the person in every pose (t, c) of a clip."""
    poses = each(forward_of(person.model)(q))
    vertices = np.stack([person.surface(pose) for pose in poses])
    rng = generator(recipe.seed, "stage", name, subject)
    return stage.set_stage(recipe, vertices, facing(person.model.spec, poses[0]), crowd, rng)


def set_up(
    recipe: SynthRecipe,
    person: Person,
    moment: Moment,
    fixed: stage.Stage | None,
    crowd: stage.Crowd,
    rng: np.random.Generator,
) -> Setup:
    """Poses and dresses the person, and sets the stage where no clip has `fixed` it.

    Raises:
        SampleRejected: the person stands in the camera.
    """

    def dressed(eye: Array | None) -> tuple[manner.Shown, list[Surface]]:
        shown = manner.show(person.body, person.model, moment.q, moment.held, eye, moment.pose)
        return shown, person.outfit.surfaces(shown.skin, shown.pose, shown.look)

    if fixed is None and moment.held.gaze == "camera":
        # The stage is set about the person before it is known where the camera is that it looks at.
        before = moment.pose or person.model.pose(moment.q)
        front, about = facing(person.model.spec, before), person.surface(before)
        place = stage.set_stage(recipe, about, front, crowd, rng)
        view = place.at(moment.time)
        shown, worn = dressed(view.eye)
    else:
        shown, worn = dressed(fixed.at(moment.time).eye if fixed else None)
        front = facing(person.model.spec, shown.pose)
        place = fixed or stage.set_stage(recipe, points(worn), front, crowd, rng)
        view = place.at(moment.time)
    return Setup(shown=shown, worn=worn, place=place, view=view)


def points(worn: Sequence[Surface]) -> NDArray[np.float32]:
    """Returns all vertices (v, 3) of what is drawn of a person."""
    return np.concatenate([surface.vertices for surface in worn])


def shoot(
    recipe: SynthRecipe, person: Person, moment: Moment, there: Setup, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], bytes, dict[str, Any]]:
    """Renders, labels and develops one picture; returns labels, JPEG, and the description of the stage."""
    view, place, shown = there.view, there.place, there.shown
    picture = renderer(recipe.image_px).render(
        [*there.worn, *place.surfaces, *([person.seat] if person.seat else [])],
        view.K,
        view.T_cam_from_ground,
        place.light,
        place.backdrop(view, recipe.image_px),
    )
    keypoints = person.body.face_keypoints(shown.skin)
    spec, vertices = person.model.spec, points(there.worn)
    labels = annotate.annotate(spec, shown.pose, view, picture, vertices, keypoints)
    how = place.development
    radiance, streak = streaks.exposed(picture, view, moment.drift, how.shutter)
    developed = development.develop(radiance, how, rng)
    numbers = {"shutter": how.shutter, "motion_blur": streak, "exposure": how.exposure}
    numbers |= {"compression": how.compression}
    labels |= {name: np.asarray(value) for name, value in numbers.items()} | {"q": shown.q}
    about = place.about | {"gaze": moment.held.gaze or "motion"}
    return labels, images.encode(developed, recipe.jpeg_quality), about
