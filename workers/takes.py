"""Which frames of a lot a subject shows, in which renditions of its motion: spread over one, or aimed at targets.

Dims: t = frame, c = coordinate. rad, m, s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import SampleRejected
from schemas.lots import AnyLot, RandomLot
from schemas.recipes import SynthRecipe
from schemas.shards import generator
from schemas.skeleton import SkeletonSpec
from workers import marker_ik, motions, osim, performance, random_stances, selection
from workers.body import Body
from workers.synth_plan import Sources

Array = NDArray[np.float64]
_WHOLE = 9
"""Poses that stand for a rendition when it is put on the floor."""


@dataclass(frozen=True, kw_only=True)
class Take:
    """Frames of one rendition of a subject's motion."""

    about: dict[str, Any]
    """The motion's description."""
    frames: tuple[int, ...]
    times: Array
    q: Array
    """(t, c), not yet on the floor."""
    rejects: dict[int, SampleRejected]
    """Frames that are unfit."""
    q_mask: NDArray[np.uint8] | None = None
    """(t, c): 1 where a coordinate is known; None where all are."""
    whole: Array | None = None
    """(n, c) poses all along a rendition of which the frames show moments; None where they themselves stand for it."""
    unmet: tuple[tuple[str, ...], ...] = ()
    """Targets that frames miss."""
    motion: motions.Motion | None = None

    @property
    def stance(self) -> Array | None:
        """The pose (c,) that stands on the motion's floor, where it has one."""
        return None if self.motion is None else self.motion.stance

    @property
    def phase(self) -> Array:
        """The share of the movement that is over in each frame (t,), NaN where there is no such thing."""
        if self.motion is None:
            return np.full(len(self.times), np.nan)
        return self.motion.phase_at(self.times)

    def standing(
        self, spec: SkeletonSpec, person: performance.Standing, lot: AnyLot, number: int
    ) -> dict[int, dict[str, Any]]:
        """Returns of each fit frame time, phase, pose on the floor, what is known, and `number` as the motion's."""
        usable = [i for i, frame in enumerate(self.frames) if frame not in self.rejects]
        if not usable:
            return {}
        phase = self.phase
        moved = performance.on_floor(self.q[usable], spec, person, lot, self.whole, self.stance)
        return {
            self.frames[i]: {
                "motion_id": number,
                "time": self.times[i],
                "phase": phase[i],
                "q": q,
                "q_mask": 1 if self.q_mask is None else self.q_mask[i],
            }
            for i, q in zip(usable, moved, strict=True)
        }


def note_unmet(tables: dict[str, Any], unmet: Sequence[Sequence[str]]) -> None:
    """Counts the frames that miss targets in the shard's table `unmet`."""
    if unmet:
        counts = tables.setdefault("unmet", {})
        for name, count in selection.count_unmet(unmet).items():
            counts[name] = counts.get(name, 0) + count


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
    recipe: SynthRecipe,
    name: str,
    sources: Sources,
    model: osim.OsimModel,
    body: Body,
    subject: int,
) -> list[Take]:
    """Returns what a subject's frames of one lot show: one rendition, or where targets ask for more, several."""
    lot = recipe.motions[name]
    if recipe.targets and not lot.clip:
        aim = selection.Aim.of(recipe, name, subject, model.spec)
        if isinstance(lot, RandomLot):
            return [_aimed_poses(lot, recipe.seed, name, aim, model, body, subject)]
        return _Aimed(recipe, name, sources, model, body, subject).takes(aim)
    rng = generator(recipe.seed, "motion", name, subject)
    played = performance.perform(lot, name, sources, model, rng, body)
    return [
        Take(
            about=played.description,
            frames=tuple(range(len(played.q))),
            times=played.times,
            q=played.q,
            rejects=played.rejects,
            q_mask=played.q_mask,
            motion=played.motion,
        )
    ]


@dataclass(frozen=True)
class _Aimed:
    """One subject whose frames are aimed."""

    recipe: SynthRecipe
    name: str
    sources: Sources
    model: osim.OsimModel
    body: Body
    subject: int

    def takes(self, aim: selection.Aim) -> list[Take]:
        """Returns a take of each rendition that frames are moments of."""
        lot = self.recipe.motions[self.name]
        masks: list[tuple[str, marker_ik.Mask | None]] = []

        def perform(number: int) -> motions.Motion | None:
            narrowed = selection.deeper(lot, number, aim.depths())
            if narrowed is None:
                return None
            again = [number] if number else []
            rng = generator(self.recipe.seed, "motion", self.name, self.subject, *again)
            motion, kind, mask = performance.motion_of(
                narrowed, self.name, self.sources, self.model, rng, self.body
            )
            masks.append((kind, mask))
            return motion

        def fits(q: Array) -> NDArray[np.bool_]:
            unfit = performance.within_limits(q, self.model.spec)[1]
            return np.array([i not in unfit for i in range(len(q))])

        renditions = selection.Renditions(aim=aim, perform=perform, fits=fits)
        chosen = {frame: renditions.choose(frame) for frame in range(lot.frames)}
        lost = [frame for frame, moment in chosen.items() if moment is None]
        found = []
        for number, (grid, (kind, mask)) in enumerate(zip(renditions.made, masks, strict=True)):
            mine = [m for m in chosen.values() if m is not None and m.rendition == number]
            if mine or (lost and number == 0):
                found.append(self._take(grid.motion, kind, mask, mine, lost if number == 0 else []))
        return found

    def _take(
        self,
        motion: motions.Motion,
        kind: str,
        mask: marker_ik.Mask | None,
        moments: Sequence[selection.Moment],
        lost: Sequence[int],
    ) -> Take:
        times, shown = np.array([m.time for m in moments]), tuple(m.frame for m in moments)
        lot = self.recipe.motions[self.name]
        q, rejects, known = performance.settled(motion, mask, times, lot, self.model, self.body)
        unfit = SampleRejected("beyond_joint_limit", "no moment of the motion keeps the limits")
        return Take(
            about=performance.described(motion, self.name, kind),
            frames=shown,
            times=times,
            q=q,
            rejects={shown[i]: error for i, error in rejects.items()} | dict.fromkeys(lost, unfit),
            q_mask=known,
            whole=motion.at(np.linspace(motion.times[0], motion.times[-1], _WHOLE)),
            unmet=tuple(m.unmet for m in moments),
            motion=motion,
        )


def _aimed_poses(
    lot: RandomLot,
    seed: int,
    name: str,
    aim: selection.Aim,
    model: osim.OsimModel,
    body: Body,
    subject: int,
) -> Take:
    """Chooses each frame's pose out of a pool that is the subject's, however many frames there are."""
    pool = lot.model_copy(update={"frames": selection.POSES})
    rng = generator(seed, "motion", name, subject)
    poses = random_stances.stances(pool, model, rng, body)
    clear = performance.clear(poses, model, body)
    chosen = [selection.pose(aim, frame, poses[clear]) for frame in range(lot.frames)]
    return Take(
        about={"name": name, "kind": "random"},
        frames=tuple(range(lot.frames)),
        times=np.arange(float(lot.frames)),
        q=poses[clear][[found for found, _ in chosen]],
        rejects={},
        unmet=tuple(missed for _, missed in chosen),
    )
