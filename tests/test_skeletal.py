"""The skeletal layer against OpenSim itself, and as a part of a net."""

from pathlib import Path

import model_zoo as zoo
import numpy as np
import pytest
import torch

from schemas.errors import InputError
from schemas.skeleton import SkeletonSpec
from trainers.skeletal import Kinematics, SkeletalLayer, forward_kinematics
from trainers.structure import structure_of
from workers.osim import OsimModel, read_model, read_skeleton

pytestmark = pytest.mark.filterwarnings("ignore:constraints are ignored")
MODELS = ("default", "opencap/LaiUhlrich2022", "pose2sim/Model_Pose2Sim_simple")


def read(name: str, request: pytest.FixtureRequest) -> bytes:
    if name == "default":
        return read_model(name)
    folder: Path = request.getfixturevalue("shared_data")
    return read_model(str(folder / "opensim" / f"{name}.osim"))


def random_q(spec: SkeletonSpec, count: int, rng: np.random.Generator) -> np.ndarray:
    """Uniform within the ranges, which for coupled coordinates and the root's place may be endless."""
    low = np.array([max(c.lower, -5.0) for c in spec.coordinates])
    high = np.array([min(c.upper, 5.0) for c in spec.coordinates])
    return rng.uniform(low, high, (count, len(low)))


def random_scale(spec: SkeletonSpec, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0.75, 1.3, (len(spec.body_names), 3))


def run(layer: SkeletalLayer, q: np.ndarray, scale: np.ndarray | None) -> Kinematics:
    dtype = layer.probe.dtype
    many = None if scale is None else torch.tensor(scale, dtype=dtype).expand(len(q), -1, -1)
    with torch.no_grad():
        return layer(torch.tensor(q, dtype=dtype), many)


def largest_error(posed: Kinematics, model: OsimModel, q: np.ndarray) -> float:
    """Over body transforms (rotation entries, m), joint centres and markers (m)."""
    truths = [np.stack(part) for part in zip(*(model.pose(row) for row in q), strict=True)]
    errors = [
        np.abs(ours.double().numpy() - truth).max(initial=0.0)
        for ours, truth in zip(posed, truths, strict=True)
    ]
    return float(max(errors))


class TestAgainstOpenSim:
    @pytest.mark.parametrize("scaled", [False, True])
    @pytest.mark.parametrize("name", MODELS)
    def test_real_models(self, name: str, scaled: bool, request: pytest.FixtureRequest) -> None:
        osim, rng = read(name, request), np.random.default_rng(1)
        spec = read_skeleton(osim)
        q, scale = random_q(spec, 200, rng), random_scale(spec, rng) if scaled else None
        model, layer = OsimModel(osim, scale), SkeletalLayer(spec)
        assert largest_error(run(layer, q[:50], scale), model, q[:50]) < 1e-4
        assert largest_error(run(layer.double(), q, scale), model, q) < 1e-9

    @pytest.mark.parametrize("scaled", [False, True])
    @pytest.mark.parametrize("name", zoo.ALL)
    def test_every_joint_and_function(self, name: str, scaled: bool) -> None:
        osim, rng = zoo.ALL[name], np.random.default_rng(2)
        spec = read_skeleton(osim)
        q, scale = rng.uniform(-1.6, 1.6, (30, spec.sizes.c)), random_scale(spec, rng)
        given = scale if scaled else None
        layer = SkeletalLayer(spec).double()
        assert largest_error(run(layer, q, given), OsimModel(osim, given), q) < 1e-9

    def test_each_sample_has_its_own_scale(self) -> None:
        osim, rng = read_model("default"), np.random.default_rng(3)
        spec = read_skeleton(osim)
        q = random_q(spec, 3, rng)
        scales = np.stack([random_scale(spec, rng) for _ in range(3)])
        posed = SkeletalLayer(spec).double()(torch.tensor(q), torch.tensor(scales))
        for i in range(3):
            markers = OsimModel(osim, scales[i]).pose(q[i]).markers
            np.testing.assert_allclose(posed.markers[i].numpy(), markers, atol=1e-9)


class TestGradients:
    @pytest.mark.parametrize("name", zoo.ALL)
    def test_gradients_are_those_of_the_function(self, name: str) -> None:
        spec, rng = read_skeleton(zoo.ALL[name]), np.random.default_rng(4)
        structure = structure_of(spec)
        q = torch.tensor(rng.uniform(-1, 1, (1, spec.sizes.c)), requires_grad=True)
        scale = torch.tensor(rng.uniform(0.8, 1.2, (1, spec.sizes.b, 3)), requires_grad=True)
        assert torch.autograd.gradcheck(
            lambda a, b: tuple(forward_kinematics(structure, a, b)), (q, scale)
        )

    def test_gradients_at_rest_and_at_a_knot(self) -> None:
        spec = read_skeleton(zoo.ALL["spline"])
        structure = structure_of(spec)
        q = torch.zeros((2, spec.sizes.c), dtype=torch.float64)
        q[1, -1] = 0.1  # a knot of the spline
        q.requires_grad_()
        assert torch.autograd.gradcheck(lambda a: tuple(forward_kinematics(structure, a)), (q,))

    def test_coupled_entries_are_ignored(self) -> None:
        spec = read_skeleton(read_model("default"))
        layer = SkeletalLayer(spec)
        q = torch.zeros(1, spec.sizes.c, requires_grad=True)
        layer(q).joint_centres.square().sum().backward()
        beta, knee = (spec.coordinate_names.index(f"knee_angle_r{end}") for end in ("_beta", ""))
        assert q.grad is not None
        assert q.grad[0, beta] == 0
        assert q.grad[0, knee] != 0

    def test_a_pose_is_found_from_its_markers(self) -> None:
        spec, rng = read_skeleton(read_model("default")), np.random.default_rng(5)
        layer = SkeletalLayer(spec).double()
        truth = spec.default_pose() + 0.3 * rng.uniform(-1, 1, spec.sizes.c)
        target = run(layer, truth[None], None).markers
        q = torch.tensor(spec.default_pose())[None].requires_grad_()
        search = torch.optim.LBFGS(
            [q], max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-12
        )

        def closure() -> torch.Tensor:
            search.zero_grad()
            loss = (layer(q).markers - target).square().sum()
            loss.backward()
            return loss

        for _ in range(5):
            search.step(closure)
        assert float((layer(q).markers - target).detach().abs().max()) < 1e-3


