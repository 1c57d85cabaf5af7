"""Builds in processes that can be killed: one process imports everything, and forks a child for every build.

Run as a script it is that process. It makes every recipe's pixels once, so that its children do little but write; it
touches no store itself, so they start clean. Every line on its standard input is an order in JSON, and every order is
answered by one line.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


class Nursery:
    """The other end: starts builds, kills them and waits for them."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def start(self, url: str, words: list[str]) -> int:
        """Starts a build of coco_lower with these `--set` words and returns its process id."""
        return int(self._ask({"url": url, "words": words}))

    def kill(self, pid: int) -> None:
        """Kills a build as a cluster does that takes a node away. Its process must not have been waited for."""
        os.kill(pid, signal.SIGKILL)

    def wait(self, pid: int) -> int:
        """Waits for a build's end: 0, or minus the signal that killed it."""
        return int(self._ask({"wait": pid}))

    def _ask(self, order: Mapping[str, Any]) -> str:
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return self._process.stdout.readline()


@contextmanager
def nursery() -> Iterator[Nursery]:
    """Runs the process that forks; its environment is the one at hand."""
    here = Path(__file__)
    environment = os.environ | {"PYTHONPATH": f"{here.parents[1]}:{here.parent}"}
    with subprocess.Popen(
        [sys.executable, str(here)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment | {"OMP_NUM_THREADS": "1"},
    ) as process:
        try:
            yield Nursery(process)
        finally:
            process.kill()


def _serve() -> None:
    from quick_builds import make_ahead, quicken, run  # imports all rooms: seconds, once

    from pipeline import recipes

    quicken(pytest.MonkeyPatch(), thin=False, serial=False)
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            answer = os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1])
        else:
            recipe = recipes.load("coco_lower", order["words"])
            make_ahead(recipe)
            answer = os.fork()
            if not answer:
                run(recipe, order["url"])
                os._exit(0)
        print(answer, flush=True)  # noqa: T201


if __name__ == "__main__":
    _serve()
