"""Marker trajectories in OpenSim's `.trc`, in and out. m = marker, t = frame; metres, ground frame, here."""

import io
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError

Array = NDArray[np.float64]
UNITS = {"mm": 1e-3, "cm": 1e-2, "m": 1.0}


class Trajectories(NamedTuple):
    """Where markers were seen."""

    names: tuple[str, ...]
    times: Array
    """(t,) s."""
    markers: Array
    """(t, m, 3) m; NaN = not seen."""
    rate: float
    """Frames per second, as the file says."""


def read_trc(data: bytes, name: str) -> Trajectories:
    """Reads a `.trc`; an empty cell is a marker that was not seen.

    Raises:
        InputError: not a `.trc`, other units, or a row that is no row of numbers.
    """
    try:
        lines = data.decode("utf-8-sig").splitlines()
        keys, values = (lines[k].split("\t") for k in (1, 2))
        head = dict(zip((k.strip() for k in keys), (v.strip() for v in values), strict=False))
        factor, rate = UNITS[head["Units"].lower()], float(head["DataRate"])
        names = tuple(cell.strip() for cell in lines[3].split("\t")[2::3] if cell.strip())
        rows = [_row(line, len(names)) for line in lines[5:] if line.strip()]
    except (UnicodeDecodeError, IndexError, KeyError, ValueError) as error:
        raise InputError(
            name, f"is no .trc that can be read ({error!r})", "Export it again"
        ) from error
    if not rows or not names or len(set(names)) < len(names):
        raise InputError(
            name, "holds no frames, or no markers of different names", "Export it again"
        )
    table = np.array(rows)
    return Trajectories(names, table[:, 0], factor * table[:, 1:].reshape(-1, len(names), 3), rate)


def _row(line: str, markers: int) -> list[float]:
    """Returns the time and 3 m numbers of a line."""
    cells = line.split("\t")[1:]
    numbers = [float(cell) if cell.strip() else np.nan for cell in cells[: 1 + 3 * markers]]
    if len(cells) > 1 + 3 * markers and any(cell.strip() for cell in cells[1 + 3 * markers :]):
        raise ValueError(f"{len(cells)} cells where {1 + 3 * markers} are named")
    return numbers + [np.nan] * (1 + 3 * markers - len(numbers))


def in_order(found: Trajectories, wanted: tuple[str, ...]) -> Array:
    """Returns the markers (t, m, 3) of those names; NaN for those that the file does not have.

    Raises:
        InputError: it has none of them.
    """
    if not set(wanted) & set(found.names):
        raise InputError(
            ", ".join(found.names[:5]),
            "are no markers of the model",
            f"Name them as the model does: {', '.join(wanted[:5])}, …",
        )
    missing = np.full((len(found.times), 1, 3), np.nan)
    padded = np.concatenate([found.markers, missing], axis=1)
    return padded[:, [found.names.index(n) if n in found.names else -1 for n in wanted]]


def write_trc(marker_names: tuple[str, ...], times: Array, markers: Array, rate: float) -> bytes:
    """Writes marker positions (t, m, 3) m, ground frame, as a `.trc` in millimetres; NaN becomes an empty cell."""
    frames, count = markers.shape[:2]
    text = io.StringIO()
    text.write("PathFileType\t4\t(X/Y/Z)\tmarkers.trc\n")
    text.write(
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames\n"
    )
    text.write(f"{rate:g}\t{rate:g}\t{frames}\t{count}\tmm\t{rate:g}\t1\t{frames}\n")
    text.write("Frame#\tTime\t" + "\t\t\t".join(marker_names) + "\t\t\n")
    axes = (f"{axis}{i}" for i in range(1, count + 1) for axis in "XYZ")
    text.write("\t\t" + "\t".join(axes) + "\n\n")
    for frame, (time, row) in enumerate(
        zip(times, markers.reshape(frames, -1) * 1000, strict=True), 1
    ):
        cells = ("" if np.isnan(v) else f"{v:.5f}" for v in row)
        text.write("\t".join((str(frame), f"{time:.8f}", *cells)) + "\n")
    return text.getvalue().encode()
