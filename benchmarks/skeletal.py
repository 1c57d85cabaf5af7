"""Measures the skeletal layer against D3KE's node-by-node design and against OpenSim, on one model of 58 bodies.

    python -m benchmarks.skeletal [--threads 1] [--batches 1 32 256 4096] [--rounds 15] [--no-compile]
    python -m benchmarks.skeletal --models [--poses 1000]

float32. Backward is that of the sum of squares of joint centres and markers, with gradients in q and scale. A ratio
is the median over rounds; `…_cpu` is that of CPU times, which other people's load disturbs less (one thread).
The last line is one JSON object, at batch 256: `vs_node_by_node` forward + backward; `vs_opensim` forward per pose
against OpenSim's `realizePosition` alone (coordinates set by one call, nothing read: the kindest version);
`vs_opensim_with_readout` against the ordinary loop through the Python API, every coordinate set, every body's
transform and every marker's location read.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.body58 import body58
from benchmarks.exactness import largest_errors, table
from benchmarks.node_by_node import NodeByNode
from benchmarks.opensim_loop import OpenSimLoop
from benchmarks.rounds import Work, interleave, milliseconds, ratios, seconds
from schemas.skeleton import SkeletonSpec
from trainers.skeletal import SkeletalLayer
from workers.osim import write_osim

Model = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Found = dict[Any, Any]
HEADLINE = 256


def inputs(spec: SkeletonSpec, batch: int, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Returns random q within the limits and body scales, both of which want gradients."""
    rng = np.random.default_rng(batch)
    low, high = (np.array([getattr(c, n) for c in spec.coordinates]) for n in ("lower", "upper"))
    q = torch.tensor(rng.uniform(low, high, (batch, len(low))), dtype=torch.float32, device=device)
    factors = rng.uniform(0.75, 1.3, (batch, spec.sizes.b, 3))
    scale = torch.tensor(factors, dtype=torch.float32, device=device)
    return q.requires_grad_(), scale.requires_grad_()


def layer_model(spec: SkeletonSpec, compiled: bool = False, device: str = "cpu") -> Model:
    """Returns the layer as a function to (joint centres, markers)."""
    layer: Any = SkeletalLayer(spec).to(device)
    if compiled:
        layer = torch.compile(layer, fullgraph=True, dynamic=False)

    def run(q: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        posed = layer(q, scale)
        return posed.joint_centres, posed.markers

    return run


def forward(model: Model, q: Tensor, scale: Tensor) -> None:
    """Poses without gradients."""
    with torch.no_grad():
        model(q, scale)


def backward(model: Model, q: Tensor, scale: Tensor) -> None:
    """Poses and derives the sum of squares."""
    centres, markers = model(q, scale)
    torch.autograd.grad(centres.square().sum() + markers.square().sum(), (q, scale))


def agree(spec: SkeletonSpec, peer: NodeByNode, ours: Model) -> float:
    """Returns the largest distance (m) between peer and layer; refuses to measure a peer that is wrong."""
    q, scale = inputs(spec, 64)
    centres = [spec.joint_names.index(name) for name in peer.joint_names]
    markers = [spec.marker_names.index(name) for name in peer.marker_names]
    with torch.no_grad():
        theirs, mine = peer(q, scale), ours(q, scale)
    pairs = zip(theirs, (mine[0][:, centres], mine[1][:, markers]), strict=True)
    worst = max(float((a - b).abs().max()) for a, b in pairs)
    if not worst < 1e-4:
        raise RuntimeError(f"the peer is {worst} m away from the layer")
    return worst


def measure_batch(models: dict[str, Model], spec: SkeletonSpec, batch: int, rounds: int) -> Found:
    """Times forward, and forward + backward, of all models at one batch size."""
    q, scale = inputs(spec, batch)
    found: Found = {}
    for kind, step in (("forward", forward), ("forward_backward", backward)):
        works: dict[str, Work] = {
            name: partial(step, model, q, scale) for name, model in models.items()
        }
        started = {name: seconds(work)[0] for name, work in works.items()}  # compiles, warms up
        times = interleave(works, rounds)
        found[kind] = {name: milliseconds(t) for name, t in times.items()}
        for name in list(times)[1:]:
            found[kind][f"vs_{name}"] = ratios(times["peer"], times[name])
        if "compiled" in models:
            found[kind]["compile_seconds"] = round(started["compiled"], 1)
    return found


def measure_opensim(models: dict[str, Model], spec: SkeletonSpec, rounds: int) -> Found:
    """Times OpenSim's loop against the layer's forward at batch 256, per pose."""
    poses = 64
    q, scale = inputs(spec, HEADLINE)
    few = q[:poses].detach().double().numpy()
    loop = OpenSimLoop(write_osim(spec, None), spec, few)
    works: dict[str, Work] = {"realize": loop.realize, "whole": loop.whole}
    for name, model in models.items():
        if name != "peer":
            works[name] = partial(forward, model, q, scale)
    times = interleave(works, rounds)
    found: Found = {
        f"{n}_ms_per_pose": milliseconds(times[n])["ms"] / poses for n in ("realize", "whole")
    }
    found["api_ms_per_pose"] = loop.api_ms()
    for name in list(works)[2:]:
        for kind in ("realize", "whole"):
            per_pose = HEADLINE / poses
            found[f"{kind}_vs_{name}"] = ratios(times[kind], times[name], per_pose)
    return found


def resident_kb(key: str) -> int:
    """Returns VmRSS or VmHWM of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1])


def measure_memory(kind: str, which: str, batch: int) -> dict[str, float]:
    """Runs one step in this (fresh) process: growth of the resident set at its peak, bytes kept for backward."""
    spec = body58()
    model: Model = NodeByNode(spec) if which == "peer" else layer_model(spec)
    step = forward if kind == "forward" else backward
    step(model, *inputs(spec, 2))
    q, scale = inputs(spec, batch)
    kept: dict[int, int] = {}
    known = {t.untyped_storage().data_ptr() for t in (q, scale)}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known and tensor.shape and max(tensor.shape) >= batch:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    before = resident_kb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from here
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        step(model, q, scale)
    return {
        "peak_mb": round((resident_kb("VmHWM") - before) / 1024, 1),
        "saved_mb": round(sum(kept.values()) / 2**20, 1),
    }


def memory_in_fresh_process(kind: str, which: str, batch: int) -> dict[str, float]:
    """Calls `measure_memory` where nothing has been allocated before."""
    command = [sys.executable, "-m", "benchmarks.skeletal", "--memory", kind, which, str(batch)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure_gpu(spec: SkeletonSpec, batch: int = 4096) -> dict[str, float] | None:
    """Returns ms per batch on the GPU, eager and compiled; None where there is no GPU."""
    if not torch.cuda.is_available():
        return None
    q, scale = inputs(spec, batch, "cuda")
    found = {}
    for name in ("eager", "compiled"):
        model = layer_model(spec, name == "compiled", "cuda")
        for kind, step in (("forward", forward), ("forward_backward", backward)):

            def work(model: Model = model, step: Callable[..., None] = step) -> None:
                step(model, q, scale)
                torch.cuda.synchronize()

            work()
            times = [seconds(work)[0] for _ in range(30)]
            found[f"{name}_{kind}_ms"] = round(1e3 * median(times), 3)
    return found


def main() -> None:
    """Parses the command line and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32, HEADLINE, 4096])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--models", action="store_true", help="the table of errors by model")
    parser.add_argument("--poses", type=int, default=1000)
    parser.add_argument("--memory", nargs=3, metavar=("KIND", "WHICH", "BATCH"))
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.memory:
        kind, which, batch = options.memory
        print(json.dumps(measure_memory(kind, which, int(batch))))
    elif options.models:
        print(json.dumps(table(options.poses)))
    else:
        with tempfile.TemporaryDirectory() as cache:  # compile seconds are those of the first time
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
            print(json.dumps(measure(options)))


