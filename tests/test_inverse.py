"""Inverse kinematics: what forward kinematics made is found again, within the limits, whatever is missing."""

import tempfile
from dataclasses import replace
from pathlib import Path

import model_zoo as zoo
import numpy as np
import opensim
import pytest
import torch
from tiny_skeleton import tiny_skeleton
from torch import Tensor

from schemas.errors import InputError
from schemas.skeleton import SkeletonSpec
from trainers.inverse import Solution, inverse_kinematics
from trainers.jacobian import motion, point_jacobian
from trainers.normal import normal_equations
from trainers.problem import Problem, problem_of, read_angles
from trainers.skeletal import Kinematics, forward_kinematics
from trainers.targets import Targets
from workers.motions import read_mot
from workers.osim import read_model, read_skeleton
from workers.trc import write_trc

DEFAULT = read_skeleton(read_model("default"))
PROBLEM = problem_of(DEFAULT)
TINY = tiny_skeleton()


def poses(spec: SkeletonSpec, count: int, seed: int = 0, share: float = 0.9) -> Tensor:
    """Uniform in the middle share of every range."""
    low = np.array([max(c.lower, -5.0) for c in spec.coordinates])
    high = np.array([min(c.upper, 5.0) for c in spec.coordinates])
    inside = 0.5 + share * (np.random.default_rng(seed).random((count, len(low))) - 0.5)
    locked = [c.locked for c in spec.coordinates]
    return torch.from_numpy(
        spec.couple(np.where(locked, spec.default_pose(), low + inside * (high - low)))
    )


def posed(problem: Problem, q: Tensor, scale: Tensor | None = None) -> Kinematics:
    scales = None if scale is None else scale.expand(len(q), -1, -1)
    return forward_kinematics(problem.structure, q, scales)


def points_of(problem: Problem, q: Tensor, scales: Tensor | None) -> tuple[Tensor, Tensor]:
    pose = forward_kinematics(problem.structure, q, scales)
    return pose.markers, pose.joint_centres


def noisy(points: Tensor, metres: float, seed: int = 1) -> Tensor:
    noise = np.random.default_rng(seed).normal(0.0, metres, tuple(points.shape))
    return points + torch.from_numpy(noise)


def degrees_off(
    problem: Problem, found: Solution, q: Tensor, blind: tuple[str, ...] = ()
) -> Tensor:
    """Largest error of each sample, both read alike; `blind` are coordinates that no target sees."""
    u = problem.movers.unknowns
    error = read_angles(problem.aliases, found.q[:, u]) - read_angles(problem.aliases, q[:, u])
    seen = [DEFAULT.coordinate_names[i] not in blind for i in u.tolist()]
    return torch.rad2deg(error[:, seen].abs().amax(1))


def within(problem: Problem, found: Solution) -> bool:
    x = found.q[:, problem.movers.unknowns]
    return bool(((x >= problem.low) & (x <= problem.high)).all())


BLIND = ("mtp_angle_r", "mtp_angle_l")


