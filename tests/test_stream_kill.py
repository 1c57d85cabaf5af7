"""A reader that is killed is followed by the next at once, a hundred times: nothing is left in its way."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import tiny_crops

from schemas import manifest
from schemas.training import Streaming
from trainers.corpus import open_corpus
from trainers.data import SampleStream
from trainers.position import Position

KILLS, BATCHES = 100, 600
_SHOWN, _MORE = 3, 2
"""Batches that a killed reader is let show before its kill is ordered, at most, and after that."""


def stream(url: str) -> SampleStream:
    """Opens the dataset as a trainer does."""
    corpus = open_corpus([manifest.open_dataset(url)], "train")
    options = Streaming(lanes=4, window=8)
    return SampleStream(
        corpus=corpus, arrays=("box",), batch=4, seed=1, options=options, last="keep"
    )


def read_on(url: str, position: str, out: int, most: int) -> None:
    """Writes each batch's sample ids and the position after it as one line; after `most` waits to be killed."""
    s = stream(url)
    epoch, step = s.resume(Position.from_json(position)) if position else (0, 0)
    for _, batch in s.batches(epoch, lambda b: b, first_step=step):
        step += 1
        line = {"ids": batch.arrays["sample_id"].tolist(), "at": s.position(epoch, step).to_json()}
        os.write(out, json.dumps(line).encode() + b"\n")
        most -= 1
        while most == 0:
            signal.pause()
    os.write(out, b"end\n")


def survive(url: str) -> None:
    """Runs in a process of its own, which never starts a thread: forks readers and kills all but the last."""
    rng, position, shown, kills = random.Random(0), "", list[list[int]](), 0
    while True:
        end, out = os.pipe()
        first = max(0, rng.randint(-_SHOWN, _SHOWN))
        if not (pid := os.fork()):
            read_on(url, position, out, first + _MORE if kills < KILLS else -1)
            os._exit(0)
        os.close(out)
        with os.fdopen(end) as lines:
            found = list[str]()
            if kills < KILLS:
                # Many die among their batches, however fast or slow the machine is, the others as they open.
                found += [lines.readline() for _ in range(first)]
                time.sleep(rng.uniform(0.0, 0.005 if first else 0.06))
                os.kill(pid, signal.SIGKILL)
                kills += 1
            found += lines.read().splitlines()
        _, status = os.waitpid(pid, 0)
        for line in found:
            if line != "end":
                shown.append(json.loads(line)["ids"])
                position = json.loads(line)["at"]
        if status == 0:
            break
    sys.stdout.write(json.dumps({"kills": kills, "shown": shown}))


def test_a_hundred_killed_readers_show_each_batch_once(tmp_path: Path) -> None:
    url = str(tmp_path / "set")
    assert KILLS * (_SHOWN + _MORE) < BATCHES
    tiny_crops.publish(url, {"train": [40] * (BATCHES // 10)})
    program = f"import sys; sys.path[:0] = ['.', 'tests']; import test_stream_kill as t; t.survive({url!r})"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    whole = [b.arrays["sample_id"].tolist() for _, b in stream(url).batches(0, lambda b: b)]
    assert found["shown"] == whole
    assert len(whole) == BATCHES
    assert found["kills"] == KILLS
