"""Cuts a sorted sequence of groups into shards at places that the groups nearby choose: a change stays local."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter1d


def cut(ranks: Sequence[float], sizes: Sequence[int], full: int) -> list[int]:
    """Returns where shards end, as indices behind their last groups, ascending; a group is never divided.

    A block ends with a group whose rank is the lowest of all within half a shard before and behind it: whether it is
    depends on nothing further away (local-minimum chunking, Bjorner, Blass & Gurevich 2010). A block of more than a
    full shard is cut from its start, each time at the lowest rank between half and full. So a change moves borders
    within its own block and seldom the next, and what joins at the end changes the last block only.

    Args:
        ranks: a hash of each group, all different.
        sizes: samples in each group, at least 1.
        full: samples in a full shard; a shard holds more only where one group ends beyond it.
    """
    if not sizes:
        return []
    half = max(1, full // 2)
    rank, behind = np.asarray(ranks, np.float64), np.cumsum(sizes)
    ends: list[int] = []
    start = 0
    for stop in [*_block_ends(rank, np.asarray(sizes), half), len(rank)]:
        while start < stop:
            start = _next_end(rank, behind, start, stop, half, full)
            ends.append(start)
    return ends


def _block_ends(
    rank: NDArray[np.float64], sizes: NDArray[np.int64], half: int
) -> NDArray[np.int64]:
    """Returns the indices behind the groups of lowest rank within `half` samples on either side."""
    each = np.repeat(rank, sizes)
    # Beyond the sequence lies the lowest rank: a place whose surroundings are not all known ends nothing.
    lowest = minimum_filter1d(each, 2 * half + 1, mode="constant", cval=-1.0)
    last = np.cumsum(sizes) - 1
    return np.flatnonzero(lowest[last] == rank) + 1


def _next_end(
    rank: NDArray[np.float64],
    behind: NDArray[np.int64],
    start: int,
    stop: int,
    half: int,
    full: int,
) -> int:
    before = int(behind[start - 1]) if start else 0
    if behind[stop - 1] - before <= full:
        return stop
    low, high = np.searchsorted(behind[start:stop], [before + half, before + full], "left") + start
    reach = high + 1 if high < stop and behind[high] == before + full else high
    if reach <= low:  # one group reaches from below half to beyond full
        return int(min(low + 1, stop))
    return int(low + np.argmin(rank[low:reach])) + 1
