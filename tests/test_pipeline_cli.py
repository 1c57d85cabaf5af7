"""The command line: what is asked for comes out, and whatever is wrong ends in one paragraph, never in a traceback."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import moderngl
import numpy as np
import pytest
import ray
from pycocotools.coco import COCO
from tiny_coco import document, lay_out, person, picture, small_set

from pipeline.__main__ import main
from schemas.errors import InputError
from schemas.store import Store
from workers import gpu, motions, osim, produce, shot

ROOT = Path(__file__).parents[1]
TINY = ("motions={poses: {random: limits, subjects: 2, frames: 1}}", "image_px=48")


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Returns what runs one command; no command may ever show a traceback."""

    def call(*words: str | Path) -> Ended:
        capfd.readouterr()
        status = main([str(word) for word in words])
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return Ended(status=status, out=out, err=err)

    return call


def sets(*words: str) -> list[str]:
    return [part for word in words for part in ("--set", word)]


def coco(folder: Path, *words: str) -> list[str]:
    fixed = (f"images={folder}", f"annotations={folder}/persons.json", "image_px=48")
    return ["coco_lower", *sets(*fixed, "shard_samples=4", *words)]


def refused(ended: Ended, *says: str) -> None:
    """Asserts exit status 2, nothing on stdout, and one paragraph that says this."""
    assert ended.status == 2
    assert ended.out == ""
    paragraph = ended.err.strip()
    assert paragraph.startswith("error: ")
    assert "\n" not in paragraph
    assert len(paragraph) < 1500
    for words in says:
        assert words in paragraph


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds a synthetic dataset of two frames."""
    folder = tmp_path_factory.mktemp("people") / "set"
    command = ["build", "squat_small", "--to", str(folder), "--engine", "local", *sets(*TINY)]
    assert main(command) == 0
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Lays out a COCO of six pictures."""
    folder = tmp_path / "coco"
    folder.mkdir()
    return small_set(folder, 6)


def test_plan_says_what_is_to_do_and_makes_nothing(run: Run, tmp_path: Path) -> None:
    url = tmp_path / "set"
    ended = run("plan", "squat_small", "--to", url, "--json", *sets(*TINY))
    planned = json.loads(ended.out)
    assert (planned["samples"], planned["missing_samples"]) == (2, 2)
    assert planned["shards"] == len(planned["missing"]) == planned["missing_shards"]
    assert not url.exists()


def test_a_plan_of_what_is_there_is_empty(run: Run, people: Path) -> None:
    ended = run("plan", "squat_small", "--to", people, *sets(*TINY))
    assert ended.status == 0
    assert "0 samples in 0 shards to make" in ended.out


def test_building_again_makes_nothing_and_commits_nothing(run: Run, people: Path) -> None:
    words = ("build", "squat_small", "--to", people, "--engine", "local", "--json", *sets(*TINY))
    ended = run(*words)
    found = json.loads(ended.out)
    assert (found["made_shards"], found["samples"]) == (0, 2)
    assert found["kept_shards"] == found["shards"]
    assert len(list((people / "commits").iterdir())) == 1


def test_info_is_json_that_adds_up(run: Run, people: Path) -> None:
    found = json.loads(run("info", people, "--json").out)
    assert found["samples"] == sum(found["splits"].values()) == found["lots"]["poses"] == 2
    assert found["bytes_per_sample"] * 2 == pytest.approx(found["bytes"], abs=2)
    assert found["quarantined"] == {}
    assert found["dataset_id"] in run("info", people).out


