"""What a recipe's samples would be, short of their pictures: the same draws, without rendering.

Poses cost a body and a motion a subject, cameras and lights a dressed person and a room a frame. What only the picture
tells (`IN_PICTURE`) is not known; where no camera is asked for, a neck is as the motion has it, whatever it looks at.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from schemas.errors import SampleRejected
from schemas.layout import ARRAYS
from schemas.quantities import Rows
from schemas.recipes import SynthRecipe
from schemas.shards import generator
from workers import cast, manner, osim, performance, shot, takes
from workers.forward import each, forward_of
from workers.synth_plan import Sources, split_of

_OF_MOTION = frozenset(
    {"sample_id", "motion_id", "time", "phase", "q", "group_id", "garment_id", "anthropometry"}
)
_OF_CAMERA = frozenset({"camera_yaw", "T_cam_from_ground", "T_ground_from_root", "K"})
_CAMERAS = _OF_CAMERA | {"A_crop_from_source", "light_id"}
IN_PICTURE = frozenset(spec.name for spec in ARRAYS) - _OF_MOTION - _CAMERAS
"""Arrays that take a picture."""


def draw(
    recipe: SynthRecipe, sources: Sources, lot: str, subject: int, needs: Sequence[str]
) -> Rows:
    """Returns one subject's samples of a lot with the arrays `needs` and the tables that they name.

    Samples that the picture would send to quarantine are there; those that the motion or camera would are not.
    """
    with threadpool_limits(limits=1, user_api="blas"):  # as `synth.make_shard`
        return _draw(recipe, sources, lot, subject, frozenset(needs))


def _draw(
    recipe: SynthRecipe, sources: Sources, lot: str, subject: int, wanted: frozenset[str]
) -> Rows:
    spec = osim.read_skeleton(sources.osim)
    person = cast.person_of(recipe, sources, lot, subject)
    shown = takes.takes_of(recipe, lot, sources, person.model, person.body, subject)
    tables: dict[str, Any] = {
        "subjects": {str(subject): person.body.description},
        "motions": [take.about for take in shown],
        "garments": [person.outfit.description],
        "lights": [],
    }
    rows: list[dict[str, Any]] = []
    for number, take in enumerate(shown):
        usable = [i for i, frame in enumerate(take.frames) if frame not in take.rejects]
        poses = take.q[usable]
        if wanted & _CAMERAS and usable:
            motion = recipe.motions[lot]
            poses = performance.on_floor(poses, spec, person, motion, take.whole, take.stance)
        known, phase = {"motion_id": number}, take.phase
        rows += [
            known | {"time": take.times[i], "phase": phase[i], "q": q, "sample_id": take.frames[i]}
            for i, q in zip(usable, poses, strict=True)
        ]
    rows.sort(key=lambda row: int(row["sample_id"]))
    if wanted & _CAMERAS:
        rows = _with_cameras(recipe, sources, person, lot, subject, rows, tables)
    constant = {"group_id": subject, "garment_id": 0, "anthropometry": person.body.anthropometry}
    arrays = {
        name: np.array([(row | constant)[name] for row in rows])
        for name in {"sample_id", *wanted} - IN_PICTURE
    }
    return Rows(arrays=arrays, tables=tables, spec=spec, lot=lot, split=split_of(subject, recipe))


def _with_cameras(
    recipe: SynthRecipe,
    sources: Sources,
    person: cast.Person,
    lot: str,
    subject: int,
    rows: list[dict[str, Any]],
    tables: dict[str, Any],
) -> list[dict[str, Any]]:
    """Returns the rows with their cameras and lights, less those whose camera is refused."""
    if not rows:
        return []
    spec, poses = person.model.spec, np.stack([row["q"] for row in rows])
    root = spec.body_names.index(spec.root_body)
    moving_head, crowd = manner.moves_head(spec, poses), shot.crowd_of(recipe, sources)
    clip, fixed = recipe.motions[lot].clip, None
    if clip:
        fixed = shot.clip_stage(recipe, person, poses, crowd, lot, subject)
    kept = []
    for row, before in zip(rows, each(forward_of(person.model)(poses)), strict=True):
        frame = int(row["sample_id"])
        moment = shot.Moment(
            q=row["q"],
            held=shot.manner_of(recipe, lot, subject, frame, moving_head=moving_head),
            pose=before,
            time=float(row["time"] - rows[0]["time"]) if clip else 0.0,
        )
        rng = generator(recipe.seed, "frame", lot, subject, frame)
        wish = takes.aimed(recipe, lot, subject, frame, spec)
        try:
            there = shot.set_up(wish, person, moment, fixed, crowd, rng)
        except SampleRejected:
            continue
        tables["lights"].append(there.place.about | {"gaze": moment.held.gaze or "motion"})
        kept.append(
            row
            | {
                "q": there.shown.q,
                "camera_yaw": np.float32(there.view.yaw),
                "K": there.view.K.astype(np.float32),
                "T_cam_from_ground": there.view.T_cam_from_ground,
                "T_ground_from_root": there.shown.pose.T_ground_from_body[root],
                "A_crop_from_source": there.view.A_crop_from_source,
                "light_id": len(tables["lights"]) - 1,
            }
        )
    return kept
