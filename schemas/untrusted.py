"""What a stranger's dataset may claim: bounds that are checked before anything is read, allocated or followed.

Sources of the formats: Zarr v3 core specification (array metadata); RFC 8878 section 3.1.1 (frame of Zstandard);
parquet-format's Thrift definition (page headers) in Thrift's compact protocol.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from schemas.errors import InputError
from schemas.layout import BY_NAME

MAX_JSON_BYTES = 8 * 1024**2
MAX_TABLE_BYTES = 256 * 1024**2
"""Of one array of labels; 512 samples take up to 0.2 MB."""
MAX_IMAGES_BYTES = 4 * 1024**3
"""Of a shard's pictures, which are stored as they are: nobody can claim more than is there."""
MAX_ROWS = 2**20
_MAX_DEPTH = 64
_LIMITS = (
    (re.compile(r"(commits|tags|builds)/.*|.*/zarr\.json"), MAX_JSON_BYTES),
    (re.compile(r"manifests/.*"), 128 * 1024**2),
    (re.compile(r"(skeletons|models)/.*"), 64 * 1024**2),
    (re.compile(r"shards/[^/]*/image/c/0"), MAX_IMAGES_BYTES),
)
BROKEN = (AttributeError, KeyError, OverflowError, TypeError, ValueError)
"""What reading a document that we did not write may raise."""
_REMEDY = "Do not trust this dataset; build your own"


def check_path(where: str, path: str) -> None:
    """Refuses an object's name that could leave the dataset.

    Raises:
        InputError: absolute, with `..`, with empty parts, or with characters that some store reads otherwise.
    """
    parts = path.split("/")
    if not {"", ".", ".."}.isdisjoint(parts) or re.search(r"[\\\x00-\x1f]", path):
        raise InputError(f"{where}: {path!r}", "is no name inside a dataset", _REMEDY)


def check_links(folder: Path, path: str) -> None:
    """Refuses a symbolic link at or above an object of a dataset on disk: it may lead out, and gc would follow it.

    The dataset's own folder may be one: the user named it.

    Raises:
        InputError: there is one.
    """
    place = folder
    for part in path.split("/"):
        place = place / part
        if place.is_symlink():
            remedy = "Replace it by what it points to, if you trust that"
            raise InputError(str(place), "is a symbolic link inside a dataset", remedy)


def check_size(where: str, path: str, size: int) -> None:
    """Refuses an object that is larger than any of its kind, before it is fetched.

    Raises:
        InputError: it is.
    """
    limit = next((n for pattern, n in _LIMITS if pattern.fullmatch(path)), MAX_TABLE_BYTES)
    if size > limit:
        why = f"has {size / 1e6:.0f} MB, more than the {limit / 1e6:.0f} MB that one may have"
        raise InputError(f"{where}/{path}", why, _REMEDY)


def json_object(data: bytes | str) -> dict[str, Any]:
    """Parses a JSON object.

    Raises:
        ValueError: too large, too deep, or none.
    """
    if len(data) > MAX_JSON_BYTES:
        raise ValueError(f"JSON of {len(data) / 1e6:.0f} MB")
    try:
        document = json.loads(data)
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error
    if not isinstance(document, dict):
        raise ValueError("no JSON object")
    return document


def check_depth(document: Any) -> None:
    """Refuses nesting that is deeper than any of ours, on which whoever walks the document would run out of stack.

    Raises:
        ValueError: it is.
    """
    level = [document]
    for _ in range(_MAX_DEPTH):
        level = [
            value
            for held in level
            for value in (held.values() if isinstance(held, dict) else held)
            if isinstance(value, dict | list)
        ]
        if not level:
            return
    raise ValueError("JSON nested too deeply")


