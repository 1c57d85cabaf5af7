"""Between light and pixels: the tone curve that stands for a phone's, its inverse, and sRGB.

Radiance is linear and relative: before the curve 1 is a little above a picture's mid grey, after it 1 is full white.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]
_GAIN, _WHITE = 1.25, 2.2
"""Reinhard et al. 2002, "Photographic tone reproduction", eq. 4, of 1.25 x with white at 2.2: keeps darks as they are
and rolls highlights off."""
_LEVELS = 4096
BRIGHTEST = _WHITE / _GAIN
"""The radiance of full white; what is brighter is white too."""


def tone(radiance: ArrayLike) -> NDArray[np.float64]:
    """Returns the display's linear light, 0..1."""
    x = np.minimum(np.maximum(np.asarray(radiance, np.float64), 0.0) * _GAIN, _WHITE)
    return np.asarray(x * (1 + x / _WHITE**2) / (1 + x))


def untone(light: ArrayLike) -> NDArray[np.float64]:
    """Returns the radiance whose tone is `light`, 0..1."""
    y = np.clip(np.asarray(light, np.float64), 0.0, 1.0)
    root = np.sqrt((1 - y) ** 2 + 4 * y / _WHITE**2)
    return np.asarray((root - (1 - y)) * _WHITE**2 / 2 / _GAIN)


def to_srgb(light: ArrayLike) -> NDArray[np.float64]:
    """Encodes linear light 0..1 (IEC 61966-2-1)."""
    y = np.asarray(light, np.float64)
    return np.where(y <= 0.0031308, y * 12.92, 1.055 * np.maximum(y, 0.0) ** (1 / 2.4) - 0.055)


def from_srgb(srgb: ArrayLike) -> NDArray[np.float64]:
    """Decodes sRGB 0..1 to linear light."""
    s = np.asarray(srgb, np.float64)
    return np.where(s <= 0.04045, s / 12.92, ((s + 0.055) / 1.055) ** 2.4)


_RADIANCE = untone(from_srgb(np.arange(256) / 255.0)).astype(np.float16)
# Tables are indexed by the square root of radiance, which spends its steps as sRGB does.
_GREYS = (255.0 * to_srgb(tone((np.arange(_LEVELS) / (_LEVELS - 1)) ** 2 * BRIGHTEST))).astype(
    np.float32
)


def radiance_of(rgb: NDArray[np.uint8]) -> NDArray[np.float16]:
    """Returns the radiance that `grey_levels` turns into an sRGB picture."""
    radiance: NDArray[np.float16] = np.take(_RADIANCE, rgb, mode="clip")
    return radiance


def grey_levels(radiance: Floats) -> Floats:
    """Returns sRGB of 0..255, not rounded, of a picture (…, 3); negative or infinite light is black or white."""
    scale = np.float32((_LEVELS - 1) / np.sqrt(BRIGHTEST))
    index = np.maximum(radiance, np.float32(0.0))
    np.sqrt(index, out=index)
    index *= scale
    index += np.float32(0.5)
    np.minimum(index, np.float32(_LEVELS - 1), out=index)
    grey: Floats = np.take(_GREYS, index.astype(np.uint16), mode="clip")
    return grey


def picture_of(radiance: Floats) -> NDArray[np.uint8]:
    """Returns the sRGB picture of a radiance."""
    return (grey_levels(radiance) + np.float32(0.5)).astype(np.uint8)
