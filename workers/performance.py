"""What one subject does in a lot: frame times, poses on the floor, and the frames that are unfit.

Dims: t = frame, c = coordinate. rad and m; ground frame.
"""

import functools
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError, SampleRejected
from schemas.lots import AnyLot, MotLot, ProceduralLot, RandomLot, TrcLot
from schemas.skeleton import SkeletonSpec
from workers import (
    contacts,
    family,
    marker_ik,
    motions,
    movements,
    osim,
    random_stances,
    retarget,
)
from workers.body import Body
from workers.family import LIMIT_TOLERANCE_RAD
from workers.figure import ARM_BOUND_M, LEG_BOUND_M, Figure
from workers.forward import each, forward_of
from workers.kinematics import Kinematics
from workers.motions import Motion
from workers.planting import Planter
from workers.synth_plan import Sources

Array = NDArray[np.float64]
DRIFT_M = 0.12
"""Of the feet's height over a recording: measured 0.10 m in squats recorded with another body."""


class Standing(Protocol):
    """A person that can be put on the floor."""

    @property
    def model(self) -> osim.OsimModel:
        """The model scaled to the person."""

    def surface(self, pose: osim.Pose) -> NDArray[np.float32]:
        """Returns the dressed skin (v, 3) in the ground frame."""


@dataclass(frozen=True, kw_only=True)
class Performance:
    """Poses of one subject, not yet on the floor."""

    description: dict[str, Any]
    times: Array
    """(t,) s."""
    q: Array
    """(t, c)."""
    rejects: dict[int, SampleRejected] = field(default_factory=dict)
    q_mask: NDArray[np.uint8] | None = None
    """(t, c): 1 where a coordinate is known; None where all are."""
    motion: Motion | None = None


def perform(
    lot: AnyLot,
    name: str,
    sources: Sources,
    model: osim.OsimModel,
    rng: np.random.Generator,
    body: Body | None = None,
) -> Performance:
    """Returns what a subject does: a movement made up, recorded, or poses drawn at random."""
    if isinstance(lot, RandomLot):
        q = random_stances.stances(lot, model, rng, body)
        return Performance(
            description={"name": name, "kind": "random"},
            times=np.arange(float(lot.frames)),
            q=q,
            rejects=_penetrating(q, model, body),
        )
    motion, kind, mask = motion_of(lot, name, sources, model, rng, body)
    times = _times(lot, motion, rng)
    q, rejects, known = settled(motion, mask, times, lot, model, body)
    return Performance(
        description=described(motion, name, kind),
        times=times,
        q=q,
        rejects=rejects,
        q_mask=known,
        motion=motion,
    )


def settled(
    motion: Motion,
    mask: marker_ik.Mask | None,
    times: Array,
    lot: AnyLot,
    model: osim.OsimModel,
    body: Body | None,
) -> tuple[Array, dict[int, SampleRejected], NDArray[np.uint8] | None]:
    """Returns the poses (t, c) of a motion at times (t,), the unfit ones, and what is known of them (t, c)."""
    q, rejects = within_limits(motion.at(times), model.spec)
    for frame in np.flatnonzero(~motion.covered(times)):
        detail = f"the recording has no sound rows around {times[frame]:.3f} s"
        rejects[int(frame)] = SampleRejected("gap_in_motion", detail)
    if isinstance(lot, ProceduralLot):
        rejects |= _penetrating(q, model, body)
    known = None if mask is None else mask.at(times)
    if known is not None:
        for frame in np.flatnonzero(~known.any(axis=1)):
            rejects[int(frame)] = SampleRejected("all_masked", "no landmark is where it should be")
    return q, rejects, known


def described(motion: Motion, name: str, kind: str) -> dict[str, Any]:
    """Returns a motion's entry in the table of motions."""
    return {
        "name": name,
        "kind": kind,
        "parameters": motion.parameters,
        "start_s": float(motion.times[0]),
        "stop_s": float(motion.times[-1]),
        "rows_left_out": len(motion.rejected),
        "filled": list(motion.filled),
    }


def motion_of(
    lot: AnyLot,
    name: str,
    sources: Sources,
    model: osim.OsimModel,
    rng: np.random.Generator,
    body: Body | None,
) -> tuple[Motion, str, marker_ik.Mask | None]:
    """Returns the motion of a lot, its kind, and what is known of its coordinates."""
    if isinstance(lot, MotLot):
        recorded = motions.read_mot(sources.mots[name], lot.mot, model.spec)
        return _given_to(model, recorded, lot, sources, rng), "mot", None
    if isinstance(lot, TrcLot):
        recorded, mask = marker_ik.solved(sources.trials[name], lot, model.spec)
        return _given_to(model, recorded, lot, sources, rng), "trc", mask
    if isinstance(lot, ProceduralLot):
        motion = movements.perform(lot, model, rng, body)
        return motion, motion.name, None
    raise InputError(name, "is no lot that can be performed", "Name a movement, mot, trc or random")


