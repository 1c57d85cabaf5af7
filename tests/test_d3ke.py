"""The 3D net: it learns through the skeletal layer, stays in bounds, and bad labels do not spread."""

from dataclasses import replace
from importlib import resources

import numpy as np
import pytest
import torch
import yaml
from tiny_samples import pose, tiny_batch, tiny_task
from tiny_skeleton import tiny_skeleton

from schemas.errors import InputError
from schemas.training import FitRecipe
from trainers import labels3d
from trainers.d3ke import D3keTask, make_d3ke
from trainers.readout import SCALE_LIMITS, read
from trainers.rotations import geodesic
from trainers.task import Batch, Prepared

CPU = torch.device("cpu")
SPEC = tiny_skeleton()
READOUT = read(SPEC)


@pytest.fixture
def batch() -> Batch:
    return tiny_batch(12, 64, np.random.default_rng(1))


def _true_output(task: D3keTask, prepared: Prepared) -> dict[str, torch.Tensor]:
    """Returns what a perfect net would say, by the labels' own kinematics."""
    net = task.make_net()
    joints, markers = net.in_root(prepared["q"], prepared["scale"])
    R_cam_from_view = labels3d.R_cam_from_view(prepared["camera"])
    return {
        "R_view_from_root": R_cam_from_view.transpose(1, 2) @ prepared["R_cam_from_root"],
        "q": prepared["q"],
        "angles": prepared["angles"],
        "scale": prepared["scale"],
        "joints_root": joints,
        "markers_root": markers,
        "place": prepared["place"],
    }


@pytest.mark.parametrize("augmented", [False, True])
def test_perfect_answers_cost_nothing_also_in_turned_and_zoomed_pictures(
    batch: Batch, augmented: bool
) -> None:
    """Labels, cameras, skeletal layer and loss agree on frames and units."""
    task = tiny_task()
    augment = {"flip": 0, "rotate": 60.0, "scale": (0.6, 1.4), "shift": 0.2}
    recipe = task.recipe.model_copy(
        update={"augment": FitRecipe.model_validate(_recipe(augment)).augment}
    )
    task = replace(task, recipe=recipe)
    prepared = task.prepare(batch, augmented, CPU)
    assert prepared["labelled"].all()
    losses = task.loss(_true_output(task, prepared), prepared)
    for name, value in losses.items():
        assert float(value.max()) < 2e-4, name
    metrics = task.finalise(
        task.measure(task.predict(_true_output(task, prepared), prepared), prepared)
    )
    assert metrics["mpjpe_mm"] < 0.05
    assert metrics["joints_px"] < 0.05
    assert metrics["limit_violations_percent"] == 0


def _recipe(augment: dict[str, object] | None) -> dict[str, object]:
    return {"name": "tiny", "task": {"kind": "d3ke", "input_px": 64}, "augment": augment}


def test_labels_project_onto_the_same_spot_of_the_net_picture(batch: Batch) -> None:
    """The labels' pixels are the stored crop's pixels, moved by the affine that moved the picture."""
    task = replace(tiny_task(), recipe=FitRecipe.model_validate(_recipe({"flip": 0, "rotate": 90})))
    prepared = task.prepare(batch, True, CPU)
    cam = batch.arrays["joints_cam"].astype(np.float64)
    crop = cam / cam[..., 2:] @ batch.arrays["K"].astype(np.float64).swapaxes(1, 2)
    moved = crop @ prepared["A_net_from_crop"].double().numpy().swapaxes(1, 2)
    np.testing.assert_allclose(prepared["joints_px"].numpy(), moved[..., :2], atol=1e-3)


@pytest.mark.parametrize(
    ("backbone", "rate", "steps"), [("resnet18", 2e-3, 40), ("resnext50_32x4d", 5e-4, 70)]
)
def test_overfits_one_batch(batch: Batch, backbone: str, rate: float, steps: int) -> None:
    torch.manual_seed(0)
    task = tiny_task(backbone=backbone)
    net = task.make_net().train()
    prepared = {name: value[:4] for name, value in task.prepare(batch, False, CPU).items()}
    optimiser = torch.optim.AdamW(net.parameters(), lr=rate)
    history = []
    for _ in range(steps):
        losses = task.loss(task.run(net, prepared), prepared)
        optimiser.zero_grad()
        torch.autograd.backward(losses["loss"].mean())
        optimiser.step()
        history.append({name: float(value.detach().mean()) for name, value in losses.items()})
    for name in ("loss", "joint", "marker", "angle"):
        assert history[-1][name] < 0.25 * history[0][name], name


