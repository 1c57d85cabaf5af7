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

KILLS = 100


def stream(url: str) -> SampleStream:
    """Opens the dataset as a trainer does."""
    corpus = open_corpus([manifest.open_dataset(url)], "train")
    options = Streaming(lanes=4, window=8)
    return SampleStream(
        corpus=corpus, arrays=("box",), batch=4, seed=1, options=options, last="keep"
    )


def read_on(url: str, position: str, out: int) -> None:
    """Writes each batch's sample ids and the position after it as one line, slowly enough to be killed."""
    s = stream(url)
    epoch, step = s.resume(Position.from_json(position)) if position else (0, 0)
    for _, batch in s.batches(epoch, lambda b: b, first_step=step):
        step += 1
        line = {"ids": batch.arrays["sample_id"].tolist(), "at": s.position(epoch, step).to_json()}
        os.write(out, json.dumps(line).encode() + b"\n")
        time.sleep(0.002)
    os.write(out, b"end\n")


def survive(url: str) -> None:
    """Runs in a process of its own, which never starts a thread: forks readers and kills all but the last."""
    rng, position, shown, kills = random.Random(0), "", list[list[int]](), 0
    while True:
        end, out = os.pipe()
        if not (pid := os.fork()):
            read_on(url, position, out)
            os._exit(0)
        os.close(out)
        if kills < KILLS:
            time.sleep(rng.uniform(0.0, 0.06))
            os.kill(pid, signal.SIGKILL)
            kills += 1
        with os.fdopen(end) as lines:
            found = lines.read().splitlines()
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
    tiny_crops.publish(url, {"train": [40] * 60})
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
    assert found["kills"] == KILLS
