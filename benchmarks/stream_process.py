"""Runs one loader of `benchmarks.stream` in a fresh process, watches its memory, and serves the media."""

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import obstore
from obstore.store import from_url

from benchmarks.slow_proxy import slow_proxy
from benchmarks.stream_run import tree

_TIMEOUT = 300.0
_WATCH_SECONDS = 0.3
_DELAY = 0.025


class Case(NamedTuple):
    """One loader at one setting on one medium."""

    medium: str
    loader: str
    workers: int

    def __str__(self) -> str:
        return f"{self.loader} with {self.workers} on {self.medium}"


class Medium(NamedTuple):
    """Where the formats lie, one folder per loader, and the environment that leads there."""

    base: str
    environment: dict[str, str]


class Failed(Exception):
    """Says why a loader could not run."""


@contextmanager
def media(folder: Path, names: Sequence[str], wanted: Sequence[str]) -> Iterator[dict[str, Medium]]:
    """Serves what is in `folder` from each medium."""
    with ExitStack() as stack:
        places = {"local": Medium(str(folder), {})}
        if any(medium.startswith("s3") for medium in wanted):
            sys.path.append(str(Path(__file__).parents[1] / "tests"))  # which are no package
            server = importlib.import_module("s3_server")
            (folder / "server").mkdir()
            environment = stack.enter_context(server.s3_server(folder / "server"))
            base = f"s3://{server.BUCKET}"
            _upload(folder, [n for n in names if n != "decode-bound"], base, environment)
            slow = stack.enter_context(slow_proxy(environment["AWS_ENDPOINT_URL"], _DELAY))
            places["s3"] = Medium(base, environment)
            places["s3+25ms"] = Medium(base, environment | {"AWS_ENDPOINT_URL": slow})
        yield places


def _upload(folder: Path, names: Sequence[str], base: str, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    store = from_url(base, client_options={"allow_http": True, "timeout": "120s"})
    for name in names:
        for path in sorted(p for p in (folder / name).rglob("*") if p.is_file()):
            obstore.put(store, str(path.relative_to(folder)), path)


def time_case(
    case: Case, python: str, words: Sequence[str], places: dict[str, Medium], folder: Path
) -> dict[str, float]:
    """Times one case with an empty cache.

    Raises:
        Failed: it could not run, or did not deliver what it should.
    """
    medium = places[case.medium]
    if case.medium == "local":
        drop_pages(folder / case.loader)
    with tempfile.TemporaryDirectory(prefix="c", ignore_cleanup_errors=True) as cache:
        url = f"{medium.base}/{case.loader}"
        place = ["--url", url, "--cache", f"{cache}/c", "--workers", str(case.workers)]
        command = [python, "-m", "benchmarks.stream_run", case.loader, "time", *place, *words]
        return ask(command, medium.environment | {"HF_HOME": cache}, folder)


def drop_pages(folder: Path) -> None:
    """Makes the next reading of a folder's files come from the disk, as far as the system lets us."""
    for path in (p for p in folder.rglob("*") if p.is_file()):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def ask(command: Sequence[str], environment: dict[str, str], folder: Path) -> dict[str, Any]:
    """Runs a command; returns the JSON object of its last line, with the peak memory of all its processes.

    Raises:
        Failed: with the last line of its complaint.
    """
    out, complaint = folder / "out.txt", folder / "complaint.txt"
    with out.open("wb") as stdout, complaint.open("wb") as stderr:
        process = subprocess.Popen(
            command,
            stdout=stdout,
            stderr=stderr,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
            start_new_session=True,
        )
        seen, peak = _watch(process)
    _end(seen)
    if process.returncode != 0:
        last = complaint.read_text(errors="replace").strip().splitlines()[-1:] or ["no complaint"]
        raise Failed(f"exit {process.returncode}: {last[0][:300]}")
    found: dict[str, Any] = json.loads(out.read_text().splitlines()[-1])
    return found | {"peak_mib": peak / 2**20}


def _watch(process: subprocess.Popen[bytes]) -> tuple[dict[int, str], int]:
    """Waits; returns all processes seen with their start times, and the peak of their memory in bytes."""
    seen: dict[int, str] = {}
    peak, deadline = 0, time.monotonic() + _TIMEOUT
    while process.poll() is None:
        members = tree(process.pid)
        seen |= {pid: born for pid in members if (born := _born(pid))}
        peak = max(peak, sum(map(_proportional, members)))
        if time.monotonic() > deadline:
            process.kill()
        try:
            process.wait(_WATCH_SECONDS)
        except subprocess.TimeoutExpired:
            continue
    return seen, peak


def _end(seen: dict[int, str]) -> None:
    """Ends what a loader left running; a number that now names another process is left alone."""
    for pid, born in seen.items():
        if _born(pid) == born:
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue


def _born(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _proportional(pid: int) -> int:
    """Returns a process' proportional set size: what it shares counts once over all who share it."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
