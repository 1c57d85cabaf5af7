"""Measures what becomes of samples between the store and the net: images/s of each stage, one after the other.

    OMP_NUM_THREADS=1 python -m benchmarks.augment DATASET [--batch 64] [--batches 8] [--device cpu]

DATASET is the URL of one that was built with people in it; the task is `pose2d_resnet18` (256 x 192, augmented as the
recipe says). `stream` reads, checks and decodes with one thread, warm; `warp` resamples the crops on the CPU, whatever
the device; `appearance` (colour, blur, occluders) and `heat maps` are torch on the device; `prepare` is all that the
trainer does to a batch before the net, these and the truth for the metrics; `net` is one step of training. On a CPU
the clock is the process's CPU time, else wall time until the device rests. The last line is one JSON object.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from itertools import islice

import torch

from schemas import manifest
from schemas.training import Augment, Pose2d
from trainers import augment, heatmaps, recipes
from trainers.corpus import open_corpus
from trainers.data import SampleStream, stream_of
from trainers.pose2d import Pose2dTask
from trainers.task import Batch, Prepared

Work = Callable[[Batch, Prepared], object]
Ready = tuple[Batch, Prepared]


def rate(work: Work, ready: Sequence[Ready], device: torch.device) -> float:
    """Returns images per second, after one batch that is not counted."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    started = 0.0
    for batch, prepared in (ready[0], *ready):
        work(batch, prepared)
        if not started:
            _rest(device)
            started = clock()
    _rest(device)
    return sum(len(batch) for batch, _ in ready) / (clock() - started)


def _rest(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def stream_rate(stream: SampleStream) -> float:
    """Returns samples per second of CPU time, of a second epoch."""
    for _ in stream.batches(0, len):
        pass
    started = time.process_time()
    samples = sum(size for size, _ in stream.batches(1, len))
    return samples / (time.process_time() - started)


def stages(task: Pose2dTask, options: Augment, device: torch.device) -> dict[str, Work]:
    """Returns what is done to a batch, by name."""
    height, width = task.config.input
    grid = (height // heatmaps.STRIDE, width // heatmaps.STRIDE)
    net = task.make_net().to(device).train()
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-4, fused=True)

    def warp(batch: Batch, prepared: Prepared) -> object:
        boxes = batch.arrays["box"].astype(float)
        A = augment.box_affine(boxes, height, width, task.config.padding)
        return augment.warp(batch.images, A, height, width)

    def appearance(batch: Batch, prepared: Prepared) -> object:
        return augment.appearance(prepared["image"], options, batch.uniforms)

    def maps(batch: Batch, prepared: Prepared) -> object:
        points = prepared["net_points"].to(device, torch.float32)
        return heatmaps.targets(points, *grid, task.config.sigma)

    def prepare(batch: Batch, prepared: Prepared) -> object:
        return task.prepare(batch, True, device)

    def step(batch: Batch, prepared: Prepared) -> object:
        optimiser.zero_grad(set_to_none=True)
        loss = task.loss(task.run(net, prepared), prepared)["loss"].mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        return loss

    return {
        "warp": warp,
        "appearance": appearance,
        "heat maps": maps,
        "prepare": prepare,
        "net": step,
    }


def main() -> None:
    """Measures and prints one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    words = [f"batch={options.batch}", "stream.threads=1", "stream.last=drop"]
    recipe = recipes.load("pose2d_resnet18", words)
    if not isinstance(recipe.task, Pose2d) or recipe.augment is None:
        raise TypeError("the recipe is of another task now")
    task = Pose2dTask(recipe=recipe, config=recipe.task)
    corpus = open_corpus([manifest.open_dataset(options.dataset)], "train")
    stream = stream_of(task, recipe, corpus, last="drop")
    found = {"stream": stream_rate(stream)}
    batches = [batch for _, batch in islice(stream.batches(0, lambda b: b), options.batches)]
    ready = [(batch, task.prepare(batch, True, device)) for batch in batches]
    for name, work in stages(task, recipe.augment, device).items():
        # A step of the net takes a second a batch on a CPU.
        found[name] = rate(work, ready[:2] if name == "net" else ready, device)
        print(f"{name}: {found[name]:,.0f} images/s", flush=True)
    print(json.dumps({k: round(v, 1) for k, v in found.items()} | {"device": str(device)}))


if __name__ == "__main__":
    main()
