"""Measures streams of ready-to-train batches: Kineforge beside other loaders and the decode-only bound, in one run.

    OMP_NUM_THREADS=1 python -m benchmarks.stream --peers-python VENV/bin/python [--samples 8192] [--rounds 3]
        [--media local,s3,s3+25ms] [--peers litdata,mosaicml,webdataset,ray-data,hf-mapped,hf-streaming]
        [--workers 0,1,2] [--quick]

VENV is made from `benchmarks/peers.txt`, which says how. Without --peers-python only Kineforge and the bound run.

All loaders read the same JPEG bytes (persons cut out of COCO's photographs, 256 x 192, about 22 kB) with the same
targets, decode them by the same decoder, and give shuffled batches of 64: images uint8 (64, h, w, 3), keypoints
(64, 17, 3), boxes (64, 4). Every epoch is proved to hold every sample once, as it was, by ids and checksums. The
decoder's bound takes the bytes from memory, in order, into buffers that it reuses. Each (loader, workers, medium)
runs in a fresh process, all in turn, round after round; figures are medians over rounds. Workers are processes of
the peers (0: none) and decoding threads of Kineforge and the bound.

cold: the first epoch, from before opening the dataset to its end, with an empty cache (local: the files' pages
dropped from memory). warm: the epochs after it in the same process, with whatever the loader kept. steady: the first
epoch after its first batch. Media: `local` is a folder, `s3` SeaweedFS on loopback, which shares the cores;
`s3+25ms` the same with 25 ms before every request. The last line is one JSON object: `ratio_*` is Kineforge over the
best peer, the lower of cold and warm; `kept_at_25ms` Kineforge's steady rate with the delay over that without;
`decode_bound_fraction` Kineforge's warm local rate over the bound's, the lower of 1 and 2 threads.
"""

import argparse
import json
import math
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.stream_process import Case, Failed, Medium, ask, media, time_case
from benchmarks.stream_run import OURS, PLACES
from benchmarks.stream_samples import expected

PEERS = tuple(name for name in PLACES if name not in OURS)
MEDIA = ("local", "s3", "s3+25ms")
Found = dict[Case, dict[str, float]]
_COLUMNS = {
    "cold_per_s": ("cold/s", 0),
    "warm_per_s": ("warm/s", 0),
    "steady_per_s": ("steady/s", 0),
    "cold_cpu_us": ("CPU us cold", 0),
    "warm_cpu_us": ("CPU us warm", 0),
    "first_batch_seconds": ("first batch s", 2),
    "import_seconds": ("imports s", 2),
    "peak_mib": ("peak MiB", 0),
}


def prepare(folder: Path, count: int, coco: Path) -> tuple[int, float]:
    """Makes the samples; returns their checksum and mean size in bytes."""
    from benchmarks.stream_ours import make_samples

    samples = make_samples(coco, count)
    samples.save(folder / "samples")
    return expected(samples), len(samples.jpegs) / count


def write_all(names: Sequence[str], folder: Path, peers_python: str) -> dict[str, str]:
    """Writes every format; returns why a loader cannot take part, by name."""
    failures = {}
    for name in names:
        python = sys.executable if name in OURS else peers_python
        words = ["write", "--samples", str(folder / "samples"), "--url", str(folder / name)]
        try:
            said = ask([python, "-m", "benchmarks.stream_run", name, *words], {}, folder)
        except Failed as failure:
            failures[name] = str(failure)
            print(f"{name}: cannot write: {failure}", flush=True)
        else:
            print(f"{name}: {said['settings']}", flush=True)
    return failures


def cases(names: Sequence[str], wanted: Sequence[str], processes: Sequence[int]) -> list[Case]:
    """Returns every (medium, loader, workers); the bound, in memory, stands under `local`."""
    bound = [Case("local", "decode-bound", threads) for threads in (1, 2)]
    return bound + [
        Case(medium, name, workers)
        for medium in wanted
        for name in names
        if name != "decode-bound"
        for workers in ((1, 2) if name in OURS else processes)
    ]


def summarise(found: dict[Case, list[dict[str, float]]]) -> Found:
    """Takes medians over rounds."""
    return {
        case: {key: median(r[key] for r in rounds) for key in rounds[0]}
        for case, rounds in found.items()
        if rounds
    }


def table(found: Found) -> str:
    """Returns the medians as a Markdown table."""
    head = ["medium", "loader", "workers", *(title for title, _ in _COLUMNS.values())]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for case, values in found.items():
        cells = [f"{values[key]:,.{digits}f}" for key, (_, digits) in _COLUMNS.items()]
        lines.append(
            "| " + " | ".join([case.medium, case.loader, str(case.workers), *cells]) + " |"
        )
    return "\n".join(lines)


