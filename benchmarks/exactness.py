"""How far the layer is from OpenSim, model by model: `python -m benchmarks.skeletal --models`."""

import importlib
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.body58 import body58
from schemas.curves import Curve
from schemas.skeleton import SkeletonSpec
from trainers.skeletal import SkeletalLayer, forward_kinematics
from trainers.structure import structure_of
from workers.osim import OsimModel, read_model, read_skeleton, write_osim

Array = NDArray[np.float64]
SHARED = Path("../shared/data/opensim")


ENDLESS, SMALL = 10.0, 1.6
"""Ranges as wide as the first (rad, m) are none; the zoo's models have none and are posed within the second."""


def random_q(spec: SkeletonSpec, count: int, rng: np.random.Generator) -> Array:
    """Uniform within the ranges, or within those that stand for none."""
    most = SMALL if all(c.upper >= ENDLESS for c in spec.coordinates) else 5.0
    low = np.array([max(c.lower, -most) for c in spec.coordinates])
    high = np.array([min(c.upper, most) for c in spec.coordinates])
    for joint in spec.joints:
        if (
            joint.shape and joint.shape.kind == "arc"
        ):  # OpenSim's own formula jumps at a right angle
            bent = [i for axis in joint.axes for i in axis.coordinates]
            low[bent], high[bent] = np.maximum(low[bent], -0.9), np.minimum(high[bent], 0.9)
    return rng.uniform(low, high, (count, len(low)))


def largest_errors(osim: bytes, poses: int, scaled: bool, seed: int = 1) -> dict[str, float]:
    """Returns the largest differences from OpenSim over rotation entries and metres, by precision."""
    rng = np.random.default_rng(seed)
    spec = read_skeleton(osim)
    q = random_q(spec, poses, rng)
    scale = rng.uniform(0.75, 1.3, (spec.sizes.b, 3)) if scaled else None
    model = OsimModel(osim, scale)
    truths = [np.stack(part) for part in zip(*(model.pose(row) for row in q), strict=True)]
    found = {}
    for name, dtype in (("float64", torch.float64), ("float32", torch.float32)):
        layer = SkeletalLayer(spec).to(dtype)
        factors = None if scale is None else torch.tensor(scale, dtype=dtype).expand(poses, -1, -1)
        with torch.no_grad():
            posed = layer(torch.tensor(q, dtype=dtype), factors)
        pairs = zip(posed, truths, strict=True)
        found[name] = max(float(np.abs(a.double().numpy() - b).max(initial=0.0)) for a, b in pairs)
    return found


def gradients_agree(osim: bytes) -> bool:
    """Whether `gradcheck` is clean in q and scale, at a random pose and at zero (beside it, if there is a kink)."""
    spec, rng = read_skeleton(osim), np.random.default_rng(3)
    structure = structure_of(spec)
    curves = [axis.curve for joint in spec.joints for axis in joint.axes]
    curves += [c.coupler.curve for c in spec.coordinates if c.coupler]
    broken = [c for c in curves if isinstance(c, Curve) and c.kind.startswith("piecewise")]
    kink = any(0.0 in curve.x for curve in broken)
    rest = np.full(spec.sizes.c, 0.01 if kink else 0.0)
    q = torch.tensor(np.stack([random_q(spec, 1, rng)[0] / 4.0, rest]))
    scale = torch.tensor(rng.uniform(0.8, 1.2, (2, spec.sizes.b, 3)))
    return torch.autograd.gradcheck(
        lambda a, b: tuple(forward_kinematics(structure, a, b)),
        (q.requires_grad_(), scale.requires_grad_()),
        raise_exception=False,
        fast_mode=True,
    )


def compiled_error(osim: bytes, backend: str = "inductor") -> float:
    """Returns the largest difference of compiled values and gradients from eager ones, float64."""
    spec, rng = read_skeleton(osim), np.random.default_rng(4)
    layer = SkeletalLayer(spec).double()
    torch.compiler.reset()
    compiled = torch.compile(layer, fullgraph=True, dynamic=False, backend=backend)
    q = torch.tensor(random_q(spec, 4, rng)).requires_grad_()
    scale = torch.tensor(rng.uniform(0.8, 1.2, (4, spec.sizes.b, 3))).requires_grad_()
    results = []
    for run in (layer, compiled):
        posed = run(q, scale)
        loss = sum((part.square().sum() for part in posed), torch.zeros(()))
        results.append([*posed, *torch.autograd.grad(loss, (q, scale))])
    return max(float((a - b).abs().max()) for a, b in zip(*results, strict=True) if a.numel())


def zoo() -> dict[str, bytes]:
    """Returns the small models that the tests use."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))  # which are no package
    return dict(importlib.import_module("model_zoo").ALL)


def models() -> Iterator[tuple[str, bytes]]:
    """Yields every model to check: the default one, the benchmark's, those of ../shared, the zoo."""
    yield "default", read_model("default")
    yield "body58", write_osim(body58(), None)
    for path in sorted(SHARED.glob("*/*.osim")):
        yield path.stem, path.read_bytes()
    for name, osim in zoo().items():
        yield f"zoo: {name}", osim


def table(poses: int) -> dict[str, Any]:
    """Prints one line per model; returns the largest errors of all."""
    rows: dict[str, dict[str, Any]] = {}
    warnings.simplefilter("ignore")
    print("| model | bodies | float64 | scaled | float32 | scaled | gradcheck | compiled - eager |")
    print("|---|---|---|---|---|---|---|---|")
    for name, osim in models():
        plain, scaled = (largest_errors(osim, poses, s) for s in (False, True))
        row: dict[str, Any] = {
            "bodies": read_skeleton(osim).sizes.b,
            "float64": plain["float64"],
            "float64_scaled": scaled["float64"],
            "float32": plain["float32"],
            "float32_scaled": scaled["float32"],
            "gradcheck": gradients_agree(osim),
            # Generating code takes a minute a model; of the small ones the traced graph is run as it is.
            "compiled": compiled_error(osim, "aot_eager" if name.startswith("zoo") else "inductor"),
        }
        rows[name] = row
        cells = [f"{v:.1e}" if isinstance(v, float) else str(v) for v in row.values()]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    keys = ("float64", "float64_scaled", "float32", "float32_scaled", "compiled")
    worst = {key: max(row[key] for row in rows.values()) for key in keys}
    clean = all(row["gradcheck"] for row in rows.values())
    return {"poses": poses, "models": len(rows), "gradcheck": clean} | worst