def test_preview_is_one_page_that_needs_nothing_else(
    run: Run, people: Path, tmp_path: Path
) -> None:
    ended = run("preview", people, "--out", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert ended.out.strip() == str(tmp_path / "page.html")
    assert json.loads(run("info", people, "--json").out)["dataset_id"] in page
    assert 'src="http' not in page
    assert "<link" not in page


def test_export_gives_coco_and_opensim_their_files(run: Run, people: Path, tmp_path: Path) -> None:
    ended = run("export", people, "--coco", tmp_path / "c.json", "--opensim", tmp_path / "o")
    assert ended.status == 0
    assert len(COCO(str(tmp_path / "c.json")).anns) == 2
    models = sorted((tmp_path / "o").rglob("*.osim"))
    assert len(models) == 2
    spec = osim.read_skeleton(models[0].read_bytes())
    (mot,) = models[0].parent.glob("*.mot")
    motions.read_mot(mot.read_bytes(), mot.name, spec)


def test_a_coco_build_goes_from_pictures_to_a_dataset(
    run: Run, pictures: Path, tmp_path: Path
) -> None:
    ended = run("build", *coco(pictures), "--to", tmp_path / "set", "--engine", "local", "--json")
    assert ended.status == 0
    assert json.loads(ended.out)["samples"] == 12


# Bad input: each is refused before anything is made.


def test_an_unknown_recipe_key(run: Run, tmp_path: Path) -> None:
    words = sets("motions.squat.subjcts=3")
    refused(run("build", "squat_small", "--to", tmp_path / "set", *words), "motions.squat.subjcts")
    refused(
        run("plan", "squat_smal", "--to", tmp_path / "set"), "coco_lower, lower_body, squat_small"
    )
    assert not (tmp_path / "set").exists()


def test_impossible_values_and_words(run: Run, tmp_path: Path) -> None:
    to = ("--to", tmp_path / "set")
    for word, place in (
        ("image_px=3", "image_px"),
        ("seed", "--set seed"),
        ("a: b=[", "--set a: b"),
    ):
        refused(run("plan", "squat_small", *to, "--set", word), place)


def test_a_model_that_is_none(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.osim").write_text("<html/>")
    (tmp_path / "b.osim").write_bytes(osim.read_model("default")[:5000])
    to = ("--to", tmp_path / "set")
    for name in ("a.osim", "b.osim", "none.osim"):
        refused(run("plan", "squat_small", *to, *sets(f"model={tmp_path}/{name}")), name)


def test_a_missing_mesh_is_a_warning_that_names_it(
    run: Run, shared_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = tmp_path / "lab.osim"
    model.write_bytes((shared_data / "opensim/opencap/LaiUhlrich2022.osim").read_bytes())
    ended = run("plan", "squat_small", "--to", tmp_path / "set", *sets(f"model={model}"))
    assert ended.status == 0
    warnings = [r.getMessage() for r in caplog.records if "meshes" in r.getMessage()]
    assert len(warnings) == 1
    assert ".vtp" in warnings[0]
    assert "Geometry" in warnings[0]


def mot(folder: Path, change: Callable[[str], str]) -> Path:
    """Writes a motion of the default model, changed."""
    spec = osim.read_skeleton(osim.read_model("default"))
    q = np.tile(spec.default_pose(), (20, 1))
    knees = [spec.coordinate_names.index(f"knee_angle_{side}") for side in "rl"]
    q[:, knees] = np.radians(np.linspace(0, 80, 20))[:, None]
    text = motions.write_mot(spec, np.arange(20) / 10.0, spec.couple(q)).decode()
    path = folder / "lab.mot"
    path.write_text(change(text))
    return path


def in_radians(text: str) -> str:
    """Turns the angles to radians and leaves the header as it is."""
    head, _, body = text.partition("endheader\n")
    names, *rows = body.strip().split("\n")
    columns = names.split("\t")
    turned = [
        [
            float(c) if n == "time" or n[:8] == "pelvis_t" else np.radians(float(c))
            for n, c in zip(columns, row.split("\t"), strict=True)
        ]
        for row in rows
    ]
    lines = ["\t".join(f"{c:.8f}" for c in row) for row in turned]
    return head + "endheader\n" + "\n".join([names, *lines]) + "\n"


def nan_rows(text: str) -> str:
    lines = text.split("\n")
    return "\n".join(
        line if i < len(lines) - 15 else "\t".join(["nan"] * len(line.split("\t")) if line else [])
        for i, line in enumerate(lines)
    )


MOTS: dict[str, tuple[Callable[[str], str], tuple[str, ...]]] = {
    "columns": (
        lambda text: text.replace("ankle_angle_r", "ankle_flex_r"),
        ("the model lacks ankle_flex_r", "the file lacks ankle_angle_r"),
    ),
    "nan": (nan_rows, ("rows hold NaN",)),
    "radians": (in_radians, ("header says degrees", "only fits radians", "inDegrees=no")),
    "cut short": (lambda text: text[: int(0.8 * len(text))], ("rows",)),
    "no motion": (lambda text: "a,b\n1,2\n", ("endheader",)),
}


@pytest.mark.parametrize("fault", MOTS)
def test_a_motion_that_does_not_fit(run: Run, tmp_path: Path, fault: str) -> None:
    change, says = MOTS[fault]
    path = mot(tmp_path, change)
    word = f"motions={{lab: {{mot: {path}, subjects: 1, frames: 1}}}}"
    ended = run(
        "build", "squat_small", "--to", tmp_path / "set", "--engine", "local", "--set", word
    )
    refused(ended, str(path), *says)
    assert not (tmp_path / "set").exists()


def test_coco_without_keypoints(run: Run, tmp_path: Path) -> None:
    persons = [{k: v for k, v in person(1, 1).items() if k != "keypoints"}]
    folder = lay_out(tmp_path, document([picture(1)], persons), {})
    refused(run("build", *coco(folder), "--to", tmp_path / "set"), "hold no `keypoints`")
    (tmp_path / "persons.json").write_text("{")
    refused(run("build", *coco(folder), "--to", tmp_path / "set"), "is not JSON")
    assert not (tmp_path / "set").exists()


def test_coco_without_paths(run: Run, tmp_path: Path) -> None:
    refused(run("build", "coco_lower", "--to", tmp_path / "set"), "images: ", "annotations: ")


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "s3://nobody/x", "foo://x", "/nowhere/x"])
def test_unreachable_inputs(
    run: Run, tmp_path: Path, pictures: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    to = ("--to", tmp_path / "set")
    refused(run("plan", *coco(pictures, f"annotations={url}"), *to), url)
    refused(run("plan", *coco(pictures, f"images={url}"), *to), url)
    refused(run("plan", "squat_small", *to, *sets(f"model={url}")), url)
    refused(run("plan", "squat_small", *to, *sets(f"scene.backgrounds={url}")), url)


def test_a_place_that_cannot_hold_a_dataset(run: Run, tmp_path: Path, pictures: Path) -> None:
    (tmp_path / "file").write_text("x")
    for to in (tmp_path / "file", tmp_path / "file" / "below", "foo://x/y"):
        ended = run("build", *coco(pictures), "--to", to, "--engine", "local")
        assert ended.status in (1, 2)
        assert str(to) in ended.err
    assert (tmp_path / "file").read_text() == "x"


def test_ray_is_not_asked_to_see_this_process_memory(run: Run, pictures: Path) -> None:
    refused(run("build", *coco(pictures), "--to", "memory://x"), "--engine local")


@pytest.mark.parametrize("command", ["info", "preview", "export"])
def test_reading_where_nothing_is(run: Run, tmp_path: Path, command: str) -> None:
    extra = {"preview": ("--out", tmp_path / "p.html"), "export": ("--coco", tmp_path / "c.json")}
    ended = run(command, tmp_path / "mistyped", *extra.get(command, ()))
    refused(ended, "holds no published dataset")
    assert list(tmp_path.iterdir()) == []


def test_reading_a_broken_commit(run: Run, people: Path, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "set"))
    for path in Store(str(people)).list_paths(""):
        store.put_bytes(path, Store(str(people)).get_bytes(path))
    store.put_bytes(store.list_paths("commits")[0], b"{")
    refused(run("info", tmp_path / "set"), "cannot be read")
    planned = run("plan", "squat_small", "--to", tmp_path / "set", *sets(*TINY))
    assert "0 samples in 0 shards to make" in planned.out  # the shards tell for themselves


def test_export_without_a_format_or_a_motion(
    run: Run, people: Path, pictures: Path, tmp_path: Path
) -> None:
    refused(run("export", people), "--coco FILE")
    assert run("build", *coco(pictures), "--to", tmp_path / "set", "--engine", "local").status == 0
    refused(run("export", tmp_path / "set", "--opensim", tmp_path / "o"), "no OpenSim motions")
    (tmp_path / "file").write_text("x")
    refused(
        run("preview", tmp_path / "set", "--out", tmp_path / "file" / "p.html"), "cannot be written"
    )


@pytest.mark.parametrize("words", [[], ["bild"], ["build", "squat_small"], ["plan", "--to", "x"]])
def test_a_wrong_command_shows_the_usage(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "usage: python -m pipeline" in capsys.readouterr().err


# Faults on the way: a sample is quarantined, a shard fails, nothing half-written is visible.


def test_broken_pictures_are_quarantined_and_the_rest_is_made(
    run: Run, pictures: Path, tmp_path: Path
) -> None:
    whole = (pictures / "0002.jpg").read_bytes()
    (pictures / "0002.jpg").write_bytes(whole[: len(whole) // 2])
    (pictures / "0003.jpg").unlink()
    (pictures / "0004.jpg").write_text("not found")
    cv2.imwrite(str(pictures / "0005.jpg"), np.zeros((20, 30, 3), np.uint8))
    ended = run("build", *coco(pictures), "--to", tmp_path / "set", "--engine", "local", "--json")
    assert ended.status == 0
    found = json.loads(ended.out)
    assert found["samples"] == 4
    assert found["quarantined"] == {
        "truncated_jpeg": 2,
        "missing_image": 2,
        "not_an_image": 2,
        "size_mismatch": 2,
    }


def test_without_gl_the_remedy_is_said_once_and_nothing_is_published(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_library(*_: Any, **__: Any) -> Any:
        raise Exception("(detect) libEGL.so: cannot open shared object file\nNo such file")

    monkeypatch.setattr(moderngl, "create_context", no_library)
    monkeypatch.setattr(gpu._OWN, "context", None)
    shot.renderer.cache_clear()
    url = tmp_path / "set"
    ended = run("build", "squat_small", "--to", url, "--engine", "local", *sets(*TINY))
    shot.renderer.cache_clear()
    assert ended.status == 1
    failed = [line for line in ended.err.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 1
    assert "apt-get install -y libegl1" in failed[0]
    assert "nothing complete was published" in ended.err
    assert Store(str(url)).action_keys() == set()
    assert Store(str(url)).list_paths("commits") == []


def test_a_bug_is_named_with_its_kind_and_how_to_find_it(
    run: Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def buggy(job: Any) -> Any:
        raise ZeroDivisionError("one\nover zero")

    monkeypatch.setattr(produce, "produce", buggy)
    ended = run("build", *coco(pictures), "--to", tmp_path / "set", "--engine", "local")
    assert ended.status == 1
    assert " more: ZeroDivisionError: one over zero (" in ended.err
    assert "--verbose" in ended.err


def test_a_refusal_that_comes_again_and_again_ends_the_build(
    run: Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def refusing(job: Any) -> Any:
        tried.append(job)
        raise InputError("s3://x", f"failed to write shards/{job.action_key}", "Free some space")

    monkeypatch.setattr(produce, "produce", refusing)
    ended = run(
        "build", *coco(pictures, "shard_samples=2"), "--to", tmp_path / "set", "--engine", "local"
    )
    assert ended.status == 1
    assert len(tried) == 3
    (failed,) = (line for line in ended.err.splitlines() if line.startswith("failed: "))
    assert "and 2 more: s3://x: failed to write" in failed
    assert "were not tried; nothing complete was published" in ended.err


def test_a_full_disk_is_one_paragraph_and_freeing_space_mends_it(
    run: Run, pictures: Path, tmp_path: Path
) -> None:
    """A limit on the size of files stands for the full disk: both fail the write half way."""
    url = tmp_path / "set"
    command = ["build", *coco(pictures), "--to", str(url), "--engine", "local"]
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048));"
        f"from pipeline.__main__ import main; sys.exit(main({command!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", program],  # or bytecode would be cut short and kept
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"MPLCONFIGDIR": str(tmp_path)},
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "free space" in done.stderr
    assert "finished shards are kept" in done.stderr
    assert Store(str(url)).list_paths("commits") == []
    refused(run("info", url), "holds no published dataset")
    assert run(*command).status == 0
    assert json.loads(run("info", url, "--json").out)["samples"] == 12


@pytest.mark.ray
def test_ray_makes_the_same_people_as_this_process(people: Path, run: Run, tmp_path: Path) -> None:
    url = tmp_path / "set"
    try:
        ended = run("build", "squat_small", "--to", url, "--engine", "ray", *sets(*TINY))
    finally:
        ray.shutdown()
    assert ended.status == 0, ended.err
    here, there = Store(str(people)), Store(str(url))
    paths = there.list_paths("shards")
    assert paths == here.list_paths("shards")
    assert all(here.get_bytes(path) == there.get_bytes(path) for path in paths)
    ids = [json.loads(run("info", u, "--json").out)["dataset_id"] for u in (people, url)]
    assert ids[0] == ids[1]
