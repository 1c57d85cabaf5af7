"""Direct 3D kinematic estimation: the task that trains `d3ke_net` on labelled skeletons.

n samples, c coordinates (a predicted), b bodies, j joints, m markers. Metres, radians; positions relative to the root
body's origin, in the camera frame. The loss is the paper's L = λ1 joint + λ2 marker + λ3 body + λ4 angle, all L1:
lengths in metres (a centimetre of joint error then weighs about as much as 0.2 degrees, as in the authors' logs; in
millimetres positions would drown the angles), angles in degrees, scale factors summed over their axes. Two terms are
added: the root's geodesic error, and its place in the picture, which the paper's nets do not predict.

The net's camera: the root's rotation is predicted in a virtual camera that looks through the middle of the net's
picture and turned into the true camera by the intrinsics; focal length and that turn are also fed to the head.
"""

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from schemas.errors import InputError
from schemas.skeleton import SkeletonSpec
from schemas.training import D3ke, FitRecipe
from trainers import labels3d, metrics3d
from trainers.augment import appearance, box_affine, geometric, normalise, warp
from trainers.d3ke_net import D3keNet
from trainers.metrics import Tally
from trainers.multistep import refit
from trainers.problem import Problem, problem_of
from trainers.readout import Readout, read
from trainers.rotations import geodesic
from trainers.task import Baseline, Batch, Output, Prediction, Prepared, SecondStep

PADDING = 1.25
"""Side of the square that the net sees over the longer side of the person's box."""
_DEGREES = 180.0 / np.pi
_PER_METRE = 100.0
"""A predicted coordinate that is a length counts in the angle term as one degree per centimetre."""


