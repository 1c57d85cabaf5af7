"""Background photographs: a square crop of a JPEG in a folder that the recipe names."""

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from schemas import files
from schemas.errors import InputError, changed
from schemas.shards import canonical_digest
from workers.images import MAX_PIXELS

Photos = tuple[tuple[str, str], ...]
"""URL and sha256 of every photo of a folder, sorted by URL."""
_latest: dict[str, str] = {}
"""What the last listing of a folder said of its files' versions."""


def identify(folder: str) -> str:
    """Lists the folder anew and identifies its photos by their names and bytes; reads them only where they changed.

    Raises:
        InputError: the folder cannot be listed, or holds no photo.
    """
    _latest.pop(folder, None)
    return canonical_digest([[url.rsplit("/", 1)[-1], d] for url, d in _photos(folder)])


def _photos(folder: str) -> Photos:
    if folder not in _latest:
        _latest[folder] = canonical_digest(files.list_versions(folder, ".jpg"))
    return _catalogue(folder, _latest[folder])


@lru_cache(maxsize=8)
def _catalogue(folder: str, versions: str) -> Photos:
    urls = files.list_files(folder, ".jpg")
    if not urls:
        raise InputError(
            folder, "holds no .jpg file", "Name a folder of JPEG photos for scene.backgrounds"
        )
    with ThreadPoolExecutor(8) as pool:
        digests = pool.map(lambda url: files.digest(files.read_bytes(url, 64 * 1024**2)), urls)
        return tuple(zip(urls, digests, strict=True))


def sample_photo(folder: str, rng: np.random.Generator) -> tuple[NDArray[np.uint8], str]:
    """Draws a square crop of a photo that can be decoded; a broken one gives way to the next in the list."""
    photos = _photos(folder)
    start = int(rng.integers(len(photos)))
    share, x, y, mirrored = rng.uniform(0.6, 1.0), rng.uniform(), rng.uniform(), rng.random() < 0.5
    for k in range(len(photos)):
        url, digest = photos[(start + k) % len(photos)]
        picture = _decoded(url, digest)
        if picture is None:
            continue
        height, width = picture.shape[:2]
        edge = max(1, round(min(height, width) * share))
        top, left = round(y * (height - edge)), round(x * (width - edge))
        crop = picture[top : top + edge, left : left + edge]
        return np.ascontiguousarray(crop[:, ::-1] if mirrored else crop), url.rsplit("/", 1)[-1]
    raise InputError(
        folder,
        f"none of its {len(photos)} .jpg files can be decoded",
        "Name a folder of JPEG photos",
    )


@lru_cache(maxsize=64)
def _decoded(url: str, digest: str) -> NDArray[np.uint8] | None:
    """Returns a photo of at least 400 px where it has them, or None for what is not a whole JPEG."""
    data = files.read_bytes(url, 64 * 1024**2)
    if files.digest(data) != digest:
        raise changed(url)
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
