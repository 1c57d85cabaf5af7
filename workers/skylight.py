"""Procedural light: a sun or a lamp far away, of any height and colour, and a sky."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.recipes import Scene
from workers.light import Light, hemisphere

Array = NDArray[np.float64]


def sample_light(scene: Scene, rng: np.random.Generator) -> tuple[Light, dict[str, Any]]:
    """Draws a sun (or a lamp far away) of any height and colour, a sky, and the camera's exposure for them."""
    azimuth, elevation = rng.uniform(-np.pi, np.pi), np.radians(rng.uniform(25.0, 80.0))
    flat = np.cos(elevation)
    direction = np.array([flat * np.cos(azimuth), np.sin(elevation), flat * np.sin(azimuth)])
    sun, ambient = float(rng.uniform(*scene.sun)), float(rng.uniform(*scene.ambient))
    warmth = float(rng.beta(2.0, 2.0))
    sun_colour = _mix((0.93, 0.98, 1.08), (1.12, 0.96, 0.76), warmth)
    sky_colour = _mix((1.03, 1.0, 0.95), (0.9, 0.97, 1.1), warmth)
    softness = float(np.exp(rng.uniform(np.log(0.006), np.log(0.09))))
    exposure = 1.45 / (0.6 * sun + ambient) * float(2.0 ** rng.normal(0.0, 0.2))
    cloud = float(rng.uniform())
    light = Light(
        direction=direction,
        sun=sun * sun_colour,
        ambient=hemisphere(
            ambient * sky_colour,
            (0.35 * ambient + 0.2 * sun * np.sin(elevation)) * np.array([1.0, 0.95, 0.88]),
        ),
        softness=softness,
        exposure=exposure,
        horizon=_colour(_mix((0.55, 0.68, 0.86), (0.8, 0.82, 0.85), cloud)),
        zenith=_colour(_mix((0.16, 0.36, 0.72), (0.6, 0.65, 0.72), cloud)),
    )
    description = {
        "sun_azimuth_deg": round(float(np.degrees(azimuth)), 1),
        "sun_elevation_deg": round(float(np.degrees(elevation)), 1),
        "sun": round(sun, 3),
        "ambient": round(ambient, 3),
        "warmth": round(warmth, 3),
        "softness_m": round(softness, 4),
        "exposure": round(exposure, 3),
    }
    return light, description


def _mix(cold: tuple[float, ...], warm: tuple[float, ...], share: float) -> Array:
    return np.asarray((1 - share) * np.array(cold) + share * np.array(warm))


def _colour(values: Array) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
