"""From stored crops to the net's picture: one exact affine per sample, then light on whole batches in torch.

Legend: n samples; `A_net_from_crop` (n, 3, 3) takes pixels of the stored crop to pixels of the net's picture (h, w);
points (n, k, 2) pixels. Every random number comes from `Batch.uniforms`, so it belongs to the sample.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from schemas.training import Augment

Array = NDArray[np.float64]
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_BLUR_RADIUS = 4
_LUMA = (0.299, 0.587, 0.114)


class Draw(IntEnum):
    """Columns of `Batch.uniforms`; those from FREE on belong to the task."""

    FLIP, ANGLE, SCALE, SHIFT_X, SHIFT_Y = range(5)
    BRIGHTNESS, CONTRAST, RED, GREEN, BLUE = range(5, 10)
    BLUR, BLUR_SIGMA = 10, 11
    OCCLUDE, LEFT, TOP, WIDTH, HEIGHT, PAINT_R, PAINT_G, PAINT_B = range(12, 20)
    FREE = 20


def box_affine(boxes: Array, height: int, width: int, padding: float | None) -> Array:
    """Returns `A_net_from_crop` (n, 3, 3) that shows each box (n, 4: x, y, w, h, outer edges) in a picture.

    Args:
        boxes: in the stored crop.
        height: of the net's picture.
        width: of the net's picture.
        padding: None stretches the box onto the whole picture; a number keeps its aspect and shows that
            many times the smallest rectangle of the picture's shape around it.
    """
    sides = boxes[:, 2:].astype(np.float64)
    centre = boxes[:, :2] + sides / 2
    if padding is not None:
        aspect = width / height
        wide = np.maximum(sides[:, 0], sides[:, 1] * aspect)
        sides = np.stack([wide, wide / aspect], axis=1) * padding
    scale = np.array([width, height]) / sides
    A = np.zeros((len(boxes), 3, 3))
    A[:, 0, 0], A[:, 1, 1], A[:, 2, 2] = scale[:, 0], scale[:, 1], 1.0
    # The picture's outer edges are -0.5 and width - 0.5, as pixel centres are whole numbers.
    A[:, :2, 2] = np.array([width, height]) / 2 - 0.5 - scale * centre
    return A


def geometric(options: Augment, uniforms: Array, boxes: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Draws a similarity `A_crop_from_crop` (n, 3, 3) about each box's centre, and who is mirrored (n,).

    Mirroring is applied last, by `mirror`, in the net's picture.
    """
    angle = np.deg2rad(options.rotate) * (2 * uniforms[:, Draw.ANGLE] - 1)
    low, high = np.log(options.scale[0]), np.log(options.scale[1])
    scale = np.exp(low + (high - low) * uniforms[:, Draw.SCALE])
    move = options.shift * (2 * uniforms[:, [Draw.SHIFT_X, Draw.SHIFT_Y]] - 1) * boxes[:, 2:]
    centre = boxes[:, :2] + boxes[:, 2:] / 2
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    A = np.zeros((len(boxes), 3, 3))
    A[:, 0, 0], A[:, 0, 1], A[:, 1, 0], A[:, 1, 1] = cos, -sin, sin, cos
    A[:, :2, 2] = centre + move - (A[:, :2, :2] @ centre[:, :, None])[:, :, 0]
    A[:, 2, 2] = 1.0
    return A, uniforms[:, Draw.FLIP] < options.flip


