"""Crops reach the net by one exact affine, labels move with the pixels, and light changes no geometry."""

import numpy as np
import pytest
import torch

from schemas.geometry import affine_from_box, fit_box
from schemas.keypoints import LOWER_KEYPOINTS, flip_permutation
from schemas.training import Augment
from trainers import augment
from trainers.augment import Draw
from trainers.task import UNIFORMS

BOXES = np.array([[10.0, 20.0, 60.0, 90.0], [-5.0, 3.5, 120.0, 40.0]])


def uniforms(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((n, UNIFORMS))


def test_box_affines_are_those_of_the_schemas() -> None:
    stretch = augment.box_affine(BOXES, 256, 192, None)
    padded = augment.box_affine(BOXES, 256, 192, 1.25)
    for box, s, p in zip(BOXES, stretch, padded, strict=True):
        np.testing.assert_allclose(s, affine_from_box(box, 192, 256), atol=1e-12)
        grown = fit_box(box, 192 / 256, 1.25)
        np.testing.assert_allclose(p, affine_from_box(grown, 192, 256), atol=1e-12)


def test_warped_pixels_lie_where_the_affine_says() -> None:
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:100, :140]
    image = np.stack([x, y, 0 * x], axis=-1).astype(np.uint8)
    A = augment.box_affine(np.array([[20.0, 10.0, 90.0, 80.0]]), 96, 72, None)
    A = A @ augment.geometric(Augment(rotate=20), rng.random((1, UNIFORMS)), BOXES[:1])[0]
    got = augment.warp((image,), A, 96, 72)[0].numpy().astype(float)
    v, u = np.mgrid[:96, :72]
    back = np.linalg.inv(A[0])
    want = np.stack([u, v], -1) @ back[:2, :2].T + back[:2, 2]
    inside = (want > 1).all(-1) & (want < [138, 98]).all(-1)
    assert inside.sum() > 1000
    error = np.abs(np.moveaxis(got[:2], 0, -1) - want)[inside]
    # Rounding to whole grey levels is 0.5; the rest is cv2's fixed-point bilinear.
    assert error.max() < 0.6
    assert abs((np.moveaxis(got[:2], 0, -1) - want)[inside].mean()) < 0.02


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_shrinking_averages_and_stays_in_place(factor: int) -> None:
    y, x = np.mgrid[:240, :240]
    ramp = np.repeat((x[..., None] + 0 * y[..., None]), 3, -1).astype(np.uint8)
    side = 240 // factor
    A = augment.box_affine(np.array([[-0.5, -0.5, 240.0, 240.0]]), side, side, None)
    got = augment.warp((ramp,), A, side, side)[0, 0].numpy().astype(float)
    want = (np.arange(side) + 0.5) * factor - 0.5
    assert np.abs(got[side // 2] - want)[2:-2].max() <= 1.0
    noise = np.random.default_rng(0).integers(0, 256, (240, 240, 3), dtype=np.uint8)
    small = augment.warp((noise,), A, side, side)[0].numpy().astype(float)
    assert small[:, 2:-2, 2:-2].std() < 1.15 * noise.std() / factor


def test_points_follow_pixels_through_every_variation() -> None:
    """A bright dot lands where its label lands, mirrored or not, turned, scaled and moved."""
    options = Augment(flip=0.5, rotate=60, scale=(0.7, 1.4), shift=0.1)
    n, px = 24, 128
    rng = np.random.default_rng(3)
    dots = rng.uniform(45, 80, (n, 1, 2)).round()
    images = []
    for ((x, y),) in dots.astype(int):
        image = np.zeros((px, px, 3), np.uint8)
        image[y - 1 : y + 2, x - 1 : x + 2] = 255
        images.append(image)
    boxes = np.tile([30.0, 20.0, 60.0, 90.0], (n, 1))
    varied, mirrored = augment.geometric(options, uniforms(n), boxes)
    A = augment.mirror(augment.box_affine(boxes, 128, 96, 1.25) @ varied, mirrored, 96)
    assert 0 < mirrored.sum() < n
    points = augment.move_points(A, dots)[:, 0]
    for picture, (x, y) in zip(augment.warp(images, A, 128, 96)[:, 0].numpy(), points, strict=True):
        if not (4 < x < 91 and 4 < y < 123):
            continue
        weight = picture.astype(float) / picture.sum()
        v, u = np.mgrid[:128, :96]
        assert abs((weight * u).sum() - x) < 0.15
        assert abs((weight * v).sum() - y) < 0.15


def test_mirrored_points_take_their_twins_names() -> None:
    points = np.arange(24.0).reshape(2, 6, 2)
    twins = flip_permutation(LOWER_KEYPOINTS)
    got = augment.swap_sides(points, np.array([False, True]), twins)
    np.testing.assert_array_equal(got[0], points[0])
    for i, name in enumerate(LOWER_KEYPOINTS):
        twin = name.replace("left", "L").replace("right", "left").replace("L", "right")
        np.testing.assert_array_equal(got[1, i], points[1, LOWER_KEYPOINTS.index(twin)])
    np.testing.assert_array_equal(augment.swap_sides(got, np.array([False, True]), twins), points)


def test_appearance_of_a_sample_does_not_depend_on_its_companions() -> None:
    images = torch.rand(6, 3, 32, 24, generator=torch.Generator().manual_seed(0))
    draws = uniforms(6, seed=2)
    options = Augment(colour=0.3, blur=0.5, occlude=0.5)
    together = augment.appearance(images, options, draws)
    single = torch.cat(
        [augment.appearance(images[i : i + 1], options, draws[i : i + 1]) for i in range(6)]
    )
    torch.testing.assert_close(together, single, atol=1e-6, rtol=0)
    assert (together != images).any()


def test_appearance_switched_off_changes_nothing() -> None:
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    plain = augment.appearance(images, Augment(colour=0, blur=0, occlude=0), uniforms(3))
    torch.testing.assert_close(plain, images, atol=1e-6, rtol=0)


def test_blur_keeps_the_mean_and_lowers_the_contrast() -> None:
    images = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    draws = uniforms(2)
    draws[:, Draw.BLUR_SIGMA] = 0.9
    got = augment.appearance(images, Augment(colour=0, blur=1, occlude=0), draws)
    assert abs(float(got.mean() - images.mean())) < 0.01
    assert float(got.std()) < 0.5 * float(images.std())


def test_occluder_hides_at_most_its_share() -> None:
    images = torch.full((50, 3, 64, 48), -1.0)
    got = augment.appearance(images.clamp(0, 1), Augment(colour=0, blur=0, occlude=1), uniforms(50))
    share = (got != 0).any(1).float().mean((1, 2))
    assert float(share.max()) <= 0.17
    assert float(share.min()) > 0.005