def check_array(where: str, name: str, entry: Mapping[str, Any]) -> tuple[int, ...]:
    """Refuses array metadata that this project would not have written; returns the shape.

    Raises:
        InputError: another dtype, number of dims, chunking or codec than `schemas.layout` has, or an absurd size.
    """
    spec = BY_NAME.get(name)
    flat = {"image": "uint8", "image_offset": "uint32"}
    dtype = np.dtype(spec.dtype).name if spec else flat[name]
    dims = spec.dims if spec else ()
    shape = entry.get("shape")
    if not isinstance(shape, list) or not all(type(n) is int for n in shape):
        raise InputError(where, "is missing or malformed", "Build the shard again")
    limit = MAX_IMAGES_BYTES if name == "image" else MAX_TABLE_BYTES
    rows = math.inf if name == "image" else MAX_ROWS + 1
    if (
        any(not 0 <= n <= limit for n in shape)
        or math.prod(shape) * np.dtype(dtype).itemsize > limit
        or (shape and shape[0] > rows)
    ):
        raise InputError(where, f"claims the absurd shape {tuple(shape)}", _REMEDY)
    fitting = len(shape) == 1 + len(dims) and all(
        isinstance(dim, str) or dim == n for dim, n in zip(dims, shape[1:], strict=False)
    )
    if not fitting or entry.get("data_type") != dtype:
        why = f"has the shape {tuple(shape)} and the type {entry.get('data_type')!r}"
        raise InputError(where, f"{why}, which no array of that name has", _REMEDY)
    _check_storage(where, entry, shape, compressed=name != "image")
    return tuple(shape)


def _check_storage(
    where: str, entry: Mapping[str, Any], shape: list[int], *, compressed: bool
) -> None:
    """Refuses any layout but one chunk, little-endian, with zstd or plain: other codecs run other code."""
    grid, keys = entry.get("chunk_grid"), entry.get("chunk_key_encoding")
    listed: Any = entry.get("codecs")
    codecs = [c for c in listed if isinstance(c, dict)] if isinstance(listed, list) else []
    named = [c.get("name") for c in codecs]
    endian = (codecs[0].get("configuration") or {}).get("endian", "little") if codecs else ""
    whole = {"name": "regular", "configuration": {"chunk_shape": [max(1, n) for n in shape]}}
    slashes = {"name": "default", "configuration": {"separator": "/"}}
    if (
        named != (["bytes", "zstd"] if compressed else ["bytes"])
        or endian != "little"
        or grid != whole
        or keys != slashes
        or entry.get("storage_transformers")
        or (entry.get("zarr_format"), entry.get("node_type")) != (3, "array")
    ):
        raise InputError(where, "is not stored as one chunk of zstd", _REMEDY)


def check_frame(where: str, data: bytes | memoryview, size: int) -> None:
    """Refuses a Zstandard frame that does not announce just `size` bytes: decoders allocate what it announces.

    Raises:
        InputError: it announces another size or none, or is no frame.
    """
    announced = _content_size(data)
    if announced != size:
        raise InputError(where, f"would unpack to {announced} bytes, not {size}", _REMEDY)


def _content_size(data: bytes | memoryview) -> int | None:
    head = bytes(data[:18]).ljust(18, b"\0")  # the longest header has 18 bytes
    if head[:4] != b"\x28\xb5\x2f\xfd":
        return None
    descriptor = head[4]
    single, dictionary = bool(descriptor & 32), (0, 1, 2, 4)[descriptor & 3]
    field = (int(single), 2, 4, 8)[descriptor >> 6]
    start = 5 + (not single) + dictionary
    if not field:
        return None
    return int.from_bytes(head[start : start + field], "little") + (256 if field == 2 else 0)


def check_offsets(where: str, offsets: np.ndarray, size: int) -> None:
    """Refuses offsets of pictures that do not run from 0 to the end of the images, ever upwards.

    Raises:
        InputError: they do not.
    """
    wide = offsets.astype(np.int64)
    if not len(wide) or wide[0] != 0 or wide[-1] != size or (np.diff(wide) < 0).any():
        raise InputError(where, "holds offsets that point outside its pictures", _REMEDY)