def settle_allocator() -> None:
    """Frees one large block, as every training process has done before its first step.

    glibc then keeps blocks of up to that size for reuse. Until then each temporary above 128 KB is a new mapping
    whose pages fault in one by one, which doubles the time of the compiled layer (and costs the peer 7 %).
    """
    torch.zeros(30 * 2**20, dtype=torch.uint8)


def measure(options: argparse.Namespace) -> Found:
    """Measures all there is."""
    settle_allocator()
    spec = body58()
    peer = NodeByNode(spec)
    models: dict[str, Model] = {"peer": peer, "ours": layer_model(spec)}
    result: Found = {
        "threads": torch.get_num_threads(),
        "peer_minus_ours_m": agree(spec, peer, models["ours"]),
    }
    by_batch: Found = {}
    for batch in sorted({HEADLINE, *options.batches}, key=lambda b: b == HEADLINE):
        if not options.no_compile:
            torch.compiler.reset()
            models["compiled"] = layer_model(spec, compiled=True)
        by_batch[batch] = measure_batch(models, spec, batch, options.rounds)
        print(batch, json.dumps(by_batch[batch]), flush=True)
    opensim = measure_opensim(models, spec, options.rounds)
    print("opensim", json.dumps(opensim), flush=True)
    for name in list(models)[1:]:
        result |= headline(name, by_batch[HEADLINE], opensim)
    errors = largest_errors(write_osim(spec, None), options.poses, scaled=True)
    result |= {"max_error_m": errors["float64"], "max_error_m_float32": errors["float32"]}
    result["memory_at_4096"] = {
        f"{which}_{kind}": memory_in_fresh_process(kind, which, 4096)
        for which in ("ours", "peer")
        for kind in ("forward", "forward_backward")
    }
    gpu = measure_gpu(spec)
    return result | {"gpu_at_4096": gpu, "opensim": opensim, "batches": by_batch}


def headline(name: str, at: Found, opensim: Found) -> Found:
    """Returns the ratios that the project promises, at batch 256."""
    both, alone = at["forward_backward"], at["forward"]
    end = "" if name == "ours" else f"_{name}"
    found = {
        "vs_node_by_node": both[f"vs_{name}"]["times"],
        "vs_node_by_node_cpu": both[f"vs_{name}"]["times_cpu"],
        "vs_node_by_node_forward": alone[f"vs_{name}"]["times"],
        "vs_opensim": opensim[f"realize_vs_{name}"]["times"],
        "vs_opensim_with_readout": opensim[f"whole_vs_{name}"]["times"],
        "ours_ms": both[name]["ms"],
        "ours_forward_ms": alone[name]["ms"],
    }
    peer = {"peer_ms": both["peer"]["ms"], "peer_forward_ms": alone["peer"]["ms"]}
    return peer | {f"{key}{end}": value for key, value in found.items()}


if __name__ == "__main__":
    main()
