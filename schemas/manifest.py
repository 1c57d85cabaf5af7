"""What a dataset consists of: a Parquet manifest of shard receipts, and a chain of commits that name one.

A commit is created exclusively under the next number; who loses the race reads again and tries the next.
The dataset id is the digest of the sorted shards, so equal content has an equal id on every machine.
"""

import functools
import importlib.metadata
import json
import logging
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from schemas import receipts, untrusted
from schemas.errors import InputError
from schemas.shards import ShardReceipt
from schemas.spool import Spool
from schemas.statistics import Statistics, total
from schemas.store import Store

log = logging.getLogger(__name__)
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_COMMIT = re.compile(r"commits/(\d{20})\.json")
_TOOLS = ("numpy", "zarr", "opensim", "anny", "moderngl", "simplejpeg", "opencv-python-headless")


@dataclass(frozen=True, kw_only=True)
class Commit:
    """One link of the chain: what was published, when, by what; without its shards."""

    number: int
    dataset_id: str
    parent: str | None
    created: str
    complete: bool
    """False for what an unfinished build had made so far; readers pass over it."""
    last_complete: int | None
    """The newest complete commit up to this one."""
    recipe: dict[str, Any]
    tools: dict[str, str]
    shards: int
    rows: int
    bytes: int
    build: dict[str, Any]
    """How it was made: samples made, seconds, engine. Provenance only, not identity."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One published state of a dataset."""

    url: str
    commit: Commit
    shards: tuple[ShardReceipt, ...]

    @property
    def number(self) -> int:
        """Returns the commit's place in the chain."""
        return self.commit.number

    @property
    def dataset_id(self) -> str:
        """Returns the identity of the content."""
        return self.commit.dataset_id

    @property
    def recipe(self) -> dict[str, Any]:
        """Returns the recipe as a document."""
        return self.commit.recipe

    @property
    def store(self) -> Store:
        """Returns the store that the shards lie in."""
        return Store(self.url)

    @property
    def rows(self) -> int:
        """Returns the number of samples."""
        return sum(shard.rows for shard in self.shards)

    @property
    def bytes(self) -> int:
        """Returns the stored size of all shards."""
        return sum(shard.bytes for shard in self.shards)

    @functools.cached_property
    def statistics(self) -> Statistics:
        """Returns the merged statistics of all shards.

        Raises:
            InputError: a shard's cannot be read, or do not add up with the others'.
        """
        try:
            return total(shard.statistics for shard in self.shards)
        except untrusted.BROKEN as error:
            why = f"holds statistics that cannot be read ({error})"
            raise InputError(self.url, why, "Do not trust this dataset") from error

    @property
    def lots(self) -> dict[str, dict[str, Any]]:
        """Returns the recipe's lots of motions; none where a stranger wrote something else."""
        motions = self.recipe.get("motions")
        held = motions if isinstance(motions, dict) else {}
        return {name: lot for name, lot in held.items() if isinstance(lot, dict)}

    @property
    def skeletons(self) -> tuple[str, ...]:
        """Returns the fingerprints of the skeletons in use, sorted; COCO has none."""
        return tuple(sorted({shard.skeleton for shard in self.shards} - {""}))


def split_reference(url: str) -> tuple[str, str | None]:
    """Parts `URL@reference`; a reference is a commit's number, a tag, or the beginning of a dataset id."""
    base, at, reference = url.rpartition("@")
    return (base, reference) if at and base and "/" not in reference else (url, None)


def commit_path(number: int) -> str:
    """Returns where a commit lies."""
    return f"commits/{number:020d}.json"


def tag_path(name: str) -> str:
    """Returns where a tag lies.

    Raises:
        InputError: not a name of letters, digits, `.`, `_`, `-` that could not be a commit's number.
    """
    if not _TAG.fullmatch(name) or name.isdecimal():
        raise InputError(
            name, "is no name for a tag", "Use letters, digits, '.', '_', '-', not digits alone"
        )
    return f"tags/{name}.json"


