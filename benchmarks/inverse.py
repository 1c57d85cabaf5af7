"""Measures inverse kinematics: the noise-free round trip, and OpenSim's InverseKinematicsTool on the same markers.

    OMP_NUM_THREADS=1 python -m benchmarks.inverse [--poses 10000] [--frames 200] [--opencap FOLDER]

Round trip: poses uniform in the middle 90 % of every range (the root up to a quarter turn in tilt and list, all round
in rotation), markers by forward kinematics, found again from the default pose. A pose is excluded as singular where
the smallest singular value of d(markers)/d(unknowns) is below 10 mm/rad: there a millimetre of marker may be more
than five degrees of some angle. The toes carry no markers; coordinates that no marker sees are not compared. Two
readings of one rotation (a, b, c) and (a + π, π - b, c + π) are read alike. Against the tool: recorded motions,
markers with 5 mm of Gaussian noise per axis, equal weights, the tool's default accuracy and a tight one. The last
line is one JSON object; `speedup_vs_ik_tool` is the ratio of wall times in this run, at the tool's default accuracy,
with one thread; `speedup_default_threads` with all cores. Figures of several models or trials are the worst of them.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import opensim
import torch
from torch import Tensor

from schemas.skeleton import SkeletonSpec
from trainers.inverse import inverse_kinematics
from trainers.jacobian import motion, point_jacobian
from trainers.problem import Problem, problem_of, read_angles
from trainers.skeletal import forward_kinematics
from trainers.targets import Targets
from workers.motions import read_mot
from workers.osim import read_model, read_skeleton
from workers.trc import write_trc

SINGULAR = 0.01
"""m per rad (or per m)."""
NOISE = 0.005
DEFAULT_ACCURACY, TIGHT_ACCURACY = 1e-5, 1e-9


def random_poses(spec: SkeletonSpec, count: int, seed: int) -> Tensor:
    """Draws poses (n, c); locked coordinates stay, coupled ones follow."""
    rng = np.random.default_rng(seed)
    low = np.array([max(c.lower, -5.0) for c in spec.coordinates])
    high = np.array([min(c.upper, 5.0) for c in spec.coordinates])
    q = low + (high - low) * rng.uniform(0.05, 0.95, (count, len(low)))
    locked = [c.locked for c in spec.coordinates]
    return torch.from_numpy(spec.couple(np.where(locked, spec.default_pose(), q)))


def smallest_singular_values(problem: Problem, q: Tensor) -> tuple[Tensor, Tensor]:
    """Returns which unknowns (u) markers see, and how weakly the weakest direction of those is seen (n)."""
    bodies = len(forward_kinematics(problem.structure, q[:1]).joint_centres[0])
    values, seen = [], None
    for some in torch.split(q, 256):
        J = point_jacobian(problem.movers, motion(problem.structure, problem.movers, some, None))
        J = J[:, bodies:].flatten(1, 2)
        seen = J.abs().amax((0, 1)) > 1e-9 if seen is None else seen
        J = J[:, :, seen]
        squares = torch.linalg.eigvalsh(J.transpose(1, 2) @ J)[:, 0]
        values.append(squares.clamp_min(0).sqrt())
    if seen is None:
        raise ValueError("no poses")
    return seen, torch.cat(values)


def round_trip(spec: SkeletonSpec, count: int) -> dict[str, Any]:
    """Finds random poses again."""
    problem, q = problem_of(spec), random_poses(spec, count, seed=0)
    markers = forward_kinematics(problem.structure, q).markers
    started = time.perf_counter()
    found = inverse_kinematics(problem, Targets(markers))
    seconds = time.perf_counter() - started
    seen, singular = smallest_singular_values(problem, q)
    u = problem.movers.unknowns
    both = (read_angles(problem.aliases, pose[:, u]) for pose in (found.q, q))
    difference = next(both) - next(both)
    turning = torch.tensor([spec.coordinates[int(i)].kind != "translational" for i in u])
    error = torch.rad2deg(difference.abs())[:, seen & turning]
    kept = singular >= SINGULAR
    worst = error.amax(1)
    x = found.q[:, u]
    return {
        "poses": count,
        "round_trip_median_deg": float(error[kept].median()),
        "round_trip_p99_deg": quantile(error[kept].flatten(), 0.99),
        "worst_coordinate_median_deg": float(worst[kept].median()),
        "worst_coordinate_p99_deg": quantile(worst[kept], 0.99),
        "worst_coordinate_p99_deg_nothing_excluded": quantile(worst, 0.99),
        "found_again_fraction": float((worst[kept] < 0.1).double().mean()),
        "excluded_fraction": float((~kept).double().mean()),
        "limit_violations": int(((x < problem.low) | (x > problem.high)).sum()),
        "poses_per_s": round(count / seconds),
    }


def quantile(values: Tensor, share: float) -> float:
    """Returns a quantile; torch's own refuses long tensors."""
    return float(np.quantile(values.numpy(), share))


