"""A checkpoint comes back as it was saved, or is refused; never half."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_skeleton import tiny_skeleton

from schemas.errors import InputError
from schemas.training import FitRecipe
from trainers import checkpoint
from trainers.checkpoint import Checkpoint
from trainers.metrics import Tally
from trainers.same_skeleton import require_skeleton
from trainers.tasks import make_task

RECIPE = FitRecipe.model_validate(
    {"name": "tiny", "task": {"kind": "pose2d", "input": [64, 64], "net": "fpn"}}
)


def saved(step: int = 3, loss: float = 0.5) -> Checkpoint:
    torch.manual_seed(step)
    net = make_task(RECIPE, None).make_net()
    optimiser = torch.optim.Adam(net.parameters())
    sum(p.sum() for p in net.parameters()).backward()  # type: ignore[union-attr]
    optimiser.step()
    return Checkpoint(
        recipe=RECIPE,
        described={"keypoints": ["left_hip"]},
        skeleton=tiny_skeleton(),
        dataset_ids=("a", "b"),
        order={"data": "c"},
        epoch=1,
        step=2,
        total_steps=step,
        metrics={"loss": loss, "nothing": float("nan")},
        summary=Tally(sums={"points": np.arange(6.0).reshape(3, 2)}),
        weights=net.state_dict(),
        optimiser=optimiser.state_dict(),
    )


@pytest.fixture(params=["file", "memory", pytest.param("s3", marks=pytest.mark.s3)])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Returns the URL of an empty run on each kind of store."""
    if request.param == "memory":
        return f"memory://{tmp_path.name}-{request.node.name}/run"
    if request.param == "file":
        return f"file://{tmp_path}/run"
    return f"{request.getfixturevalue('s3_bucket')}/{tmp_path.name}/run"


def test_reads_back_as_saved(run: str) -> None:
    ours = saved()
    url = checkpoint.save(run, ours)
    theirs = checkpoint.load(run)
    assert theirs.url == url
    for name in ("recipe", "described", "skeleton", "dataset_ids", "order", "epoch", "step"):
        assert getattr(theirs, name) == getattr(ours, name), name
    assert theirs.metrics["loss"] == 0.5
    assert np.isnan(theirs.metrics["nothing"])
    np.testing.assert_array_equal(theirs.summary.sums["points"], ours.summary.sums["points"])
    for name, value in ours.weights.items():
        assert torch.equal(theirs.weights[name], value), name
    assert theirs.optimiser is not None
    assert ours.optimiser is not None
    assert theirs.optimiser["param_groups"][0]["lr"] == 1e-3
    for index, values in ours.optimiser["state"].items():
        for name, value in values.items():
            assert torch.equal(theirs.optimiser["state"][index][name], value)


def test_restores_a_net_that_says_the_same(tmp_path: Path) -> None:
    ours = saved()
    checkpoint.save(str(tmp_path), ours)
    task, net = checkpoint.restore(checkpoint.load(str(tmp_path)), torch.device("cpu"))
    other = task.make_net()
    other.load_state_dict(ours.weights)
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(net(image), other.eval()(image))


def test_the_newest_whole_one_counts(tmp_path: Path) -> None:
    run = str(tmp_path)
    for step in (1, 2, 3):
        checkpoint.save(run, saved(step))
    (tmp_path / "step-00000003" / "checkpoint.json").unlink()
    cut = tmp_path / "step-00000002" / "checkpoint.json"
    cut.write_text(cut.read_text()[:-20])
    assert checkpoint.load(run).total_steps == 1
    assert checkpoint.complete(run) == [f"{run}/step-00000001"]


def test_a_crash_at_any_write_leaves_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.implementations.local import LocalFileSystem

    real = LocalFileSystem.pipe_file
    for crash_at in range(3):
        written = 0

        def pipe(self: LocalFileSystem, path: str, data: bytes, crash: int = crash_at) -> None:
            nonlocal written
            if written == crash:
                real(self, path, data[: len(data) // 2])
                raise OSError(28, "No space left on device")
            written += 1
            real(self, path, data)

        monkeypatch.setattr(LocalFileSystem, "pipe_file", pipe)
        run = str(tmp_path / str(crash_at))
        with pytest.raises(InputError, match="No space left"):
            checkpoint.save(run, saved())
        assert checkpoint.complete(run) == []
        with pytest.raises(InputError, match="no whole checkpoint"):
            checkpoint.load(run)


def test_a_flipped_byte_is_refused(tmp_path: Path) -> None:
    url = checkpoint.save(str(tmp_path), saved())
    path = Path(url) / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match="damaged"):
        checkpoint.load(url)


def test_prune_spares_the_newest_and_the_best(tmp_path: Path) -> None:
    run = str(tmp_path)
    for step, loss in ((1, 0.9), (2, 0.1), (3, 0.5), (4, 0.4), (5, 0.6)):
        checkpoint.save(run, saved(step, loss))
    checkpoint.prune(run, keep=2)
    kept = [int(url[-8:]) for url in checkpoint.complete(run)]
    assert kept == [2, 4, 5]
    assert checkpoint.best(run).endswith("2")


def test_holds_no_pickle_and_says_what_it_is(tmp_path: Path) -> None:
    url = checkpoint.save(str(tmp_path), saved())
    names = sorted(p.name for p in Path(url).iterdir())
    assert names == ["checkpoint.json", "model.safetensors", "optimiser.safetensors"]
    document = json.loads((Path(url) / "checkpoint.json").read_text())
    assert document["fingerprint"] == tiny_skeleton().fingerprint
    assert document["stream"] == {"order": {"data": "c"}, "epoch": 1, "step": 2}


def test_another_skeleton_is_refused_by_the_names_that_differ() -> None:
    ours = tiny_skeleton()
    require_skeleton(ours, ours, "data")
    fewer = dataclasses.replace(ours, markers=ours.markers[1:])
    with pytest.raises(InputError, match=f"marker {ours.markers[0].name}: removed"):
        require_skeleton(ours, fewer, "data")
    first = dataclasses.replace(ours.coordinates[-1], name="other")
    with pytest.raises(InputError, match="coordinate other: added"):
        require_skeleton(
            ours, dataclasses.replace(ours, coordinates=(*ours.coordinates[:-1], first)), "data"
        )


def test_an_unreadable_checkpoint_is_not_taken_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that cannot see its checkpoints must stop, not begin anew over them."""
    run = str(tmp_path)
    checkpoint.save(run, saved())

    def refuse(url: str) -> bytes:
        raise InputError(url, "cannot be read (timeout)", "Check the network")

    monkeypatch.setattr(checkpoint.files, "read_bytes", refuse)
    with pytest.raises(InputError, match="timeout"):
        checkpoint.complete(run)


@pytest.mark.parametrize("key", ["recipe", "stream", "digests", "summary", "skeleton"])
def test_a_document_that_lacks_or_garbles_a_key_is_refused(key: str, tmp_path: Path) -> None:
    path = Path(checkpoint.save(str(tmp_path), saved())) / "checkpoint.json"
    document = json.loads(path.read_text())
    for change in ({k: v for k, v in document.items() if k != key}, document | {key: [1]}):
        path.write_text(json.dumps(change))
        with pytest.raises(InputError, match=rf"checkpoint\.json|^{key}"):
            checkpoint.load(str(tmp_path))
