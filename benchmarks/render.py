"""Measures the renderer on one core: frames/s with a real body, floor, room and shadow, and memory over the frames.

    OMP_NUM_THREADS=1 python -m benchmarks.render [--frames 1000] [--size 256]

Times are CPU times of all threads, so they hold on a busy machine too. The last line is one JSON object:
fps_per_core counts the renderer alone (a new pose uploaded every frame), rss_growth_mb_per_1000 the whole loop.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from schemas.recipes import Camera, People, Scene, SquatLot
from workers import images, movements, osim, render, scene
from workers.body import make_body
from workers.surfaces import Surface

T = TypeVar("T")


def resident_mb() -> float:
    """Returns the resident memory of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


class Stages:
    """CPU seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def __call__(self, name: str, work: Callable[[], T]) -> T:
        start = time.process_time()
        result = work()
        self.seconds[name] += time.process_time() - start
        return result


def frame(k: int, stages: Stages, size: int, people: "Person", renderer: render.Renderer) -> None:
    """Draws, develops and encodes frame k, everything new in it."""
    rng = np.random.default_rng([1, k])
    vertices = stages("skin", lambda: people.vertices(k))
    recipe = Scene()
    view = stages(
        "camera", lambda: scene.sample_view(Camera(), size, vertices, np.array([1.0, 0.0]), rng)
    )
    light, _ = scene.sample_light(recipe, rng)
    room, photo, _ = stages("room", lambda: scene.sample_room(recipe, rng, view.eye))
    person = Surface(
        vertices=vertices, faces=people.body.faces, colours=people.colours, parts=people.body.parts
    )
    hidden = rng.random() < recipe.occluder
    occluder = (
        stages("occluder", lambda: scene.sample_occluder(view, vertices, rng)) if hidden else None
    )
    others = [] if occluder is None else [occluder]
    picture = stages(
        "render",
        lambda: renderer.render(
            [person, *room, *others], view.K, view.T_cam_from_ground, light, photo
        ),
    )
    how = scene.sample_development(recipe, rng)
    developed = stages("develop", lambda: scene.develop(picture.rgb, how, rng))
    stages("jpeg", lambda: images.encode(developed, 92))


class Person:
    """One squatting adult."""

    def __init__(self) -> None:
        model = osim.read_model("default")
        rng = np.random.default_rng(0)
        self.body = make_body(People(), model, rng)
        posed = osim.OsimModel(model, self.body.scale)
        motion = movements.perform(SquatLot(), posed, rng)
        times = np.linspace(motion.times[0], motion.times[-1], 24)
        self.poses = [posed.pose(q).T_ground_from_body for q in motion.at(times)]
        self.colours = np.full((len(self.body.parts), 3), 0.6, np.float32)

    def vertices(self, k: int) -> np.ndarray:
        """Returns the skin of frame k with its soles on the floor."""
        skin = self.body.skin(self.poses[k % len(self.poses)])
        middle = (skin.min(axis=0) + skin.max(axis=0)) / 2
        return np.asarray(skin - [middle[0], skin[:, 1].min(), middle[2]], np.float32)


def main() -> None:
    """Prints the per-stage table and the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--size", type=int, default=256)
    options = parser.parse_args()
    renderer, person = render.Renderer(options.size), Person()
    for k in range(30):
        frame(k, Stages(), options.size, person, renderer)
    stages, before = Stages(), resident_mb()
    for k in range(options.frames):
        frame(k, stages, options.size, person, renderer)
    growth = (resident_mb() - before) / options.frames * 1000
    print(
        f"{renderer.backend_name}; {len(person.body.parts)} vertices, {len(person.body.faces)} faces"
    )
    total = sum(stages.seconds.values())
    for name, seconds in sorted(stages.seconds.items(), key=lambda item: -item[1]):
        per_frame = 1e3 * seconds / options.frames
        print(f"{name:10s} {per_frame:7.2f} ms/frame {100 * seconds / total:5.1f} %")
    print(f"{'all':10s} {1e3 * total / options.frames:7.2f} ms/frame")
    print(
        json.dumps(
            {
                "fps_per_core": round(options.frames / stages.seconds["render"], 1),
                "rss_growth_mb_per_1000": round(growth, 2),
                "fps_per_core_all_stages": round(options.frames / total, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
