"""One dataset on one URL: whole Zarr groups written once, small immutable objects, an exclusive create.

The only file that touches Zarr. A shard is assembled in memory, its objects are put in any order and its
root `zarr.json` last, so a group that opens is whole. No object is ever changed: its name says its content.
"""

import functools
import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numcodecs import zstd
from zarr.codecs import ZstdCodec

from schemas import files, objects, untrusted
from schemas.errors import InputError
from schemas.layout import ARRAYS
from schemas.shards import ShardContents
from schemas.skeleton import SkeletonSpec

_READERS = 16
_MEND = "Run python -m pipeline verify --delete-bad, then build again"
_NAMES = frozenset(spec.name for spec in ARRAYS) | {"image", "image_offset"}


class CutShort(InputError):
    """Refuses an object that a power failure cut short; writing it again mends it."""


@dataclass(frozen=True)
class Store:
    """A dataset's URL with the verbs that are safe on every object store. Picklable; opens lazily."""

    url: str

    @property
    def objects(self) -> objects.Objects:
        """Returns the operations on single objects."""
        return objects.open_objects(self.url)

    def get_bytes(self, path: str) -> bytes:
        """Reads one object; FileNotFoundError where there is none."""
        return bytes(self.objects.get(path))

    def put_bytes(self, path: str, data: bytes) -> None:
        """Writes one object whole; readers see the old state or the new one."""
        self.objects.put(path, data)

    def create_bytes(self, path: str, data: bytes) -> bool:
        """Writes one object only if its name is free; says whether this call made it."""
        return self.objects.create(path, data)

    def list_paths(self, prefix: str) -> list[str]:
        """Lists every object under a prefix, sorted."""
        return [found.path for found in self.objects.listing(prefix)]

    def action_keys(self) -> set[str]:
        """Returns the action keys of all shards that were begun, whole or not, by one listing of names."""
        return set(self.objects.folders("shards"))

    def write_shard(
        self,
        action_key: str,
        contents: ShardContents,
        receipt: Callable[[int, dict[str, str]], dict[str, Any]],
    ) -> tuple[int, str]:
        """Writes one whole shard; the root metadata, which makes it visible, goes last.

        Args:
            action_key: the shard's name.
            contents: images and arrays.
            receipt: given the bytes and digests of the data objects, returns the JSON attributes to
                store in the root metadata (so that a shard describes itself).

        Returns:
            Bytes of the data objects (the root, which says them, apart) and sha256 of the root.
        """
        objects = _encode(contents)
        bare = objects.pop("zarr.json")
        digests = {path: files.digest(data) for path, data in sorted(objects.items())}
        size = sum(len(data) for data in objects.values())
        root = _with_attributes(bare, receipt(size, digests))
        base = f"shards/{action_key}"
        with ThreadPoolExecutor(8) as pool:
            list(
                pool.map(lambda item: self.put_bytes(f"{base}/{item[0]}", item[1]), objects.items())
            )
        self.put_bytes(f"{base}/zarr.json", root)
        return size, files.digest(root)

    def read_arrays(
        self, action_key: str, names: Sequence[str], root: str | None = None
    ) -> dict[str, np.ndarray]:
        """Reads whole arrays of a shard, all objects at once; `image` comes as the flat JPEG bytes.

        Args:
            action_key: the shard's name.
            names: which arrays.
            root: sha256 of the shard's root metadata, as its receipt tells it. With it every object that is read
                is compared, and read once more where it differs, as what was damaged may be the way here.

        Raises:
            FileNotFoundError: no whole shard of that name.
            InputError: the shard is not one of ours, claims absurd sizes, or holds other bytes than its receipt says.
        """
        unknown = set(names) - _NAMES
        if unknown:
            raise ValueError(f"no such arrays: {sorted(unknown)}")
        document = self._parsed_root(action_key, self._get_checked(action_key, "zarr.json", root))
        listed = None if root is None else self._listed(action_key, document)
        consolidated = document.get("consolidated_metadata")
        meta = consolidated.get("metadata") if isinstance(consolidated, Mapping) else None

        def read(path: str) -> memoryview:
            digest = None if listed is None else listed.get(path, "")
            return self._get_checked(action_key, path, digest)

        arrays = _pool().map(lambda name: self._read_array(action_key, name, meta, read), names)
        found = dict(zip(names, arrays, strict=True))
        self._check_rows(action_key, found)
        return found

    def _get_checked(self, action_key: str, path: str, digest: str | None) -> memoryview:
        full = f"shards/{action_key}/{path}"
        data = self.objects.get(full)
        if digest is None or files.digest(data) == digest:
            return data
        again = self.objects.get(full)
        if files.digest(again) != digest:
            raise InputError(
                f"{self.url}/{full}",
                "holds other bytes than were written",
                _MEND,
            )
        return again

    def _listed(self, action_key: str, document: Mapping[str, Any]) -> dict[str, str]:
        try:
            return listed_digests(document)
        except (KeyError, TypeError, ValueError) as error:
            where = f"{self.url}/shards/{action_key}"
            raise InputError(where, "does not list its objects", "Build it again") from error

    def _check_rows(self, action_key: str, found: Mapping[str, np.ndarray]) -> None:
        """Refuses arrays that disagree on the number of samples, and pictures outside the images."""
        where = f"{self.url}/shards/{action_key}"
        rows = {len(a) - (n == "image_offset") for n, a in found.items() if n != "image"}
        if len(rows) > 1:
            raise InputError(where, f"has arrays of {sorted(rows)} samples", "Build it again")
        if "image" in found and "image_offset" in found:
            untrusted.check_offsets(where, found["image_offset"], len(found["image"]))

    def read_attributes(self, action_key: str) -> dict[str, Any]:
        """Returns the JSON that a shard says of itself: key, rows, digests, statistics, tables, …."""
        return self.read_root(action_key)[0]

    def read_root(self, action_key: str) -> tuple[dict[str, Any], str]:
        """Returns the JSON that a shard says of itself, and the sha256 of the root metadata that it stands in."""
        data = self.get_bytes(f"shards/{action_key}/zarr.json")
        held = self._parsed_root(action_key, data).get("attributes")
        attributes = held.get("kineforge") if isinstance(held, Mapping) else None
        if not isinstance(attributes, dict):
            raise InputError(
                f"{self.url}/shards/{action_key}", "is no Kineforge shard", "Check the URL"
            )
        return attributes, files.digest(data)

    def _parsed_root(self, action_key: str, data: bytes | memoryview) -> dict[str, Any]:
        try:
            return untrusted.json_object(bytes(data))
        except ValueError as error:
            raise CutShort(
                f"{self.url}/shards/{action_key}", "holds broken metadata", "Build again"
            ) from error

    def _read_array(
        self, action_key: str, name: str, meta: Any, read: Callable[[str], memoryview]
    ) -> np.ndarray:
        where = f"{self.url}/shards/{action_key}/{name}"
        entry = meta.get(name) if isinstance(meta, Mapping) else None
        if not isinstance(entry, Mapping):
            raise InputError(where, "is missing or malformed", "Build the shard again")
        shape = untrusted.check_array(where, name, entry)
        if 0 in shape:
            return np.empty(shape, entry["data_type"])
        raw = read("/".join([name, "c", *("0" for _ in shape)]))
        if name == "image":
            image = np.frombuffer(raw, np.uint8)
            if image.shape != shape:
                raise InputError(where, f"holds {len(image)} bytes, not {shape[0]}", "Build again")
            return image
        dtype = np.dtype(entry["data_type"]).newbyteorder("<")
        untrusted.check_frame(where, raw, int(np.prod(shape)) * dtype.itemsize)
        return _decode_chunk(where, raw, dtype, shape)

    def put_skeleton(self, spec: SkeletonSpec) -> None:
        """Stores a skeleton under its fingerprint; always put, so that one cut short is mended."""
        self.put_bytes(f"skeletons/{spec.fingerprint}.json", spec.to_json().encode())

    def read_skeleton(self, fingerprint: str) -> SkeletonSpec:
        """Reads a skeleton back and checks that it is the one named.

        Raises:
            InputError: it is not, or is missing or broken.
        """
        path = f"skeletons/{fingerprint}.json"
        try:
            spec = SkeletonSpec.from_json(self._get_small(path))
        except InputError:
            raise
        except ValueError as error:
            raise InputError(f"{self.url}/{path}", f"cannot be read ({error})", _MEND) from error
        if spec.fingerprint != fingerprint:
            raise InputError(
                fingerprint, "the stored skeleton has another fingerprint", "Build again"
            )
        return spec

    def put_model(self, osim: bytes) -> str:
        """Stores an `.osim` under its sha256 and returns that."""
        digest = files.digest(osim)
        self.put_bytes(f"models/{digest}.osim", osim)
        return digest

    def read_model(self, digest: str) -> bytes:
        """Reads the `.osim` of that sha256.

        Raises:
            InputError: it is missing.
        """
        return self._get_small(f"models/{digest}.osim")

    def _get_small(self, path: str) -> bytes:
        try:
            return self.get_bytes(path)
        except FileNotFoundError as error:
            raise InputError(f"{self.url}/{path}", "is missing", _MEND) from error


