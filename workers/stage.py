"""Everything in a picture but the person: camera, light, place, what stands before it, and how it is developed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from schemas.recipes import SynthRecipe
from workers import hdri, occluders
from workers.backgrounds import sample_ground, sample_room
from workers.cameras import Hand, View, sample_hand, sample_view
from workers.development import Development, sample_development
from workers.light import Light
from workers.photos import sample_photo
from workers.skylight import sample_light
from workers.surfaces import Floats, Surface

Array = NDArray[np.float64]
Crowd = Callable[[int, np.random.Generator], Sequence[Sequence[Surface]]]
"""Draws so many other people, standing about the origin."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A place with a camera in it; in a clip the same for all frames."""

    view: View
    hand: Hand | None
    light: Light
    surfaces: list[Surface]
    photo: NDArray[np.uint8] | None
    """(h, w, 3): what lies behind everything, stretched to the frame of `view`."""
    surroundings: tuple[hdri.Surroundings, float] | None
    """The environment map that lies behind everything, and its turn."""
    development: Development
    about: dict[str, Any]

    def at(self, time: float, since: float = 0.0) -> View:
        """Returns the camera at a time, s, of a clip that began at `since`."""
        return self.view if self.hand is None else self.hand.move(self.view, time, since)

    def backdrop(self, view: View, size: int) -> NDArray[np.uint8] | Floats | None:
        """Returns what lies behind everything in a view of this stage: a picture, radiance (S, S, 3), or None."""
        if self.surroundings is not None:
            place, turn = self.surroundings
            return hdri.backdrop(place, turn, self.light, view.K, view.T_cam_from_ground, size)
        if self.photo is None or view.T_cam_from_ground is self.view.T_cam_from_ground:
            return self.photo
        # A photograph is infinitely far: it moves as the camera turns.
        turned = view.T_cam_from_ground[:3, :3] @ self.view.T_cam_from_ground[:3, :3].T
        H = view.K @ turned @ np.linalg.inv(self.view.K)
        still = cv2.resize(self.photo, (size, size), interpolation=cv2.INTER_AREA)
        moved = cv2.warpPerspective(still, H, (size, size), borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(moved, np.uint8)


def set_stage(
    recipe: SynthRecipe,
    vertices: NDArray[np.float32],
    facing: Array,
    crowd: Crowd,
    rng: np.random.Generator,
) -> Stage:
    """Draws camera, light, place and what stands before a person of vertices (v, 3), or (t, v, 3) in a clip.

    Raises:
        SampleRejected: the person stands in the camera.
        InputError: a photograph or an environment map cannot be read.
    """
    scene = recipe.scene
    view = sample_view(recipe.camera, recipe.image_px, vertices, facing, rng)
    hand = sample_hand(recipe.camera, rng)
    guests: Sequence[Sequence[Surface]] = (
        crowd(int(rng.integers(1, 4)), rng) if rng.random() < scene.bystanders else []
    )
    development = sample_development(scene, rng)
    photo, surroundings = None, None
    by_map = scene.hdri is not None and rng.random() < scene.hdri_share
    by_photo = scene.backgrounds is not None and rng.random() < scene.backgrounds_share
    light, about = sample_light(scene, rng)
    if scene.hdri is not None and by_map:
        surroundings = hdri.sample_surroundings(scene.hdri, rng)
        light, about = hdri.light_of(*surroundings)
        about = {"room": "hdri"} | about
    elif scene.backgrounds is not None and by_photo:
        photo, name = sample_photo(scene, scene.backgrounds, rng)
        development = development.unmetered()
        about = about | {"room": "photo", "photo": name}
    if surroundings is None and photo is None:
        surfaces, about_place = sample_room(scene, rng, view.eye, guests)
    else:
        surfaces, about_place = sample_ground(rng, view.eye, guests)
    hidden = rng.random() < scene.occluder
    occluder = (
        occluders.sample_occluder(view.K, view.T_cam_from_ground, vertices, rng) if hidden else None
    )
    names = {
        "occluder": "" if occluder is None else occluder.name,
        "shake_deg": 0.0 if hand is None else hand.shake_deg,
    }
    return Stage(
        view=view,
        hand=hand,
        light=light,
        surfaces=surfaces if occluder is None else [*surfaces, occluder],
        photo=photo,
        surroundings=surroundings,
        development=development,
        about=view.description | about | about_place | development.description | names,
    )