def commit_numbers(url: str) -> list[int]:
    """Returns the numbers of all commits, ascending, by one listing and a read past its end.

    A listing may lag behind, and who takes an old commit for the newest would publish on top of it for ever.
    """
    store = Store(url)
    found = (_COMMIT.fullmatch(path) for path in store.list_paths("commits"))
    return following_commits(url, [int(match.group(1)) for match in found if match])


def following_commits(url: str, numbers: Iterable[int]) -> list[int]:
    """Adds the numbers of commits after known ones: the next are asked for by name."""
    objects, known = Store(url).objects, list(numbers)
    while True:
        following = known[-1] + 1 if known else 0
        try:
            objects.get(commit_path(following))
        except FileNotFoundError:
            return known
        known.append(following)


def read_commit(url: str, number: int) -> Commit:
    """Reads one commit.

    Raises:
        InputError: it is not there, or is none.
    """
    path = commit_path(number)
    with readable(url, path):
        data = untrusted.json_object(Store(url).get_bytes(path))
        untrusted.check_depth(data)
        if data["number"] != number:
            raise ValueError(f"its number is {data['number']!r:.40}")
        return Commit(
            number=int(data["number"]),
            dataset_id=receipts.checked_digest(data["dataset_id"]),
            parent=data["parent"],
            created=str(data["created"]),
            complete=bool(data["complete"]),
            last_complete=None if data["last_complete"] is None else int(data["last_complete"]),
            recipe=dict(data["recipe"]),
            tools=dict(data["tools"]),
            shards=int(data["shards"]),
            rows=int(data["rows"]),
            bytes=int(data["bytes"]),
            build=dict(data["build"]),
        )


def read_shards(url: str, dataset_id: str, spool: Spool | None = None) -> tuple[ShardReceipt, ...]:
    """Reads a manifest; with a spool its statistics wait there.

    Raises:
        InputError: it is not there, or is none, or is not what its name says.
    """
    with readable(url, f"manifests/{dataset_id}"):
        data = Store(url).objects.get(manifest_path(dataset_id))
        found = receipts.from_parquet(data, spool)
        if receipts.identity_of(found) != dataset_id:
            raise ValueError("its content is not what its name says")
        return found


def manifest_path(dataset_id: str) -> str:
    """Returns where the manifest of that identity lies."""
    return f"manifests/{receipts.checked_digest(dataset_id)}.parquet"


@contextmanager
def readable(url: str, path: str) -> Iterator[None]:
    """Turns whatever a broken document raises into one paragraph that names it."""
    try:
        yield
    except FileNotFoundError as error:
        remedy = "Build the dataset again, or put it back from a copy"
        raise InputError(f"{url}/{path}", "is missing", remedy) from error
    except (*untrusted.BROKEN, OSError, pa.ArrowException) as error:
        raise InputError(
            f"{url}/{path}", f"cannot be read ({error!r})", "Build the dataset again"
        ) from error


def open_dataset(url: str) -> Dataset:
    """Opens the newest complete state, or the one that `URL@reference` names.

    Raises:
        InputError: nothing is published there, or it cannot be reached or read.
    """
    base, reference = split_reference(url)
    commit = find_commit(base, reference)
    if commit is None:
        raise InputError(url, "holds no published dataset", "Check the URL, or build it first")
    if reference is None and not commit.complete:
        if commit.last_complete is None:
            raise InputError(
                url,
                f"holds only an unfinished build ({commit.shards} shards so far)",
                f"Let the build finish, or open {base}@{commit.number}",
            )
        commit = read_commit(base, commit.last_complete)
    return Dataset(url=base, commit=commit, shards=read_shards(base, commit.dataset_id))


def find_dataset(url: str, spool: Spool | None = None) -> Dataset | None:
    """Opens the newest state, complete or not, or returns None where nothing is published."""
    commit, _ = _head(url)
    if commit is None:
        return None
    return Dataset(url=url, commit=commit, shards=read_shards(url, commit.dataset_id, spool))


def _head(url: str) -> tuple[Commit | None, int]:
    """Returns the newest readable commit and the next free number.

    A commit that is cut short, as a power failure may leave it, was never acknowledged; its number stays taken.
    """
    numbers = commit_numbers(url)
    free = numbers[-1] + 1 if numbers else 0
    return next(read_commits(url, reversed(numbers)), None), free