def mirror(A_net_from_crop: Array, mirrored: NDArray[np.bool_], width: int) -> Array:
    """Turns the chosen samples' affines into those of the picture seen in a mirror."""
    flip = np.array([[-1.0, 0.0, width - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    result: Array = np.where(mirrored[:, None, None], flip @ A_net_from_crop, A_net_from_crop)
    return result


def swap_sides(
    values: NDArray[Any], mirrored: NDArray[np.bool_], permutation: NDArray[np.intp]
) -> NDArray[Any]:
    """Gives the mirrored samples' (n, k, …) rows the names of their twins."""
    chosen = mirrored.reshape(-1, *(1,) * (values.ndim - 1))
    return np.where(chosen, values[:, permutation], values)


def move_points(A: Array, points: NDArray[Any]) -> Array:
    """Moves points (n, k, 2) by affines (n, 3, 3)."""
    result: Array = points @ np.swapaxes(A[:, :2, :2], 1, 2) + A[:, None, :2, 2]
    return result


def warp(
    images: Sequence[NDArray[np.uint8]], A_net_from_crop: Array, height: int, width: int
) -> Tensor:
    """Resamples crops of any sizes into one batch (n, 3, height, width), u1; black outside the crop.

    Bilinear; a picture that shrinks by 2 or more is first averaged over whole pixels, so that nothing aliases.
    """
    batch = np.zeros((len(images), height, width, 3), np.uint8)
    for image, A, out in zip(images, A_net_from_crop, batch, strict=True):
        factor = max(1, int(1 / np.sqrt(abs(np.linalg.det(A[:2, :2])))))
        source, M = image, A
        if factor > 1:
            h, w = (max(1, side // factor) for side in image.shape[:2])
            cut = image[: h * factor, : w * factor]
            source = cv2.resize(cut, (w, h), interpolation=cv2.INTER_AREA).astype(np.uint8)
            half = (factor - 1) / 2
            M = A @ np.array([[factor, 0.0, half], [0.0, factor, half], [0.0, 0.0, 1.0]])
        cv2.warpAffine(source, M[:2], (width, height), dst=out, flags=cv2.INTER_LINEAR)
    return torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous()


def normalise(images: Tensor) -> Tensor:
    """Takes sRGB 0…1 (n, 3, h, w) to ImageNet's zero mean and unit deviation."""
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=images.device).view(1, 3, 1, 1)
    return (images - mean) / std


def appearance(images: Tensor, options: Augment, uniforms: Array) -> Tensor:
    """Changes colour, sharpness and what is hidden in sRGB 0…1 (n, 3, h, w)."""
    here = torch.as_tensor(uniforms, dtype=torch.float32)
    draws = here.to(images.device)
    images = _colour(images, options.colour, draws)
    images = _blur(images, options.blur, here)
    return _occlude(images, options.occlude, draws)


def _colour(images: Tensor, most: float, draws: Tensor) -> Tensor:
    spread = most * (2 * draws - 1)
    gain = 1 + spread[:, Draw.BRIGHTNESS, None] + spread[:, Draw.RED : Draw.BLUE + 1] / 2
    contrast = 1 + spread[:, Draw.CONTRAST].view(-1, 1, 1, 1)
    luma = torch.tensor(_LUMA, device=images.device).view(1, 3, 1, 1)
    grey = (images * luma).sum(1, keepdim=True).mean((2, 3), keepdim=True)
    return ((images - grey) * contrast + grey).mul(gain[:, :, None, None]).clamp(0, 1)


def _blur(images: Tensor, probability: float, draws: Tensor) -> Tensor:
    """Blurs some pictures; `draws` lie on the CPU, as asking a GPU which would wait for all that it has to do."""
    chosen = torch.nonzero(draws[:, Draw.BLUR] < probability)[:, 0]
    if not len(chosen):
        return images
    picked = images[chosen]
    n, c, h, w = picked.shape
    sigma = (0.3 + 1.2 * draws[chosen, Draw.BLUR_SIGMA]).to(images.device)
    places = torch.arange(-_BLUR_RADIUS, _BLUR_RADIUS + 1, device=images.device)
    kernel = torch.exp(-0.5 * (places[None] / sigma[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(c, 0)
    flat = F.pad(picked.reshape(1, n * c, h, w), [_BLUR_RADIUS] * 4, mode="replicate")
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=n * c)
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=n * c)
    result = images.clone()
    result[chosen] = flat.view(n, c, h, w)
    return result


def _occlude(images: Tensor, probability: float, draws: Tensor) -> Tensor:
    h, w = images.shape[2:]
    chosen = (draws[:, Draw.OCCLUDE] < probability).view(-1, 1, 1)
    x = torch.arange(w, device=images.device).view(1, 1, w) / w
    y = torch.arange(h, device=images.device).view(1, h, 1) / h

    def within(place: Tensor, start: Draw, size: Draw) -> Tensor:
        length = (0.1 + 0.3 * draws[:, size]).view(-1, 1, 1)
        offset = (draws[:, start]).view(-1, 1, 1) * (1 - length)
        return (place >= offset) & (place < offset + length)

    hidden = (chosen & within(x, Draw.LEFT, Draw.WIDTH) & within(y, Draw.TOP, Draw.HEIGHT))[:, None]
    paint = draws[:, Draw.PAINT_R : Draw.PAINT_B + 1, None, None]
    return torch.where(hidden, paint, images)
