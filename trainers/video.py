"""Reads and writes videos frame by frame, upright; nothing ever holds a whole video."""

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import av
import cv2
import fsspec
import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError

Picture = NDArray[np.uint8]


@contextmanager
def _opened(url: str) -> Iterator[Any]:
    """Opens a video's container; whatever goes wrong in it is one paragraph about that video."""
    try:
        with fsspec.open(url, "rb") as file, av.open(file) as container:
            if not container.streams.video:
                raise InputError(url, "holds no video stream", "Name an MP4, MOV, AVI or MKV file")
            yield container
    except InputError:
        raise
    except IsADirectoryError as error:
        raise InputError(url or "an empty path", "is a folder", "Name a video in it") from error
    except FileNotFoundError as error:
        raise InputError(url, "no such file", "Check the path or URL") from error
    except av.FFmpegError as error:
        raise InputError(
            url, f"is no readable video ({error})", "Name an MP4, MOV, AVI or MKV file"
        ) from error
    except (OSError, ImportError, ValueError) as error:
        raise InputError(
            url, f"cannot be read ({error})", "Check the URL and the credentials"
        ) from error


def frames(url: str) -> Iterator[tuple[float, Picture]]:
    """Yields (seconds since the first frame, rgb (h, w, 3)), turned upright as the phone noted it.

    Raises:
        InputError: missing, no video, or broken from the start on.
    """
    first: float | None = None
    with _opened(url) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        for index, frame in enumerate(container.decode(stream)):
            seconds = frame.time if frame.time is not None else index / float(rate_of(stream))
            first = seconds if first is None else first
            quarter_turns = round(frame.rotation / 90.0) % 4
            rgb = np.rot90(frame.to_ndarray(format="rgb24"), quarter_turns)
            yield seconds - first, np.ascontiguousarray(rgb)
    if first is None:
        raise InputError(url, "holds no frame", "Name another video")


def rate_of(stream: Any) -> Fraction:
    """Returns a stream's frames per second, 30 where the file does not say."""
    return Fraction(stream.average_rate or stream.guessed_rate or 30)


def frame_rate(url: str) -> Fraction:
    """Returns a video's mean frames per second."""
    with _opened(url) as container:
        return rate_of(container.streams.video[0])


def encode(pictures: Iterable[Picture], rate: Fraction) -> bytes:
    """Encodes pictures of one size as an H.264 MP4; an odd last row or column is cut, as H.264 demands."""
    sink = io.BytesIO()
    with av.open(sink, "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=rate)
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "20", "preset": "veryfast"}
        for picture in pictures:
            even = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
            if not stream.codec_context.is_open:
                stream.height, stream.width = even.shape[:2]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return sink.getvalue()


def draw(
    rgb: Picture,
    points_px: NDArray[np.float64],
    bones: Iterable[tuple[int, int, tuple[int, int, int]]],
    dots_px: NDArray[np.float64],
) -> Picture:
    """Draws bones between `points_px` (p, 2), each with its colour, and small dots (d, 2); NaN is not drawn."""
    canvas = np.ascontiguousarray(rgb).copy()
    size = max(1, round(max(rgb.shape[:2]) / 320))
    for a, b, colour in bones:
        if np.isfinite(points_px[[a, b]]).all():
            ends = [_fixed_point(points_px[i]) for i in (a, b)]
            cv2.line(canvas, ends[0], ends[1], colour, 2 * size, cv2.LINE_AA, _SHIFT)
    for dot in dots_px[np.isfinite(dots_px).all(-1)]:
        radius = round(1.5 * size * 2**_SHIFT)
        cv2.circle(canvas, _fixed_point(dot), radius, (255, 255, 255), -1, cv2.LINE_AA, _SHIFT)
    return canvas


_SHIFT = 4
"""Fractional bits of the drawing positions."""


def _fixed_point(point: NDArray[np.float64]) -> tuple[int, int]:
    x, y = np.clip(np.rint(point * 2**_SHIFT), -(2**28), 2**28)
    return int(x), int(y)