def read_commits(url: str, numbers: Iterable[int]) -> Iterator[Commit]:
    """Reads commits in the order given; one that is cut short is passed over with a warning."""
    for number in numbers:
        try:
            yield read_commit(url, number)
        except InputError as error:
            if not isinstance(error.__cause__, json.JSONDecodeError):
                raise
            log.warning("%s is cut short and passed over", error.value)


def find_commit(url: str, reference: str | None) -> Commit | None:
    """Finds a commit by its number, a tag, the beginning of its dataset id, or the newest; None where none is.

    Raises:
        InputError: a reference that names nothing.
    """
    if reference is None:
        commit, free = _head(url)
        return read_commit(url, free - 1) if commit is None and free else commit
    numbers = commit_numbers(url)
    if reference.isdecimal() and int(reference) in numbers:
        return read_commit(url, int(reference))
    if _TAG.fullmatch(reference) and not reference.isdecimal():
        try:
            data = Store(url).get_bytes(tag_path(reference))
            with readable(url, tag_path(reference)):
                number = int(untrusted.json_object(data)["number"])
            return read_commit(url, number)
        except FileNotFoundError:
            pass
    if len(reference) >= 6:
        for commit in read_commits(url, reversed(numbers)):
            if commit.dataset_id.startswith(reference):
                return commit
    raise InputError(
        f"{url}@{reference}",
        "names no commit, tag or dataset id",
        "See python -m pipeline log",
    )


def publish(
    url: str,
    recipe: dict[str, Any],
    shards: Iterable[ShardReceipt],
    *,
    complete: bool = True,
    build: dict[str, Any] | None = None,
) -> Dataset:
    """Makes a set of written shards the newest state of the dataset and returns it; the same state again is a no-op.

    Who loses the race for a number takes the next one, on top of the winner: both states stay in the chain. A write
    whose acknowledgement was lost is recognised by the id inside the commit. The manifest is put and not created: its
    name says its content, and one that was cut short by a power failure is mended.
    """
    store = Store(url)
    rows = sorted(shards, key=lambda r: (r.key, r.action_key))
    identity = receipts.identity_of(rows)
    write_id = secrets.token_hex(16)
    written = False
    while True:
        head, number = _head(url)
        if head and (head.dataset_id, head.recipe, head.complete) == (identity, recipe, complete):
            if manifest_path(identity) not in store.list_paths("manifests"):  # someone deleted it
                store.put_bytes(manifest_path(identity), receipts.to_parquet(rows))
            return Dataset(url=url, commit=head, shards=tuple(rows))
        if not written:  # after the comparison: the same state again writes nothing
            written = True
            store.put_bytes(manifest_path(identity), receipts.to_parquet(rows))
        commit = Commit(
            number=number,
            dataset_id=identity,
            parent=head.dataset_id if head else None,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            complete=complete,
            last_complete=number if complete else (head.last_complete if head else None),
            recipe=recipe,
            tools=tool_versions(),
            shards=len(rows),
            rows=sum(r.rows for r in rows),
            bytes=sum(r.bytes for r in rows),
            build=build or {},
        )
        document = asdict(commit) | {"write_id": write_id}
        if _create(store, commit_path(number), document, write_id):
            return Dataset(url=url, commit=commit, shards=tuple(rows))


def _create(store: Store, path: str, document: dict[str, Any], write_id: str) -> bool:
    """Creates a commit; says whether it is ours, also where the store's answer was lost."""
    try:
        if store.create_bytes(path, json.dumps(document, indent=1, sort_keys=True).encode()):
            return True
    except InputError:
        if not _is_ours(store, path, write_id):
            raise
        return True
    return _is_ours(store, path, write_id)


def _is_ours(store: Store, path: str, write_id: str) -> bool:
    try:
        return bool(untrusted.json_object(store.get_bytes(path)).get("write_id") == write_id)
    except (FileNotFoundError, ValueError):
        return False


def tool_versions() -> dict[str, str]:
    """Returns the versions of what shapes a shard's bytes, for provenance."""
    return {name: importlib.metadata.version(name) for name in _TOOLS}
