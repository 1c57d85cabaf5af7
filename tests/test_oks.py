"""Our six-joint average precision is pycocotools' own number."""

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from schemas.keypoints import COCO_SIGMAS, LOWER_INDICES
from trainers import oks

SIGMAS = COCO_SIGMAS[list(LOWER_INDICES)]


def people(seed: int, n: int, pictures: int) -> dict[str, Any]:
    """Draws persons, several to a picture, with predictions from perfect to hopeless and tied scores."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(100, 500, (n, 1, 2))
    true = centre + rng.normal(0, 40, (n, 6, 2))
    labelled = rng.random((n, 6)) < rng.choice([0.2, 0.9], (n, 1))
    noise = rng.choice([0.0, 2.0, 8.0, 30.0], (n, 1, 1))
    return {
        "picture": rng.integers(0, pictures, n),
        "score": np.round(rng.random(n), 1),
        "predicted": true + rng.normal(0, 1, (n, 6, 2)) * noise,
        "true": true,
        "labelled": labelled,
        "area": rng.uniform(200, 40_000, n),
    }


def pycocotools_says(p: dict[str, Any]) -> dict[str, float]:
    """Scores the same persons by COCOeval with six sigmas."""
    keep = np.flatnonzero(p["labelled"].any(1))
    truth, found = [], []
    for i in keep:
        v = 2 * p["labelled"][i].astype(int)
        flat = np.concatenate([p["true"][i], v[:, None]], axis=1).ravel().tolist()
        common = {"image_id": int(p["picture"][i]), "category_id": 1, "id": int(i) + 1}
        box = {"bbox": [0.0, 0.0, 1.0, 1.0], "area": float(p["area"][i]), "iscrowd": 0}
        truth.append(common | box | {"keypoints": flat, "num_keypoints": int((v > 0).sum())})
        said = np.concatenate([p["predicted"][i], np.ones((6, 1))], axis=1).ravel().tolist()
        found.append(
            {k: common[k] for k in ("image_id", "category_id")}
            | {"keypoints": said, "score": float(p["score"][i])}
        )
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": int(i)} for i in np.unique(p["picture"][keep])],
            "categories": [{"id": 1, "name": "person"}],
            "annotations": truth,
            "info": {},
        }
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(found), "keypoints")
        judge.params.kpt_oks_sigmas = SIGMAS
        judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        judge.evaluate()
        judge.accumulate()
    precision, recall = judge.eval["precision"][:, :, 0, 0, 0], judge.eval["recall"][:, 0, 0, 0]
    return {
        "AP": precision.mean(),
        "AP50": precision[0].mean(),
        "AP75": precision[5].mean(),
        "AR": recall.mean(),
    }


@pytest.mark.parametrize(
    ("seed", "n", "pictures"), [(0, 60, 60), (1, 80, 30), (2, 90, 5), (3, 1, 1)]
)
def test_average_precision_is_pycocotools(seed: int, n: int, pictures: int) -> None:
    p = people(seed, n, pictures)
    # COCOeval breaks ties by the order in which it was given the predictions, as we do by row.
    order = np.argsort(p["picture"], kind="stable")
    p = {name: values[order] for name, values in p.items()}
    p["labelled"][0, 0] = True
    ours, theirs = oks.average_precision(**p, sigmas=SIGMAS), pycocotools_says(p)
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, abs=1e-9), name


def test_perfect_predictions_score_one_and_nobody_scores_nothing() -> None:
    p = people(4, 20, 10)
    p["predicted"] = p["true"]
    assert oks.average_precision(**p, sigmas=SIGMAS)["AP"] == pytest.approx(1.0)
    p["labelled"][:] = False
    assert np.isnan(oks.average_precision(**p, sigmas=SIGMAS)["AP"])
