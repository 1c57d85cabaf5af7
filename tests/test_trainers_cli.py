"""`python -m trainers fit` and `evaluate` on real stores: what they print, store and refuse."""

import json
from pathlib import Path

import pytest
import tiny_crops

from schemas import files
from schemas.errors import InputError
from schemas.training import FitRecipe, Pose2d
from trainers import recipes, session
from trainers.__main__ import main, parser

SMALL = ["task.input=[32,32]", "task.net=fpn", "batch=4", "epochs=2", "augment=null"]


def words(*, data: Path | str, to: Path | str, overrides: tuple[str, ...] = ()) -> list[str]:
    sets = [w for word in (*SMALL, *overrides) for w in ("--set", word)]
    return ["fit", "pose2d_resnet18", "--data", str(data), "--to", str(to), "--no-ray", *sets]


@pytest.fixture(scope="module", name="data")
def _data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    tiny_crops.publish(str(folder), {"train": (5, 4), "val": (3,), "test": (6,)})
    return folder


@pytest.fixture(scope="module", name="run")
def _run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("run")
    assert main(words(data=data, to=to)) == 0
    return to


def test_every_shipped_recipe_is_valid_and_named_after_its_file() -> None:
    names = [p.stem for p in recipes.FOLDER.glob("*.yaml")]
    assert "pose2d_resnet18" in names
    for name in names:
        assert recipes.load(name).name == name


def test_overrides_reach_the_recipe_and_unknown_keys_are_named() -> None:
    recipe = recipes.load("pose2d_resnet18", ["task.crop=stretch", "batch=7"])
    assert isinstance(recipe.task, Pose2d)
    assert (recipe.task.crop, recipe.batch) == ("stretch", 7)
    with pytest.raises(InputError, match=r"task\.corp"):
        recipes.load("pose2d_resnet18", ["task.corp=stretch"])
    with pytest.raises(InputError, match=r"Use one of .*pose2d_resnet18"):
        recipes.load("pose2d_resnet81")
    with pytest.raises(InputError, match="multiple of 32"):
        recipes.load("pose2d_resnet18", ["task.input=[256,190]"])


def test_fit_writes_checkpoints_and_history(run: Path) -> None:
    history = json.loads((run / "history.json").read_text())
    assert [int(r["step"]) for r in history["steps"]] == [1, 2, 3, 4]
    assert all(r["waited"] <= r["seconds"] for r in history["steps"])
    assert sorted(p.name for p in run.glob("step-*")) == ["step-00000002", "step-00000004"]


def test_evaluate_prints_and_stores_the_metrics_beside_the_baselines(
    run: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(run), "--data", str(data), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert set(printed["metrics"]) == {"net", "image_centre", "mean_pose"}
    assert printed["metrics"]["net"]["samples"] == 6
    stored = json.loads(Path(printed["stored"]).read_text())
    assert stored["metrics"] == printed["metrics"]
    assert main(["evaluate", str(run), "--data", str(data), "--best"]) == 0
    table = capsys.readouterr().out
    assert "oks6_AP" in table
    assert "mean_pose" in table


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fit", "pose2d_resnet18", "--to", "run", "--data", "nowhere"], "no published dataset"),
        (["fit", "nothing", "--to", "run", "--data", "x"], "no shipped recipe"),
        (["evaluate", "nowhere", "--data", "x"], "no whole checkpoint"),
    ],
)
def test_bad_input_ends_in_one_paragraph(
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert error.strip().count("\n") == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", [["--workers", "0"], ["--workers", "two"], ["--data", ","]])
def test_options_that_mean_nothing_are_refused_by_name(
    option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "pose2d_resnet18", "--to", "run", "--data", "x", *option])
    assert option[0] in capsys.readouterr().err


def test_metrics_are_told_also_where_they_cannot_be_stored(
    run: Path, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(url: str, data: bytes) -> None:
        raise InputError(url, "cannot be written (read-only)", "Choose another place")

    monkeypatch.setattr(files, "write_whole", refuse)
    assert main(["evaluate", str(run), "--data", str(data), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["metrics"]["net"]["samples"] == 6
    assert "stored" not in printed


def test_a_split_without_samples_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_crops.publish(str(tmp_path / "set"), {"val": (3,)})
    assert main(words(data=tmp_path / "set", to=tmp_path / "run")) == 2
    assert "no sample of the split `train`" in capsys.readouterr().err


def test_two_datasets_of_different_crop_sizes_train_together(tmp_path: Path) -> None:
    tiny_crops.publish(str(tmp_path / "a"), {"train": (5,)}, px=32)
    tiny_crops.publish(str(tmp_path / "b"), {"train": (4,)}, px=48)
    both = f"{tmp_path / 'a'},{tmp_path / 'b'}"
    assert main(words(data=both, to=tmp_path / "run", overrides=("max_steps=2",))) == 0


def test_a_mixture_that_repeats_a_few_samples_absurdly_often_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    few, many = str(tmp_path / "few"), str(tmp_path / "many")
    tiny_crops.publish(few, {"train": (2,)})
    tiny_crops.publish(many, {"train": (20, 18)})
    for mix, said in (((1.0, 1.0), False), ((1.1, 1.0), True), (None, False)):
        caplog.clear()
        changes = {"stream": {"mix": mix}}
        recipe = FitRecipe.model_validate({"name": "r", "task": {"kind": "pose2d"}} | changes)
        session.check(recipe, [few, many], str(tmp_path / "run"))
        assert ("few@0: an epoch shows each of its 2 samples 10 times" in caplog.text) == said
        assert ("Lower its share in stream.mix" in caplog.text) == said


def test_a_dataset_named_twice_is_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(data=f"{data},{data}", to=tmp_path / "run")) == 2
    assert "are one dataset. Name it once" in capsys.readouterr().err


def test_datasets_named_one_by_one_are_all_taken() -> None:
    """Of two options the last one alone would count."""
    given = ["fit", "r", "--to", "x", "--data", "a,b", "--data", "c"]
    assert parser().parse_args(given).data == ["a", "b", "c"]


@pytest.mark.s3
def test_data_and_checkpoints_on_s3(s3_bucket: str, tmp_path: Path) -> None:
    base = f"{s3_bucket}/{tmp_path.name}"
    tiny_crops.publish(f"{base}/set", {"train": (5,), "test": (2,)})
    to = f"{base}/run"
    assert main(words(data=f"{base}/set", to=to, overrides=("max_steps=1",))) == 0
    assert main(words(data=f"{base}/set", to=to, overrides=("max_steps=2",))) == 0
    assert main(["evaluate", to, "--data", f"{base}/set"]) == 0