def test_positions_alone_teach_the_angles(batch: Batch) -> None:
    """Gradients flow from joints and markers through the skeletal layer into the whole net."""
    torch.manual_seed(0)
    task = tiny_task(angle_weight=0, body_weight=0, root_weight=0, place_weight=0)
    net = task.make_net()
    prepared = task.prepare(batch, False, CPU)
    output = task.run(net, prepared)
    loss = task.loss(output, prepared)["loss"].mean()
    by_angle, by_scale = torch.autograd.grad(
        loss, [output["angles"], output["scale"]], retain_graph=True
    )
    # The toe end's coordinates are locked; every predicted angle carries a joint or a marker.
    assert (by_angle.abs().sum(0) > 0).all()
    assert (by_scale.abs().sum(0) > 0).any()
    first = next(net.parameters())
    (by_pixel,) = torch.autograd.grad(loss, first)
    assert torch.isfinite(by_pixel).all()
    assert float(by_pixel.abs().max()) > 0


def test_bounds_hold_for_any_weights(batch: Batch) -> None:
    torch.manual_seed(0)
    task = tiny_task()
    net = task.make_net()
    with torch.no_grad():
        net.head.weight.normal_(std=50.0)
    prepared = task.prepare(batch, False, CPU)
    with torch.no_grad():
        output = task.run(net, prepared)
    low, high = torch.from_numpy(READOUT.low), torch.from_numpy(READOUT.high)
    assert (output["angles"] > low - 1e-6).all()
    assert (output["angles"] < high + 1e-6).all()
    assert float(output["scale"].min()) >= SCALE_LIMITS[0] - 1e-6
    assert float(output["scale"].max()) <= SCALE_LIMITS[1] + 1e-6
    metrics = task.finalise(task.measure(task.predict(output, prepared), prepared))
    assert metrics["limit_violations_percent"] == 0


def test_left_and_right_share_a_scale_and_others_do_not(batch: Batch) -> None:
    task = tiny_task()
    scale = task.run(task.make_net(), task.prepare(batch, False, CPU))["scale"]
    body = SPEC.body_names.index
    for a, b in (("femur_l", "femur_r"), ("patella_l", "patella_r"), ("toes_r", "toes_l")):
        torch.testing.assert_close(scale[:, body(a)], scale[:, body(b)])
    for a, b in (("femur_r", "tibia_r"), ("patella_r", "femur_r"), ("toes_r", "calcn_r")):
        assert not torch.equal(scale[:, body(a)], scale[:, body(b)])


@pytest.mark.parametrize("name", ["q", "joints_cam", "T_ground_from_root", "K"])
def test_samples_without_labels_do_not_poison_the_others(batch: Batch, name: str) -> None:
    task = tiny_task()
    arrays = dict(batch.arrays)
    arrays[name] = arrays[name].copy()
    arrays[name][3:5] = np.nan
    torch.manual_seed(0)
    net = task.make_net().eval()
    whole = task.prepare(batch, False, CPU)
    part = task.prepare(replace(batch, arrays=arrays), False, CPU)
    clean, holed = (task.loss(task.run(net, p), p) for p in (whole, part))
    keep = part["labelled"]
    assert keep.tolist() == [i not in (3, 4) for i in range(12)]
    torch.testing.assert_close(holed["loss"][keep], clean["loss"][keep])
    assert float(holed["loss"][~keep].detach().abs().max()) == 0.0
    gradients = torch.autograd.grad(
        holed["loss"].sum(), [p for p in net.parameters() if p.requires_grad]
    )
    assert all(torch.isfinite(g).all() for g in gradients)
    measured = task.finalise(task.measure(task.predict(task.run(net, part), part), part))
    assert np.isfinite(list(measured.values())).all()


def test_photos_without_a_skeleton_count_for_nothing(batch: Batch) -> None:
    """COCO's shards have zero-length skeleton dims."""
    task = tiny_task()
    arrays = dict(batch.arrays)
    for name, shape in (
        ("q", (0,)),
        ("scale", (0, 3)),
        ("joints_cam", (0, 3)),
        ("markers_cam", (0, 3)),
    ):
        arrays[name] = np.zeros((12, *shape), np.float32)
    arrays["K"] = np.full((12, 3, 3), np.nan, np.float32)
    prepared = task.prepare(replace(batch, arrays=arrays), False, CPU)
    losses = task.loss(task.run(task.make_net().eval(), prepared), prepared)
    assert float(losses["loss"].detach().abs().sum()) == 0.0
    assert task.finalise(task.summarise(prepared) + task.measure({**prepared}, prepared)) == {}


def test_another_skeletons_arrays_are_refused(batch: Batch) -> None:
    arrays = dict(batch.arrays) | {"q": batch.arrays["q"][:, :-1]}
    with pytest.raises(InputError, match="another skeleton"):
        tiny_task().prepare(replace(batch, arrays=arrays), False, CPU)


