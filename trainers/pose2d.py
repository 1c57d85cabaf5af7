"""Six lower joints as heat maps: targets, loss, decoding and measurements.

Legend: n samples; k = 6 joints in the order of LOWER_KEYPOINTS; "net" px are those of the net's picture (h, w),
"crop" px those of the stored crop, "source" px those of the original picture.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from schemas.keypoints import COCO_SIGMAS, LOWER_INDICES, LOWER_KEYPOINTS, coco_v, flip_permutation
from schemas.training import FitRecipe, Pose2d
from trainers import augment, heatmaps, metrics, oks
from trainers.heatmap_nets import DeconvNet, FpnNet
from trainers.metrics import Tally
from trainers.task import Baseline, Batch, Output, Prediction, Prepared, SecondStep

JOINTS = len(LOWER_KEYPOINTS)
_LOWER = list(LOWER_INDICES)


@dataclass(frozen=True, kw_only=True)
class Pose2dTask:
    """The task `pose2d` of `trainers.task.Task`."""

    recipe: FitRecipe
    config: Pose2d

    name = "pose2d"
    arrays = ("box", "keypoints", "keypoint_visibility", "area", "A_crop_from_source")
    skeleton = None

    @property
    def _size(self) -> tuple[int, int]:
        return self.config.input

    def make_net(self) -> nn.Module:
        """Makes the net that the recipe names."""
        kind = {"deconv": DeconvNet, "fpn": FpnNet}[self.config.net]
        return kind(self.config, JOINTS)

    def prepare(self, batch: Batch, training: bool, device: torch.device) -> Prepared:
        """Shows each person's box in the net's picture, varied where training, with its heat maps."""
        height, width = self._size
        A, mirrored = self._affine(batch, training)
        image = augment.warp(batch.images, A, height, width).to(device).float() / 255
        if training and self.recipe.augment is not None:
            image = augment.appearance(image, self.recipe.augment, batch.uniforms)
        twins = flip_permutation(LOWER_KEYPOINTS)
        crop = batch.arrays["keypoints"][:, _LOWER].astype(np.float64)
        labelled = coco_v(batch.arrays["keypoint_visibility"][:, _LOWER]) > 0
        net = augment.swap_sides(augment.move_points(A, crop), mirrored, twins)
        aimed = augment.swap_sides(labelled, mirrored, twins) & _inside(net, height, width)
        points = torch.as_tensor(net, dtype=torch.float32, device=device)
        grid = (height // heatmaps.STRIDE, width // heatmaps.STRIDE)
        return {
            "image": augment.normalise(image),
            "maps": heatmaps.targets(points, *grid, self.config.sigma),
            "weight": torch.as_tensor(aimed, dtype=torch.float32, device=device),
            **self._truth(batch, A, net, labelled),
        }

    def _affine(self, batch: Batch, training: bool) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Returns `A_net_from_crop` (n, 3, 3) and who is mirrored (n,)."""
        height, width = self._size
        boxes = batch.arrays["box"].astype(np.float64)
        padding = self.config.padding if self.config.crop == "padded" else None
        A = augment.box_affine(boxes, height, width, padding)
        options = self.recipe.augment
        if not training or options is None:
            return A, np.zeros(len(batch), dtype=bool)
        varied, mirrored = augment.geometric(options, batch.uniforms, boxes)
        return augment.mirror(A @ varied, mirrored, width), mirrored

    def _truth(
        self, batch: Batch, A: NDArray[Any], net: NDArray[Any], labelled: NDArray[np.bool_]
    ) -> Prepared:
        """Keeps on the CPU, in float64, what the measurements need."""
        tensors = {
            "A_net_from_crop": A,
            "net_points": net,
            "crop_points": batch.arrays["keypoints"][:, _LOWER].astype(np.float64),
            "labelled": labelled,
            "box": batch.arrays["box"].astype(np.float64),
            "area": batch.arrays["area"].astype(np.float64),
            "A_crop_from_source": batch.arrays["A_crop_from_source"],
            "picture": batch.arrays["picture"],
            "sample_id": batch.arrays["sample_id"],
        }
        return {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in tensors.items()}

    def run(self, net: nn.Module, prepared: Prepared) -> Tensor:
        """Returns heat maps (n, 6, h / 4, w / 4)."""
        maps: Tensor = net(prepared["image"])
        return maps

    def loss(self, output: Output, prepared: Prepared) -> dict[str, Tensor]:
        """Returns half the mean squared error of the maps: JointsMSE of SimpleBaseline, per sample.

        `seed` divides the sum over joints by 6 also where some are unlabelled; `visible` by their number.
        """
        weight = prepared["weight"]
        per_joint = 0.5 * ((output - prepared["maps"]) ** 2).mean((2, 3)) * weight
        count = weight.sum(1).clamp_min(1) if self.config.loss == "visible" else JOINTS
        return {"loss": per_joint.sum(1) / count}

    def predict(self, output: Output, prepared: Prepared) -> Prediction:
        """Returns "points" (n, 6, 2) px of the stored crop and "score" (n, 6)."""
        maps = output.float()
        if self.config.decode == "argmax":
            net, score = heatmaps.argmax(maps)
        else:
            net, score = heatmaps.dark(maps, self.config.sigma)
        return {"points": _to_crop(net.cpu().double(), prepared), "score": score.cpu().double()}

    def measure(self, prediction: Prediction, prepared: Prepared) -> Tally:
        """Counts PCK, sums angle errors, and keeps what six-joint OKS-AP needs."""
        truth = {k: v.numpy() for k, v in prepared.items() if v.device.type == "cpu"}
        points, labelled = prediction["points"].numpy(), truth["labelled"]
        true = truth["crop_points"]
        net = augment.move_points(truth["A_net_from_crop"], points)
        height, width = self._size
        by_image = np.linalg.norm((net - truth["net_points"]) / [width, height], axis=-1)
        side = truth["box"][:, 2:].max(1)[:, None]
        by_box = np.linalg.norm(points - true, axis=-1) / side
        return metrics.total(
            [
                metrics.pck("image", by_image, labelled),
                metrics.pck("box", by_box, labelled),
                metrics.limb_angles("", points, true, labelled),
                Tally(rows=_oks_rows(prediction, truth)),
            ]
        )

    def finalise(self, tally: Tally) -> dict[str, float]:
        """Returns PCK by both normalisers, OKS-AP, and angle errors in degrees."""
        names = [n for n in tally.sums if f"{n}_count" in tally.sums]
        result = {name: tally.mean(name) for name in sorted(names)}
        if "picture" in tally.rows:
            rows = tally.rows
            order = np.lexsort((rows["sample_id"], rows["picture"]))
            columns = ("picture", "score", "predicted", "true", "labelled", "area")
            people = {name: rows[name][order] for name in columns}
            found = oks.average_precision(**people, sigmas=COCO_SIGMAS[_LOWER])
            result |= {f"oks6_{name}": value for name, value in found.items()}
            result["samples"] = float(len(order))
        return result

    def summarise(self, prepared: Prepared) -> Tally:
        """Sums where the labelled joints lie in the net's picture."""
        points, labelled = prepared["net_points"].numpy(), prepared["labelled"].numpy()
        kept = np.where(labelled[..., None], points, 0.0)
        return Tally(sums={"points": kept.sum(0), "labels": labelled.sum(0, dtype=np.float64)})

    def baselines(self, summary: Tally) -> dict[str, Baseline]:
        """Makes `image_centre` and `mean_pose` of the train split."""
        height, width = self._size
        centre = np.tile([(width - 1) / 2, (height - 1) / 2], (JOINTS, 1))
        labels = np.asarray(summary.sums["labels"])[:, None]
        mean = np.where(labels > 0, summary.sums["points"] / np.maximum(labels, 1), centre)
        return {"image_centre": _constant(centre), "mean_pose": _constant(mean)}

    def second_steps(self, summary: Tally) -> dict[str, SecondStep]:
        """Returns none."""
        return {}

    def describe(self) -> dict[str, Any]:
        """Returns the joints' names and the size of picture and maps."""
        height, width = self._size
        return {
            "keypoints": list(LOWER_KEYPOINTS),
            "input": [3, height, width],
            "output": [JOINTS, height // heatmaps.STRIDE, width // heatmaps.STRIDE],
        }


def make_pose2d(recipe: FitRecipe, skeleton: Any | None) -> Pose2dTask:
    """Builds the task; 2D joints need no skeleton."""
    if not isinstance(recipe.task, Pose2d):
        raise TypeError(f"{recipe.task.kind} is not pose2d")
    return Pose2dTask(recipe=recipe, config=recipe.task)


def _inside(points: NDArray[Any], height: int, width: int) -> NDArray[np.bool_]:
    x, y = points[..., 0], points[..., 1]
    result: NDArray[np.bool_] = (x >= -0.5) & (y >= -0.5) & (x < width - 0.5) & (y < height - 0.5)
    return result


def _to_crop(net: Tensor, prepared: Prepared) -> Tensor:
    A = torch.linalg.inv(prepared["A_net_from_crop"])
    crop: Tensor = net @ A[:, :2, :2].transpose(1, 2) + A[:, None, :2, 2]
    return crop


def _constant(points: NDArray[Any]) -> Baseline:
    fixed = torch.from_numpy(np.asarray(points, dtype=np.float64))

    def predict(prepared: Prepared) -> Prediction:
        n = len(prepared["labelled"])
        crop = _to_crop(fixed.expand(n, JOINTS, 2), prepared)
        return {"points": crop, "score": torch.ones(n, JOINTS, dtype=torch.float64)}

    return predict


def _oks_rows(prediction: Prediction, truth: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Brings prediction and truth to the source picture, where COCO's similarity compares persons."""
    A = truth["A_crop_from_source"]
    known = np.isfinite(A).all((1, 2))
    A = np.where(known[:, None, None], A, np.eye(3))
    back = np.linalg.inv(A)
    return {
        "picture": truth["picture"],
        "sample_id": truth["sample_id"],
        "score": prediction["score"].mean(1).numpy(),
        "predicted": augment.move_points(back, prediction["points"].numpy()),
        "true": augment.move_points(back, truth["crop_points"]),
        "labelled": truth["labelled"],
        "area": truth["area"] / np.abs(np.linalg.det(A)),
    }