@dataclass(frozen=True, kw_only=True)
class D3keTask:
    """Implements `trainers.task.Task`."""

    recipe: FitRecipe
    options: D3ke
    skeleton: SkeletonSpec
    name: str = "d3ke"
    arrays: tuple[str, ...] = labels3d.ARRAYS

    @cached_property
    def readout(self) -> Readout:
        """Returns what is predicted of the skeleton."""
        return read(self.skeleton)

    @property
    def side(self) -> int:
        """Returns the side of the net's picture, pixels."""
        return self.options.input_px

    def make_net(self) -> D3keNet:
        """Makes the net."""
        return D3keNet(self.skeleton, self.options.backbone, self.options.weights)

    def prepare(self, batch: Batch, training: bool, device: torch.device) -> Prepared:
        """Cuts the net's picture out of the crop and moves the labels into its camera.

        Returns:
            "image" (n, 3, side, side), "camera" (n, 3), "K" (n, 3, 3), "A_net_from_crop" (n, 3, 3) and what
            `labels3d.make_labels` returns; float32 but "labelled".
        """
        augment = self.recipe.augment if training else None
        boxes = batch.arrays["box"].astype(np.float64)
        A = box_affine(boxes, self.side, self.side, PADDING)
        if augment is not None:
            A = A @ geometric(augment, batch.uniforms, boxes)[0]
        R_roll, K = labels3d.roll_and_intrinsics(A, batch.arrays["K"])
        labels = labels3d.make_labels(
            batch.arrays, self.skeleton, self.readout, R_roll, K, self.side
        )
        labels |= {
            "K": K,
            "camera": labels3d.describe_camera(K, self.side),
            "A_net_from_crop": torch.from_numpy(A),
        }
        moved = {
            name: value.to(device, torch.bool if value.dtype == torch.bool else torch.float32)
            for name, value in labels.items()
        }
        image = warp(batch.images, A, self.side, self.side).to(device).float() / 255.0
        if augment is not None:
            image = appearance(image, augment, batch.uniforms)
        return moved | {"image": normalise(image)}

    def run(self, net: nn.Module, prepared: Prepared) -> Output:
        """Shows the net the picture and its camera."""
        return net(prepared["image"], prepared["camera"])

    def loss(self, output: Output, prepared: Prepared) -> dict[str, Tensor]:
        """Returns each term (n,), unweighted, and their weighted sum; zero for samples without 3D labels."""
        seen = self._in_camera(output, prepared)
        unit = torch.as_tensor(
            np.where(self.readout.rotational, _DEGREES, _PER_METRE), dtype=torch.float32
        ).to(seen["q"].device)
        scored = torch.from_numpy(self.readout.scored_joints).to(seen["q"].device)
        parts = {
            "joint": _l1((seen["joints"] - prepared["joints"])[:, scored]),
            "marker": _l1(seen["markers"] - prepared["markers"]),
            "body": _l1(seen["scale"] - prepared["scale"]),
            "angle": _known_mean(
                (output["angles"] - prepared["angles"]).abs() * unit, prepared["angles_known"]
            ),
            "root": geodesic(seen["R_cam_from_root"], prepared["R_cam_from_root"]),
            "place": (output["place"] - prepared["place"]).abs().sum(1),
        }
        parts = {name: torch.where(prepared["labelled"], v, 0.0) for name, v in parts.items()}
        weights: dict[str, float] = {n: getattr(self.options, f"{n}_weight") for n in parts}
        whole = torch.stack([weights[name] * value for name, value in parts.items()]).sum(0)
        return {"loss": whole} | parts

    def predict(self, output: Output, prepared: Prepared) -> Prediction:
        """Moves the net's skeleton into the camera.

        Returns:
            "q" (n, c) rad or m, the root's own coordinates 0; "scale" (n, b, 3); "R_cam_from_root" (n, 3, 3);
            "joints" (n, j, 3), "markers" (n, m, 3) root-relative, m; "place" (n, 3); "root_cam" (n, 3) m;
            "joints_px" (n, j, 2) in the net's picture.
        """
        return self._in_picture(self._in_camera(output, prepared), prepared)

    def measure(self, prediction: Prediction, prepared: Prepared) -> Tally:
        """Compares with the labels, where there are any."""
        keep = prepared["labelled"]
        names = (*metrics3d.MEAN_OF, "joints_px")
        return metrics3d.errors(
            self.readout,
            {name: _numpy(prediction[name][keep]) for name in names},
            {name: _numpy(prepared[name][keep]) for name in (*names, "q_known")},
        )

    def finalise(self, tally: Tally) -> dict[str, float]:
        """Returns the metrics that `metrics3d.finalise` names."""
        return metrics3d.finalise(tally)

    def summarise(self, prepared: Prepared) -> Tally:
        """Sums up the train split's labels."""
        keep = prepared["labelled"]
        names = (*metrics3d.MEAN_OF, "q_known")
        return metrics3d.summarise({name: _numpy(prepared[name][keep]) for name in names})

    def baselines(self, summary: Tally) -> dict[str, Baseline]:
        """Makes the mean pose, which says the same of everybody."""
        mean = metrics3d.mean_pose(summary)
        return {"mean_pose": partial(self._say_mean, mean)}

    def second_steps(self, summary: Tally) -> dict[str, SecondStep]:
        """Makes the multi-step baseline: inverse kinematics of the net's points with the mean body."""
        if not summary.sums.get("samples"):
            return {}
        scale = torch.from_numpy(metrics3d.mean_pose(summary)["scale"])
        return {"multi_step": partial(self._refit, problem_of(self.skeleton), scale)}

    def describe(self) -> dict[str, Any]:
        """Returns what the net reads out of a picture."""
        groups = [
            [self.skeleton.body_names[b] for b in np.flatnonzero(self.readout.group_of_body == g)]
            for g in range(len(self.readout.groups))
        ]
        return {"angles": [*self.readout.names], "scale_groups": groups, "padding": PADDING}

    def _in_camera(self, output: Output, prepared: Prepared) -> dict[str, Tensor]:
        R_cam_from_view = labels3d.R_cam_from_view(prepared["camera"])
        R = R_cam_from_view @ output["R_view_from_root"]
        turned = R.transpose(1, 2)
        return {
            "q": output["q"],
            "scale": output["scale"],
            "R_cam_from_root": R,
            "joints": output["joints_root"] @ turned,
            "markers": output["markers_root"] @ turned,
            "place": output["place"],
        }

    def _in_picture(self, seen: dict[str, Tensor], prepared: Prepared) -> Prediction:
        root = labels3d.root_from_place(seen["place"], prepared["K"], self.side)
        px = labels3d.project(seen["joints"] + root[:, None], prepared["K"])
        return seen | {"root_cam": root, "joints_px": px}

    def _say_mean(self, mean: dict[str, metrics3d.Floats], prepared: Prepared) -> Prediction:
        image = prepared["image"]
        seen = {
            name: torch.as_tensor(value, dtype=torch.float32)
            .to(image.device)
            .expand(len(image), *value.shape)
            for name, value in mean.items()
        }
        return self._in_picture(seen, prepared)

    def _refit(
        self, problem: Problem, scale: Tensor, said: Prediction, prepared: Prepared
    ) -> Prediction:
        return self._in_picture(said | refit(problem, self.readout, said, scale), prepared)


def make_d3ke(recipe: FitRecipe, skeleton: Any | None) -> D3keTask:
    """Builds the task of a `d3ke` recipe.

    Raises:
        InputError: the data have no skeleton, or the recipe asks for mirrored pictures.
    """
    if not isinstance(recipe.task, D3ke):
        raise InputError(recipe.task.kind, "is no d3ke task", "Use another factory")
    if not isinstance(skeleton, SkeletonSpec):
        raise InputError(
            "d3ke",
            "needs samples with a skeleton",
            "Train it on a synthetic dataset; COCO has none",
        )
    if recipe.augment is not None and recipe.augment.flip > 0:
        raise InputError(
            f"augment.flip={recipe.augment.flip:g}",
            "a mirrored picture would need a mirrored skeleton, which models do not promise",
            "Set augment.flip=0 for d3ke",
        )
    return D3keTask(recipe=recipe, options=recipe.task, skeleton=skeleton)


def _l1(error: Tensor) -> Tensor:
    """Returns the mean over points of the error summed over the axes: (n, p, 3) -> (n,); 0 without points."""
    return error.abs().sum((1, 2)) / max(error.shape[1], 1)


def _known_mean(values: Tensor, known: Tensor) -> Tensor:
    """Returns the mean of the known values (n, a) -> (n,); 0 where none is known."""
    return (values * known).sum(1) / known.sum(1).clamp_min(1.0)


def _numpy(values: Tensor) -> metrics3d.Floats:
    array: metrics3d.Floats = values.detach().cpu().double().numpy()
    return array
