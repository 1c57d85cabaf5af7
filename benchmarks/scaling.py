"""Measures `fit_scale` on people of known size, beside factors from marker pairs as a ScaleTool set-up takes them.

    OMP_NUM_THREADS=1 python -m benchmarks.scaling [--people 20]

People: one factor per body of the default model, left and right alike, drawn with a spread of 6 %; they stand a little
bent. Pairs: for every body the two of its markers that lie farthest apart; the factor is the ratio of their distances,
averaged over frames and sides. Errors are those of bodies with at least two markers. The last line is one JSON object.
"""

import argparse
import itertools
import json

import numpy as np
import torch
from torch import Tensor

from schemas.skeleton import SkeletonSpec
from trainers.readout import read
from trainers.scaling import fit_scale
from trainers.skeletal import forward_kinematics
from trainers.structure import structure_of
from workers.osim import read_model, read_skeleton

SPREAD = 0.06
TRIALS = {"no_noise": (1, 0.0), "5mm_100_frames": (100, 0.005), "5mm_1_frame": (1, 0.005)}


def farthest_pairs(spec: SkeletonSpec, markers: Tensor) -> dict[int, tuple[int, int]]:
    """Returns for each body with two markers the two that lie farthest apart in the unscaled model (m, 3)."""
    pairs = {}
    for body, name in enumerate(spec.body_names):
        own = [i for i, marker in enumerate(spec.markers) if marker.body == name]
        if len(own) >= 2:
            pairs[body] = max(
                itertools.combinations(own, 2),
                key=lambda p: float((markers[p[0]] - markers[p[1]]).norm()),
            )
    return pairs


def by_pairs(
    pairs: dict[int, tuple[int, int]], group: np.ndarray, model: Tensor, seen: Tensor
) -> dict[int, float]:
    """Returns each body's factor from distances in the model (m, 3) and the trial (f, m, 3), sides averaged."""
    own = {
        body: float((seen[:, i] - seen[:, j]).norm(dim=-1).mean() / (model[i] - model[j]).norm())
        for body, (i, j) in pairs.items()
    }
    return {
        body: float(np.mean([own[other] for other in own if group[other] == group[body]]))
        for body in own
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=20)
    options = parser.parse_args()
    spec = read_skeleton(read_model("default"))
    structure, group = structure_of(spec), read(spec).group_of_body
    q = torch.from_numpy(spec.couple(spec.default_pose() + 0.1))[None]
    model = forward_kinematics(structure, q).markers[0]
    pairs = farthest_pairs(spec, model)
    told: dict[str, float] = {"people": options.people}
    for name, (frames, noise) in TRIALS.items():
        ours, theirs = [], []
        for person in range(options.people):
            rng = np.random.default_rng(person)
            factors = rng.normal(1.0, SPREAD, int(group.max()) + 1)[group]
            scale = torch.from_numpy(np.repeat(factors[:, None], 3, axis=1))
            markers = forward_kinematics(structure, q, scale[None]).markers.repeat(frames, 1, 1)
            markers = markers + torch.from_numpy(rng.normal(0, noise, markers.shape))
            found = fit_scale(spec, markers).scale[:, 0].numpy()
            measured = by_pairs(pairs, group, model, markers)
            ours.append([abs(found[body] - factors[body]) for body in pairs])
            theirs.append([abs(measured[body] - factors[body]) for body in pairs])
        for word, errors in (("fit", ours), ("pairs", theirs)):
            told[f"{name}_{word}_mean"] = float(np.mean(errors))
            told[f"{name}_{word}_max"] = float(np.max(errors))
        print(name, {k: round(v, 4) for k, v in told.items() if k.startswith(name)})
    print(json.dumps(told))


if __name__ == "__main__":
    main()
