"""Writes small environment maps."""

import cv2
import numpy as np
from numpy.typing import NDArray


def sun_and_sky(height: int = 32) -> NDArray[np.float32]:
    """Returns the radiance (h, 2 h, 3) of a sky, a floor and a sun."""
    up = np.linspace(1, -1, height, dtype=np.float32)[:, None, None]
    radiance = np.where(up > 0, np.array([0.5, 0.7, 1.0]) * (0.4 + up), 0.3 - 0.1 * up)
    radiance = np.repeat(radiance, 2 * height, axis=1).astype(np.float32)
    radiance[height // 4, height // 2] = 400.0
    return radiance


def rgbe(radiance: NDArray[np.float32]) -> bytes:
    """Returns a map as a Radiance file."""
    done, data = cv2.imencode(".hdr", radiance[..., ::-1].copy())
    assert done
    return bytes(data)