def best(found: Found, medium: str, names: Sequence[str], key: str) -> tuple[float, str]:
    """Returns the highest rate of some loaders at any setting, and whose it is."""
    rates = [
        (values[key], f"{case.loader}, {case.workers} workers")
        for case, values in found.items()
        if case.medium == medium and case.loader in names
    ]
    return max(rates, default=(math.nan, "none"))


def over(found: Found, key: str, ours: tuple[str, str], other: tuple[str, str]) -> float:
    """Returns one loader's rate over another's, each (medium, loader), the lower of 1 and 2 threads."""
    fractions: list[float] = []
    for threads in (1, 2):
        a, b = (found.get(Case(*of, threads), {}).get(key, math.nan) for of in (ours, other))
        fractions.append(a / b)
    return min(fractions)


def verdict(found: Found, wanted: Sequence[str]) -> dict[str, Any]:
    """Returns what the last line says; NaN (null in JSON) where something did not run."""
    result: dict[str, Any] = {}
    winners = {}
    for medium in wanted:
        name, ratios = medium.removeprefix("s3+"), []
        for state in ("cold", "warm"):
            ours, _ = best(found, medium, ("kineforge",), f"{state}_per_s")
            peer, winners[f"{name}_{state}"] = best(found, medium, PEERS, f"{state}_per_s")
            ratios.append(ours / peer)
            result[f"ratio_{name}_{state}"] = ratios[-1]
        result[f"ratio_{name}"] = min(ratios)
        end = "" if medium == "local" else f"_{name}"
        pair = (medium, "kineforge"), ("local", "decode-bound")
        result[f"decode_bound_fraction{end}"] = over(found, "warm_per_s", *pair)
    pair = ("s3+25ms", "kineforge"), ("s3", "kineforge")
    result["kept_at_25ms"] = over(found, "steady_per_s", *pair)
    firsts = [v["first_batch_seconds"] for c, v in found.items() if c.loader == "kineforge"]
    return result | {"first_batch_seconds": max(firsts, default=math.nan), "best_peer": winners}


def attempt(
    case: Case, python: str, words: Sequence[str], places: dict[str, Medium], folder: Path
) -> dict[str, float]:
    """Times a case, a second time where the first failed, and says how it went.

    Raises:
        Failed: both did.
    """
    try:
        found = time_case(case, python, words, places, folder)
    except Failed as failure:
        print(f"{case}, once more: {failure}", flush=True)
        found = time_case(case, python, words, places, folder)
    print(f"{case}: {found['cold_per_s']:,.0f} cold, {found['warm_per_s']:,.0f} warm", flush=True)
    return found


def main() -> None:
    """Measures and prints."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the servers end, too
    options = _options()
    names = [*OURS, *(options.peers if options.peers_python else [])]
    folder = Path(tempfile.mkdtemp(prefix="stream-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        total, size = prepare(folder, options.samples, options.coco)
        print(f"{options.samples} samples of {size:,.0f} bytes", flush=True)
        failures = write_all(names, folder, options.peers_python)
        names = [name for name in names if name not in failures]
        places = stack.enter_context(media(folder, names, options.media))
        found: dict[Case, list[dict[str, float]]] = {
            c: [] for c in cases(names, options.media, options.workers)
        }
        for _ in range(options.rounds):
            for case, rounds in found.items():
                if str(case) in failures:
                    continue
                python = sys.executable if case.loader in OURS else options.peers_python
                size_words = ["--count", str(options.samples), "--total", str(total)]
                try:
                    rounds.append(attempt(case, python, size_words, places, folder))
                except Failed as failure:
                    failures[str(case)] = str(failure)
                    print(f"{case}: {failure}", flush=True)
    medians = summarise(found)
    print(table(medians))
    result = verdict(medians, options.media)
    result |= {"samples": options.samples, "rounds": options.rounds, "failures": failures}
    print(json.dumps(_rounded(result)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--media", default=",".join(MEDIA))
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--peers-python", default="", help="interpreter of the peers' venv")
    parser.add_argument("--workers", default="0,1,2", help="of the peers")
    parser.add_argument("--coco", type=Path, default=Path("../shared/data/coco"))
    parser.add_argument("--quick", action="store_true", help="1,024 samples, one round")
    options = parser.parse_args()
    options.media, options.peers = options.media.split(","), options.peers.split(",")
    options.workers = [int(number) for number in options.workers.split(",")]
    if options.quick:
        options.samples, options.rounds = 1024, 1
    for given, known in ((options.media, MEDIA), (options.peers, PEERS)):
        if unknown := set(given) - set(known):
            parser.error(f"unknown: {sorted(unknown)}; known: {', '.join(known)}")
    return options


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(entry) for name, entry in value.items()}
    if isinstance(value, float):
        return None if math.isnan(value) else float(f"{value:.4g}")
    return value


if __name__ == "__main__":
    main()
