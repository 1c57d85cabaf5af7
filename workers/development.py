"""From light to the stored picture: exposure, white balance, lens, sensor, film curve and a video's compression.

Pictures are (S, S, 3); radiance linear and relative as in `workers.film`, grey levels 0..255.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from schemas.recipes import Scene
from workers import film
from workers.light import LUMA

Floats = NDArray[np.float32]
_KEY = 0.17
"""Radiance that the meter makes of the picture's log-average: a little below the film's mid grey, as photos have it."""
_MOST_STOPS = 4.0
"""A phone's meter corrects no more than this."""
_BANK_PX = 640
_CRF = (23.0, 39.0)
"""x264's constant rate factor for compression of strength 0 and 1: its default, and blocks that anybody sees."""


@dataclass(frozen=True, kw_only=True)
class Development:
    """What lens, sensor and firmware do to the picture."""

    exposure: float
    """Stops above what the meter says."""
    gains: tuple[float, float, float]
    """White balance: factors of linear red, green, blue."""
    shutter: float
    """Seconds."""
    blur: float
    """Standard deviation of the lens' blur, px."""
    noise: float
    """Standard deviation of the sensor's noise at mid grey, of 255."""
    compression: float
    """Strength of the video's compression, 0 for none."""
    metered: bool = True
    """False where the backdrop is a photograph, which somebody's phone exposed already."""

    def unmetered(self) -> "Development":
        """Returns the same for a picture that was exposed before."""
        return replace(self, metered=False)

    @property
    def description(self) -> dict[str, Any]:
        """Returns everything that was drawn, for the stage's description."""
        return {
            "exposure_stops": round(self.exposure, 3),
            "white_balance": [round(g, 3) for g in self.gains],
            "shutter_s": round(self.shutter, 5),
            "blur_px": round(self.blur, 3),
            "noise": round(self.noise, 2),
            "compression": round(self.compression, 3),
        }


def sample_development(scene: Scene, rng: np.random.Generator) -> Development:
    """Draws what the phone does to the picture, all but the grain."""
    exposure = float(rng.uniform(*scene.exposure))
    spread = float(rng.uniform(*scene.white_balance))
    gains = np.exp(spread * rng.normal(0.0, 1.0, 3))
    low, high = np.log(scene.shutter)
    shutter = float(np.exp(rng.uniform(low, high)))
    blur, noise = float(rng.uniform(*scene.blur)), float(rng.uniform(*scene.noise))
    strength = float(rng.uniform(*scene.compression))
    compressed = rng.random() < scene.compressed
    return Development(
        exposure=exposure,
        gains=(float(gains[0]), float(gains[1]), float(gains[2])),
        shutter=shutter,
        blur=blur,
        noise=noise,
        compression=strength if compressed else 0.0,
    )


def meter(radiance: Floats) -> float:
    """Returns the factor that brings the picture's log-average, the middle counting double, to the film's mid grey.

    Reinhard et al. 2002, eq. 1, of every fourth pixel.
    """
    luminance = radiance[::4, ::4] @ LUMA.astype(np.float32)
    size = len(luminance)
    weights = np.ones(luminance.shape)
    middle = slice(size // 4, size - size // 4)
    weights[middle, middle] = 2.0
    mean = float(np.average(np.log(np.maximum(luminance, 0.0) + 1e-3), weights=weights))
    stops = float(np.clip(np.log2(_KEY / np.exp(mean)), -_MOST_STOPS, _MOST_STOPS))
    return float(2.0**stops)


def develop(radiance: Floats, how: Development, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Turns a rendered picture into one that a phone could have taken; `rng` draws the grain."""
    gain = 2.0**how.exposure * (meter(radiance) if how.metered else 1.0)
    gains = np.tile((gain * np.array(how.gains)).astype(np.float32), radiance.shape[1])
    # A row at a time: numpy is slow along three numbers.
    exposed = (radiance.reshape(len(radiance), -1) * gains).reshape(radiance.shape)
    if how.blur > 0.05:
        exposed = np.asarray(cv2.GaussianBlur(exposed, (0, 0), how.blur), np.float32)
    picture = film.grey_levels(exposed)
    if how.noise > 0:
        picture += np.float32(how.noise) * _grain(len(picture), rng)
    np.clip(picture + np.float32(0.5), 0.0, 255.0, out=picture)
    result = picture.astype(np.uint8)
    return compress(result, how.compression) if how.compression > 0 else result


@lru_cache(maxsize=1)
def _bank() -> Floats:
    """Returns (n, n, 3) of noise, mostly grey with a little colour, as after a phone's chroma denoising."""
    rng = np.random.default_rng(0)
    grain = rng.standard_normal((_BANK_PX, _BANK_PX, 1), dtype=np.float32)
    coloured = rng.standard_normal((_BANK_PX, _BANK_PX, 3), dtype=np.float32)
    return np.float32(0.85) * grain + np.asarray(cv2.blur(coloured, (3, 3)), np.float32)


def _grain(size: int, rng: np.random.Generator) -> Floats:
    """Cuts a square out of the bank of noise, turned at random: a fresh draw would cost as much as the JPEG thrice."""
    bank = _bank()
    if size > _BANK_PX:
        bank = np.tile(bank, (size // _BANK_PX + 1, size // _BANK_PX + 1, 1))
    top, left = (int(v) for v in rng.integers(0, len(bank) - size + 1, 2))
    flip, swap = rng.random(2) < 0.5
    cut = bank[top : top + size, left : left + size]
    cut = np.asarray(cv2.flip(cut, 1), np.float32) if flip else cut
    return np.asarray(cv2.transpose(cut), np.float32) if swap else cut


def compress(picture: NDArray[np.uint8], strength: float) -> NDArray[np.uint8]:
    """Returns what H.264 leaves of a picture (h, w, 3) as a key frame, for a strength of 0..1.

    libx264 on one thread gives the same bytes in any process: its vector code is bit-exact by its own tests.
    """
    height, width = picture.shape[:2]
    even = picture[: height - height % 2, : width - width % 2]  # chroma is stored for 2 x 2 pixels
    codec: Any = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt = even.shape[1], even.shape[0], "yuv420p"
    codec.time_base, codec.thread_count = Fraction(1, 30), 1
    crf = _CRF[0] + strength * (_CRF[1] - _CRF[0])
    codec.options = {"preset": "superfast", "tune": "zerolatency", "crf": f"{crf:.2f}"}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), "rgb24")
    packets = [*codec.encode(frame), *codec.encode(None)]
    decoder: Any = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    decoded = [f for packet in packets for f in decoder.decode(packet)] + decoder.decode(None)
    result = picture.copy()
    result[: even.shape[0], : even.shape[1]] = decoded[0].to_ndarray(format="rgb24")
    return result