def listed_digests(root: Mapping[str, Any]) -> dict[str, str]:
    """Returns the sha256 of a shard's other objects by their paths in it, as its root metadata lists them.

    Raises:
        KeyError, TypeError, ValueError: it lists none.
    """
    listed = root["attributes"]["kineforge"]["receipt"]["digests"]
    if not isinstance(listed, dict) or not all(isinstance(d, str) for d in listed.values()):
        raise ValueError("no list of objects")
    return {path: digest for path, digest in listed.items() if path != "zarr.json"}


def _encode(contents: ShardContents) -> dict[str, bytes]:
    """Lays the shard out as Zarr v3 objects, by path; every array is exactly one chunk."""
    memory = zarr.storage.MemoryStore()
    group = zarr.create_group(memory, zarr_format=3)
    sizes = np.array([len(image) for image in contents.images], dtype="u8")
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    if offsets[-1] >= 2**32:
        raise InputError("shard_samples", "a shard's images exceed 4 GiB", "Lower shard_samples")
    flat = np.frombuffer(b"".join(contents.images), np.uint8)
    _add(group, "image", flat, compress=False)
    _add(group, "image_offset", offsets.astype("u4"), compress=True)
    for spec in ARRAYS:
        _add(
            group,
            spec.name,
            contents.arrays[spec.name].astype(spec.dtype, copy=False),
            compress=True,
        )
    with warnings.catch_warnings():
        # Inline consolidated metadata is Zarr's own convention for v3, and all our readers know it.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        zarr.consolidate_metadata(memory)
    return {path: data.to_bytes() for path, data in memory._store_dict.items()}


def _add(group: zarr.Group, name: str, values: np.ndarray, compress: bool) -> None:
    array = group.create_array(
        name,
        shape=values.shape,
        chunks=tuple(max(1, n) for n in values.shape),
        dtype=values.dtype,
        compressors=[ZstdCodec(level=3)] if compress else None,
        config={"write_empty_chunks": True},
    )
    array[...] = values


def _with_attributes(root: bytes, attributes: dict[str, Any]) -> bytes:
    document = json.loads(root)
    document["attributes"] = {"kineforge": attributes}
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _decode_chunk(
    where: str, raw: memoryview, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> np.ndarray:
    """Unpacks the one chunk of an array whose metadata was found to be `bytes` then `zstd`.

    By the codec that Zarr itself calls: opening an array through Zarr takes thirty times as long.
    """
    try:
        return np.frombuffer(zstd.decompress(raw), dtype).reshape(shape)
    except (RuntimeError, ValueError) as error:
        raise InputError(where, f"cannot be unpacked ({error})", "Build it again") from error


@functools.lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    """Returns the threads that read objects, made once a process."""
    return ThreadPoolExecutor(_READERS, thread_name_prefix="objects")


# Threads do not survive a fork.
os.register_at_fork(after_in_child=_pool.cache_clear)
