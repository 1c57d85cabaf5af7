"""Measures a frame of synthetic people as `workers.synth` makes it, by stages, on one core; and memory over frames.

    OMP_NUM_THREADS=1 python -m benchmarks.render [--frames 600] [--size 256] [--hdri FOLDER] [--photos FOLDER]
    OMP_NUM_THREADS=1 python -m benchmarks.render --frames 10000

Times are CPU times of all threads, so they hold on a busy machine too. A stage's time is its own: what it calls of
other stages is theirs. A body, an outfit and a motion are made once per subject and shared by its frames, 48 as in
`squat_small`. The last line is one JSON object.
"""

import argparse
import functools
import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from schemas.recipes import SynthRecipe
from schemas.shards import ShardContents, ShardKey
from workers import (
    annotate,
    bystanders,
    cast,
    development,
    hdri,
    images,
    manner,
    occluders,
    osim,
    outfits,
    performance,
    quality,
    render,
    shot,
    stage,
    streaks,
    synth,
    wardrobe,
)
from workers.body import Body
from workers.forward import forward

FRAMES = 48
"""Of one subject."""


def resident_mb() -> float:
    """Returns the resident memory of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


class Stages:
    """CPU seconds by stage, each without those that it calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner: list[float] = [0.0]

    def watch(self, owner: Any, name: str, label: str) -> None:
        """Times every call of a function or method from now on."""
        work: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(work)
        def timed(*arguments: Any, **named: Any) -> Any:
            start = time.process_time()
            self._inner.append(0.0)
            try:
                return work(*arguments, **named)
            finally:
                whole = time.process_time() - start
                self.seconds[label] += whole - self._inner.pop()
                self._inner[-1] += whole

        setattr(owner, name, timed)


def watch_all(stages: Stages, renderer: render.Renderer) -> None:
    """Watches everything that a frame goes through; GL's passes end with a wait, so that their time is theirs."""
    context = renderer._gpu().ctx
    for name in ("_draw_maps", "_draw_surfaces", "_light_frame"):
        setattr(render, name, _waiting(getattr(render, name), context))
    for owner, name, label in (
        (cast, "body_of", "body, once a subject"),
        (wardrobe, "dress", "outfit, once a subject"),
        (performance, "perform", "motion, once a subject"),
        (performance, "on_floor", "floor, once a subject"),
        (shot, "drifts", "drift, once a subject"),
        (osim.OsimModel, "pose", "pose"),
        (Body, "skin", "skin"),
        (outfits.Outfit, "surfaces", "garments"),
        (bystanders, "draw", "bystanders"),
        (stage, "sample_view", "camera"),
        (stage, "sample_light", "light"),
        (stage, "sample_development", "development drawn"),
        (stage, "sample_room", "place"),
        (stage, "sample_ground", "place"),
        (stage, "sample_photo", "photo"),
        (hdri, "sample_surroundings", "environment map"),
        (occluders, "sample_occluder", "occluder"),
        (hdri, "backdrop", "backdrop"),
        (render, "_pack", "render: pack"),
        (render, "_draw_maps", "render: shadow and height maps"),
        (render, "_draw_surfaces", "render: surfaces"),
        (render, "_light_frame", "render: light and resolve"),
        (render, "_read", "render: read"),
        (render.Renderer, "render", "render: upload"),
        (annotate, "annotate", "labels"),
        (streaks, "exposed", "motion blur"),
        (development, "compress", "compression"),
        (development, "develop", "development"),
        (images, "encode", "JPEG"),
        (quality, "checked", "checks"),
        (manner, "show", "manner"),
        (shot, "set_up", "frame: the rest"),
        (shot, "shoot", "frame: the rest"),
        (synth, "make_shard", "shard: the rest"),
    ):
        stages.watch(owner, name, label)


def _waiting(work: Callable[..., Any], context: Any) -> Callable[..., Any]:
    def waits(*arguments: Any, **named: Any) -> None:
        work(*arguments, **named)
        context.finish()

    return waits


def recipe_of(options: argparse.Namespace) -> SynthRecipe:
    """Returns squats of many subjects, with the scene's own shares."""
    scene = {"hdri": options.hdri, "backgrounds": options.photos, "backgrounds_share": 0.5}
    lots = {"squat": {"subjects": 10**6, "frames": FRAMES}}
    fields = {"name": "benchmark", "motions": lots, "image_px": options.size, "scene": scene}
    return SynthRecipe.model_validate(fields)


def make(recipe: SynthRecipe, sources: synth.Sources, subject: int) -> ShardContents:
    """Makes and checks the shard of one subject, as the pipeline does before it writes."""
    key = ShardKey(source="synth", lot="squat", split="train", members=(subject,))
    contents = synth.make_shard(recipe, sources, key)
    spec = osim.read_skeleton(sources.osim)
    return quality.checked(
        contents, spec, lambda q, scale: forward(spec, sources.osim, scale.astype(float))(q)
    )


def main() -> None:
    """Prints the table and the result."""
    logging.disable(logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--hdri", help="folder of environment maps")
    parser.add_argument("--photos", help="folder of background photographs")
    options = parser.parse_args()
    recipe = recipe_of(options)
    sources = synth.load(recipe)
    for subject in range(2):  # fills the caches of bodies, bystanders, textures and shaders
        make(recipe, sources, subject)
    stages, renderer = Stages(), shot.renderer(options.size)
    watch_all(stages, renderer)
    before, subject, rows, planned = resident_mb(), 2, 0, 0
    start = time.process_time()
    middle = before
    while planned < options.frames:
        contents = make(recipe, sources, subject)
        rows, planned, subject = rows + len(contents.images), planned + FRAMES, subject + 1
        if planned <= options.frames / 2:
            middle = resident_mb()
    total = time.process_time() - start
    after = resident_mb()
    print(f"{renderer.backend_name}; {rows} of {planned} frames, {subject - 2} subjects")
    for name, seconds in sorted(stages.seconds.items(), key=lambda item: -item[1]):
        print(f"{name:32s} {1e3 * seconds / planned:7.2f} ms/frame {100 * seconds / total:5.1f} %")
    drawing = sum(s for n, s in stages.seconds.items() if n.startswith("render"))
    print(f"{'render, all':32s} {1e3 * drawing / planned:7.2f} ms/frame")
    print(f"{'all':32s} {1e3 * total / planned:7.2f} ms/frame")
    result = {
        "fps_per_core": round(planned / total, 1),
        "render_ms": round(1e3 * drawing / planned, 2),
        "frame_ms": round(1e3 * total / planned, 2),
        "rss_growth_mb_per_1000": round((after - before) / planned * 1000, 2),
        "rss_growth_mb_per_1000_second_half": round((after - middle) / (planned / 2) * 1000, 2),
        "frames": planned,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
