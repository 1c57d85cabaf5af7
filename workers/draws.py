"""What a recipe's samples would be, short of their pictures: the same draws, without rendering.

Poses cost a body and a motion a subject (about 1 s), cameras a skin a frame (about 5 ms), lights and rooms 20 ms a
frame. What only the picture tells (`IN_PICTURE`) is not known.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from schemas.errors import SampleRejected
from schemas.layout import ARRAYS
from schemas.quantities import Rows
from schemas.recipes import SynthRecipe
from schemas.shards import generator
from workers import performance, scene, synth, takes
from workers.synth_plan import Sources, spec_of, split_of

_OF_MOTION = frozenset(
    {"sample_id", "motion_id", "time", "q", "group_id", "garment_id", "anthropometry"}
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
    spec = spec_of(sources.osim)
    wanted = frozenset(needs)
    person = synth.person_of(recipe, sources, lot, subject)
    shown = takes.takes_of(recipe, lot, sources, person.model, person.body, subject)
    tables: dict[str, Any] = {
        "subjects": {str(subject): person.body.description},
        "motions": [take.about for take in shown],
        "garments": [person.outfit.description],
        "lights": [],
    }
    rows: list[dict[str, Any]] = []
    for motion, take in enumerate(shown):
        usable = [i for i, frame in enumerate(take.frames) if frame not in take.rejects]
        poses = take.q[usable]
        if wanted & _CAMERAS and usable:
            poses = performance.on_floor(poses, spec, person, recipe.motions[lot], take.whole)
        rows += [
            {"motion_id": motion, "time": take.times[i], "q": q, "sample_id": take.frames[i]}
            for i, q in zip(usable, poses, strict=True)
        ]
    rows.sort(key=lambda row: int(row["sample_id"]))
    if wanted & _CAMERAS:
        rows = _with_cameras(recipe, person, lot, subject, rows, tables, "light_id" in wanted)
    constant = {"group_id": subject, "garment_id": 0, "anthropometry": person.body.anthropometry}
    arrays = {
        name: np.array([(row | constant)[name] for row in rows])
        for name in {"sample_id", *wanted} - IN_PICTURE
    }
    return Rows(arrays=arrays, tables=tables, spec=spec, lot=lot, split=split_of(subject, recipe))


def _with_cameras(
    recipe: SynthRecipe,
    person: Any,
    lot: str,
    subject: int,
    rows: list[dict[str, Any]],
    tables: dict[str, Any],
    lights: bool,
) -> list[dict[str, Any]]:
    """Returns the rows with their cameras, and where asked for with lights, less those whose camera is refused."""
    spec = person.model.spec
    root = spec.body_names.index(spec.root_body)
    fixed = None
    if recipe.motions[lot].clip and rows:
        poses = np.stack([row["q"] for row in rows])
        fixed = synth._clip_stage(recipe, person, poses, lot, subject)
    kept = []
    for row in rows:
        pose = person.model.pose(row["q"])
        frame = int(row["sample_id"])
        rng = generator(recipe.seed, "frame", lot, subject, frame)
        wish = takes.aimed(recipe, lot, subject, frame, spec)
        try:
            if fixed is not None:
                view, about = fixed.view, fixed.about
            elif lights:
                stage = synth._set_stage(wish, person.surface(pose), synth._facing(spec, pose), rng)
                view, about = stage.view, stage.about
            else:
                view, about = _view(wish, person.surface(pose), synth._facing(spec, pose), rng), {}
        except SampleRejected:
            continue
        tables["lights"].append(about)
        kept.append(
            row
            | {
                "camera_yaw": np.float32(view.yaw),
                "K": view.K.astype(np.float32),
                "T_cam_from_ground": view.T_cam_from_ground,
                "T_ground_from_root": pose.T_ground_from_body[root],
                "A_crop_from_source": view.A_crop_from_source,
                "light_id": len(tables["lights"]) - 1,
            }
        )
    return kept


def _view(recipe: SynthRecipe, vertices: Any, front: Any, rng: np.random.Generator) -> scene.View:
    return scene.sample_view(recipe.camera, recipe.image_px, vertices, front, rng)
