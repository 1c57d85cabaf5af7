"""The `predict` subcommand: a checkpoint and a video in, a folder of files out.

What writes OpenSim's files is handed in by `trainers.__main__`, the only module of this room that may know `workers`.
"""

import argparse
import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from schemas import files
from schemas.keypoints import LOWER_KEYPOINTS
from schemas.skeleton import SkeletonSpec
from trainers import checkpoint, predict, session, video
from trainers.readout import turns

Floats = NDArray[np.float64]
_LEG_BONES = ((0, 1), (0, 2), (2, 4), (1, 3), (3, 5))
"""Lines between the six lower keypoints."""


@dataclass(frozen=True, kw_only=True)
class Writers:
    """How OpenSim's files are written."""

    mot: Callable[[SkeletonSpec, Floats, Floats], bytes]
    """Of (spec, times (t,), q (t, c))."""
    trc: Callable[[tuple[str, ...], Floats, Floats, float], bytes]
    """Of (marker names, times (t,), markers (t, m, 3) m, rate)."""
    osim: Callable[[SkeletonSpec, Floats], bytes]
    """Of (spec, scale (b, 3))."""


def add_predict(subparsers: Any) -> argparse.ArgumentParser:
    """Adds the subcommand to `argparse`'s subparsers; the caller says what runs it."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "predict", help="read kinematics from a video", description=predict.__doc__
    )
    parser.add_argument("checkpoint", help="URL of a checkpoint that `fit` wrote")
    parser.add_argument("video", help="URL of a video")
    parser.add_argument("--to", required=True, help="URL of a folder for the results")
    parser.add_argument(
        "--box",
        type=parse_box,
        help="x,y,w,h of the person in pixels; the whole picture if not given",
    )
    parser.add_argument(
        "--focal-mm",
        type=parse_length,
        default=predict.FOCAL_MM,
        help="focal length as 35 mm equivalent (default %(default)g, a phone's main camera)",
    )
    parser.add_argument("--camera", help='JSON file {"K": 3x3 pixels}; goes before --focal-mm')
    return parser


def run(args: argparse.Namespace, writers: Writers) -> dict[str, Any]:
    """Reads the video with the checkpoint's net, writes the files and says where they lie."""
    device = session.pick_device()
    saved = checkpoint.load(args.checkpoint)
    task, net = checkpoint.restore(saved, device)
    K = predict.read_intrinsics(args.camera) if args.camera else None
    # Delayed: a refusal is then the only thing on the screen.
    with tqdm(desc="frames", unit="frame", delay=1, disable=args.json) as bar:
        track = predict.watch(
            task,
            net,
            args.video,
            box=args.box,
            K=K,
            focal_mm=args.focal_mm,
            device=device,
            tick=bar.update,
        )
    if saved.skeleton is None:
        written = write_keypoints(track, args.video, args.to)
    else:
        movement = predict.assemble(saved.skeleton, track)
        written = write_movement(saved.skeleton, movement, args.video, args.to, writers)
    return {"checkpoint": saved.url, "frames": len(track.times), "written": written}


def parse_box(text: str) -> tuple[float, float, float, float]:
    """Reads x,y,w,h."""
    try:
        x, y, w, h = (float(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not x,y,w,h") from error
    return x, y, w, h


def parse_length(text: str) -> float:
    """Reads a positive number."""
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from error
    if not (value > 0 and np.isfinite(value)):
        raise argparse.ArgumentTypeError(f"{text!r} is not positive")
    return value


def write_movement(
    spec: SkeletonSpec, movement: predict.Movement, url: str, folder: str, writers: Writers
) -> list[str]:
    """Writes prediction.mot, .trc and .csv, model.osim and overlay.mp4; returns their URLs."""
    times, rate = movement.times, movement.rate
    header = ["time_s", *(_with_unit(spec, i) for i in range(len(spec.coordinates)))]
    turning = [turns(spec, i) for i in range(len(spec.coordinates))]
    readable = np.where(turning, np.degrees(movement.q), movement.q)
    pictures = predict.overlay(
        url, movement.joints_px, predict.skeleton_bones(spec), movement.markers_px
    )
    return _write_all(
        folder,
        {
            "prediction.mot": lambda: writers.mot(spec, times, movement.q),
            "prediction.trc": lambda: writers.trc(
                spec.marker_names, times, movement.markers, float(rate)
            ),
            "model.osim": lambda: writers.osim(spec, movement.scale),
            "prediction.csv": lambda: _table(header, np.column_stack([times, readable])),
            "overlay.mp4": lambda: video.encode(pictures, rate),
        },
    )


def write_keypoints(track: predict.Track, url: str, folder: str) -> list[str]:
    """Writes prediction.csv (pixels and scores) and overlay.mp4 of a 2D net; returns their URLs."""
    points, score = track.said["points"], track.said["score"]
    header = ["time_s"]
    for name in LOWER_KEYPOINTS:
        header += [f"{name}_x_px", f"{name}_y_px", f"{name}_score"]
    columns = np.concatenate([points, score[..., None]], axis=-1).reshape(len(points), -1)
    bones = [(a, b, (70, 200, 90)) for a, b in _LEG_BONES]
    pictures = predict.overlay(url, points, bones, points)
    return _write_all(
        folder,
        {
            "prediction.csv": lambda: _table(header, np.column_stack([track.times, columns])),
            "overlay.mp4": lambda: video.encode(pictures, track.rate),
        },
    )


def _with_unit(spec: SkeletonSpec, coordinate: int) -> str:
    unit = "deg" if turns(spec, coordinate) else "m"
    return f"{spec.coordinates[coordinate].name}_{unit}"


def _table(header: Sequence[str], rows: Iterable[Iterable[float]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([f"{value:.6g}" for value in row] for row in rows)
    return text.getvalue().encode()


def _write_all(folder: str, makers: dict[str, Callable[[], bytes]]) -> list[str]:
    """Makes every file before the first is written, so that a failure leaves no half result."""
    made = {f"{folder.rstrip('/')}/{name}": make() for name, make in makers.items()}
    for url, data in made.items():
        files.write_whole(url, data)
    return list(made)
