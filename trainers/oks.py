"""COCO's average precision of keypoints, for any subset of the joints, equal to pycocotools' COCOeval.

Object keypoint similarity of a prediction and a person: the mean over the labelled joints of
exp(-d² / (2 s² k²)), d the distance, s² the person's area, k twice the joint's sigma. Persons whose joints are all
unlabelled are ignored by COCO; similarity to them is measured from their box, so callers leave them out.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
THRESHOLDS: Array = np.linspace(0.5, 0.95, 10)
_RECALLS: Array = np.linspace(0.0, 1.0, 101)
_MOST = 20
"""COCO keeps the 20 highest-scored persons of a picture."""


def similarity(
    predicted: Array, true: Array, labelled: NDArray[np.bool_], area: Array, sigmas: Array
) -> Array:
    """Returns OKS (d, g) of predictions (d, k, 2) with persons (g, k, 2), labelled (g, k), area (g,) px²."""
    squared = ((predicted[:, None] - true[None]) ** 2).sum(-1)
    scaled = squared / ((2 * sigmas) ** 2) / (area[None, :, None] + np.spacing(1)) / 2
    kept = np.where(labelled[None], np.exp(-scaled), 0.0)
    result: Array = kept.sum(-1) / labelled.sum(-1)[None]
    return result


def average_precision(
    picture: NDArray[np.int64],
    score: Array,
    predicted: Array,
    true: Array,
    labelled: NDArray[np.bool_],
    area: Array,
    sigmas: Array,
) -> dict[str, float]:
    """Computes AP (mean over OKS 0.50:0.05:0.95), AP at 0.50 and 0.75, and average recall.

    Every row is one person with one prediction (a known box); within a picture a prediction may match any
    person, as in COCOeval. Rows without a labelled joint are left out.

    Args:
        picture: (n,) rows of one number share a picture.
        score: (n,) confidence of the prediction.
        predicted: (n, k, 2) px.
        true: (n, k, 2) px, read where labelled.
        labelled: (n, k).
        area: (n,) px², in the same pixels.
        sigmas: (k,) COCO's constants.
    """
    keep = labelled.any(1)
    parts, scores = [], []
    order = np.argsort(picture[keep], kind="stable")
    rows = np.flatnonzero(keep)[order]
    bounds = np.flatnonzero(np.diff(picture[rows], prepend=picture[rows[:1]] - 1))
    for group in np.split(rows, bounds[1:]) if len(rows) else []:
        ranked = group[np.argsort(-score[group], kind="mergesort")][:_MOST]
        truth = np.where(labelled[group, :, None], true[group], 0.0)
        table = similarity(predicted[ranked], truth, labelled[group], area[group], sigmas)
        parts.append(_match(table))
        scores.append(score[ranked])
    return _summary(parts, scores, len(rows))


def _match(table: Array) -> NDArray[np.bool_]:
    """Matches predictions (best score first) to free persons greedily; returns hits (threshold, d)."""
    hits = np.zeros((len(THRESHOLDS), table.shape[0]), dtype=bool)
    for t, threshold in enumerate(THRESHOLDS):
        taken = np.zeros(table.shape[1], dtype=bool)
        for d, row in enumerate(table):
            free = np.where(taken, -1.0, row)
            # Of equal similarities COCOeval keeps the last.
            best = len(free) - 1 - int(np.argmax(free[::-1]))
            if free[best] >= min(threshold, 1 - 1e-10):
                taken[best] = hits[t, d] = True
    return hits


def _summary(
    parts: Sequence[NDArray[np.bool_]], scores: Sequence[Array], persons: int
) -> dict[str, float]:
    if not persons:
        return dict.fromkeys(("AP", "AP50", "AP75", "AR"), float("nan"))
    order = np.argsort(-np.concatenate(scores), kind="mergesort")
    hits = np.concatenate(parts, axis=1)[:, order]
    found = np.cumsum(hits, axis=1, dtype=np.float64)
    false = np.cumsum(~hits, axis=1, dtype=np.float64)
    precision = found / (found + false + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    values = []
    for p, r in zip(precision, found / persons, strict=True):
        place = np.searchsorted(r, _RECALLS, side="left")
        values.append(np.where(place < len(p), np.append(p, 0.0)[np.minimum(place, len(p))], 0.0))
    by_threshold = np.array(values).mean(1)
    return {
        "AP": float(by_threshold.mean()),
        "AP50": float(by_threshold[0]),
        "AP75": float(by_threshold[5]),
        "AR": float((found[:, -1] / persons).mean()),
    }
