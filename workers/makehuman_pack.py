"""An asset pack as a wardrobe: which suits, shoes, hair and skins it holds, whole and usable, and for whom."""

import logging
import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from schemas.errors import InputError
from schemas.shards import canonical_digest
from workers.images import MAX_PIXELS
from workers.makehuman import BadAsset, Material, Mesh, Proxy, parse_mhclo, parse_mhmat, parse_obj
from workers.makehuman_files import PackFiles, list_pack

log = logging.getLogger(__name__)
_SKIPPED_TAGS = frozenset({"special"})
"""Skins with a costume painted on."""


@dataclass(frozen=True, kw_only=True)
class Asset:
    """One suit, pair of shoes, hair or skin."""

    path: str
    """Of its `.mhclo` or `.mhmat` in the pack: its name in the garments table."""
    kind: str
    """`suit`, `shoes`, `hair` or `skin`."""
    sex: str
    """`male`, `female`, or '' for both."""
    mhclo: str
    """'' for a skin."""
    obj: str
    mhmat: str
    texture: str

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return posixpath.splitext(posixpath.basename(self.path))[0]

    def files(self) -> list[str]:
        """Lists the files that it is made of."""
        return [path for path in (self.mhclo, self.obj, self.mhmat, self.texture) if path]


@dataclass(frozen=True, kw_only=True)
class Pack:
    """The usable assets of one version of a pack."""

    files: PackFiles
    assets: tuple[Asset, ...]
    identity: str
    """Digest of names and bytes of all files that an asset is made of."""

    def of(self, kind: str, male: bool) -> list[Asset]:
        """Lists the assets of a kind for a sex."""
        fitting = ("", "male" if male else "female")
        return [a for a in self.assets if a.kind == kind and a.sex in fitting]

    def proxy(self, asset: Asset) -> tuple[Proxy, Mesh]:
        """Returns how a garment hangs, and its mesh."""
        return (
            _parsed_mhclo(_Once(self.files, asset.mhclo)),
            _parsed_obj(_Once(self.files, asset.obj)),
        )

    def material(self, asset: Asset) -> Material:
        """Returns an asset's material."""
        return _parsed_mhmat(_Once(self.files, asset.mhmat))

    def picture(self, asset: Asset, edge: int) -> NDArray[np.uint8]:
        """Returns the texture shrunk to (edge, edge, 4) sRGB and alpha, row 0 on top.

        Raises:
            InputError: it is no picture.
        """
        return _decoded(_Once(self.files, asset.texture), edge)


class _Once:
    """A file as a key of caches: by its content, with the way to it attached."""

    def __init__(self, files: PackFiles, path: str) -> None:
        self.files, self.path, self.digest = files, path, files.digest(path)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Once) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def read(self) -> bytes:
        return self.files.read_same(self.path)


@lru_cache(maxsize=256)
def _parsed_mhclo(file: _Once) -> Proxy:
    return parse_mhclo(file.read())


@lru_cache(maxsize=64)
def _parsed_obj(file: _Once) -> Mesh:
    return parse_obj(file.read())


@lru_cache(maxsize=256)
def _parsed_mhmat(file: _Once) -> Material:
    return parse_mhmat(file.read())


def open_pack(url: str) -> Pack:
    """Lists a pack as it is now; an asset with a missing or malformed file is left out, with one warning a process.

    Raises:
        InputError: the pack cannot be read, is hostile, or holds nothing usable.
    """
    files = list_pack(url)
    found, broken = [], []
    for path in files.places:
        if path.startswith(("clothes/", "hair/")) and path.endswith(".mhclo"):
            make: Callable[[PackFiles, str], Asset | None] = _garment
        elif path.startswith("skins/") and path.endswith(".mhmat"):
            make = _skin
        else:
            continue
        try:
            asset = make(files, path)
        except BadAsset as error:
            broken.append(f"{path}: {error}")
        else:
            found.extend([asset] if asset else [])
    if broken:
        _warn(url, tuple(broken))
    if not found:
        remedy = "Name a folder or zip with clothes/<name>/<name>.mhclo, hair/… and skins/…"
        raise InputError(url, "holds no usable MakeHuman asset", remedy)
    names = sorted({path for asset in found for path in asset.files()})
    identity = canonical_digest([[path, files.digest(path)] for path in names])
    return Pack(files=files, assets=tuple(found), identity=identity)


@lru_cache(maxsize=64)
def _warn(url: str, broken: tuple[str, ...]) -> None:
    log.warning(
        "%s: left out %d assets that cannot be used: %s", url, len(broken), "; ".join(broken)
    )


