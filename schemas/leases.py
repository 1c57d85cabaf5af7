"""What a running build wants, written beside the dataset, so that a garbage collection spares it.

A lease is `builds/<random id>.json`. Its holder writes the same bytes over it every few minutes, so a write that
comes late or twice changes nothing but the lease's age, and one that was swept by mistake comes back. Ages are
differences of two times of the store's own clock; no client's clock takes part.

A garbage collection shows itself as `builds/<random id>.sweep`, renewed likewise. It looks for leases after it has
shown itself, a build looks for collections after it has its lease: one of the two sees the other. A collection spares
what a lease wants; a build waits until no collection is under way.
"""

import json
import logging
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from schemas import objects, untrusted
from schemas.errors import InputError
from schemas.objects import Found, Objects

log = logging.getLogger(__name__)
RENEW_SECONDS = 240.0
DEAD_AFTER = timedelta(hours=1)
"""A lease that was not renewed for so long belongs to a build that is no more."""
SWEEP_DEAD_AFTER = timedelta(minutes=5)
"""A collection that was not renewed for so long was killed; builds wait no longer for it."""
_LEASE = re.compile(r"builds/([0-9a-f]{32})\.json")
_SWEEP = re.compile(r"builds/([0-9a-f]{32})\.sweep")
_SWEEP_RENEW_SECONDS = 60.0
_POLL_SECONDS = 1.0
_FAREWELL_SECONDS = 200.0
_LISTED_TRIES = 10


@dataclass(frozen=True, kw_only=True)
class Lease:
    """What one build said it wants."""

    path: str
    wanted: frozenset[str]
    """Action keys, of shards that exist or are to be made."""
    host: str
    pid: int
    created: str
    """By the holder's clock, for people only."""
    age: timedelta
    """Since the last renewal, by the store's clock."""
    alive: bool
    """False where the age exceeds the grace period."""


@contextmanager
def hold(
    url: str, wanted: Collection[str], *, renew_seconds: float = RENEW_SECONDS
) -> Iterator[None]:
    """Says that these shards are wanted for as long as the block runs. Enter it before looking what exists.

    Waits for a garbage collection that is under way. A store that fails while the lease is renewed is logged and tried
    again; it does not end the build.

    Args:
        url: the dataset.
        wanted: action keys.
        renew_seconds: how often the lease is renewed; far below `DEAD_AFTER`.

    Raises:
        InputError: the lease cannot be written at the start.
    """
    with _shown(url, "json", _document(wanted), renew_seconds):
        _wait_for_sweeps(url)
        yield


@contextmanager
def sweep(url: str) -> Iterator[None]:
    """Says that objects are being deleted for as long as the block runs. Enter it before looking for leases.

    Raises:
        InputError: that cannot be written at the start.
    """
    with _shown(url, "sweep", b"", _SWEEP_RENEW_SECONDS):
        yield


@contextmanager
def _shown(url: str, suffix: str, data: bytes, renew_seconds: float) -> Iterator[None]:
    """Keeps a small object young for as long as the block runs."""
    store = objects.open_objects(url)
    path = f"builds/{secrets.token_hex(16)}.{suffix}"
    # The name is random: whatever lies there is ours, also where the first acknowledgement was lost.
    store.create(path, data)
    over = threading.Event()
    renewer = threading.Thread(
        target=_renew, args=(store, path, data, over, renew_seconds), name="lease", daemon=True
    )
    renewer.start()
    try:
        yield
    finally:
        over.set()
        # A renewal under way would bring the lease back; what outlasts this wait dies of age.
        renewer.join(_FAREWELL_SECONDS)
        try:
            store.delete(path)
        except InputError as error:
            log.warning("a lease stays until it is too old: %s", error)


def _wait_for_sweeps(url: str) -> None:
    told = False
    while sweeps(url):
        if not told:
            log.warning(
                "%s: waiting for a garbage collection; one that was killed is waited for %d minutes at most",
                *(url, SWEEP_DEAD_AFTER / timedelta(minutes=1)),
            )
        told = True
        time.sleep(_POLL_SECONDS)


def sweeps(url: str) -> frozenset[str]:
    """Returns the paths of the garbage collections under way.

    Raises:
        InputError: the store cannot be read or written to.
    """
    store = objects.open_objects(url)
    found = [entry for entry in store.listing("builds") if _SWEEP.fullmatch(entry.path)]
    if not found:
        return frozenset()
    oldest = store_now(url) - SWEEP_DEAD_AFTER
    return frozenset(entry.path for entry in found if entry.modified >= oldest)


def held(url: str, grace: timedelta = DEAD_AFTER) -> list[Lease]:
    """Reads all leases; one that was not renewed within the grace period is dead.

    A lease that cannot be read wants an unknown set: it is named, as only a person can judge it.

    Raises:
        InputError: the store cannot be read or written to, or a living lease is broken.
    """
    store = objects.open_objects(url)
    found = [entry for entry in store.listing("builds") if _LEASE.fullmatch(entry.path)]
    if not found:
        return []
    now = store_now(url)
    leases = (_read(url, store, entry, now, grace) for entry in found)
    return [lease for lease in leases if lease is not None]


def store_now(url: str) -> datetime:
    """Returns the time by the store's own clock: that of an object written for the purpose.

    Raises:
        InputError: the store cannot be written to, or does not list what was written.
    """
    store = objects.open_objects(url)
    path = f"builds/{secrets.token_hex(16)}.now"
    store.put(path, b"")
    try:
        for wait in range(_LISTED_TRIES):
            for found in store.listing("builds"):
                if found.path == path:
                    return found.modified
            time.sleep(0.05 * 2**wait)
    finally:
        store.delete(path)
    raise InputError(url, "the store does not list what was just written", "Try again later")


def _document(wanted: Collection[str]) -> bytes:
    document = {
        "wanted": sorted(wanted),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return json.dumps(document).encode()


def _renew(
    store: Objects, path: str, data: bytes, over: threading.Event, renew_seconds: float
) -> None:
    while not over.wait(renew_seconds):
        try:
            store.put(path, data)
        except InputError as error:
            log.warning("the build's lease could not be renewed and will be tried again: %s", error)


def _read(url: str, store: Objects, entry: Found, now: datetime, grace: timedelta) -> Lease | None:
    """Reads one lease; None where its build ended meanwhile."""
    age = now - entry.modified
    alive = age <= grace
    try:
        document = untrusted.json_object(bytes(store.get(entry.path)))
        return Lease(
            path=entry.path,
            wanted=frozenset(str(key) for key in document["wanted"]),
            host=str(document["host"]),
            pid=int(document["pid"]),
            created=str(document["created"]),
            age=age,
            alive=alive,
        )
    except FileNotFoundError:
        return None
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        if alive:
            where = f"{url}/{entry.path}"
            raise InputError(
                where, f"is no readable lease ({error!r})", "Delete it if no build is running"
            ) from error
        return Lease(
            path=entry.path,
            wanted=frozenset(),
            host="",
            pid=0,
            created="",
            age=age,
            alive=False,
        )
