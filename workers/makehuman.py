"""Parses MakeHuman's asset files: `.mhclo` (how a mesh hangs on the base mesh), `.obj`, `.mhmat`.

Formats: http://www.makehumancommunity.org/wiki/Documentation:MHCLO and what the files of MakeHuman's own assets hold.
Offsets in `.mhclo` are decimetres in MakeHuman's axes (x left, y up, z forward). Files are a stranger's: everything is
bounded, and whatever does not fit raises `BadAsset`, which says where.
"""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.basemesh import BASE_VERTICES

Array = NDArray[np.float64]
MAX_VERTICES = 100_000
MAX_LINES = 1_000_000
_NUMBER = re.compile(r"[-+]?(\d|\.\d)")
_SECTIONS = ("verts", "delete_verts", "weights")
_AXES = {"x_scale": 0, "y_scale": 1, "z_scale": 2}


class BadAsset(ValueError):
    """An asset file that cannot be used; the message says what and where."""


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """A `.mhclo`: every vertex is a combination of three of the base mesh, and an offset."""

    name: str
    tags: frozenset[str]
    """Lower case."""
    obj_file: str
    material: str
    z_depth: int
    """What has more lies further out."""
    corners: NDArray[np.int32]
    """(n, 3): vertices of hm08."""
    weights: Array
    """(n, 3)."""
    offsets: Array
    """(n, 3) dm, MakeHuman's axes, at the scale that the file was made at."""
    scales: tuple[tuple[int, int, float] | None, ...]
    """Of x, y, z: two base vertices and their distance along the axis, dm, when the file was made."""
    hidden: NDArray[np.int32]
    """Base vertices whose skin the asset covers."""


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """An `.obj`: n vertices, triangles of them, and texture coordinates per corner."""

    vertices: Array
    """(n, 3)."""
    faces: NDArray[np.int32]
    """(f, 3)."""
    corner_uv: NDArray[np.float32]
    """(f, 3, 2): v upwards, as in the file."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """A `.mhmat`."""

    name: str
    tags: frozenset[str]
    texture: str
    """Path as written: relative to the file. '' where it names none."""
    colour: tuple[float, float, float]
    shininess: float


def _lines(data: bytes) -> list[list[str]]:
    """Splits a text into lines of words, without comments; the list's index is the line number less one."""
    if data.count(b"\n") > MAX_LINES:
        raise BadAsset(f"has more than {MAX_LINES} lines")
    text = data.decode("utf-8", errors="replace")
    return [line.partition("#")[0].split() for line in text.splitlines()]


def _numbers(words: list[str], line: int) -> list[float]:
    try:
        values = [float(word) for word in words]
    except ValueError as error:
        raise BadAsset(f"line {line}: {error}") from error
    if not np.isfinite(values).all():
        raise BadAsset(f"line {line}: a number that is not finite")
    return values


def parse_mhclo(data: bytes) -> Proxy:
    """Parses a `.mhclo`; keyword lines may stand anywhere, also between `verts 0` and the first vertex.

    Raises:
        BadAsset: another base mesh, a row that is none, an index outside hm08, or too many rows.
    """
    words: dict[str, list[str]] = {}
    tags, rows, hidden, section = set(), [], [], ""
    for number, line in enumerate(_lines(data), start=1):
        if not line:
            continue
        if not _NUMBER.match(line[0]):
            if line[0] in _SECTIONS:
                section = line[0]
            elif line[0] == "tag":
                tags.add(" ".join(line[1:]).lower())
            else:
                words.setdefault(line[0], line[1:])
        elif section == "verts":
            rows.append(_row(_numbers(line, number), number))
        elif section == "delete_verts":
            hidden.extend(_ranges(line, number))
        if len(rows) > MAX_VERTICES or len(hidden) > 4 * BASE_VERTICES:
            raise BadAsset(f"line {number}: more rows than an asset can have")
    if not rows:
        raise BadAsset("has no vertex rows")
    base = " ".join(words.get("basemesh", ["hm08"]))
    if base != "hm08":
        raise BadAsset(f"is made for the base mesh {base}, not hm08")
    table = np.array(rows)
    corners = table[:, :3]
    if (corners != np.rint(corners)).any() or corners.min() < 0 or corners.max() >= BASE_VERTICES:
        raise BadAsset(f"names vertices outside 0 … {BASE_VERTICES - 1} of the base mesh")
    if np.abs(table[:, 3:6]).max() > 100.0 or np.abs(table[:, 6:]).max() > 50.0:
        raise BadAsset("holds weights or offsets beyond any body")
    depth = " ".join(words.get("z_depth", ["50"]))
    return Proxy(
        name=" ".join(words.get("name", [""])),
        tags=frozenset(tags),
        obj_file=" ".join(words.get("obj_file", [])),
        material=" ".join(words.get("material", [])),
        z_depth=int(depth) if depth.lstrip("-").isdigit() and len(depth) < 6 else 50,
        corners=corners.astype(np.int32),
        weights=table[:, 3:6],
        offsets=table[:, 6:],
        scales=tuple(_scale(words.get(axis)) for axis in _AXES),
        hidden=np.unique(np.array(hidden, np.int32)),
    )