def _garment(files: PackFiles, path: str) -> Asset:
    proxy = _parsed_mhclo(_Once(files, path))
    obj, mhmat = (_beside(files, path, name) for name in (proxy.obj_file, proxy.material))
    mesh = _parsed_obj(_Once(files, obj))
    if len(mesh.vertices) != len(proxy.corners):
        raise BadAsset(f"has {len(proxy.corners)} rows for {len(mesh.vertices)} vertices of {obj}")
    texture = _beside(files, mhmat, _parsed_mhmat(_Once(files, mhmat)).texture)
    _check_picture(files, texture)
    shoes = "shoes" in proxy.tags or "shoe" in posixpath.basename(path)
    kind = "hair" if path.startswith("hair/") else "shoes" if shoes else "suit"
    return Asset(
        path=path,
        kind=kind,
        sex=_sex(proxy.tags, path),
        mhclo=path,
        obj=obj,
        mhmat=mhmat,
        texture=texture,
    )


def _skin(files: PackFiles, path: str) -> Asset | None:
    material = _parsed_mhmat(_Once(files, path))
    if material.tags & _SKIPPED_TAGS:
        return None
    texture = _beside(files, path, material.texture)
    _check_picture(files, texture)
    sex = _sex(material.tags, path)
    return Asset(path=path, kind="skin", sex=sex, mhclo="", obj="", mhmat=path, texture=texture)


def _sex(tags: frozenset[str], path: str) -> str:
    """Reads the sex from tags, else from the name: `female_casualsuit01`."""
    words = set(tags) | set(posixpath.basename(path).split(".")[0].lower().split("_"))
    return next((sex for sex in ("female", "male") if sex in words), "")


def _beside(files: PackFiles, path: str, name: str) -> str:
    """Resolves a file name that stands in `path`; it may climb, but not out of the pack."""
    if not name:
        raise BadAsset("does not say which mesh, material or texture it has")
    place = posixpath.normpath(posixpath.join(posixpath.dirname(path), name.replace("\\", "/")))
    if place.startswith(("..", "/")):
        raise BadAsset(f"names {name!r}, which lies outside the pack")
    if place not in files.places:
        raise BadAsset(f"names {place}, which is not in the pack")
    return place


def _check_picture(files: PackFiles, path: str) -> None:
    _checked_header(_Once(files, path))


@lru_cache(maxsize=1024)
def _checked_header(file: _Once) -> None:
    _size(file.path, file.read())


def _size(path: str, data: bytes) -> tuple[int, int]:
    """Returns a picture's height and width from its header.

    Raises:
        BadAsset: no PNG or JPEG, or more pixels than any texture.
    """
    if data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR":
        width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    elif data[:2] == b"\xff\xd8":
        try:
            height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        except ValueError as error:
            raise BadAsset(f"{path} is no whole JPEG ({error})") from error
    else:
        raise BadAsset(f"{path} is neither PNG nor JPEG")
    if not 0 < height * width <= MAX_PIXELS:
        raise BadAsset(f"{path} has {width} x {height} pixels")
    return height, width


@lru_cache(maxsize=48)
def _decoded(file: _Once, edge: int) -> NDArray[np.uint8]:
    data = file.read()
    try:
        _size(file.path, data)
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except (BadAsset, cv2.error) as error:
        raise InputError(
            f"{file.files.url}/{file.path}", str(error), "Replace the texture"
        ) from error
    if picture is None:
        raise InputError(f"{file.files.url}/{file.path}", "is no picture", "Replace the texture")
    if picture.dtype != np.uint8:
        picture = (picture / 257.0).astype(np.uint8)
    picture = picture.reshape(*picture.shape[:2], -1)
    if picture.shape[2] < 3:
        picture = picture[..., [0, 0, 0, *range(1, picture.shape[2])]]
    opaque = np.full((*picture.shape[:2], 1), 255, np.uint8)
    alpha = picture[..., 3:] if picture.shape[2] == 4 else opaque
    return _shrunk(picture[..., 2::-1].astype(np.float32), alpha.astype(np.float32), edge)


def _shrunk(
    colour: NDArray[np.float32], alpha: NDArray[np.float32], edge: int
) -> NDArray[np.uint8]:
    """Shrinks by area, so that what is transparent lends no colour; holes take the opaque part's mean colour."""
    share = np.maximum(alpha / 255.0, 1e-4)
    size = (edge, edge)
    weight = cv2.resize(share, size, interpolation=cv2.INTER_AREA)[..., None]
    mixed = cv2.resize(colour * share, size, interpolation=cv2.INTER_AREA) / weight
    mean = np.average(mixed.reshape(-1, 3), axis=0, weights=weight.ravel())
    mixed = np.where(weight < 0.05, mean, mixed)
    return np.concatenate([mixed, 255.0 * weight], axis=2).round().clip(0, 255).astype(np.uint8)
