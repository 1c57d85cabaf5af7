"""Which moment of which rendition of a movement a single frame shows, and from where, so that targets are met.

Everything follows from the frame's key: (seed, lot, subject, frame) gives the stratum of each target, the subject's
renditions are drawn in order from (seed, lot, subject), and a frame takes the first that reaches its strata. So no
frame depends on another, nor on how many there are. Dims: t = moment on a fine grid, k = target of the pose.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError
from schemas.lots import Lot
from schemas.quantities import Rows, declared, resolve
from schemas.recipes import Camera, SynthRecipe
from schemas.shards import unit_hash
from schemas.skeleton import SkeletonSpec
from schemas.targets import CAMERA, Strata
from workers.motions import Motion

Array = NDArray[np.float64]
L = TypeVar("L", bound=Lot)
RENDITIONS = 4
"""A subject's natural rendition, and how many deeper ones are tried for frames that it does not reach."""
GRID_HZ = 120.0
_MAX_GRID = 4000
_STEPS = np.array([(1 + 5**0.5) / 2, *(n**0.5 for n in (2, 3, 7, 6, 11, 13, 14, 10))]) % 1.0
"""Quadratic irrationals with small partial quotients, linearly independent over the rationals; as many as targets
may be, and one."""
_BEYOND_DEG = 2.0
"""A movement's depth is asked to pass the stratum's edge by this much, as knees rarely bend alike."""
_UNLIKE_DEG = 15.0
"""A knee goes beyond the depth asked for by less than this, in movements that bend them unlike."""
POSES = 128
"""Random poses of a subject, among which its frames find ones that fit."""


def check(recipe: SynthRecipe, spec: SkeletonSpec) -> None:
    """Refuses targets that name no angle of the model.

    Raises:
        InputError: names the target and the nearest that there are.
    """
    for quantity in recipe.targets:
        if quantity not in CAMERA:
            try:
                resolve(quantity, [*_angles(spec), *CAMERA])
            except InputError as error:
                reason = "is no angle of the model and none of the camera's"
                raise InputError(f"targets.{quantity}", reason, error.remedy) from error


def _angles(spec: SkeletonSpec) -> dict[str, Any]:
    return {n: q for n, q in declared(spec).items() if q.needs == ("q",)}


@dataclass(frozen=True, kw_only=True)
class Aim:
    """What one subject's frames are to show."""

    pose: tuple[Strata, ...]
    camera: tuple[Strata, ...]
    spec: SkeletonSpec
    offsets: tuple[float, ...]

    @classmethod
    def of(cls, recipe: SynthRecipe, lot: str, subject: int, spec: SkeletonSpec) -> "Aim":
        """Returns the aims of a recipe for one subject of one lot."""
        strata = recipe.strata
        names = [*(s.quantity for s in strata), "time"]
        return cls(
            pose=tuple(s for s in strata if s.quantity not in CAMERA),
            camera=tuple(s for s in strata if s.quantity in CAMERA),
            spec=spec,
            offsets=tuple(unit_hash(recipe.seed, "target", lot, subject, n) for n in names),
        )

    def _positions(self, frame: int) -> Array:
        """Returns the frame's place in [0, 1) for each target and for time.

        Additive recurrences by badly approximable numbers spread any number of frames more evenly than independent
        draws would, and are functions of the frame's number alone.
        """
        steps = _STEPS[: len(self.offsets)]
        # The last is time's, and gets the best of the steps.
        steps = np.roll(steps, -1)
        return np.asarray((np.array(self.offsets) + (frame + 1) * steps) % 1.0)

    def strata(self, frame: int) -> tuple[NDArray[np.int64], NDArray[np.int64], float]:
        """Returns a frame's strata of the pose (k,) and of the camera, and its share of the moments that fit."""
        positions = dict(zip(self._order, self._positions(frame), strict=True))
        pose = [s.draw(float(positions[s.quantity])) for s in self.pose]
        camera = [s.draw(float(positions[s.quantity])) for s in self.camera]
        return np.array(pose, np.int64), np.array(camera, np.int64), float(positions["time"])

    @property
    def _order(self) -> list[str]:
        return [*sorted(s.quantity for s in (*self.pose, *self.camera)), "time"]

    def index(self, q: Array) -> NDArray[np.int64]:
        """Returns in which stratum of each target poses (t, c) lie, (t, k)."""
        angles, rows = _angles(self.spec), Rows(arrays={"q": q}, tables={}, spec=self.spec)
        columns = [s.index(angles[resolve(s.quantity, angles)].of(rows)) for s in self.pose]
        return np.stack(columns, axis=1) if columns else np.zeros((len(q), 0), np.int64)

    def narrowed(self, camera: Camera, strata: Sequence[int], rng: np.random.Generator) -> Camera:
        """Returns the camera's ranges cut to a frame's strata; `rng` chooses among several pieces by their length."""
        ranges: dict[str, tuple[float, float]] = {}
        for target, stratum in zip(self.camera, strata, strict=True):
            name = CAMERA[target.quantity]
            pieces = target.pieces(int(stratum), *getattr(camera, name))
            lengths = np.array([b - a for a, b in pieces])
            ranges[name] = pieces[int(rng.choice(len(pieces), p=lengths / lengths.sum()))]
        return camera.model_copy(update=ranges)

    def depths(self) -> tuple[float, ...]:
        """Returns how far the knee must bend at least for its strata, degrees."""
        knees = [s for s in self.pose if s.quantity.startswith("knee")]
        parts = [(i, p) for s in knees for i, p in zip(s.intervals, s.shares, strict=False)]
        return tuple(i.low for i, share in parts if share > 0 and np.isfinite(i.low))


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What one frame shows."""

    frame: int
    rendition: int
    time: float
    unmet: tuple[str, ...]
    """Targets that nothing fitted."""


@dataclass(kw_only=True)
class Renditions:
    """A subject's renditions of a movement, made when first asked for, each on a fine grid of moments."""

    aim: Aim
    perform: Callable[[int], Motion | None]
    """Makes the n-th rendition; None where it would be none of its own."""
    fits: Callable[[Array], NDArray[np.bool_]]
    """Says which poses (t, c) keep the model's limits."""
    made: list["_Grid"] = field(default_factory=list)
    _last: bool = False

    def _get(self, number: int) -> "_Grid | None":
        while len(self.made) <= number and not self._last:
            motion = self.perform(len(self.made)) if len(self.made) < RENDITIONS else None
            if motion is None:
                self._last = True
            else:
                self.made.append(_grid(motion, self.aim, self.fits))
        return self.made[number] if number < len(self.made) else None

    def choose(self, frame: int) -> Moment | None:
        """Returns what a frame shows: targets that cannot be met are given up from the last on; None if none fits."""
        wanted, _, share = self.aim.strata(frame)
        for kept in range(len(wanted), -1, -1):
            number = 0
            while (grid := self._get(number)) is not None:
                right = (grid.strata[:, :kept] == wanted[:kept]).all(axis=1) & grid.usable
                if len(found := np.flatnonzero(right)):
                    unmet = tuple(s.quantity for s in self.aim.pose[kept:])
                    time = float(grid.times[found[int(share * len(found))]])
                    return Moment(frame=frame, rendition=number, time=time, unmet=unmet)
                number += 1
        return None


