"""Pictures in and out: JPEG by simplejpeg, other formats and affine resampling by OpenCV.

A picture is (h, w, 3) u1, sRGB, row 0 at the top; the centre of its first pixel is (0, 0). EXIF orientation
is ignored, as by COCO's annotators' tools: width and height are those of the stored raster.
"""

import posixpath
import struct
import threading
import zipfile
from typing import Any

import cv2
import fsspec
import numpy as np
import simplejpeg
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray

from schemas import files
from schemas.errors import InputError, SampleRejected
from workers import remembered

Picture = NDArray[np.uint8]

MAX_PIXELS = 64 * 1024 * 1024
"""A header that announces more is refused before anything is allocated."""
_MAX_FILE_BYTES = 64 * 1024**2

cv2.setNumThreads(
    1
)  # parallelism is one worker process per core; a pool inside each would fight it


class Folder:
    """A folder of pictures on any fsspec URL: a path, `s3://bucket/val2017`, `zip://images::file:///a.zip`.

    Raises:
        InputError: the URL cannot be opened or is no folder.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        remedy = "Name the folder that holds the pictures; check the network and the credentials"
        try:
            self._fs, path = fsspec.core.url_to_fs(url)
            self._root = path.rstrip("/")
            reachable = "http" in self._fs.protocol or self._fs.isdir(path)  # HTTP knows no folders
        except Exception as error:  # each file system raises its own
            why = str(error) or type(error).__name__
            raise InputError(url, f"cannot be opened ({why})", remedy) from error
        if not reachable:
            raise InputError(url, "is no folder that can be reached", remedy)
        self._listed: dict[str, dict[str, dict[str, Any]]] = {}
        self._identities: dict[str, str] = {}
        self._listing = threading.Lock()

    def read(self, name: str) -> bytes:
        """Reads one file; a failing network raises OSError, so that the engine tries again.

        What a rejection says is stored with the shard, so it names the file and not where the folder lies.

        Raises:
            SampleRejected: `missing_image`, `unreadable_image`.
        """
        path = self._path(name)
        before = remembered.state(path) if self._is_local else ""
        try:
            data: bytes = self._fs.cat_file(path, **self._bounds)
        except (FileNotFoundError, KeyError) as error:
            self._identities[name] = ""
            raise SampleRejected("missing_image", f"{name} is not among the pictures") from error
        except (PermissionError, IsADirectoryError, zipfile.BadZipFile) as error:
            why = f"{name} cannot be read ({type(error).__name__})"
            raise SampleRejected("unreadable_image", why) from error
        if len(data) > _MAX_FILE_BYTES:
            raise SampleRejected("too_large", f"{name} has more than {_MAX_FILE_BYTES} bytes")
        self._identities[name] = self._identity(path, data)
        if before:
            self._memory.remember(path, before, self._identities[name])
        return data

    @property
    def _bounds(self) -> dict[str, int]:
        """Where bytes cost nothing (archives, sparse files) no more than the largest file is unpacked."""
        archives = {"zip", "tar", "libarchive", "file", "memory"}
        unpacks = not archives.isdisjoint(
            {self._fs.protocol} if isinstance(self._fs.protocol, str) else self._fs.protocol
        )
        return {"start": 0, "end": _MAX_FILE_BYTES + 1} if unpacks else {}

    def identity(self, name: str) -> str:
        """Returns what changes when the file's content does, "" where the file is missing.

        The store's own checksum where a listing gives one, else sha256 where the file can be read at once (local
        files, HTTP), else size and time. Of a file that this folder has read: the identity of what was read.

        Raises:
            SampleRejected: a name that does not stay inside the folder, a file that cannot be read.
            InputError: the folder cannot be reached.
        """
        path = self._path(name)
        if name not in self._identities and self._content_is_identity:
            try:
                if not self._recall(name, path):
                    self.read(name)
            except SampleRejected as error:
                if error.reason != "missing_image":
                    raise
            except Exception as error:  # each file system raises its own
                remedy = "Check the network and the credentials"
                why = f"cannot be read ({error})"
                raise InputError(f"{self.url} ({name})", why, remedy) from error
        if name in self._identities:
            return self._identities[name]
        parent, base = posixpath.split(path)
        with self._listing:  # several ask at once; one lists
            if parent not in self._listed:
                self._listed[parent] = self._list(parent)
        info = self._listed[parent].get(base)
        return "" if info is None else _stamp(info)

    def _recall(self, name: str, path: str) -> bool:
        """Takes the digest of a local file that has not changed since it was read once."""
        known = self._memory.recall(path) if self._is_local else ""
        if known:
            self._identities[name] = known
        return bool(known)

    @property
    def _memory(self) -> remembered.Remembered:
        return remembered.pictures(files.cache_folder())

    @property
    def _is_local(self) -> bool:
        return isinstance(self._fs, LocalFileSystem)

    @property
    def _content_is_identity(self) -> bool:
        return not {"file", "memory", "http"}.isdisjoint(_protocols(self._fs))

    def _identity(self, path: str, data: bytes) -> str:
        """Identifies what was just read, in the words of `identity`."""
        if self._content_is_identity:
            return _sha256(data)
        self._fs.invalidate_cache(posixpath.dirname(path))
        return _stamp(self._fs.info(path))

    def _path(self, name: str) -> str:
        if not name or name.startswith("/") or "\\" in name or ".." in name.split("/"):
            raise SampleRejected("bad_file_name", f"{name!r} does not stay inside the folder")
        return f"{self._root}/{name}" if self._root else name

    def _list(self, parent: str) -> dict[str, dict[str, Any]]:
        try:
            self._fs.invalidate_cache(parent)
            rows = self._fs.ls(parent, detail=True)
        except FileNotFoundError:
            return {}
        except Exception as error:
            remedy = "Check the network and the credentials"
            raise InputError(
                f"{self.url} ({parent})", f"cannot be listed ({error})", remedy
            ) from error
        return {posixpath.basename(row["name"]): row for row in rows if row["type"] == "file"}


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _sha256(data: bytes) -> str:
    return f"sha256:{files.digest(data)}"


def _stamp(info: dict[str, Any]) -> str:
    """Writes a store's own checksum of a file, else its size and time."""
    for field in ("ETag", "etag", "md5Hash", "content_md5", "CRC"):
        if info.get(field):
            return f"{field}:{info[field]}:{info.get('size')}"
    when = info.get("LastModified") or info.get("last_modified") or info.get("mtime")
    return f"size:{info.get('size')}:{when}"


