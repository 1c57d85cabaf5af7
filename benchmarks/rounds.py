"""Times several things in turn, round after round, so that a busy machine slows all of them alike."""

import time
from collections.abc import Callable
from statistics import median, quantiles
from typing import NamedTuple

Work = Callable[[], object]


class Times(NamedTuple):
    """Seconds per call, one entry per round."""

    wall: list[float]
    cpu: list[float]
    """Of all threads of this process: with one thread, what the call costs on an idle machine."""


def seconds(work: Work, repeats: int = 1) -> tuple[float, float]:
    """Returns wall-clock and CPU seconds per call."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(repeats):
        work()
    return (time.perf_counter() - wall) / repeats, (time.process_time() - cpu) / repeats


def interleave(works: dict[str, Work], rounds: int, at_least: float = 0.05) -> dict[str, Times]:
    """Times all in turn; quick ones are repeated until a round takes about `at_least` seconds."""
    repeats = {
        name: max(1, int(at_least / max(seconds(work)[0], 1e-6))) for name, work in works.items()
    }
    times = {name: Times([], []) for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            for kept, value in zip(times[name], seconds(work, repeats[name]), strict=True):
                kept.append(value)
    return times


def milliseconds(times: Times) -> dict[str, float]:
    """Returns median wall, least wall and median CPU time in ms."""
    wall, cpu = times
    found = {"ms": median(wall), "best_ms": min(wall), "cpu_ms": median(cpu)}
    return {name: round(1e3 * value, 4) for name, value in found.items()}


def ratios(slow: Times, quick: Times, factor: float = 1.0) -> dict[str, object]:
    """Returns how many times (times `factor`) slower one is: median over rounds, its quartiles, and by CPU time."""
    wall = [factor * a / b for a, b in zip(slow.wall, quick.wall, strict=True)]
    cpu = [factor * a / b for a, b in zip(slow.cpu, quick.cpu, strict=True)]
    return {
        "times": round(median(wall), 2),
        "quartiles": [round(v, 2) for v in quantiles(wall, n=4)],
        "times_cpu": round(median(cpu), 2),
    }
