"""What was published, under which names, and what changed from one state to another."""

import json
import re
from collections.abc import Iterable, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from schemas import manifest, untrusted
from schemas.errors import InputError
from schemas.manifest import Commit, Dataset
from schemas.manifest_checks import read_names
from schemas.shards import ShardReceipt, changed_inputs
from schemas.store import Store

_TAG_PATH = re.compile(r"tags/(?!\d+\.json$)([A-Za-z0-9][A-Za-z0-9._-]{0,99})\.json")
"""What no tag can be called, such as a synchronised folder's `paper (1).json`, is none."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One commit of the history."""

    commit: Commit
    tags: tuple[str, ...]
    added: int | None
    """Shards that the commit before did not name; None where that commit, or a manifest, is gone."""
    removed: int | None


def history(url: str) -> list[Entry]:
    """Returns all commits but those that are cut short, newest first, with what changed in each.

    Raises:
        InputError: the store cannot be reached, or a commit or tag is broken.
    """
    tagged: dict[int, list[str]] = {}
    for name, number in tags(url).items():
        tagged.setdefault(number, []).append(name)
    entries = []
    before: set[tuple[str, str]] | None = set()
    last: str | None = None
    held = {*Store(url).list_paths("manifests")}
    for commit in manifest.read_commits(url, manifest.commit_numbers(url)):
        now = before if commit.dataset_id == last else _names(url, commit.dataset_id, held)
        added = removed = None
        if now is not None and before is not None and commit.parent == last:
            added, removed = len(now - before), len(before - now)
        names = tuple(tagged.get(commit.number, ()))
        entries.append(Entry(commit=commit, tags=names, added=added, removed=removed))
        before, last = now, commit.dataset_id
    return entries[::-1]


def _names(url: str, dataset_id: str, held: Set[str]) -> set[tuple[str, str]] | None:
    if manifest.manifest_path(dataset_id) not in held:
        return None
    return {(name.action_key, name.digest) for name in read_names(url, dataset_id)}


def tags(url: str) -> dict[str, int]:
    """Returns every tag's commit by its name, sorted.

    Raises:
        InputError: a tag is broken, or the store cannot be reached.
    """
    found = {}
    for path in Store(url).list_paths("tags"):
        if match := _TAG_PATH.fullmatch(path):
            number = _tagged(url, match.group(1))
            if number is not None:
                found[match.group(1)] = number
    return found


def _tagged(url: str, name: str) -> int | None:
    """Reads which commit a tag names; None where there is no such tag."""
    path = manifest.tag_path(name)
    try:
        return int(untrusted.json_object(Store(url).get_bytes(path))["number"])
    except FileNotFoundError:
        return None
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise InputError(
            f"{url}/{path}",
            f"is no readable tag ({error!r})",
            f"tag --delete {name}, then tag again",
        ) from error


