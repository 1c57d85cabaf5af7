"""Decoding refuses what is broken or absurd; resampling keeps points and brightness in their place."""

import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from schemas.errors import SampleRejected
from schemas.geometry import affine_from_box, apply_affine
from workers.images import MAX_PIXELS, decode, encode, warp


def photo(height: int = 96, width: int = 128) -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def jpeg(mode: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photo()).convert(mode).save(buffer, "JPEG", quality=95, **options)
    return buffer.getvalue()


def blob(x: float, y: float, size: int = 256, sigma: float = 6.0) -> np.ndarray:
    """A bright spot whose centroid is (x, y) in pixel-centre coordinates."""
    yy, xx = np.mgrid[:size, :size]
    spot = 250 * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * sigma**2))
    return np.repeat(spot[..., None], 3, axis=2).astype(np.uint8)


def centroid(picture: np.ndarray) -> np.ndarray:
    weight = picture[..., 0].astype(float)
    yy, xx = np.mgrid[: picture.shape[0], : picture.shape[1]]
    return np.array([(weight * xx).sum(), (weight * yy).sum()]) / weight.sum()


def reason(data: bytes) -> str:
    with pytest.raises(SampleRejected) as caught:
        decode(data)
    return caught.value.reason


def test_a_jpeg_survives_the_round_trip_within_its_quality() -> None:
    rgb = photo()
    data = encode(rgb, 95)
    assert np.abs(decode(data).astype(int) - rgb).mean() < 3.0
    assert encode(rgb, 95) == data
    assert len(encode(rgb, 50)) < len(data)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_cut_anywhere_in_its_last_nine_tenths_is_refused(progressive: bool) -> None:
    whole = jpeg("RGB", progressive=progressive)
    decode(whole)
    for cut in np.linspace(len(whole) // 10, len(whole) - 1, 60).astype(int):
        assert reason(whole[:cut]) == "truncated_jpeg", cut


def test_a_jpeg_with_damaged_pixels_is_not_called_truncated() -> None:
    whole = bytearray(jpeg("RGB"))
    middle = len(whole) // 2
    whole[middle : middle + 40] = b"\xff\xd0" * 20
    assert reason(bytes(whole)) == "corrupt_jpeg"


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_jpegs_become_the_same_rgb_as_by_pillow(mode: str) -> None:
    data = jpeg(mode)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert np.abs(decode(data).astype(int) - expected).max() <= 2


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_png_is_read_without_loss_and_in_rgb_order(mode: str) -> None:
    buffer = io.BytesIO()
    picture = Image.fromarray(photo()).convert(mode)
    picture.save(buffer, "PNG")
    assert np.array_equal(decode(buffer.getvalue()), np.asarray(picture.convert("RGB")))
    assert reason(buffer.getvalue()[:-30]) == "truncated_image"


@pytest.mark.parametrize("lossless", [False, True])
def test_webp_is_read_and_its_truncation_noticed(lossless: bool) -> None:
    buffer = io.BytesIO()
    Image.fromarray(photo()).save(buffer, "WEBP", lossless=lossless)
    data = buffer.getvalue()
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert np.abs(decode(data).astype(int) - expected).max() <= 2
    assert reason(data[: len(data) // 2]) == "truncated_image"


@pytest.mark.parametrize("data", [b"", b"hello", b"<html>404</html>" * 10, b"\xff\xd8"])
def test_what_is_no_picture_is_said_to_be_none(data: bytes) -> None:
    assert reason(data) == "not_an_image"


def test_an_absurd_header_is_refused_before_its_pixels_are_allocated() -> None:
    data = bytearray(jpeg("RGB"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 65000, 65000)
    assert reason(bytes(data)) == "too_large"
    buffer = io.BytesIO()
    Image.new("L", (4, 4)).save(buffer, "PNG")
    png = bytearray(buffer.getvalue())
    png[16:24] = struct.pack(">II", 1 << 30, MAX_PIXELS)
    assert reason(bytes(png)) == "too_large"


@pytest.mark.parametrize("scale", [0.11, 0.5, 0.7, 1.0, 2.6])
def test_a_spot_lands_where_the_affine_says(scale: float) -> None:
    turn = 0.4
    A = np.array(
        [
            [scale * np.cos(turn), -scale * np.sin(turn), 30.3],
            [scale * np.sin(turn), scale * np.cos(turn), -7.8],
            [0.0, 0.0, 1.0],
        ]
    )
    spot = np.array([120.25, 81.5])
    out = warp(blob(*spot), A, 400, 400)
    assert np.abs(centroid(out) - apply_affine(A, spot)).max() < 0.06


def test_the_identity_changes_no_pixel_and_a_box_is_cut_out_exactly() -> None:
    rgb = photo()
    assert np.array_equal(warp(rgb, np.eye(3), 128, 96), rgb)
    A = affine_from_box(np.array([9.5, 19.5, 40.0, 30.0]), 40, 30)
    assert np.array_equal(warp(rgb, A, 40, 30), rgb[20:50, 10:50])


def test_shrinking_averages_areas_instead_of_picking_pixels() -> None:
    board = np.indices((240, 240)).sum(axis=0) % 2 * 255
    rgb = np.repeat(board[..., None], 3, axis=2).astype(np.uint8)
    A = affine_from_box(np.array([-0.5, -0.5, 240.0, 240.0]), 37, 37)
    inside = warp(rgb, A, 37, 37)[2:-2, 2:-2].astype(int)
    assert np.abs(inside - 127).max() <= 12


def test_outside_the_picture_is_black() -> None:
    white = np.full((50, 50, 3), 255, np.uint8)
    A = affine_from_box(np.array([-50.5, -0.5, 150.0, 50.0]), 150, 50)
    out = warp(white, A, 150, 50)
    assert out[:, :49].max() == 0
    assert out[:, 51:99].min() == 255
    assert out[:, 101:].max() == 0
    far = affine_from_box(np.array([500.0, 500.0, 20.0, 20.0]), 20, 20)
    assert warp(white, far, 20, 20).max() == 0