class TestRoundTrip:
    def test_random_poses_are_found_again(self) -> None:
        q = poses(DEFAULT, 300)
        found = inverse_kinematics(PROBLEM, Targets(markers=posed(PROBLEM, q).markers))
        error = degrees_off(PROBLEM, found, q, BLIND)
        assert float(error.median()) < 1e-4
        assert float((error > 0.1).double().mean()) < 0.01
        assert found.converged.all()
        assert float(found.rms.median()) < 1e-9

    def test_scaled_bodies_by_sample(self) -> None:
        q = poses(DEFAULT, 40, seed=1)
        rng = np.random.default_rng(2)
        scale = torch.from_numpy(rng.uniform(0.8, 1.2, (40, DEFAULT.sizes.b, 3)))
        markers = forward_kinematics(PROBLEM.structure, q, scale).markers
        found = inverse_kinematics(PROBLEM, Targets(markers=markers), scale=scale)
        assert float(degrees_off(PROBLEM, found, q, BLIND).median()) < 1e-4

    def test_joint_centres_alone_find_their_centres(self) -> None:
        """They leave turns about a limb's own axis open, so only the points can be compared."""
        q = poses(DEFAULT, 60, seed=3, share=0.7)
        centres = posed(PROBLEM, q).joint_centres
        found = inverse_kinematics(PROBLEM, Targets(joint_centres=centres), accept=1e-3)
        assert float((found.rms < 1e-6).double().mean()) > 0.9
        assert found.marker_distances.isnan().all()
        assert within(PROBLEM, found)

    def test_markers_and_joint_centres_together(self) -> None:
        q = poses(DEFAULT, 20, seed=4)
        pose = posed(PROBLEM, q)
        found = inverse_kinematics(PROBLEM, Targets(pose.markers, pose.joint_centres))
        assert float(found.joint_distances.median()) < 1e-9
        assert float(degrees_off(PROBLEM, found, q, BLIND).median()) < 1e-4

    def test_far_from_the_origin(self) -> None:
        q = poses(DEFAULT, 20, seed=5)
        markers = posed(PROBLEM, q).markers + torch.tensor([1000.0, 0.0, -2000.0])
        found = inverse_kinematics(PROBLEM, Targets(markers=markers))
        assert (
            float(degrees_off(PROBLEM, found._replace(q=found.q), q, BLIND + TRANSLATIONS).median())
            < 1e-4
        )

    def test_every_facing_direction(self) -> None:
        q = torch.from_numpy(DEFAULT.default_pose()).repeat(72, 1)
        q[:, DEFAULT.coordinate_names.index("pelvis_rotation")] = torch.linspace(-3.1, 3.1, 72)
        found = inverse_kinematics(PROBLEM, Targets(markers=posed(PROBLEM, q).markers), retries=0)
        assert float(degrees_off(PROBLEM, found, q).max()) < 1e-3


TRANSLATIONS = ("pelvis_tx", "pelvis_ty", "pelvis_tz")


class TestLimits:
    def test_unreachable_targets_stay_within(self) -> None:
        q = poses(DEFAULT, 60, seed=6) * 3.0
        found = inverse_kinematics(PROBLEM, Targets(markers=posed(PROBLEM, q).markers))
        assert within(PROBLEM, found)
        at_limit = (found.q[:, PROBLEM.movers.unknowns] == PROBLEM.high).sum()
        assert at_limit > 10

    def test_what_ends_at_a_limit_is_a_minimum(self) -> None:
        """No unknown that is free to move would lower the cost (the conditions of Karush, Kuhn and Tucker)."""
        q = poses(DEFAULT, 40, seed=7, share=1.1)
        markers = noisy(posed(PROBLEM, q).markers, 0.02)
        found = inverse_kinematics(PROBLEM, Targets(markers=markers), tolerance=1e-9)
        targets = torch.cat([torch.zeros(40, DEFAULT.sizes.b, 3), markers], dim=1).double()
        weights = torch.ones(targets.shape[:2], dtype=torch.float64)
        weights[:, : DEFAULT.sizes.b] = 0
        moved = motion(PROBLEM.structure, PROBLEM.movers, found.q, None)
        gradient = normal_equations(PROBLEM.movers, moved, targets, weights).gradient
        x = found.q[:, PROBLEM.movers.unknowns]
        held = ((x <= PROBLEM.low) & (gradient > 0)) | ((x >= PROBLEM.high) & (gradient < 0))
        assert found.converged.double().mean() > 0.9
        assert float(gradient[found.converged][~held[found.converged]].abs().max()) < 1e-6

    def test_own_limits(self) -> None:
        tight = PROBLEM._replace(low=PROBLEM.low.clamp_min(-0.2), high=PROBLEM.high.clamp_max(0.2))
        markers = posed(PROBLEM, poses(DEFAULT, 10)).markers
        assert within(tight, inverse_kinematics(tight, Targets(markers=markers)))

    def test_locked_coordinates_keep_their_default_unless_freed(self) -> None:
        toe = TINY.coordinate_names.index("mtp_angle_r")
        q = poses(TINY, 8, share=0.5)
        q[:, toe] = 0.3
        held, freed = problem_of(TINY), problem_of(TINY, free_locked=True)
        targets = Targets(markers=posed(held, q).markers)
        assert (inverse_kinematics(held, targets).q[:, toe] == 0).all()
        found = inverse_kinematics(freed, targets, accept=1e-3).q[:, toe]
        torch.testing.assert_close(found, q[:, toe], atol=1e-4, rtol=0)

    def test_couplers_are_followed(self) -> None:
        q = poses(DEFAULT, 20, seed=8)
        found = inverse_kinematics(PROBLEM, Targets(markers=posed(PROBLEM, q).markers)).q.numpy()
        np.testing.assert_allclose(found, DEFAULT.couple(found), atol=1e-12)
        knee, beta = (DEFAULT.coordinate_names.index(f"knee_angle_r{e}") for e in ("", "_beta"))
        assert np.ptp(found[:, knee]) > 1.0
        assert np.ptp(found[:, beta]) > 1.0


