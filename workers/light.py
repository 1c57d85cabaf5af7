"""Light that falls on the stage: one distant sun that throws shadows, and from everywhere else a smooth irradiance.

Ground frame, Y up. Colours are linear RGB; irradiance is divided by pi, so that a white wall under 1 reflects 1.
The smooth part is a polynomial of order 2 in the normal (Ramamoorthi & Hanrahan 2001, "An efficient representation
for irradiance environment maps"): its nine coefficients multiply `basis`.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
LUMA = np.array([0.2126, 0.7152, 0.0722])


def basis(directions: Array) -> Array:
    """Returns the nine monomials (…, 9) of unit vectors (…, 3): the real spherical harmonics but for their factors."""
    x, y, z = np.moveaxis(directions, -1, 0)
    flat = np.ones_like(x)
    terms = [flat, x, y, z, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y]
    return np.stack(terms, axis=-1)


def hemisphere(sky: ArrayLike, bounce: ArrayLike) -> Array:
    """Returns the irradiance polynomial (9, 3) of a sky of one colour over a floor of another.

    Args:
        sky: (3,) irradiance of a surface that faces up.
        bounce: (3,) of one that faces down.
    """
    above, below = np.asarray(sky, np.float64), np.asarray(bounce, np.float64)
    polynomial = np.zeros((9, 3))
    polynomial[0], polynomial[2] = (above + below) / 2, (above - below) / 2
    return polynomial


def irradiance(polynomial: Array, normals: Array) -> Array:
    """Returns the irradiance (…, 3) of surfaces with unit normals (…, 3); the shaders do the same."""
    return np.maximum(basis(normals) @ polynomial, 0.0)


def _sphere(count: int) -> Array:
    """Returns unit vectors (n, 3) spread evenly over the sphere, on Fibonacci's spiral."""
    k = np.arange(count) + 0.5
    height, turn = 1 - 2 * k / count, k * np.pi * (3 - np.sqrt(5))
    flat = np.sqrt(1 - height**2)
    return np.stack([flat * np.cos(turn), height, flat * np.sin(turn)], axis=1)


ALL_ROUND = _sphere(64)


@dataclass(frozen=True, kw_only=True)
class Light:
    """One distant sun, everything else, and the exposure that the camera gives them."""

    direction: Array
    """(3,) unit vector towards the sun, ground frame."""
    sun: Array
    """(3,) irradiance of a surface that faces the sun."""
    ambient: Array
    """(9, 3) irradiance polynomial of everything but the sun."""
    softness: float = 0.02
    """Radius of the shadow's blur, metres."""
    exposure: float = 0.8
    """Factor from light to the radiance of a picture."""
    horizon: tuple[float, float, float] = (0.75, 0.82, 0.9)
    """Display's linear colour of the open sky at eye level, where neither wall nor picture hides it."""
    zenith: tuple[float, float, float] = (0.2, 0.42, 0.8)
    white: Array = field(init=False, repr=False)
    """(3,) the largest irradiance of any surface but for the sun's."""

    def __post_init__(self) -> None:
        largest = irradiance(self.ambient, ALL_ROUND).max(axis=0)
        object.__setattr__(self, "white", np.maximum(largest * 1.02, 1e-6))
