"""The multi-step baseline: a net's points, fitted by one body, scored like the net."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from tiny_samples import tiny_batch, tiny_task
from tiny_skeleton import tiny_skeleton

from trainers import evaluate
from trainers.metrics import Tally
from trainers.multistep import refit
from trainers.problem import problem_of
from trainers.readout import read
from trainers.rotations import geodesic
from trainers.task import Batch

CPU = torch.device("cpu")
SPEC = tiny_skeleton()
READOUT = read(SPEC)
PLACES = torch.from_numpy(READOUT.coordinates)


@pytest.fixture
def batch() -> Batch:
    return tiny_batch(12, 64, np.random.default_rng(1))


def test_with_the_bodies_own_scales_the_angles_come_back(batch: Batch) -> None:
    """The labels' points stand in for a net that makes no error."""
    truth = tiny_task().prepare(batch, False, CPU)
    fitted = refit(problem_of(SPEC), READOUT, truth, truth["scale"])
    error = (fitted["q"] - truth["q"])[:, PLACES].abs().amax(1)
    assert float(error.median()) < 1e-4
    assert float((error > 1e-3).double().mean()) < 0.2
    assert float(geodesic(fitted["R_cam_from_root"], truth["R_cam_from_root"]).median()) < 1e-3
    torch.testing.assert_close(fitted["joints"], truth["joints"], atol=0.02, rtol=0)
    assert fitted["markers"].dtype == truth["markers"].dtype


def test_one_body_for_all_costs_some_angle_and_stays_within_the_limits(batch: Batch) -> None:
    task = tiny_task()
    truth = task.prepare(batch, False, CPU)
    steps = task.second_steps(task.summarise(truth))
    assert set(steps) == {"multi_step"}
    said = steps["multi_step"](truth, truth)
    mean = torch.from_numpy(batch.arrays["scale"]).mean(0)
    torch.testing.assert_close(said["scale"], mean.expand(12, -1, -1), atol=1e-5, rtol=0)
    assert torch.equal(said["place"], truth["place"])
    scores = task.finalise(task.measure(said, truth))
    assert 0.1 < scores["angle_deg"] < 15.0
    assert scores["limit_violations_percent"] == 0.0
    assert (said["q"][:, torch.from_numpy(READOUT.root_coordinates)] == 0).all()


def test_nothing_is_known_before_the_train_split_was_summed_up() -> None:
    assert tiny_task().second_steps(Tally()) == {}


def test_evaluation_prints_it_beside_the_net_and_the_mean_pose(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stream:
        steps = 1

        def batches(
            self, _epoch: int, finish: Callable[[Batch], Any], **_steps: int
        ) -> Iterator[tuple[int, Any]]:
            yield 12, finish(batch)

    monkeypatch.setattr(evaluate, "stream_of", lambda *_, **__: Stream())
    task = tiny_task()
    torch.manual_seed(0)
    net: Any = task.make_net()
    summary = task.summarise(task.prepare(batch, False, CPU))
    found = evaluate.measure(
        task,
        net,
        None,  # type: ignore[arg-type]
        task.recipe,
        CPU,
        task.baselines(summary),
        second_steps=task.second_steps(summary),
    )
    assert set(found) == {"net", "mean_pose", "multi_step"}
    assert set(found["multi_step"]) <= set(found["net"])
    assert np.isfinite(found["multi_step"]["angle_deg"])
    assert found["multi_step"]["limit_violations_percent"] == 0.0