class TestModule:
    def test_nothing_is_in_the_state_dict(self) -> None:
        layer = SkeletalLayer(read_skeleton(zoo.ALL["spline"]))
        assert dict(layer.state_dict()) == {}
        assert list(layer.parameters()) == []

    def test_precision_returns_after_float32(self) -> None:
        spec, rng = read_skeleton(read_model("default")), np.random.default_rng(6)
        q = random_q(spec, 4, rng)
        direct = run(SkeletalLayer(spec).double(), q, None)
        turned = run(SkeletalLayer(spec).double().float().double(), q, None)
        assert torch.equal(direct.markers, turned.markers)

    def test_follows_the_module_that_holds_it(self) -> None:
        net = torch.nn.ModuleDict({"layer": SkeletalLayer(read_skeleton(zoo.ALL["Free"]))}).double()
        layer = net["layer"]
        assert isinstance(layer, SkeletalLayer)
        assert layer.structure.carries.dtype == torch.float64

    def test_model_without_markers(self, request: pytest.FixtureRequest) -> None:
        spec = read_skeleton(read("pose2sim/Model_Pose2Sim_simple", request))
        assert run(SkeletalLayer(spec), np.zeros((2, spec.sizes.c)), None).markers.shape == (
            2,
            0,
            3,
        )

    @pytest.mark.parametrize(
        ("q", "scale"),
        [((7,), None), ((4, 6), None), ((4, 8), None), ((4, 7), (1, 2, 3)), ((4, 7), (4, 3, 3))],
    )
    def test_shapes_that_do_not_fit_are_refused(
        self, q: tuple[int, ...], scale: tuple[int, ...] | None
    ) -> None:
        """The skeleton has a curve, whose value a column too many would pass for."""
        layer = SkeletalLayer(read_skeleton(zoo.ALL["spline"]))
        with pytest.raises(InputError, match=r"of shape \("):
            layer(torch.zeros(q), None if scale is None else torch.ones(scale))

    def test_keeps_its_precision_under_autocast(self) -> None:
        spec, rng = read_skeleton(read_model("default")), np.random.default_rng(6)
        layer, q = SkeletalLayer(spec).double(), torch.tensor(random_q(spec, 4, rng))
        q = q.bfloat16()
        with torch.autocast("cpu", torch.bfloat16):
            posed = layer(q)
        assert torch.equal(posed.markers, layer(q.double()).markers)

    def test_empty_batch(self) -> None:
        spec = read_skeleton(read_model("default"))
        posed = run(SkeletalLayer(spec), np.zeros((0, spec.sizes.c)), None)
        assert posed.T_ground_from_body.shape == (0, spec.sizes.b, 4, 4)

    def test_compiles_without_a_break(self) -> None:
        spec, rng = read_skeleton(read_model("default")), np.random.default_rng(7)
        layer = SkeletalLayer(spec).double()
        q, scale = torch.tensor(random_q(spec, 8, rng)), torch.tensor(random_scale(spec, rng))[None]
        # `aot_eager` traces forward and backward and leaves out only the code generator, which takes a minute.
        compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(
            compiled(q, scale.expand(8, -1, -1)).markers, layer(q, scale.expand(8, -1, -1)).markers
        )

    @pytest.mark.parametrize("name", ["ConstantCurvature", "coupled_sine"])
    def test_shapes_and_formulas_compile_without_a_break(self, name: str) -> None:
        spec, rng = read_skeleton(zoo.ALL[name]), np.random.default_rng(8)
        layer, q = SkeletalLayer(spec).double(), torch.tensor(rng.uniform(-1, 1, (3, spec.sizes.c)))
        compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(q).markers, layer(q).markers)

    def test_forward_does_not_grow_with_the_joints(self) -> None:
        """As many operations for 23 bodies as for 2, but for the tree's levels."""

        def operations(spec: SkeletonSpec) -> int:
            layer, q = SkeletalLayer(spec), torch.zeros(2, spec.sizes.c)
            with torch.profiler.profile() as profile:
                layer(q)
            return sum(event.count for event in profile.key_averages())

        large, small = (
            read_skeleton(osim) for osim in (read_model("default"), zoo.ALL["coupled_rotation"])
        )
        assert operations(large) < 3 * operations(small)