def _given_to(
    model: osim.OsimModel,
    recorded: Motion,
    lot: MotLot | TrcLot,
    sources: Sources,
    rng: np.random.Generator,
) -> Motion:
    """Returns a recording as a subject's model shows it: perturbed, on feet that stand where the recorded ones stood.

    `parameters` says `feet`: `planted`, or `grounded` where no foot stands or the model has not the names for it; then
    each pose is put on the floor by itself.
    """
    perturbed = motions.perturb(recorded, model.spec, rng.uniform(*lot.perturb), rng)
    feet = "grounded"
    if not family.lacking(model.spec):
        found = contacts.find(recorded, _unscaled(sources.osim))
        perturbed = retarget.retarget(perturbed, found, Planter(model))
        feet = "grounded" if perturbed.stance is None else "planted"
    return replace(perturbed, parameters=perturbed.parameters | {"feet": feet})


@functools.lru_cache(maxsize=2)
def _unscaled(model: bytes) -> Planter:
    """Returns the solver of a model as it is: what recordings were made with, as far as is known."""
    return Planter(osim.OsimModel(model))


def _times(lot: AnyLot, motion: Motion, rng: np.random.Generator) -> Array:
    """Draws the times (t,) of a lot's frames within a motion."""
    start, stop = float(motion.times[0]), float(motion.times[-1])
    if lot.clip:
        begin = start + rng.uniform(0.0, max(0.0, stop - start - (lot.frames - 1) / lot.fps))
        return np.asarray(np.minimum(begin + np.arange(lot.frames) / lot.fps, stop))
    edges = np.linspace(start, stop, lot.frames + 1)
    return rng.uniform(edges[:-1], edges[1:])


def _penetrating(q: Array, model: osim.OsimModel, body: Body | None) -> dict[int, SampleRejected]:
    """Returns the frames in which the body goes into itself beyond the bound."""
    figure = Figure(Kinematics.of(model), body)
    legs, arms = figure.depths(figure.kinematics.pose(q))
    bad = np.flatnonzero((legs > LEG_BOUND_M) | (arms > ARM_BOUND_M))
    return {
        int(i): SampleRejected(
            "self_penetration", f"legs {1e3 * legs[i]:.0f} mm, arms {1e3 * arms[i]:.0f} mm"
        )
        for i in bad
    }


def clear(q: Array, model: osim.OsimModel, body: Body | None) -> NDArray[np.bool_]:
    """Says which poses (t, c) keep the body out of itself; all, where none does."""
    bad = _penetrating(q, model, body)
    found = np.array([i not in bad for i in range(len(q))])
    return found if found.any() else np.ones(len(q), bool)


def within_limits(q: Array, spec: SkeletonSpec) -> tuple[Array, dict[int, SampleRejected]]:
    """Moves angles (t, c) a little beyond a limit onto it, and names the frames that are further off."""
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


def on_floor(
    q: Array,
    spec: SkeletonSpec,
    person: Standing,
    lot: AnyLot,
    whole: Array | None = None,
    stance: Array | None = None,
) -> Array:
    """Moves the root so that the lowest skin stands on y = 0 and the person near the origin.

    Args:
        q: (t, c) poses.
        spec: the skeleton.
        person: who stands.
        lot: what it does.
        whole: (n, c) poses that stand for the motion where `q` are moments of it; then no pose depends on
            the others in `q`.
        stance: (c,) the pose whose lowest skin is the motion's floor, where it has one.

    Random poses each by itself, motions with a stance as a whole. In recordings without one the feet's height drifts,
    as the root moves as another body's did: lifts up to `DRIFT_M` are taken out, and longer ones (flights) shortened.
    """
    apart = isinstance(lot, RandomLot)
    columns = [_root_column(spec, name) for name in ("pelvis_tx", "pelvis_ty", "pelvis_tz")]
    moved = q.copy()
    if stance is not None:
        moved[:, columns[1]] -= _lowest(stance[None], person)
    else:
        lowest = _lowest(q, person)
        floor = (lowest if whole is None else _lowest(whole, person)).min()
        drift = np.inf if apart else DRIFT_M if isinstance(lot, MotLot | TrcLot) else 0.0
        moved[:, columns[1]] -= lowest - np.maximum(0.0, lowest - floor - drift)
    for column in (columns[0], columns[2]):
        middle = (q if whole is None else whole)[:, column].mean()
        moved[:, column] -= q[:, column] if apart else middle
    return moved


def _lowest(q: Array, person: Standing) -> Array:
    """Returns the height of the lowest skin (t,) in poses (t, c)."""
    poses = each(forward_of(person.model)(q))
    return np.array([person.surface(pose)[:, 1].min() for pose in poses])


def _root_column(spec: SkeletonSpec, name: str) -> int:
    if name not in spec.coordinate_names:
        raise InputError(
            "the model",
            f"has no coordinate {name}",
            "Use a model whose root joint has pelvis_tx, _ty, _tz",
        )
    return spec.coordinate_names.index(name)
