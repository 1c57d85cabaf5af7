"""The 2D task: its loss is the seed's, its measurements undo its crops, and its nets can learn."""

import numpy as np
import pytest
import torch
from tiny_crops import corpus

from schemas.training import FitRecipe, Streaming
from trainers import heatmaps, metrics
from trainers.data import SampleStream
from trainers.pose2d import Pose2dTask, make_pose2d
from trainers.task import Batch, Prepared
from trainers.tasks import make_task

CPU = torch.device("cpu")


def task(augment: bool = False, **options: object) -> Pose2dTask:
    document = {"kind": "pose2d", "input": [64, 64]} | options
    recipe = {"name": "tiny", "task": document} | ({} if augment else {"augment": None})
    return make_pose2d(FitRecipe.model_validate(recipe), None)


def batch(count: int = 6, px: int = 64) -> Batch:
    stream = SampleStream(
        corpus=corpus([count], px=px),
        arrays=task().arrays,
        batch=count,
        seed=0,
        options=Streaming(),
        last="keep",
    )
    return next(b for _, b in stream.batches(0, lambda b: b))


def perfect(t: Pose2dTask, prepared: Prepared) -> dict[str, float]:
    """Measures a net that would say exactly the targets."""
    said = t.predict(prepared["maps"], prepared)
    return t.finalise(t.measure(said, prepared))


@pytest.mark.parametrize("crop", ["stretch", "padded"])
@pytest.mark.parametrize("augment", [False, True])
def test_perfect_maps_measure_as_perfect(crop: str, augment: bool) -> None:
    t = task(augment, crop=crop)
    prepared = t.prepare(batch(px=128), augment, CPU)
    if augment:
        aimed = prepared["weight"].bool()
        found = heatmaps.dark(prepared["maps"], 2.0)[0].double()
        assert float((found - prepared["net_points"])[aimed].norm(dim=-1).median()) < 0.1
    else:
        got = perfect(t, prepared)
        assert got["pck@0.05_box"] == got["pck@0.05_image"] == 1.0
        assert got["oks6_AP"] == pytest.approx(1.0)
        assert got["knee_2d_deg"] < 1.0


def test_the_net_sees_each_joint_where_its_map_peaks() -> None:
    """The six squares have six colours: at every labelled point the picture shows the joint's own."""
    t = task(True, input=[128, 128])
    prepared = t.prepare(batch(count=12, px=128), True, CPU)
    plain = task(False, input=[128, 128]).prepare(batch(count=12, px=128), False, CPU)
    points = plain["net_points"].round().long()
    at = torch.stack(
        [i[:, p[:, 1], p[:, 0]].T for i, p in zip(plain["image"], points, strict=True)]
    )
    # Red channel of joint 0 (red) against joint 1 (green), and so on: colours differ as drawn.
    assert float((at[:, 0, 0] - at[:, 1, 0]).median()) > 2
    assert float((at[:, 1, 1] - at[:, 0, 1]).median()) > 2
    assert prepared["image"].shape == (12, 3, 128, 128)
    assert (prepared["image"] != plain["image"]).any()


def test_the_loss_divides_by_six_as_the_seed_or_by_the_labelled_joints() -> None:
    data = batch()
    visibility = data.arrays["keypoint_visibility"].copy()
    visibility[:, 11:14] = 0
    data = Batch(
        images=data.images,
        arrays={**data.arrays, "keypoint_visibility": visibility},
        uniforms=data.uniforms,
    )
    seed, visible = task(), task(loss="visible")
    prepared = seed.prepare(data, False, CPU)
    maps = torch.rand(6, 6, 16, 16, generator=torch.Generator().manual_seed(0))
    got = seed.loss(maps, prepared)["loss"]
    # JointsMSELoss of SimpleBaseline: per joint 0.5 * MSELoss over batch and pixels, summed, over 6.
    criterion, weight = torch.nn.MSELoss(), prepared["weight"]
    want = sum(
        0.5
        * criterion(
            maps[:, j].flatten(1) * weight[:, j, None],
            prepared["maps"][:, j].flatten(1) * weight[:, j, None],
        )
        for j in range(6)
    )
    torch.testing.assert_close(got.mean(), want / 6)
    torch.testing.assert_close(visible.loss(maps, prepared)["loss"], 2 * got)


def test_unlabelled_and_outside_points_carry_no_weight() -> None:
    data = batch()
    keypoints = data.arrays["keypoints"].copy()
    keypoints[:, 11] = [-40.0, 10.0]
    keypoints[:, 12] = np.nan
    visibility = data.arrays["keypoint_visibility"].copy()
    visibility[:, 12] = 0
    arrays = {**data.arrays, "keypoints": keypoints, "keypoint_visibility": visibility}
    prepared = task().prepare(
        Batch(images=data.images, arrays=arrays, uniforms=data.uniforms), False, CPU
    )
    assert not prepared["weight"][:, :2].any()
    assert prepared["weight"][:, 2:].all()
    assert bool(torch.isfinite(prepared["maps"]).all())


def test_baselines_are_measured_like_nets() -> None:
    t = task()
    prepared = t.prepare(batch(count=12), False, CPU)
    mean = t.baselines(metrics.total([t.summarise(prepared)]))
    scores = {
        name: t.finalise(t.measure(predict(prepared), prepared)) for name, predict in mean.items()
    }
    assert set(scores) == {"image_centre", "mean_pose"}
    assert 0 <= scores["mean_pose"]["pck@0.1_box"] < 1
    assert scores["mean_pose"]["knee_2d_deg"] > 1


@pytest.mark.parametrize(("net", "steps"), [("deconv", 95), ("fpn", 60)])
def test_overfits_a_batch(net: str, steps: int) -> None:
    torch.manual_seed(0)
    t = task(net=net)
    prepared = t.prepare(batch(4), False, CPU)
    model = t.make_net()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = t.loss(t.run(model, prepared), prepared)["loss"].mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.02 * losses[0]
    said = t.predict(t.run(model, prepared).detach(), prepared)
    got = t.finalise(t.measure(said, prepared))
    assert got["pck@0.1_box"] > 0.9


def test_maps_are_a_quarter_of_the_picture() -> None:
    t = make_task(FitRecipe.model_validate({"name": "x", "task": {"kind": "pose2d"}}), None)
    assert t.describe()["output"] == [6, 64, 48]
    assert t.make_net().eval()(torch.zeros(1, 3, 256, 192)).shape == (1, 6, 64, 48)