def add_tag(url: str, name: str, reference: str | None = None) -> Commit:
    """Names a commit for good, by default the newest complete one; `URL@name` opens it, gc keeps it.

    Raises:
        InputError: no such commit, no fit name, or the name is taken by another commit.
    """
    path = manifest.tag_path(name)
    chosen = manifest.open_dataset(url if reference is None else f"{url}@{reference}").commit
    document = {
        "number": chosen.number,
        "dataset_id": chosen.dataset_id,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    made = Store(url).create_bytes(path, json.dumps(document, indent=1).encode())
    # The same again is no error: it may be this very write, whose acknowledgement was lost.
    if not made and (number := _tagged(url, name)) != chosen.number:
        raise InputError(
            name, f"is taken: it names commit {number}", f"Choose another name, or --delete {name}"
        )
    try:
        # A garbage collection may have dropped the commit just now; it looks for tags after its deletion.
        manifest.read_commit(url, chosen.number)
    except InputError as error:
        # A store that fails says nothing of the commit; the tag may be an old one.
        if isinstance(error.__cause__, FileNotFoundError):
            Store(url).objects.delete(path)
        raise
    return chosen


def delete_tag(url: str, name: str) -> int:
    """Removes a name, not what it names; returns the commit's number.

    Raises:
        InputError: there is no such tag.
    """
    path = manifest.tag_path(name)
    number = _number_or_broken(url, name)
    if number is None:
        raise InputError(name, "is no tag here", "See python -m pipeline tag URL")
    Store(url).objects.delete(path)
    return number


def _number_or_broken(url: str, name: str) -> int | None:
    try:
        return _tagged(url, name)
    except InputError:  # a broken tag can be deleted all the same
        return -1


@dataclass(frozen=True, kw_only=True)
class Changed:
    """One shard that is in both states under different names, or with different bytes."""

    before: ShardReceipt
    after: ShardReceipt
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What must be done to come from one state to another."""

    before: Dataset
    after: Dataset
    added: tuple[ShardReceipt, ...]
    removed: tuple[ShardReceipt, ...]
    changed: tuple[Changed, ...]
    recipe: tuple[str, ...]
    """Recipe lines that differ: `dotted.path: old -> new`."""

    @property
    def empty(self) -> bool:
        """Says whether there is none."""
        return not (self.added or self.removed or self.changed or self.recipe)


def difference(before: Dataset, after: Dataset) -> Difference:
    """Compares two states, of one dataset or of two.

    A shard that keeps its source, lot, split and first member is changed; the others come and go.
    """
    same = {_identity(r) for r in before.shards} & {_identity(r) for r in after.shards}
    old = {_place(r): r for r in before.shards if _identity(r) not in same}
    new = {_place(r): r for r in after.shards if _identity(r) not in same}
    both = sorted(old.keys() & new.keys())
    return Difference(
        before=before,
        after=after,
        added=_ordered(new[place] for place in new.keys() - old.keys()),
        removed=_ordered(old[place] for place in old.keys() - new.keys()),
        changed=tuple(
            Changed(before=old[p], after=new[p], reasons=reasons(old[p], new[p])) for p in both
        ),
        recipe=tuple(changed_inputs(before.recipe, after.recipe)),
    )


def reasons(before: ShardReceipt, after: ShardReceipt) -> tuple[str, ...]:
    """Says why a shard was made again: which members and inputs changed."""
    found = []
    if before.key.members != after.key.members:
        gone = set(before.key.members) - set(after.key.members)
        come = set(after.key.members) - set(before.key.members)
        found.append(f"members: +{len(come)} -{len(gone)}")
    found += changed_inputs(before.inputs, after.inputs)
    if found:
        return tuple(found)
    if before.action_key == after.action_key:
        return ("the same inputs gave other bytes",)
    return ("the shards do not say what they were made of",)


def _identity(receipt: ShardReceipt) -> tuple[Any, ...]:
    return (receipt.key, receipt.action_key, receipt.root)


def _place(receipt: ShardReceipt) -> tuple[Any, ...]:
    key = receipt.key
    return (key.source, key.lot, key.split, key.members[:1])


def _ordered(receipts: Iterable[ShardReceipt]) -> tuple[ShardReceipt, ...]:
    return tuple(sorted(receipts, key=lambda r: (r.key, r.action_key)))


def difference_json(found: Difference) -> dict[str, Any]:
    """Returns a difference as JSON values."""
    return {
        "before": {"dataset_id": found.before.dataset_id, **_counts(found.before)},
        "after": {"dataset_id": found.after.dataset_id, **_counts(found.after)},
        "added": [_shard(r) for r in found.added],
        "removed": [_shard(r) for r in found.removed],
        "changed": [
            {"key": str(c.after.key), "before": c.before.action_key, "after": c.after.action_key}
            | {"reasons": list(c.reasons)}
            for c in found.changed
        ],
        "recipe": list(found.recipe),
    }


def _counts(dataset: Dataset) -> dict[str, int]:
    return {"shards": len(dataset.shards), "rows": dataset.rows, "bytes": dataset.bytes}


def _shard(receipt: ShardReceipt) -> dict[str, Any]:
    return {"key": str(receipt.key), "action_key": receipt.action_key, "rows": receipt.rows}


def entry_json(entry: Entry) -> dict[str, Any]:
    """Returns an entry of the history as JSON values."""
    commit = entry.commit
    return {
        "number": commit.number,
        "complete": commit.complete,
        "dataset_id": commit.dataset_id,
        "parent": commit.parent,
        "created": commit.created,
        "shards": commit.shards,
        "rows": commit.rows,
        "bytes": commit.bytes,
        "recipe": commit.recipe.get("name", ""),
        "tags": list(entry.tags),
        "added": entry.added,
        "removed": entry.removed,
    }