class TestTargets:
    def test_missing_markers(self) -> None:
        q = poses(DEFAULT, 60, seed=9, share=0.6)
        markers = posed(PROBLEM, q).markers
        markers[torch.from_numpy(np.random.default_rng(0).random((60, 49)) < 0.15)] = torch.nan
        found = inverse_kinematics(PROBLEM, Targets(markers=markers))
        assert torch.equal(found.marker_distances.isnan(), markers.isnan().any(2))
        assert found.q.isfinite().all()
        assert float(found.rms.median()) < 1e-6

    def test_what_no_target_sees_stays(self) -> None:
        markers = posed(PROBLEM, poses(DEFAULT, 5)).markers
        right_arm = [m.body in ("humerus_r", "radius_r", "hand_r") for m in DEFAULT.markers]
        markers[:, right_arm] = torch.nan
        found = inverse_kinematics(PROBLEM, Targets(markers=markers)).q
        elbow = DEFAULT.coordinate_names.index("elbow_flex_r")
        assert (found[:, elbow] == DEFAULT.default_pose()[elbow]).all()

    def test_sample_that_nothing_sees(self) -> None:
        markers = posed(PROBLEM, poses(DEFAULT, 2)).markers
        markers[1] = torch.nan
        found = inverse_kinematics(PROBLEM, Targets(markers=markers))
        assert found.converged.tolist() == [True, False]
        assert found.rms.isnan().tolist() == [False, True]
        np.testing.assert_allclose(found.q[1], DEFAULT.default_pose())

    def test_weights_matter(self) -> None:
        markers = posed(PROBLEM, poses(DEFAULT, 4, share=0.3)).markers
        heel = DEFAULT.marker_names.index(
            next(m.name for m in DEFAULT.markers if m.body == "calcn_r")
        )
        markers[:, heel] += 0.05
        weights = torch.ones(49)
        distances = []
        for weight in (0.0, 1.0, 100.0):
            weights[heel] = weight
            found = inverse_kinematics(PROBLEM, Targets(markers, marker_weights=weights))
            distances.append(found.marker_distances[:, heel])
        assert distances[0].isnan().all()
        assert (distances[2] < 0.3 * distances[1]).all()

    def test_single_sample_and_empty_batch(self) -> None:
        markers = posed(PROBLEM, poses(DEFAULT, 3)).markers
        one = inverse_kinematics(PROBLEM, Targets(markers[1:2]))
        many = inverse_kinematics(PROBLEM, Targets(markers))
        none = inverse_kinematics(PROBLEM, Targets(markers[:0]))
        torch.testing.assert_close(one.q[0], many.q[1], atol=1e-7, rtol=0)
        assert none.q.shape == (0, DEFAULT.sizes.c)
        assert inverse_kinematics(PROBLEM, Targets(markers[:0]), clip=True).q.shape == none.q.shape

    def test_results_do_not_depend_on_the_batch(self) -> None:
        markers = noisy(posed(PROBLEM, poses(DEFAULT, 20, share=0.6)).markers, 0.005)
        whole = inverse_kinematics(PROBLEM, Targets(markers)).q
        turned = inverse_kinematics(PROBLEM, Targets(markers.flip(0))).q.flip(0)
        again = inverse_kinematics(PROBLEM, Targets(markers)).q
        assert torch.equal(whole, again)
        torch.testing.assert_close(whole, turned, atol=1e-7, rtol=0)

    def test_given_start(self) -> None:
        q = poses(DEFAULT, 30, seed=10)
        markers = posed(PROBLEM, q).markers
        found = inverse_kinematics(PROBLEM, Targets(markers), start=q + 0.05)
        assert float(degrees_off(PROBLEM, found, q, BLIND).median()) < 1e-4
        assert float(found.iterations.double().mean()) < 8

    @pytest.mark.parametrize(
        "change",
        [
            {"targets": Targets()},
            {"targets": Targets(markers=torch.zeros(2, 48, 3))},
            {"targets": Targets(joint_centres=torch.zeros(2, 23))},
            {"targets": Targets(torch.zeros(2, 49, 3), torch.zeros(3, 23, 3))},
            {"targets": Targets(torch.zeros(2, 49, 3), marker_weights=torch.ones(48))},
            {"targets": Targets(torch.zeros(2, 49, 3), marker_weights=-torch.ones(49))},
            {"scale": torch.ones(22, 3)},
            {"scale": torch.zeros(23, 3)},
            {"start": torch.zeros(3)},
            {"start": torch.full((38,), torch.nan)},
            {"smoothness": 1.0},
            {"smoothness": -1.0, "clip": True},
            {"smoothness": float("nan"), "clip": True},
        ],
    )
    def test_what_does_not_fit_is_refused(self, change: dict[str, object]) -> None:
        given = {"targets": Targets(markers=torch.zeros(2, 49, 3))} | change
        with pytest.raises(InputError):
            inverse_kinematics(PROBLEM, **given)  # type: ignore[arg-type]

    def test_model_without_markers(self) -> None:
        bare = problem_of(replace(DEFAULT, markers=()))
        centres = posed(bare, poses(DEFAULT, 5, share=0.5)).joint_centres
        found = inverse_kinematics(bare, Targets(joint_centres=centres))
        assert found.marker_distances.shape == (5, 0)
        assert float(found.rms.median()) < 1e-6
        with pytest.raises(InputError):
            inverse_kinematics(bare, Targets(markers=torch.zeros(5, 49, 3)))


