"""Measures clothes: CPU time per person and per frame, and how much covered skin shows through them.

    OMP_NUM_THREADS=1 python -m benchmarks.wardrobe [--people 12] [--assets URL] [--sheet FILE.png]

Bare skin is counted in pictures from four sides, of people standing and with hips and knees bent by 115 and 130
degrees: a pixel is bare where it shows skin that a garment covers at rest, also where one merely looks into a sleeve.
The last line is one JSON object; shares are of all pixels that show covering garments or covered skin.
"""

import argparse
import json
import time
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from schemas import geometry
from schemas.recipes import People, Wardrobe
from schemas.shards import generator
from schemas.skeleton import SkeletonSpec
from workers import osim
from workers.body import Body, make_body
from workers.light import Light, hemisphere
from workers.makehuman_pack import Pack, open_pack
from workers.outfits import Outfit
from workers.render import Picture, Renderer
from workers.shells import SkinBelow
from workers.surfaces import Surface, sheet
from workers.wardrobe import dress

SKIN, BARE, CLOTH, OTHER = 1, 2, 3, 4
POSES: dict[str, dict[str, float]] = {
    "standing": {},
    "squat": {"hip_flexion": 115, "knee_angle": 130, "ankle_angle": 25, "arm_flex": 80},
}
"""Degrees of the default model's coordinates, both sides."""
PEOPLE = (
    People(),
    People(bmi=(17, 17), stature=(1.95, 1.95)),
    People(bmi=(40, 40), stature=(1.5, 1.5)),
)
_LIGHT = Light(
    direction=np.array([0.5, 0.7, 0.5]),
    sun=np.array([0.9, 0.88, 0.82]),
    ambient=hemisphere([0.5, 0.52, 0.55], [0.25, 0.24, 0.22]),
)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One dressed person."""

    body: Body
    model: osim.OsimModel
    outfit: Outfit

    def surfaces(self, pose: osim.Pose) -> list[Surface]:
        """Returns what is drawn of the person."""
        return self.outfit.surfaces(self.body.skin(pose.T_ground_from_body), pose)


def posed(spec: SkeletonSpec, name: str) -> NDArray[np.float64]:
    """Returns coordinates (c,) of one of `POSES`, inside the limits."""
    q = spec.default_pose().copy()
    for stem, degrees in POSES[name].items():
        for side in "rl":
            row = spec.coordinate_names.index(f"{stem}_{side}")
            limits = spec.coordinates[row]
            q[row] = np.clip(np.radians(degrees), limits.lower, limits.upper)
    return np.asarray(spec.couple(q[None])[0])


def subject(number: int, wardrobe: Wardrobe, pack: Pack | None, people: People) -> Subject:
    """Draws one person."""
    data = osim.read_model("default")
    body = make_body(people, data, generator(5, "subject", number))
    model = osim.OsimModel(data, body.scale)
    outfit = dress(body, model, wardrobe, pack, generator(9, "outfit", number))
    return Subject(body=body, model=model, outfit=outfit)


def look(renderer: Renderer, drawn: list[Surface], yaw: float) -> Picture:
    """Draws people from a side, degrees from their front."""
    points = np.concatenate([s.vertices for s in drawn])
    low, high = points.min(axis=0), points.max(axis=0)
    middle, span = (low + high) / 2, float((high - low).max())
    away = 2.2 * span
    eye = middle + away * np.array([np.cos(np.radians(yaw)), 0.15, np.sin(np.radians(yaw))])
    size = renderer.size_px
    f = size / span / 1.08 * away
    K = np.array([[f, 0, size / 2], [0, f, size / 2], [0, 0, 1.0]])
    floor = sheet([-3, low[1] - 0.001, -3], [0, 0, 6], [6, 0, 0], (0.55, 0.55, 0.52))
    return renderer.render([*drawn, floor], K, geometry.look_at(eye, middle, 0.0), _LIGHT, None)


def marked(person: Subject, pose: osim.Pose) -> list[Surface]:
    """Returns the person's surfaces with parts that say what they are: skin, covered skin, cloth, other."""
    below = SkinBelow(person.body.rest, person.body.faces)
    covered = np.zeros(len(person.body.rest), bool)
    for piece in person.outfit.pieces:
        if piece.shell.hides:
            covered |= below.below(piece.shell)
    skin, *rest = person.surfaces(pose)
    bare = covered[person.outfit.skin.rows][skin.faces].all(axis=1)
    worn = [piece.shell.hides for piece in person.outfit.pieces] + [False]
    return [
        _apart(skin, np.where(bare, BARE, SKIN)),
        *(
            replace(s, parts=np.full(len(s.vertices), CLOTH if hides else OTHER, np.uint8))
            for s, hides in zip(rest, worn, strict=False)
        ),
    ]


