"""Makes one shard of synthetic people: motion -> body -> scene -> picture -> labels, each from its key.

Nothing depends on which other samples share the shard: the randomness of a frame belongs to
(seed, lot, subject, frame), that of a person to (seed, subject).
"""

from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from schemas import layout
from schemas.errors import SampleRejected
from schemas.recipes import SynthRecipe
from schemas.shards import Quarantined, ShardContents, ShardKey, generator
from schemas.skeleton import SkeletonSpec
from workers import cast, manner, osim, shot, takes
from workers.forward import each, forward_of
from workers.synth_plan import (
    Sources,
    for_lot,
    frames,
    load,
    photos_digest,
    plan,
    settings,
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


def make_shard(recipe: SynthRecipe, sources: Sources, key: ShardKey) -> ShardContents:
    """Poses, renders and annotates every frame of a shard; a frame that fails is quarantined."""
    spec = osim.read_skeleton(sources.osim)
    shard = _Shard(recipe=recipe, key=key, spec=spec)
    # The last bits of BLAS' sums depend on the number of its threads.
    with threadpool_limits(limits=1, user_api="blas"):
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

    def add(
        self,
        subject: int,
        frame: int,
        person: cast.Person,
        row: dict[str, Any],
        labels: dict[str, np.ndarray],
        jpeg: bytes,
        about: dict[str, Any],
    ) -> None:
        """Adds one sample."""
        if not self.tables["lights"] or self.tables["lights"][-1] != about:
            self.tables["lights"].append(about)
        known = {
            "sample_id": subject * self.recipe.motions[self.key.lot].frames + frame,
            "group_id": subject,
            "garment_id": len(self.tables["garments"]) - 1,
            "light_id": len(self.tables["lights"]) - 1,
            "scale": person.body.scale,
            "anthropometry": person.body.anthropometry,
        }
        known |= {name: value for name, value in row.items() if name != "drift"}
        self.rows.append({name: np.asarray(value) for name, value in known.items()} | labels)
        self.images.append(jpeg)

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


def _add_subject(shard: _Shard, sources: Sources, subject: int) -> None:
    recipe, key, tables = shard.recipe, shard.key, shard.tables
    person = cast.person_of(recipe, sources, key.lot, subject)
    tables["subjects"][str(subject)] = person.body.description
    tables["garments"].append({"subject": subject} | person.outfit.description)
    standing: dict[int, dict[str, Any]] = {}
    people: dict[int, cast.Person] = {}
    for take in takes.takes_of(recipe, key.lot, sources, person.model, person.body, subject):
        for frame, error in take.rejects.items():
            shard.reject(subject, frame, error)
        tables["motions"].append({"subject": subject} | take.about)
        takes.note_unmet(tables, take.unmet)
        number = len(tables["motions"]) - 1
        stands = take.standing(shard.spec, person, recipe.motions[key.lot], number)
        rng = generator(recipe.seed, "seat", key.lot, subject)
        people[number] = cast.with_seat(person, take, stands, rng)
        _add_drifts(person, take, stands)
        standing |= stands
    if standing:
        _add_frames(shard, sources, subject, standing, people)


def _add_drifts(person: cast.Person, take: takes.Take, stands: dict[int, dict[str, Any]]) -> None:
    """Adds to each frame how the bodies move in it."""
    if stands:
        times = np.array([row["time"] for row in stands.values()])
        poses = np.stack([row["q"] for row in stands.values()])
        moving = shot.drifts(person.model, take.motion, times, poses)
        for row, drift in zip(stands.values(), moving, strict=True):
            row["drift"] = drift


def _add_frames(
    shard: _Shard,
    sources: Sources,
    subject: int,
    standing: dict[int, dict[str, Any]],
    people: dict[int, cast.Person],
) -> None:
    """Takes the pictures of one subject.

    Args:
        shard: what they go to.
        sources: the recipe's files.
        subject: who.
        standing: by frame what `Take.standing` says of it, and its drift.
        people: the subject by number of the motion, each with its chair.
    """
    recipe, lot = shard.recipe, shard.recipe.motions[shard.key.lot]
    poses = np.stack([row["q"] for row in standing.values()])
    moving_head = manner.moves_head(shard.spec, poses)
    before = dict(
        zip(standing, each(forward_of(next(iter(people.values())).model)(poses)), strict=True)
    )
    first = standing[min(standing)]
    someone, crowd = people[first["motion_id"]], shot.crowd_of(recipe, sources)
    fixed = None
    if lot.clip:
        fixed = shot.clip_stage(recipe, someone, poses, crowd, shard.key.lot, subject)
    for frame, row in sorted(standing.items()):
        person = people[row["motion_id"]]
        moment = shot.Moment(
            q=row["q"],
            held=shot.manner_of(recipe, shard.key.lot, subject, frame, moving_head=moving_head),
            drift=row["drift"],
            pose=before[frame],
            time=float(row["time"] - first["time"]) if lot.clip else 0.0,
        )
        rng = generator(recipe.seed, "frame", shard.key.lot, subject, frame)
        wish = takes.aimed(recipe, shard.key.lot, subject, frame, shard.spec)
        try:
            there = shot.set_up(wish, person, moment, fixed, crowd, rng)
            labels, jpeg, about = shot.shoot(recipe, person, moment, there, rng)
        except SampleRejected as error:
            shard.reject(subject, frame, error)
            continue
        shard.add(subject, frame, person, row, labels, jpeg, about)