@dataclass(frozen=True, kw_only=True)
class _Grid:
    motion: Motion
    times: Array
    strata: NDArray[np.int64]
    usable: NDArray[np.bool_]


def _grid(motion: Motion, aim: Aim, fits: Callable[[Array], NDArray[np.bool_]]) -> _Grid:
    start, stop = float(motion.times[0]), float(motion.times[-1])
    count = int(np.clip((stop - start) * GRID_HZ, 1, _MAX_GRID))
    times = start + (np.arange(count) + 0.5) * (stop - start) / count
    q = motion.at(times)
    usable = motion.covered(times) & fits(q)
    return _Grid(motion=motion, times=times, strata=aim.index(q), usable=usable)


def deeper(lot: L, rendition: int, depths: Sequence[float]) -> L | None:
    """Returns the lot with its `depth` narrowed to its deep end, more with every rendition.

    None where it has none, or where it could reach none of `depths`, the knee's angles that are wanted.
    """
    if rendition == 0:
        return lot
    depth: tuple[float, float] | None = getattr(lot, "depth", None)
    if depth is None:
        return None
    within = [d for d in depths if d < depth[1] + _UNLIKE_DEG]
    if depths and not within:
        return None
    low = min(max(depth[0], *(d + _BEYOND_DEG for d in within)), depth[1]) if within else depth[0]
    low += (depth[1] - low) * (rendition - 1) / (RENDITIONS - 2)
    return lot.model_copy(update={"depth": (low, depth[1])})


def pose(aim: Aim, frame: int, poses: Array) -> tuple[int, tuple[str, ...]]:
    """Returns which of independent poses (t, c) a frame shows, and the targets that none of them meets."""
    wanted, _, share = aim.strata(frame)
    strata = aim.index(poses)
    for kept in range(len(wanted), -1, -1):
        found = np.flatnonzero((strata[:, :kept] == wanted[:kept]).all(axis=1))
        if len(found):
            return int(found[int(share * len(found))]), tuple(s.quantity for s in aim.pose[kept:])
    raise ValueError("no poses to choose from")


def count_unmet(found: Sequence[Sequence[str]]) -> Mapping[str, int]:
    """Counts the frames that miss each target."""
    names = sorted({name for unmet in found for name in unmet})
    return {name: sum(name in unmet for unmet in found) for name in names}