def _apart(surface: Surface, parts: NDArray[np.integer]) -> Surface:
    """Gives every face (f,) its own part: its vertices are no longer shared."""
    corners = surface.faces.ravel()
    return replace(
        surface,
        vertices=surface.vertices[corners],
        faces=np.arange(len(corners), dtype=np.int32).reshape(-1, 3),
        colours=surface.colours[corners],
        parts=np.repeat(parts, 3).astype(np.uint8),
        uv=None,
        texture=None,
        normals=None,
        thinned=None,
    )


def bare_pixels(person: Subject, pose_name: str, renderer: Renderer) -> tuple[int, int]:
    """Returns how many pixels, from four sides, show covered skin, and how many show it or what covers it."""
    pose = person.model.pose(posed(person.model.spec, pose_name))
    drawn, bare, all_ = marked(person, pose), 0, 0
    for yaw in (20.0, 110.0, 200.0, 290.0):
        part = look(renderer, drawn, yaw).part
        bare += int((part == BARE).sum())
        all_ += int(np.isin(part, (BARE, CLOTH)).sum())
    return bare, all_


def measure(
    count: int, wardrobe: Wardrobe, pack: Pack | None, cells: list[np.ndarray]
) -> dict[str, float]:
    """Draws `count` people and returns times, ms of CPU, and shares of bare skin."""
    renderer, spent = Renderer(320), {"dress": 0.0, "surfaces": 0.0}
    pixels = {name: np.zeros(2) for name in POSES}
    for number in range(count):
        person = subject(number, wardrobe, pack, PEOPLE[number % len(PEOPLE)])
        rng, start = generator(9, "outfit", number), time.process_time()
        dress(person.body, person.model, wardrobe, pack, rng)
        spent["dress"] += time.process_time() - start
        for name in POSES:
            pose = person.model.pose(posed(person.model.spec, name))
            skin = person.body.skin(pose.T_ground_from_body)
            start = time.process_time()
            drawn = person.outfit.surfaces(skin, pose)
            spent["surfaces"] += (time.process_time() - start) / len(POSES)
            cells += [look(renderer, drawn, yaw).rgb for yaw in (20.0, 200.0)]
            pixels[name] += bare_pixels(person, name, renderer)
    times = {f"{name}_ms": round(1e3 * s / count, 2) for name, s in spent.items()}
    return times | {f"bare_{n}": round(float(b / max(a, 1.0)), 5) for n, (b, a) in pixels.items()}


def main() -> None:
    """Prints one line per kind of wardrobe and the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--people", type=int, default=12)
    parser.add_argument("--assets", default="../shared/data/makehuman_cc0")
    parser.add_argument("--sheet", default="")
    options = parser.parse_args()
    pack = open_pack(options.assets)
    cells: list[np.ndarray] = []
    result: dict[str, float] = {}
    kinds = {"painted": (0.0, 0.0, None), "pack": (1.0, 0.0, pack), "markers": (0.0, 1.0, None)}
    for name, (dressed, markers, assets) in kinds.items():
        wardrobe = Wardrobe(dressed=dressed, markers=markers)
        found = measure(options.people, wardrobe, assets, cells)
        print(f"{name:8s} " + "  ".join(f"{key} {value:g}" for key, value in found.items()))
        result |= {f"{name}_{key}": value for key, value in found.items()}
    if options.sheet:
        rows = [np.hstack(cells[i : i + 8]) for i in range(0, len(cells) - 7, 8)]
        cv2.imwrite(options.sheet, np.vstack(rows)[..., ::-1])
    print(json.dumps(result))


if __name__ == "__main__":
    main()