class TestClip:
    def walk(self, frames: int) -> Tensor:
        """Two slow turns on the spot while the legs swing."""
        q = np.tile(DEFAULT.default_pose(), (frames, 1))
        phase = np.linspace(0.0, 4 * np.pi, frames)
        names = DEFAULT.coordinate_names
        q[:, names.index("pelvis_rotation")] = phase
        q[:, names.index("hip_flexion_r")] = 0.5 * np.sin(3 * phase)
        q[:, names.index("knee_angle_r")] = 0.6 - 0.5 * np.cos(3 * phase)
        return torch.from_numpy(DEFAULT.couple(q))

    def test_angles_run_on_through_whole_turns(self) -> None:
        q = self.walk(121)
        found = inverse_kinematics(PROBLEM, Targets(posed(PROBLEM, q).markers), clip=True)
        turn = DEFAULT.coordinate_names.index("pelvis_rotation")
        torch.testing.assert_close(
            found.q[:, turn] - found.q[0, turn], q[:, turn] - q[0, turn], atol=1e-4, rtol=0
        )
        assert float(found.rms.max()) < 1e-6

    def test_same_as_frame_by_frame(self) -> None:
        markers = noisy(posed(PROBLEM, self.walk(40)).markers, 0.005)
        clip = inverse_kinematics(PROBLEM, Targets(markers), clip=True)
        single = inverse_kinematics(PROBLEM, Targets(markers))
        torch.testing.assert_close(clip.rms, single.rms, atol=1e-6, rtol=0)

    def test_smoothness_lowers_the_noise_and_keeps_the_movement(self) -> None:
        q = self.walk(120)
        markers = noisy(posed(PROBLEM, q).markers, 0.005)
        plain = inverse_kinematics(PROBLEM, Targets(markers), clip=True)
        smooth = inverse_kinematics(PROBLEM, Targets(markers), clip=True, smoothness=0.1)
        u = PROBLEM.movers.unknowns
        before, after = ((found.q - q)[:, u].square().mean().sqrt() for found in (plain, smooth))
        bend = [found.q[:, u].diff(dim=0).diff(dim=0).square().mean() for found in (plain, smooth)]
        assert float(after) < 0.6 * float(before)
        assert float(bend[1]) < 0.02 * float(bend[0])
        assert smooth.converged.all()
        assert within(PROBLEM, smooth)

    def test_smooth_solution_is_the_minimum(self) -> None:
        """The band's solution against the whole matrix, one frame after the other unknown by unknown."""
        q = poses(TINY, 6, share=0.1)
        problem = problem_of(TINY)
        markers = noisy(posed(problem, q).markers, 0.002)
        found = inverse_kinematics(
            problem, Targets(markers), clip=True, smoothness=0.05, tolerance=1e-10
        )
        x = found.q[:, problem.movers.unknowns].clone().requires_grad_()
        full = problem.default.expand(6, -1).index_copy(1, problem.movers.unknowns, x)
        distance = forward_kinematics(problem.structure, full).markers - markers
        bend = x[2:] - 2 * x[1:-1] + x[:-2]
        (0.5 * distance.square().sum() + 0.025 * bend.square().sum()).backward()  # type: ignore[no-untyped-call]
        assert x.grad is not None
        inside = (x > problem.low) & (x < problem.high)
        assert float(x.grad[inside].abs().max()) < 1e-6

    def test_smooth_clip_fills_a_gap(self) -> None:
        q = self.walk(240)[:80]
        markers = posed(PROBLEM, q).markers
        markers[25:32] = torch.nan
        found = inverse_kinematics(PROBLEM, Targets(markers), clip=True, smoothness=1e-4)
        knee = DEFAULT.coordinate_names.index("knee_angle_r")
        assert float((found.q - q)[25:32, knee].abs().max()) < 0.1
        assert not found.converged[25:32].any()


