"""Randomness and identity belong to keys: the same on every machine, in any order, under any hash seed."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import InputError, SampleRejected
from schemas.shards import (
    ShardKey,
    canonical_digest,
    canonical_json,
    changed_inputs,
    generator,
    unit_hash,
)

KEYS = [
    ("frame", "squat", 3, 1),
    ("frame", "squat", 31),
    ("subject", 3),
    ("frame", "squat", "3", 1),
]


def draws(order: list[int]) -> dict[int, list[float]]:
    return {i: generator(7, *KEYS[i]).random(3).tolist() for i in order}


def test_a_keys_draws_do_not_depend_on_the_order_of_asking() -> None:
    assert draws([0, 1, 2, 3]) == draws([3, 1, 0, 2])


def test_other_processes_with_other_hash_seeds_draw_the_same() -> None:
    program = (
        "import sys, json; sys.path[:0] = ['.', 'tests']; import test_shards as t;"
        "from schemas.shards import canonical_digest, unit_hash;"
        "names = {'b', 'a', 'c'};"
        "print(json.dumps([t.draws([2, 0, 3, 1]), unit_hash('x', 1),"
        " canonical_digest({n: 1 for n in names})]))"
    )
    seen = [
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            check=True,
            cwd=Path(__file__).parents[1],
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]
    assert seen[0] == seen[1]
    here, _, digest = json.loads(seen[0])
    assert {int(k): v for k, v in here.items()} == draws([0, 1, 2, 3])
    assert digest == canonical_digest({"c": 1, "a": 1, "b": 1})


def test_different_keys_and_seeds_draw_differently() -> None:
    firsts = [generator(seed, *key).random() for seed in (0, 1, -1) for key in KEYS]
    assert len(set(firsts)) == len(firsts)


def test_the_stream_of_a_key_is_fixed_for_good() -> None:
    """A change here rebuilds every dataset: it must be meant."""
    expected = [0.8916845916958066, 0.2327335340346547]
    np.testing.assert_array_equal(generator(0, "golden", 1).random(2), expected)


def test_hashes_spread_evenly_over_the_unit_interval() -> None:
    places = np.array([unit_hash(0, "split", i) for i in range(4000)])
    assert places.min() >= 0
    assert places.max() < 1
    counts, _ = np.histogram(places, 10, (0, 1))
    assert abs(counts - 400).max() < 100


def test_json_has_one_spelling_per_value_and_no_nan() -> None:
    assert canonical_json({"b": (1, 2), "a": None}) == '{"a":null,"b":[1,2]}'
    assert canonical_digest({"a": 1, "b": 2}) == canonical_digest({"b": 2, "a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))


def test_keys_sort_and_read_well() -> None:
    def key(lot: str, *members: int) -> ShardKey:
        return ShardKey(source="synth", lot=lot, split="train", members=members)

    assert sorted([key("b", 1), key("a", 2), key("a", 1, 5)]) == [
        *(key("a", 1, 5), key("a", 2), key("b", 1))
    ]
    assert str(key("squat", 4, 5, 9)) == "synth/squat/train/4+3"


def test_faults_survive_the_way_back_from_a_worker() -> None:
    refused = pickle.loads(pickle.dumps(InputError("v", "is bad", "Mend it")))
    assert (refused.value, refused.reason, refused.remedy) == ("v", "is bad", "Mend it")
    assert str(refused) == "v: is bad. Mend it."
    lost = pickle.loads(pickle.dumps(SampleRejected("truncated_jpeg", "ends early")))
    assert (lost.reason, lost.detail) == ("truncated_jpeg", "ends early")


def test_a_refusal_is_one_paragraph_whatever_it_quotes() -> None:
    assert (
        str(InputError("v", "says:\n  two\n\n lines", "Mend it")) == "v: says: two lines. Mend it."
    )


def test_changed_inputs_are_named_by_their_paths() -> None:
    old = {
        "stages": {"pose": 2, "body": 1},
        "settings": {"image_px": 192, "camera": {"fov": [30, 60]}, "gone": True},
        "files": {"model": "a" * 64},
    }
    new = {
        "stages": {"pose": 3, "body": 1},
        "settings": {"image_px": 192, "camera": {"fov": [30, 50]}},
        "files": {"model": "b" * 64, "photos": None},
    }
    assert changed_inputs(old, new) == [
        f"files.model: {'a' * 12} -> {'b' * 12}",
        "files.photos: (none) -> null",
        "settings.camera.fov[1]: 60 -> 50",
        "settings.gone: true -> (none)",
        "stages.pose: 2 -> 3",
    ]
    assert changed_inputs(old, old) == []
    assert changed_inputs({}, {"a": {"b": 1}}) == ['a: (none) -> {"b":1}']


def test_a_long_list_is_one_changed_input() -> None:
    old = {"records": {"persons": [[i, 0.5] for i in range(100)]}}
    new = {"records": {"persons": [[i, 0.5] for i in range(1, 103)]}}
    assert changed_inputs(old, new) == ["records.persons: 1 of 100 entries -> 3 of 102"]


def test_few_changed_pictures_are_named_and_many_are_counted() -> None:
    old = {"images": {f"{i} a.jpg": f"{i:032x}" for i in range(20)}}
    few = {"images": old["images"] | {"3 a.jpg": "f" * 32}}
    assert changed_inputs(old, few) == [f"images.3 a.jpg: {'0' * 12} -> {'f' * 12}"]
    many = {"images": old["images"] | {f"{i} a.jpg": "f" * 32 for i in range(10)} | {"b": "0" * 32}}
    assert changed_inputs(old, many) == ["images: 11 entries of 20 -> 21"]