def _row(values: list[float], line: int) -> list[float]:
    """Completes a vertex row: one number names a vertex, six leave out the offset."""
    if len(values) == 1:
        return [values[0]] * 3 + [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    if len(values) == 6:
        return [*values, 0.0, 0.0, 0.0]
    if len(values) != 9:
        raise BadAsset(f"line {line}: a vertex row has 1, 6 or 9 numbers, not {len(values)}")
    return values


def _ranges(words: list[str], line: int) -> list[int]:
    """Reads `1 - 4 7 9 - 12`."""
    text = " ".join(words)
    if not re.fullmatch(r"\d{1,6}( - \d{1,6}| \d{1,6})*", text):
        raise BadAsset(f"line {line}: vertex ranges are written like 3 - 8 11, not {text[:40]!r}")
    found: list[int] = []
    for low, high in re.findall(r"(\d+)(?: - (\d+))?", text):
        first, last = int(low), int(high or low)
        if last >= BASE_VERTICES or first > last:
            raise BadAsset(f"line {line}: no range of base vertices: {first} - {last}")
        found.extend(range(first, last + 1))
    return found


def _scale(words: list[str] | None) -> tuple[int, int, float] | None:
    if words is None:
        return None
    try:
        first, second, distance = int(words[0]), int(words[1]), float(words[2])
    except (ValueError, IndexError) as error:
        raise BadAsset(
            f"a scale is two vertices and a distance, not {' '.join(words)!r}"
        ) from error
    inside = min(first, second) >= 0 and max(first, second) < BASE_VERTICES
    if not inside or not 0.001 < distance < 1000.0:
        raise BadAsset(f"a scale that no base mesh has: {' '.join(words)!r}")
    return first, second, distance


def parse_obj(data: bytes) -> Mesh:
    """Parses vertices, texture coordinates and faces; polygons become fans of triangles.

    Raises:
        BadAsset: an index out of range, a face without texture coordinates, or too much of anything.
    """
    vertices, uv, corners = [], [], []
    for number, line in enumerate(_lines(data), start=1):
        if not line:
            continue
        if line[0] == "v":
            vertices.append(_numbers(line[1:4], number))
        elif line[0] == "vt":
            uv.append(_numbers(line[1:3], number))
        elif line[0] == "f":
            corners.extend(_fan(line[1:], len(vertices), len(uv), number))
        if max(len(vertices), len(uv), len(corners) // 2) > MAX_VERTICES:
            raise BadAsset(f"line {number}: more than {MAX_VERTICES} vertices or faces")
    if (
        not vertices
        or not corners
        or {len(v) for v in vertices} != {3}
        or {len(t) for t in uv} != {2}
    ):
        raise BadAsset("holds no faces with texture coordinates")
    indices = np.array(corners, np.int64)
    if (
        indices.min() < 0
        or indices[..., 0].max() >= len(vertices)
        or indices[..., 1].max() >= len(uv)
    ):
        raise BadAsset("a face names a vertex that is not there")
    return Mesh(
        vertices=np.array(vertices),
        faces=indices[..., 0].astype(np.int32),
        corner_uv=np.array(uv, np.float32)[indices[..., 1]],
    )


def _fan(words: list[str], vertices: int, uvs: int, line: int) -> list[list[tuple[int, int]]]:
    """Splits a face into triangles of (vertex, texture coordinate), from 0."""
    if not 3 <= len(words) <= 64:
        raise BadAsset(f"line {line}: a face of {len(words)} corners")
    corners = []
    for word in words:
        parts = word.split("/")
        if len(parts) < 2 or not parts[1]:
            raise BadAsset(f"line {line}: a face without texture coordinates")
        try:
            v, t = int(parts[0]), int(parts[1])
        except ValueError as error:
            raise BadAsset(f"line {line}: {error}") from error
        if abs(v) > MAX_VERTICES or abs(t) > MAX_VERTICES:
            raise BadAsset(f"line {line}: an index beyond any mesh")
        corners.append((v - 1 if v > 0 else vertices + v, t - 1 if t > 0 else uvs + t))
    return [[corners[0], corners[i], corners[i + 1]] for i in range(1, len(corners) - 1)]


def parse_mhmat(data: bytes) -> Material:
    """Parses a material.

    Raises:
        BadAsset: a number that is none.
    """
    words: dict[str, list[str]] = {}
    tags = set()
    for line in _lines(data):
        if line and line[0] == "tag":
            tags.add(" ".join(line[1:]).lower())
        elif line:
            words.setdefault(line[0], line[1:])
    colour = _numbers(words.get("diffuseColor", ["1", "1", "1"])[:3], 0)
    shininess = _numbers(words.get("shininess", ["0.2"])[:1], 0)
    if len(colour) != 3 or len(shininess) != 1:
        raise BadAsset("diffuseColor has three numbers and shininess one")
    red, green, blue = (float(np.clip(c, 0.0, 1.0)) for c in colour)
    return Material(
        name=" ".join(words.get("name", [""])),
        tags=frozenset(tags),
        texture=" ".join(words.get("diffuseTexture", [])),
        colour=(red, green, blue),
        shininess=float(np.clip(shininess[0], 0.0, 1.0)),
    )