def decode(data: bytes) -> Picture:
    """Decodes a whole JPEG, PNG or WebP file to RGB; grey and CMYK pictures are converted.

    Raises:
        SampleRejected: `truncated_jpeg` (bytes are missing at the end), `corrupt_jpeg` (libjpeg warns),
            `truncated_image`, `not_an_image`, `too_large` (over `MAX_PIXELS`).
    """
    if data[:3] == b"\xff\xd8\xff":
        return _decode_jpeg(data)
    width, height = _png_or_webp_size(data)
    _refuse_absurd(width, height)
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise SampleRejected("not_an_image", f"OpenCV: {error.err}") from error
    if picture is None or picture.shape != (height, width, 3):
        raise SampleRejected("not_an_image", "the header is followed by no such picture")
    return np.asarray(picture, dtype=np.uint8)


def encode(rgb: Picture, quality: int) -> bytes:
    """Encodes (h, w, 3) as a baseline JPEG with 4:2:0 chroma, the phones' choice; same pixels, same bytes."""
    contiguous = np.ascontiguousarray(rgb, dtype=np.uint8)
    data: bytes = simplejpeg.encode_jpeg(contiguous, quality, "RGB", "420")
    return data


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Returns width and height of a JPEG from its header.

    Raises:
        SampleRejected: `corrupt_jpeg`.
    """
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise SampleRejected("corrupt_jpeg", f"libjpeg: {error}") from error
    return int(width), int(height)


def warp(rgb: Picture, A_out_from_in: NDArray[np.float64], width: int, height: int) -> Picture:
    """Resamples by an affine (3, 3) between pixel centres; black outside the picture.

    Bilinear; where the affine shrinks, the picture is first averaged over areas to the output's
    resolution, so that no detail aliases.
    """
    x0, y0, x1, y1 = _needed(A_out_from_in, width, height, rgb.shape[1], rgb.shape[0])
    if x1 <= x0 or y1 <= y0:
        return np.zeros((height, width, 3), np.uint8)
    part, A_part_from_in = rgb[y0:y1, x0:x1], np.eye(3)
    A_part_from_in[:2, 2] = -x0, -y0
    small, A_small_from_part = _shrink(part, np.linalg.norm(A_out_from_in[:2, :2], axis=0))
    A_out_from_small = A_out_from_in @ np.linalg.inv(A_small_from_part @ A_part_from_in)
    result = cv2.warpAffine(
        small,
        A_out_from_small[:2],
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(0, 0, 0),
    )
    return np.asarray(result, dtype=np.uint8)


def _needed(
    A_out_from_in: NDArray[np.float64], width: int, height: int, in_width: int, in_height: int
) -> tuple[int, int, int, int]:
    """Returns the part x0, y0, x1, y1 of the input that the output can see, with a pixel to spare."""
    corners = np.array([[-1, -1], [width, -1], [-1, height], [width, height]], dtype=np.float64)
    A_in_from_out = np.linalg.inv(A_out_from_in)
    seen = corners @ A_in_from_out[:2, :2].T + A_in_from_out[:2, 2]
    low = np.clip(np.floor(seen.min(axis=0)) - 1, 0, (in_width, in_height)).astype(int)
    high = np.clip(np.ceil(seen.max(axis=0)) + 2, 0, (in_width, in_height)).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _shrink(rgb: Picture, scale_xy: NDArray[np.float64]) -> tuple[Picture, NDArray[np.float64]]:
    """Averages areas down to about `scale_xy` (<= 1) of the size; returns it and `A_small_from_in`."""
    size = np.array([rgb.shape[1], rgb.shape[0]], dtype=np.float64)
    target = np.maximum(np.ceil(size * np.minimum(scale_xy, 1.0)), 1.0)
    A = np.diag([*(target / size), 1.0])
    A[:2, 2] = 0.5 * target / size - 0.5
    if np.array_equal(target, size):
        return rgb, A
    small = cv2.resize(rgb, (int(target[0]), int(target[1])), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8), A


def _decode_jpeg(data: bytes) -> Picture:
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
        _refuse_absurd(width, height)
        if space in ("CMYK", "YCCK"):
            return _rgb_from_cmyk(simplejpeg.decode_jpeg(data, "CMYK", strict=True), data)
        rgb: Picture = simplejpeg.decode_jpeg(data, "RGB", strict=True)
    except ValueError as error:
        if "Premature end" in str(error) or b"\xff\xd9" not in data[-(1 << 16) :]:
            raise SampleRejected("truncated_jpeg", "the file ends before its picture") from error
        raise SampleRejected("corrupt_jpeg", f"libjpeg: {error}") from error
    return rgb


def _rgb_from_cmyk(cmyk: Picture, data: bytes) -> Picture:
    """Multiplies the inks; Adobe's files (the only usual ones) store paper, not ink, as 255."""
    light = cmyk if b"Adobe\x00" in data[: 1 << 16] else 255 - cmyk
    product = light[..., :3].astype(np.uint16) * light[..., 3:]
    return np.asarray((product + 127) // 255, dtype=np.uint8)


def _png_or_webp_size(data: bytes) -> tuple[int, int]:
    """Reads width and height from the header, and refuses files whose end is missing."""
    whole = True
    if data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR" and len(data) >= 24:
        size = struct.unpack(">II", data[16:24])
        whole = b"IEND" in data[-(1 << 12) :]
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) >= 30:
        size = _webp_size(data)
        whole = len(data) >= struct.unpack("<I", data[4:8])[0] + 8
    else:
        raise SampleRejected("not_an_image", "neither JPEG nor PNG nor WebP")
    if not whole:
        raise SampleRejected("truncated_image", "the file ends before its picture")
    return int(size[0]), int(size[1])


def _webp_size(data: bytes) -> tuple[int, int]:
    """Reads the canvas from the first chunk (RFC 9649)."""
    kind = data[12:16]
    if kind == b"VP8X":
        return (
            1 + int.from_bytes(data[24:27], "little"),
            1 + int.from_bytes(data[27:30], "little"),
        )
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack("<HH", data[26:30])
    return width & 0x3FFF, height & 0x3FFF


def _refuse_absurd(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        detail = f"{width} x {height} pixels; the limit is {MAX_PIXELS} in all"
        raise SampleRejected("too_large", detail)
    if width < 1 or height < 1:
        raise SampleRejected("not_an_image", f"{width} x {height} pixels")
