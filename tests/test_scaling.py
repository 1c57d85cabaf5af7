"""Body scales from a static trial: known sizes are found again, and what markers leave open follows its parent."""

import numpy as np
import pytest
import torch
from torch import Tensor

from schemas.errors import InputError
from trainers.problem import problem_of
from trainers.readout import side_and_base
from trainers.scaling import fit_scale
from trainers.skeletal import forward_kinematics
from workers.osim import read_model, read_skeleton

SPEC = read_skeleton(read_model("default"))
PROBLEM = problem_of(SPEC)
MARKED = [i for i, b in enumerate(SPEC.body_names) if sum(m.body == b for m in SPEC.markers) >= 2]


def person(seed: int, paired: bool = True) -> Tensor:
    """One factor per body, (b, 3)."""
    rng = np.random.default_rng(seed)
    names = [side_and_base(n)[1] if paired else n for n in SPEC.body_names]
    factor = {name: rng.normal(1.0, 0.06) for name in dict.fromkeys(names)}
    return torch.tensor([[factor[n]] * 3 for n in names], dtype=torch.float64)


def trial(scale: Tensor, frames: int, noise: float = 0.0) -> Tensor:
    """Markers of somebody who stands a little bent and turned."""
    q = torch.from_numpy(SPEC.couple(np.tile(SPEC.default_pose() + 0.1, (frames, 1))))
    markers = forward_kinematics(PROBLEM.structure, q, scale.expand(frames, -1, -1)).markers
    return markers + torch.from_numpy(np.random.default_rng(9).normal(0, noise, markers.shape))


def error(found: Tensor, truth: Tensor) -> float:
    return float((found - truth)[MARKED].abs().max())


def test_known_sizes_are_found_again() -> None:
    scale = person(1)
    found = fit_scale(SPEC, trial(scale, 1), prior=1e-7)
    assert error(found.scale, scale) < 1e-4
    assert found.converged
    assert float(found.before.mean()) > 0.01
    assert float(found.after.max()) < 1e-6


def test_noise_of_a_standing_second() -> None:
    scale = person(2)
    found = fit_scale(SPEC, trial(scale, 100, 0.005))
    assert error(found.scale, scale) < 0.02
    assert float(found.after.mean()) < 0.25 * float(found.before.mean())


def test_single_noisy_frame_stays_sane() -> None:
    scale = person(3)
    assert error(fit_scale(SPEC, trial(scale, 1, 0.005)).scale, scale) < 0.06


def test_several_poses() -> None:
    scale = person(4)
    found = fit_scale(SPEC, trial(scale, 8, 0.003), poses=4)
    assert found.q.shape == (4, SPEC.sizes.c)
    assert found.after.shape == (4, SPEC.sizes.m)
    assert error(found.scale, scale) < 0.03


def test_sides_apart() -> None:
    scale = person(5, paired=False)
    found = fit_scale(SPEC, trial(scale, 1), symmetric=False, prior=1e-7)
    assert error(found.scale, scale) < 1e-3
    tied = fit_scale(SPEC, trial(scale, 1)).scale
    right, left = (SPEC.body_names.index(f"femur_{side}") for side in "rl")
    assert torch.equal(tied[right], tied[left])


def test_three_factors_per_body_fit_no_worse() -> None:
    scale = person(6) * torch.tensor([1.05, 1.0, 0.93])
    one, three = (fit_scale(SPEC, trial(scale, 1), per_axis=p) for p in (False, True))
    assert float(three.after.mean()) < 0.5 * float(one.after.mean())
    femur = SPEC.body_names.index("femur_r")
    assert abs(float(three.scale[femur, 1] - scale[femur, 1])) < 0.02


def test_bodies_without_markers_follow_their_parent() -> None:
    found = fit_scale(
        SPEC, trial(torch.full((SPEC.sizes.b, 3), 1.1, dtype=torch.float64), 1), prior=1e-7
    )
    torch.testing.assert_close(found.scale, torch.full_like(found.scale, 1.1), atol=1e-3, rtol=0)


def test_missing_and_unweighted_markers_do_not_count() -> None:
    scale = person(7)
    markers, weights = trial(scale, 2), torch.ones(SPEC.sizes.m)
    markers[0, 3] = torch.nan
    markers[1, 4, 2] = torch.inf
    markers[:, 10] += 0.3
    weights[10] = 0.0
    found = fit_scale(SPEC, markers, weights, prior=1e-7)
    assert error(found.scale, scale) < 1e-3
    assert found.after.isnan().nonzero().tolist() == [[0, 10]]


@pytest.mark.parametrize(
    "change",
    [
        {"prior": 0.0},
        {"prior": float("nan")},
        {"poses": 0},
        {"poses": 3},
        {"markers": torch.zeros(2, 48, 3)},
        {"markers": torch.zeros(49, 3)},
        {"markers": torch.full((2, 49, 3), torch.nan)},
        {"markers": torch.zeros(0, 49, 3)},
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, object]) -> None:
    given = {"markers": torch.zeros(2, 49, 3)} | change
    with pytest.raises(InputError):
        fit_scale(SPEC, **given)  # type: ignore[arg-type]
