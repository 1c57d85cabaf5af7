"""The layout of D3KE's published pipeline (github.com/bittnerma/Direct3DKinematicEstimation), for comparison.

HDF5; pictures as full frames of 800 x 600 u1, one frame per chunk, gzip level 9; labels as float64, one row per
chunk, gzip level 9: angles and their mask, the root's pose, body scales, joint centres, markers, the box.
"""

from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray

LABELS = ("q", "scale", "T_ground_from_root", "joints_ground", "markers_ground", "box")
WIDTH, HEIGHT = 800, 600


def full_frame(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns an 800 x 600 frame with a square crop (600, 600, 3) in its middle and its mirror image beside it."""
    side = (WIDTH - HEIGHT) // 2
    framed = cv2.copyMakeBorder(crop, 0, 0, side, side, cv2.BORDER_REFLECT_101)
    return np.asarray(framed, dtype=np.uint8)


def write(path: Path, frames: NDArray[np.uint8], labels: dict[str, NDArray[np.float64]]) -> None:
    """Writes frames (n, 600, 800, 3) and labels (n, ...) as that pipeline does."""
    with h5py.File(path, "w") as file:
        arrays: dict[str, NDArray[Any]] = {"images": frames}
        arrays |= {name: values.astype(np.float64) for name, values in labels.items()}
        for name, values in arrays.items():
            file.create_dataset(
                name,
                data=values,
                chunks=(1, *values.shape[1:]),
                compression="gzip",
                compression_opts=9,
            )


def read_all(path: Path, order: NDArray[np.int64]) -> int:
    """Reads every sample whole, one by one in an order, the file held open; returns the bytes seen."""
    size = 0
    with h5py.File(path, "r") as file:
        for row in order:
            size += sum(np.asarray(file[name][row]).nbytes for name in ("images", *LABELS))
    return size