def run_tool(
    osim: Path, trc: bytes, spec: SkeletonSpec, times: np.ndarray, accuracy: float
) -> tuple[np.ndarray, float]:
    """Returns what InverseKinematicsTool makes of markers with equal weights, q (n, c), and its seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in.trc").write_bytes(trc)
        model = opensim.Model(str(osim))
        model.initSystem()
        tool = opensim.InverseKinematicsTool()
        tool.setModel(model)
        tool.setMarkerDataFileName(str(folder / "in.trc"))
        tool.setStartTime(float(times[0]))
        tool.setEndTime(float(times[-1]))
        tool.setOutputMotionFileName(str(folder / "out.mot"))
        tool.setResultsDir(str(folder))
        tool.set_report_errors(False)
        tool.set_accuracy(accuracy)
        for marker in spec.marker_names:
            task = opensim.IKMarkerTask()
            task.setName(marker)
            task.setApply(True)
            task.setWeight(1.0)
            tool.getIKTaskSet().cloneAndAppend(task)
        started = time.perf_counter()
        tool.run()
        seconds = time.perf_counter() - started
        return read_mot((folder / "out.mot").read_bytes(), "out", spec).q, seconds


def against_the_tool(folder: Path, name: str, frames: int) -> dict[str, Any]:
    """Runs the tool and ours on one recorded motion."""
    osim = folder / "LaiUhlrich2022.osim"
    spec = read_skeleton(read_model(str(osim)))
    problem = problem_of(spec)
    recorded = read_mot((folder / f"{name}_videoAndMocap.mot").read_bytes(), name, spec)
    q, times = torch.from_numpy(recorded.q[:frames]), recorded.times[:frames]
    noise = np.random.default_rng(1).normal(0.0, NOISE, (len(q), len(spec.markers), 3))
    markers = forward_kinematics(problem.structure, q).markers + torch.from_numpy(noise)
    trc = write_trc(spec.marker_names, times, markers.numpy(), 100.0)
    # A .trc holds five decimals of a millimetre; both read the same numbers.
    markers = (markers * 1e8).round() / 1e8
    theirs, their_seconds = run_tool(osim, trc, spec, times, DEFAULT_ACCURACY)
    tight, tight_seconds = run_tool(osim, trc, spec, times, TIGHT_ACCURACY)
    found, seconds = timed(problem, markers, 1)
    _, default_seconds = timed(problem, markers, os.cpu_count() or 1)
    ours = found.q.numpy()
    blind, _ = smallest_singular_values(problem, q[:1])
    turning = [spec.coordinates[int(i)].kind == "rotational" for i in problem.movers.unknowns]
    kept = problem.movers.unknowns.numpy()[blind.numpy() & np.array(turning)]

    def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.asarray(np.degrees(np.abs(a - b)[:, kept]))

    def cost(values: np.ndarray) -> Tensor:
        places = forward_kinematics(problem.structure, torch.from_numpy(values)).markers
        return (places - markers).square().sum((1, 2))

    return {
        "frames": len(q),
        "ik_tool_agreement_deg": apart(ours, theirs).mean(),
        "ik_tool_max_deg": apart(ours, theirs).max(),
        "ik_tool_tight_agreement_deg": apart(ours, tight).mean(),
        "ik_tool_tight_max_deg": apart(ours, tight).max(),
        "our_error_deg": apart(ours, q.numpy()).mean(),
        "tool_error_deg": apart(theirs, q.numpy()).mean(),
        "our_cost_is_lower_fraction": float((cost(ours) <= cost(theirs) + 1e-12).double().mean()),
        "per_coordinate_mean_deg": dict(
            zip(
                (spec.coordinate_names[i] for i in kept),
                apart(ours, theirs).mean(0).round(3).tolist(),
                strict=True,
            )
        ),
        "our_ms_per_frame": 1e3 * seconds / len(q),
        "tool_ms_per_frame": 1e3 * their_seconds / len(q),
        "speedup_vs_ik_tool": their_seconds / seconds,
        "speedup_default_threads": their_seconds / default_seconds,
        "speedup_vs_tight_ik_tool": tight_seconds / seconds,
    }


def timed(problem: Problem, markers: Tensor, threads: int) -> tuple[Any, float]:
    """Returns the solution of a clip and the best of three times, seconds."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    best, found = np.inf, None
    for _ in range(3):
        started = time.perf_counter()
        found = inverse_kinematics(problem, Targets(markers), clip=True)
        best = min(best, time.perf_counter() - started)
    torch.set_num_threads(before)
    return found, best


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--poses", type=int, default=10_000)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--opencap", type=Path, default=Path("../shared/data/opensim/opencap"))
    options = parser.parse_args()
    models = {"default": "default"}
    if options.opencap.is_dir():
        models["LaiUhlrich2022"] = str(options.opencap / "LaiUhlrich2022.osim")
    trips = {}
    for name, url in models.items():
        trips[name] = round_trip(read_skeleton(read_model(url)), options.poses)
        print(name, trips[name])
    trials = {}
    if options.opencap.is_dir():
        for name in ("walking1", "squats1", "DJ1"):
            trials[name] = against_the_tool(options.opencap, name, options.frames)
            print(name, trials[name])
    lowest = {"speedup_vs_ik_tool", "speedup_default_threads", "speedup_vs_tight_ik_tool"}
    lowest |= {"our_cost_is_lower_fraction"}
    told: dict[str, Any] = {"models": trips, "trials": trials}
    for key in ("round_trip_median_deg", "round_trip_p99_deg", "excluded_fraction"):
        told[key] = max(trip[key] for trip in trips.values())
    for key in next(iter(trials.values()), {}):
        values = [trial[key] for trial in trials.values()]
        if key not in ("frames", "per_coordinate_mean_deg"):
            worst = min if key in lowest else max
            told[key] = float(worst(values))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
