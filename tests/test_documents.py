"""Recipes: words override, faults are named with their place in the document, nothing else passes."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import documents
from schemas.errors import InputError
from schemas.recipes import Recipe, SynthRecipe

DOCUMENT: dict[str, Any] = {
    "kind": "synth",
    "name": "x",
    "motions": {"squat": {"subjects": 3}, "lab": {"mot": "a.mot"}, "poses": {"random": "limits"}},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Returns a folder of shipped recipes."""
    (tmp_path / "small.yaml").write_text("kind: synth\nname: small\nmotions: {squat: {}}\n")
    return tmp_path


def test_a_shipped_name_and_a_path_load_the_same(folder: Path) -> None:
    by_name = documents.load("small", folder)
    assert by_name == documents.load(str(folder / "small.yaml"), folder)
    assert by_name["name"] == "small"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("smal", "no shipped recipe. Use one of small"),
        ("../small", "no such file"),
        ("nowhere.yaml", "no such file"),
    ],
)
def test_an_unknown_recipe_is_refused_with_what_there_is(
    folder: Path, name: str, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        documents.load(name, folder)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: b: c", "is not YAML"),
        ("- 1\n- 2", "no mapping"),
        ("", "no mapping"),
        ("\0", "not YAML"),
    ],
)
def test_what_is_no_mapping_is_refused_in_one_line(folder: Path, text: str, says: str) -> None:
    (folder / "bad.yaml").write_text(text)
    with pytest.raises(InputError, match=says) as caught:
        documents.load(str(folder / "bad.yaml"), folder)
    assert "\n" not in str(caught.value)


def test_yaml_runs_no_code(folder: Path) -> None:
    (folder / "evil.yaml").write_text("a: !!python/object/apply:os.getcwd []")
    with pytest.raises(InputError, match="is not YAML"):
        documents.load(str(folder / "evil.yaml"), folder)


def test_words_override_deep_keys_add_new_ones_and_leave_the_document_alone() -> None:
    before = yaml.safe_dump(DOCUMENT)
    words = [
        "motions.squat.subjects=5",
        "motions.new.frames=2",
        "camera.distance=[2, 3]",
        "name=y=z",
    ]
    changed = documents.override(DOCUMENT, words)
    assert changed["motions"]["squat"] == {"subjects": 5}
    assert changed["motions"]["new"] == {"frames": 2}
    assert changed["camera"] == {"distance": [2, 3]}
    assert changed["name"] == "y=z"
    assert yaml.safe_dump(DOCUMENT) == before


def test_the_last_word_wins() -> None:
    assert documents.override(DOCUMENT, ["seed=1", "seed=2"])["seed"] == 2


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("seed", "no assignment"),
        ("=3", "no assignment"),
        ("name.first=3", "`name` is no mapping"),
        ("seed=[1", "is not YAML"),
    ],
)
def test_a_bad_word_is_quoted(word: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        documents.override(DOCUMENT, [word])
    assert f"--set {word}" in str(caught.value)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("word", "place"),
    [
        ("motions.squat.subjcts=3", "motions.squat.subjcts"),
        ("motions.lab.perturb=[1]", "motions.lab.perturb.1"),
        ("motions.lab.mot=3", "motions.lab.mot"),
        ("motions.poses.spread=2", "motions.poses.spread"),
        ("motions.squat=", "motions.squat"),
        ("sead=3", "sead"),
        ("seed=a", "seed"),
        ("scene.sun=[1, .inf]", "scene.sun.1"),
        ("camera.distance=[3, b]", "camera.distance.1"),
        ("camera.distance=[0, 3]", "camera.distance.0"),
        ("camera.yaw=[30, -30]", "camera.yaw"),
        ("people.age=[12, 40]", "people.age.0"),
        ("splits.train=0.9", "splits"),
        ("kind=photos", "document"),
    ],
)
def test_a_fault_is_named_with_its_place_in_the_document(word: str, place: str) -> None:
    with pytest.raises(InputError) as caught:
        documents.validate(Recipe, documents.override(DOCUMENT, [word]), "here.yaml")
    assert str(caught.value).startswith(f"here.yaml: {place}: ")
    assert "\n" not in str(caught.value)


def test_all_faults_are_told_at_once() -> None:
    document = documents.override(DOCUMENT, ["sead=1", "image_px=3", "motions.squat.frames=0"])
    with pytest.raises(InputError) as caught:
        documents.validate(Recipe, document, "here.yaml")
    for place in ("sead", "image_px", "motions.squat.frames"):
        assert f"{place}: " in str(caught.value)


def test_a_sound_document_becomes_a_typed_recipe_that_survives_json() -> None:
    recipe = documents.validate(Recipe, DOCUMENT, "here.yaml")
    assert isinstance(recipe, SynthRecipe)
    assert SynthRecipe.model_validate_json(recipe.model_dump_json()) == recipe


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(anything, st.sampled_from(["motions", "camera", "splits", "name", "scene"]))
@settings(max_examples=60)
def test_whatever_a_recipe_holds_it_is_typed_or_refused(value: Any, key: str) -> None:
    with suppress(InputError):
        documents.validate(Recipe, DOCUMENT | {key: value}, "here.yaml")
