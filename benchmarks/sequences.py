"""Measures windows of 243 frames of labels: frames/s read from the store, and frames/s in the windows given out.

    OMP_NUM_THREADS=1 python -m benchmarks.sequences [--frames 65536] [--clip 512] [--threads 2] [--s3]

Clips of a real skeleton's size (the bundled model's coordinates, joints and markers; the values are random walks, as
zstd packs them like labels) are published as a build does, with one small picture in place of every frame, which no
window reads. `read_frames_per_s`: every frame once, from opening the dataset, windows laid end to end, nothing kept:
reading, checking and unpacking decide. `window_frames_per_s`: frames in the windows given out, one centred on every
frame, in the default shuffled order, cold. `centres_per_s` counts those windows. Labels are those a sequential net
learns from. Every centre is proved to come once, and its window to hold what was written. The last line is one JSON
object.
"""

import argparse
import importlib
import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from schemas import layout, manifest
from schemas.shards import ShardContents, ShardKey, canonical_digest
from schemas.statistics import Statistics
from schemas.store import Store
from schemas.training import Streaming
from trainers.corpus import open_corpus
from trainers.windows import Windows, WindowStream
from workers import images, osim, produce

LENGTH, BATCH = 243, 64
LABELS = ("q", "scale", "joints_cam", "markers_cam", "keypoints", "keypoint_visibility")


def publish(url: str, frames: int, clip: int) -> None:
    """Writes clips of `clip` frames, one to a shard."""
    sizes = osim.read_skeleton(osim.read_model("default")).sizes
    jpeg = images.encode(np.zeros((16, 16, 3), np.uint8), 50)
    store, receipts = Store(url), []
    for subject in range(-(-frames // clip)):
        key = ShardKey(source="synth", lot="clips", split="train", members=(subject,))
        arrays = _walk(subject, min(clip, frames - subject * clip), sizes)
        rows = len(arrays["time"])
        contents = ShardContents(images=[jpeg] * rows, arrays=arrays, planned=rows)
        name = canonical_digest(["benchmarks.sequences", str(key)])
        receipts.append(produce.write(store, key, name, contents, Statistics(), {}))
    manifest.publish(url, {"name": "sequences"}, receipts)


def _walk(subject: int, frames: int, sizes: layout.Sizes) -> dict[str, np.ndarray[Any, Any]]:
    """Returns smooth random labels; `q` begins with the subject and the frame, which prove what was read."""
    rng = np.random.default_rng(subject)
    arrays = layout.empty(sizes, frames)
    for name in LABELS:
        values = arrays[name]
        if values.dtype.kind == "f":
            values[...] = np.cumsum(rng.normal(0, 0.01, values.shape), axis=0)
    arrays["scale"][:] = arrays["scale"][0]
    arrays["q"][:, 0], arrays["q"][:, 1] = subject, np.arange(frames)
    arrays["group_id"][:], arrays["motion_id"][:] = subject, 0
    arrays["sample_id"][:] = subject * frames + np.arange(frames)
    arrays["time"][:] = np.arange(frames) / 30
    return arrays


def stream(url: str, threads: int, *, once: bool) -> WindowStream:
    """Opens the dataset; `once`: windows laid end to end in the stored order, else one about every frame, shuffled."""
    return WindowStream(
        corpus=open_corpus([manifest.open_dataset(url)], "train"),
        arrays=LABELS,
        batch=BATCH,
        seed=0,
        options=Streaming(threads=threads),
        length=LENGTH,
        stride=LENGTH if once else 1,
        shuffle=not once,
        last="keep",
    )


def check(windows: Windows) -> Windows:
    """Refuses a window whose frames are not its clip's, one after the other where the mask says so."""
    q = windows.arrays["q"]
    step = np.diff(q[..., 1], axis=1)
    both = windows.mask[:, 1:] & windows.mask[:, :-1]
    if (q[..., 0] != q[:, :1, 0]).any() or (step[both] != 1).any() or (step[~both] > 1).any():
        raise RuntimeError("a window holds frames that do not belong together")
    return windows


def measure(url: str, frames: int, threads: int) -> dict[str, float]:
    """Returns rates and the time to the first batch."""
    started, cpu = time.perf_counter(), time.process_time()
    for _ in stream(url, threads, once=True).batches(0, lambda windows: None):
        pass
    read, read_cpu = time.perf_counter() - started, time.process_time() - cpu
    started, cpu, first, centres = time.perf_counter(), time.process_time(), 0.0, []
    for _, rows in stream(url, threads, once=False).batches(0, lambda windows: windows.rows):
        first = first or time.perf_counter() - started
        centres.append(rows)
    seconds, used = time.perf_counter() - started, time.process_time() - cpu
    if not np.array_equal(np.sort(np.concatenate(centres)), np.arange(frames)):
        raise RuntimeError("not every frame was a centre once")
    return {
        "read_frames_per_s": frames / read,
        "read_cpu_us_per_frame": 1e6 * read_cpu / frames,
        "window_frames_per_s": frames * LENGTH / seconds,
        "centres_per_s": frames / seconds,
        "cpu_us_per_window": 1e6 * used / frames,
        "first_batch_seconds": first,
    }


def prove(url: str, threads: int) -> None:
    """Looks into every window of an epoch."""
    for once in (True, False):
        for _ in stream(url, threads, once=once).batches(0, check):
            pass


def main() -> None:
    """Measures and prints one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=65_536)
    parser.add_argument("--clip", type=int, default=512, help="frames of a clip, and of a shard")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--s3", action="store_true", help="also from SeaweedFS on loopback")
    options = parser.parse_args()
    result = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        urls = {"local": str(folder / "set")}
        if options.s3:
            sys.path.append(str(Path(__file__).parents[1] / "tests"))  # which are no package
            server = importlib.import_module("s3_server")
            (folder / "server").mkdir()
            os.environ.update(stack.enter_context(server.s3_server(folder / "server")))
            urls["s3"] = f"s3://{server.BUCKET}/set"
        for medium, url in urls.items():
            publish(url, options.frames, options.clip)
            prove(url, options.threads)
            result[medium] = measure(url, options.frames, options.threads)
            print(medium, result[medium])
    print(json.dumps(result | {"frames": options.frames, "threads": options.threads}))


if __name__ == "__main__":
    main()
