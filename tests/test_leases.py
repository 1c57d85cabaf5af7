"""What a running build wants: seen while it runs, gone after it, aged by the store's clock alone."""

import json
import logging
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from wrapped_objects import Wrapped, wrap

from schemas import leases, objects
from schemas.errors import InputError

KEYS = ["a" * 64, "b" * 64]


def paths(url: str) -> list[str]:
    return [found.path for found in objects.open_objects(url).listing("builds")]


def test_a_lease_is_seen_while_the_build_runs_and_gone_after_it(url: str) -> None:
    assert leases.held(url) == []
    with leases.hold(url, KEYS), leases.hold(url, []):
        found = leases.held(url)
        assert sorted(len(lease.wanted) for lease in found) == [0, 2]
        assert all(lease.alive and lease.pid > 0 and lease.host for lease in found)
    assert paths(url) == []


def test_a_lease_goes_though_the_build_fails(url: str) -> None:
    with pytest.raises(RuntimeError), leases.hold(url, KEYS):
        raise RuntimeError("the build")
    assert paths(url) == []


def test_a_lease_that_is_not_renewed_dies(url: str) -> None:
    with leases.hold(url, KEYS):
        time.sleep(1.1)  # some stores tell the time by whole seconds
        (lease,) = leases.held(url, timedelta(seconds=0.5))
        assert not lease.alive
        assert lease.age > timedelta(seconds=0.5)
        assert leases.held(url)[0].alive


def test_renewal_keeps_a_lease_young(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = wrap(monkeypatch, f"memory://{tmp_path.name}-renewed")
    with leases.hold(seen.url, KEYS, renew_seconds=0.01):
        seen.wait_for("put", 3)
    assert {path for name, path in seen.calls if name == "put"} == {seen.calls[0][1]}
    assert paths(seen.url) == []


@pytest.mark.parametrize("skew", [-3600, 3600])
def test_an_hour_of_clock_skew_does_not_matter(
    skew: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = wrap(monkeypatch, f"memory://{tmp_path.name}-skew")
    seen.skew = timedelta(seconds=skew)
    with leases.hold(seen.url, KEYS):
        (lease,) = leases.held(seen.url, timedelta(minutes=1))
        assert lease.alive
        assert abs(lease.age) < timedelta(minutes=1)


def test_a_store_that_fails_while_renewing_does_not_kill_the_build(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen = wrap(monkeypatch, f"memory://{tmp_path.name}-failing")
    tried = threading.Event()

    def fail(name: str, path: str) -> None:
        if name in ("put", "delete"):
            tried.set()
            raise InputError(seen.url, "the store is down", "Wait")

    seen.before = fail
    with caplog.at_level(logging.WARNING), leases.hold(seen.url, KEYS, renew_seconds=0.01):
        assert tried.wait(60)
    assert "could not be renewed" in caplog.text
    assert "stays until it is too old" in caplog.text
    seen.before = Wrapped.nothing
    assert len(paths(seen.url)) == 1


def test_a_living_lease_that_cannot_be_read_is_named(url: str) -> None:
    path = f"builds/{'0' * 32}.json"
    for broken in (b"{", b"[]", json.dumps({"wanted": 3}).encode()):
        objects.open_objects(url).put(path, broken)
        with pytest.raises(InputError, match="no readable lease"):
            leases.held(url)


def test_what_else_lies_among_the_leases_is_passed_over(url: str) -> None:
    for name in ("notes.txt", "x.json", f"{'0' * 32}.now"):
        objects.open_objects(url).put(f"builds/{name}", b"")
    assert leases.held(url) == []


def test_a_listing_that_never_shows_the_probe_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = wrap(monkeypatch, f"memory://{tmp_path.name}-blind")
    seen.hidden = lambda path: path.endswith(".now")
    monkeypatch.setattr(leases, "_LISTED_TRIES", 2)
    with pytest.raises(InputError, match="does not list"):
        leases.store_now(seen.url)