class TestEquations:
    def test_moments_give_what_the_jacobian_gives(self, shared_data: Path) -> None:
        spec = read_skeleton(read_model(str(shared_data / "opensim/opencap/LaiUhlrich2022.osim")))
        problem, rng = problem_of(spec), np.random.default_rng(0)
        q = poses(spec, 3)
        scale = torch.from_numpy(rng.uniform(0.8, 1.2, (3, spec.sizes.b, 3)))
        moved = motion(problem.structure, problem.movers, q, scale)
        J = point_jacobian(problem.movers, moved)
        targets = torch.from_numpy(rng.normal(size=(3, J.shape[1], 3)))
        weights = torch.from_numpy(rng.random((3, J.shape[1])))
        normal = normal_equations(problem.movers, moved, targets, weights)
        miss = moved.points.permute(2, 0, 1) - targets
        torch.testing.assert_close(
            normal.gradient, torch.einsum("npdu,np,npd->nu", J, weights, miss)
        )
        torch.testing.assert_close(normal.matrix, torch.einsum("npdu,np,npdv->nuv", J, weights, J))

    @pytest.mark.parametrize("name", zoo.ALL)
    def test_jacobian_is_the_derivative_for_every_joint_and_function(self, name: str) -> None:
        spec, rng = read_skeleton(zoo.ALL[name]), np.random.default_rng(3)
        problem = problem_of(spec)
        q = torch.from_numpy(rng.uniform(-1, 1, (2, spec.sizes.c)))
        scale = torch.from_numpy(rng.uniform(0.8, 1.2, (2, spec.sizes.b, 3)))
        for scales in (None, scale):
            J = point_jacobian(problem.movers, motion(problem.structure, problem.movers, q, scales))
            torch.testing.assert_close(J[1], self.derivative(problem, q, scales, 1))
        with (
            torch.inference_mode()
        ):  # as in an evaluation; a formula's gradient must not vanish there
            quiet = motion(problem.structure, problem.movers, q.clone(), scale.clone())
        torch.testing.assert_close(point_jacobian(problem.movers, quiet), J)

    @pytest.mark.parametrize(
        "name",
        ["coupled_rotation", "Free", "Ellipsoid", "Scapulothoracic", "multivariate_of_three"],
    )
    def test_limits_and_couplers_of_other_joints(self, name: str) -> None:
        spec, rng = read_skeleton(zoo.ALL[name]), np.random.default_rng(3)
        problem = problem_of(spec)
        q = torch.from_numpy(rng.uniform(-1, 1, (2, spec.sizes.c)))
        scale = torch.from_numpy(rng.uniform(0.8, 1.2, (2, spec.sizes.b, 3)))
        for scales in (None, scale):
            found = inverse_kinematics(
                problem, Targets(*points_of(problem, q, scales)), scale=scales, retries=0
            )
            assert within(problem, found)
            np.testing.assert_allclose(
                found.q[1].numpy(),
                spec.couple(found.q[1].numpy(), None if scales is None else scale[1].numpy()),
                atol=1e-12,
            )

    def derivative(self, problem: Problem, q: Tensor, scales: Tensor | None, row: int) -> Tensor:
        own = None if scales is None else scales[row : row + 1]

        def places(x: Tensor) -> Tensor:
            markers, centres = forward_kinematics(problem.structure, x[None], own)[:0:-1]
            return torch.cat([centres[0], markers[0]])

        slopes: Tensor = torch.autograd.functional.jacobian(places, q[row])  # type: ignore[no-untyped-call]
        return slopes[..., problem.movers.unknowns]


