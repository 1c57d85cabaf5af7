"""Background photographs: a square crop of a JPEG in a folder that the recipe names."""

from functools import lru_cache

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from schemas import files
from schemas.errors import InputError
from workers.images import MAX_PIXELS


def sample_photo(folder: str, rng: np.random.Generator) -> tuple[NDArray[np.uint8], str]:
    """Draws a square crop of a photo that can be decoded; a broken one gives way to the next in the list."""
    urls = _listing(folder)
    start = int(rng.integers(len(urls)))
    share, x, y, mirrored = rng.uniform(0.6, 1.0), rng.uniform(), rng.uniform(), rng.random() < 0.5
    for k in range(len(urls)):
        url = urls[(start + k) % len(urls)]
        picture = _decoded(url)
        if picture is None:
            continue
        height, width = picture.shape[:2]
        edge = max(1, round(min(height, width) * share))
        top, left = round(y * (height - edge)), round(x * (width - edge))
        crop = picture[top : top + edge, left : left + edge]
        return np.ascontiguousarray(crop[:, ::-1] if mirrored else crop), url.rsplit("/", 1)[-1]
    raise InputError(
        folder, f"none of its {len(urls)} .jpg files can be decoded", "Name a folder of JPEG photos"
    )


@lru_cache(maxsize=8)
def _listing(folder: str) -> tuple[str, ...]:
    urls = tuple(files.list_files(folder, ".jpg"))
    if not urls:
        raise InputError(
            folder, "holds no .jpg file", "Name a folder of JPEG photos for scene.backgrounds"
        )
    return urls


@lru_cache(maxsize=64)
def _decoded(url: str) -> NDArray[np.uint8] | None:
    """Returns a photo of at least 400 px where it has them, or None for what is not a whole JPEG."""
    data = files.read_bytes(url, 64 * 1024**2)
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        if height * width > MAX_PIXELS:
            return None
        picture: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data, "RGB", min_height=400, min_width=400
        )
    except ValueError:
        return None
    return picture
