"""One loader at one setting in a process of its own: writes its format, or times its epochs. See `benchmarks.stream`.

    PYTHON -m benchmarks.stream_run LOADER write|time …

Runs in the peers' interpreter for peers. The last line is one JSON object.
"""

import argparse
import importlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch

from benchmarks.stream_samples import BATCH, Proof, Ready, Samples


class Loader(Protocol):
    """What a peer is to the benchmark."""

    settings: str
    """How it is set up, for the table."""

    def write(self, samples: Samples, folder: Path) -> None:
        """Writes the samples in the peer's format into a new folder."""
        ...

    def epochs(self, url: str, cache: Path, workers: int) -> Iterator[Iterator[Ready]]:
        """Opens a folder or s3:// URL; `cache` is a folder that is empty the first time."""
        ...


class Place(NamedTuple):
    """Where a loader is defined, and the package that it times."""

    module: str
    name: str
    package: str


PLACES = {
    "kineforge": Place("benchmarks.stream_ours", "Kineforge", "trainers.data"),
    "decode-bound": Place("benchmarks.stream_ours", "DecodeBound", "simplejpeg"),
    "litdata": Place("benchmarks.stream_peers", "LitData", "litdata"),
    "mosaicml": Place("benchmarks.stream_peers", "MosaicML", "streaming"),
    "webdataset": Place("benchmarks.stream_peers", "WebDataset", "webdataset"),
    "hf-streaming": Place("benchmarks.stream_tables", "HfStreaming", "datasets"),
    "hf-mapped": Place("benchmarks.stream_tables", "HfMapped", "datasets"),
    "ray-data": Place("benchmarks.stream_tables", "RayData", "ray.data"),
}
OURS = ("kineforge", "decode-bound")


def tree(root: int) -> list[int]:
    """Returns a process and all below it."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        if (stat := _stat(folder)) is not None:
            children.setdefault(int(stat[1]), []).append(int(folder.name))
    found = [root]
    for process in found:
        found += children.get(process, [])
    return found


def _stat(folder: Path) -> list[str] | None:
    try:
        return (folder / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def cpu_seconds(root: int) -> float:
    """Returns what a process, all below it and its ended children have used."""
    stats = [_stat(Path(f"/proc/{process}")) for process in tree(root)]
    ticks = sum(int(value) for stat in stats if stat for value in stat[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def epoch(batches: Iterator[Ready]) -> tuple[Proof, float]:
    """Takes one epoch; returns what came and the seconds to its first batch."""
    proof, started, first = Proof(ids=[]), time.perf_counter(), 0.0
    for batch in batches:
        first = first or time.perf_counter() - started
        proof.add(batch)
    return proof, first


def measure(loader: Loader, options: argparse.Namespace) -> dict[str, Any]:
    """Times the first epoch and those after it.

    Returns:
        cold_per_s: samples/s from before opening to the end of the first epoch; steady_per_s: the same without what
        came before its first batch; warm_per_s: of the later epochs; first_batch_seconds: from before opening.
    """
    count, total = options.count, options.total
    started, cpu = time.perf_counter(), cpu_seconds(os.getpid())
    epochs = loader.epochs(options.url, options.cache, options.workers)
    batches = next(epochs)
    opened = time.perf_counter() - started
    proof, first = epoch(batches)
    cold, cold_cpu = time.perf_counter() - started, cpu_seconds(os.getpid()) - cpu
    proof.check(count, total)
    started, cpu = time.perf_counter(), cpu_seconds(os.getpid())
    proofs = [epoch(next(epochs))[0] for _ in range(options.epochs)]
    warm, warm_cpu = time.perf_counter() - started, cpu_seconds(os.getpid()) - cpu
    for proof in proofs:
        proof.check(count, total)
    return {
        "cold_per_s": count / cold,
        "steady_per_s": (count - BATCH) / (cold - opened - first),
        "warm_per_s": count * options.epochs / warm,
        "cold_cpu_us": 1e6 * cold_cpu / count,
        "warm_cpu_us": 1e6 * warm_cpu / (count * options.epochs),
        "first_batch_seconds": opened + first,
        "shuffled": bool((torch.cat(proofs[-1].ids) != torch.arange(count)).float().mean() > 0.5),
    }


def main() -> None:
    """Does one thing and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("loader", choices=PLACES)
    parser.add_argument("what", choices=("write", "time"))
    parser.add_argument("--samples", type=Path, help="flat files; for write")
    parser.add_argument("--url", required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=2, help="after the first")
    parser.add_argument("--count", type=int)
    parser.add_argument("--total", type=int)
    options = parser.parse_args()
    torch.set_num_threads(1)
    place, started = PLACES[options.loader], time.perf_counter()
    loader: Loader = getattr(importlib.import_module(place.module), place.name)()
    importlib.import_module(place.package)
    imported = time.perf_counter() - started
    if options.what == "write":
        loader.write(Samples.load(options.samples), Path(options.url))
        print(json.dumps({"settings": loader.settings}), flush=True)
    else:
        found = measure(loader, options)
        print(json.dumps(found | {"import_seconds": imported}), flush=True)


if __name__ == "__main__":
    main()