def test_agrees_with_opensims_own_tool(shared_data: Path) -> None:
    """Twenty frames of a walk with 5 mm noise: the same angles, as both minimise the same.

    At its default accuracy (1e-5) the tool stops up to several degrees short where the markers say little.
    """
    folder = shared_data / "opensim" / "opencap"
    spec = read_skeleton(read_model(str(folder / "LaiUhlrich2022.osim")))
    mot = (folder / "walking1_videoAndMocap.mot").read_bytes()
    recorded = read_mot(mot, "walking1", spec)
    problem = problem_of(spec)
    q = torch.from_numpy(recorded.q[20:40])
    markers = noisy(posed(problem, q).markers, 0.005)
    times = recorded.times[20:40]
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        (here / "in.trc").write_bytes(write_trc(spec.marker_names, times, markers.numpy(), 100.0))
        theirs = run_tool(
            folder / "LaiUhlrich2022.osim", here, spec, float(times[0]), float(times[-1])
        )
    ours = inverse_kinematics(problem, Targets(markers), clip=True)
    seen = [i for i, name in enumerate(spec.coordinate_names) if name not in BLIND]
    error = np.degrees(np.abs(ours.q.numpy() - theirs)[:, seen])
    assert error.max() < 0.01
    their_markers = posed(problem, torch.from_numpy(theirs)).markers
    their_rms = (their_markers - markers).square().sum(-1).mean(1).sqrt()
    assert float((ours.rms - their_rms).max()) < 1e-8


def run_tool(osim: Path, here: Path, spec: SkeletonSpec, first: float, last: float) -> np.ndarray:
    """Runs InverseKinematicsTool with equal weights in a folder; returns its q."""
    tool = opensim.InverseKinematicsTool()
    tool.setName("trial")
    model = opensim.Model(str(osim))
    model.initSystem()
    tool.setModel(model)
    tool.setMarkerDataFileName(str(here / "in.trc"))
    tool.setStartTime(first)
    tool.setEndTime(last)
    tool.setOutputMotionFileName(str(here / "out.mot"))
    tool.setResultsDir(str(here))
    tool.set_report_errors(False)
    tool.set_accuracy(1e-9)
    tasks = tool.getIKTaskSet()
    for marker in spec.marker_names:
        task = opensim.IKMarkerTask()
        task.setName(marker)
        task.setApply(True)
        task.setWeight(1.0)
        tasks.cloneAndAppend(task)
    tool.run()
    return read_mot((here / "out.mot").read_bytes(), "out", spec).q
