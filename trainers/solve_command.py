"""The `solve` subcommand: marker trajectories in, joint angles out; with a static trial, the person's scale first.

What reads and writes OpenSim's files is handed in by `trainers.__main__`, the only module of this room that may know
`workers`.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from schemas import files
from schemas.skeleton import SkeletonSpec
from trainers.inverse import Solution, inverse_kinematics
from trainers.problem import problem_of
from trainers.scaling import fit_scale
from trainers.targets import Targets

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Formats:
    """How OpenSim's files are read and written."""

    skeleton: Callable[[str], SkeletonSpec]
    """Of the URL of an `.osim`."""
    markers: Callable[[str, SkeletonSpec], tuple[Floats, Floats]]
    """Of the URL of a `.trc`: times (t,) s and the skeleton's markers (t, m, 3) m, NaN where not seen."""
    mot: Callable[[SkeletonSpec, Floats, Floats], bytes]
    osim: Callable[[SkeletonSpec, Floats], bytes]


def add_solve(subparsers: Any) -> argparse.ArgumentParser:
    """Adds the subcommand to `argparse`'s subparsers; the caller says what runs it."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "solve", help="find joint angles from marker trajectories", description=__doc__
    )
    parser.add_argument("model", help="URL of an .osim, or `default`")
    parser.add_argument("trial", help="URL of a .trc")
    parser.add_argument("--to", required=True, help="URL of the .mot to write")
    parser.add_argument("--static", metavar="TRC", help="a standing trial that scales the model")
    parser.add_argument("--scaled", metavar="OSIM", help="where to write the scaled model")
    parser.add_argument(
        "--smoothness", type=float, default=0.0, help="of the motion; 0.1 suits 5 mm at 100 Hz"
    )
    return parser


def run(args: argparse.Namespace, formats: Formats) -> dict[str, Any]:
    """Solves the trial, writes the files and says how well the markers fit."""
    spec = formats.skeleton(args.model)
    scale, result = None, dict[str, Any]()
    if args.static:
        fit = fit_scale(spec, torch.from_numpy(formats.markers(args.static, spec)[1]))
        scale = fit.scale
        result["static_rms_mm"] = 1e3 * _rms(fit.after)
    if args.scaled:
        factors = np.ones((spec.sizes.b, 3)) if scale is None else scale.numpy()
        files.write_whole(files.absolute(args.scaled), formats.osim(spec, factors))
        result["scaled"] = args.scaled
    times, markers = formats.markers(args.trial, spec)
    found = inverse_kinematics(
        problem_of(spec),
        Targets(torch.from_numpy(markers)),
        scale=scale,
        clip=True,
        smoothness=args.smoothness,
    )
    files.write_whole(files.absolute(args.to), formats.mot(spec, times, found.q.numpy()))
    return {"motion": args.to} | result | _summary(spec, found)


def _summary(spec: SkeletonSpec, found: Solution) -> dict[str, Any]:
    """Says how far the markers stay away, which ones most, and in how many frames nothing was found."""
    rms = found.marker_distances.square().nanmean(0).sqrt()
    worst = torch.argsort(rms.nan_to_num(-1.0), descending=True)[:3].tolist()
    return {
        "frames": len(found.q),
        "not_converged": int((~found.converged).sum()),
        "marker_rms_mm": 1e3 * _rms(found.marker_distances),
        "worst_markers": [f"{spec.marker_names[i]} {1e3 * float(rms[i]):.1f} mm" for i in worst],
    }


def _rms(distances: torch.Tensor) -> float:
    return float(distances.square().nanmean().sqrt())