def test_an_empty_share_of_a_batch_is_prepared_and_counted_as_nothing(batch: Batch) -> None:
    task = tiny_task()
    arrays = {name: batch.arrays[name][:0] for name in task.arrays}
    empty = Batch(images=(), arrays=arrays, uniforms=batch.uniforms[:0])
    prepared = task.prepare(empty, True, CPU)
    assert prepared["image"].shape == (0, 3, 64, 64)
    net = task.make_net().eval()
    loss = task.loss(task.run(net, prepared), prepared)["loss"]
    assert loss.shape == (0,)
    gradients = torch.autograd.grad(loss.sum(), list(net.parameters()))
    assert all(float(g.abs().sum()) == 0 for g in gradients)
    assert task.finalise(task.measure({**prepared}, prepared)) == {}


def test_mean_pose_is_the_train_splits_mean(batch: Batch) -> None:
    task = tiny_task()
    prepared = task.prepare(batch, False, CPU)
    baseline = task.baselines(task.summarise(prepared))["mean_pose"]
    said = baseline(prepared)
    torch.testing.assert_close(said["q"][0], prepared["q"].mean(0), atol=1e-5, rtol=0)
    torch.testing.assert_close(said["joints"][3], prepared["joints"].mean(0), atol=1e-5, rtol=0)
    R = said["R_cam_from_root"]
    torch.testing.assert_close(R @ R.transpose(1, 2), torch.eye(3).expand(12, 3, 3))
    metrics = task.finalise(task.measure(said, prepared))
    spread = float((prepared["angles"] - prepared["angles"].mean(0)).abs().mean())
    assert metrics["angle_deg"] == pytest.approx(np.degrees(spread), rel=1e-4)


def test_rotation_is_read_in_the_camera_that_looks_through_the_crop() -> None:
    """Cut from another corner of the picture, the same view of a person has the same raw answer."""
    K = torch.tensor([[[90.0, 0, 200.0], [0, 90.0, -40.0], [0, 0, 1]]])
    camera = labels3d.describe_camera(K, 64)
    ray = torch.tensor([(31.5 - 200.0) / 90.0, (31.5 + 40.0) / 90.0, 1.0])
    R = labels3d.R_cam_from_view(camera)[0]
    torch.testing.assert_close(R[:, 2], ray / ray.norm())
    assert float(geodesic(R, torch.eye(3))) == pytest.approx(
        float(torch.atan(ray[:2].norm())), abs=1e-5
    )


def test_place_round_trip() -> None:
    K = torch.tensor([[[90.0, 0, 30.0], [0, 90.0, 25.0], [0, 0, 1]]])
    root = torch.tensor([[0.3, -0.4, 3.0]])
    back = labels3d.root_from_place(labels3d.place_of(root, K, 64), K, 64)
    torch.testing.assert_close(back, root)


def test_root_joint_is_taken_out_of_the_positions(batch: Batch) -> None:
    """Where the person stands and faces makes no difference to the root-relative skeleton."""
    net = tiny_task().make_net().double()
    q = torch.from_numpy(batch.arrays["q"])
    scale = torch.from_numpy(batch.arrays["scale"].astype(np.float64))
    still = q.clone()
    still[:, torch.from_numpy(READOUT.root_coordinates)] = 0.0
    torch.testing.assert_close(net.in_root(q, scale), net.in_root(still, scale))
    posed = pose(SPEC, batch.arrays["q"], scale.numpy())
    T = posed.T_ground_from_body[:, READOUT.root]
    joints = net.in_root(q, scale)[0] @ T[:, :3, :3].transpose(1, 2) + T[:, None, :3, 3]
    torch.testing.assert_close(joints, posed.joint_centres)


def test_mirrored_pictures_and_data_without_skeleton_are_refused() -> None:
    with pytest.raises(InputError, match=r"augment\.flip"):
        make_d3ke(FitRecipe.model_validate(_recipe({"flip": 0.5})), SPEC)
    with pytest.raises(InputError, match="skeleton"):
        make_d3ke(FitRecipe.model_validate(_recipe(None)), None)


@pytest.mark.parametrize("name", ["d3ke_resnet18", "d3ke_resnext50"])
def test_shipped_recipes_make_a_task(name: str) -> None:
    text = resources.files("trainers").joinpath(f"recipes/{name}.yaml").read_text()
    task = make_d3ke(FitRecipe.model_validate(yaml.safe_load(text)), SPEC)
    assert task.recipe.name == name
    assert task.recipe.optimiser.name == "adamw"
    assert (task.options.joint_weight, task.options.marker_weight) == (1.0, 2.0)
    assert (task.options.body_weight, task.options.angle_weight) == (0.1, 0.06)
