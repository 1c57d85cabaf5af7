"""Holds the brightness of one dataset's pictures against another's: of whole crops, and of what is near visible joints.

    python -m benchmarks.levels URL URL … [--samples 600]

Near is within 2.5 % of the figure's height of a visible shoulder, elbow, wrist, hip, knee or ankle. Levels are luma,
0..255. Burnt are people of whom over 15 % has a channel of 250 or more, dark those of whom over 40 % is below 25.
"""

import argparse
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline import overlay
from schemas.keypoints import Visibility
from schemas.manifest import open_dataset
from schemas.shards import generator
from workers.light import LUMA

_NEAR, _FEWEST = 0.025, 6
_ARRAYS = ("image", "image_offset", "keypoints", "keypoint_visibility")
_FIRST_LIMB = 5
"""Of COCO's keypoints: those before lie on the head."""


def people(url: str, count: int) -> Iterator[tuple[overlay.Picture, NDArray[np.bool_]]]:
    """Yields pictures (h, w, 3) of which six joints are visible, and what is near them (h, w)."""
    dataset = open_dataset(url)
    rng = generator(0, "levels", dataset.dataset_id)
    for shard in overlay.spread([s for s in dataset.shards if s.rows], rng):
        arrays = overlay.read_arrays(dataset, shard, _ARRAYS)
        for row in range(shard.rows):
            points = arrays["keypoints"][row, _FIRST_LIMB:]
            seen = arrays["keypoint_visibility"][row, _FIRST_LIMB:] == Visibility.VISIBLE
            if count and seen.sum() >= _FEWEST:
                count -= 1
                picture = overlay.decode(dataset, arrays, row)
                yield picture, near_joints(picture, points[seen])


def near_joints(picture: overlay.Picture, points: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Marks the pixels (h, w) near points (n, 2)."""
    radius = max(2, round(_NEAR * float(np.ptp(points[:, 1]))))
    mask = np.zeros(picture.shape[:2], np.uint8)
    for x, y in np.rint(points).astype(int).tolist():
        cv2.circle(mask, (x, y), radius, 1, -1)
    return mask > 0


def measure(url: str, count: int) -> str:
    """Returns a row of the table."""
    persons, crops, burnt, dark = [], [], [], []
    for picture, near in people(url, count):
        levels = picture @ LUMA
        persons.append(levels[near].mean())
        crops.append(levels.mean())
        burnt.append((picture[near].max(axis=1) >= 250).mean() > 0.15)
        dark.append((levels[near] < 25).mean() > 0.4)
    low, high = np.percentile(persons, [10, 90])
    cells = [
        url,
        str(len(persons)),
        f"{np.mean(crops):.0f} ± {np.std(crops):.0f}",
        f"{np.mean(persons):.0f} ± {np.std(persons):.0f}",
        f"{low:.0f} … {high:.0f}",
        f"{100 * np.mean(burnt):.1f} %",
        f"{100 * np.mean(dark):.1f} %",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("urls", nargs="+")
    parser.add_argument("--samples", type=int, default=600)
    options = parser.parse_args()
    print("| dataset | people | crop | person | tenth … ninth tenth | burnt | dark |")
    print("|---|---|---|---|---|---|---|")
    for url in options.urls:
        print(measure(url, options.samples), flush=True)


if __name__ == "__main__":
    main()
