"""No stage's output changes under its old version: shards would keep their names and hold other bytes."""

import copy
import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden import stages

from workers import produce

ROOT = Path(__file__).parents[1]


@functools.cache
def made(name: str) -> str:
    return json.dumps(stages.MAKERS[name][0]())


@pytest.mark.parametrize("name", stages.MAKERS)
def test_a_stage_gives_what_its_version_says(name: str) -> None:
    assert stages.verdict(name, stages.load(name), json.loads(made(name))) == ""


def test_every_stage_has_a_golden_output_and_all_are_small() -> None:
    assert set(stages.MAKERS) == {*produce.STAGES, stages.WHOLE}
    assert sum(path.stat().st_size for path in stages.FOLDER.glob("*.json")) < 100_000


@pytest.mark.parametrize("name", produce.STAGES)
def test_a_raised_version_asks_for_a_renewal(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(produce.STAGES, name, produce.STAGES[name] + 1)
    text = stages.verdict(name, stages.load(name), {})
    assert text.endswith(f"run: python tests/golden/renew.py {name}")
    assert "belongs to" in text


def nudged(entry: dict[str, Any]) -> dict[str, Any]:
    """Changes one output by a little more than machines differ."""
    changed = copy.deepcopy(entry)
    if "floats" in changed:
        index = next(i for i, v in enumerate(changed["floats"]) if v is not None)
        changed["floats"][index] += 1e-3 + 1e-3 * abs(changed["floats"][index])
    elif "thumbnail" in changed:
        changed["thumbnail"] = [v + 2 for v in changed["thumbnail"]]
    else:
        changed["exact"] = "other"
    return changed


@pytest.mark.parametrize("name", stages.MAKERS)
def test_any_output_that_changes_names_the_constant_to_raise(name: str) -> None:
    stored = stages.load(name)
    for output, entry in stored["outputs"].items():
        if entry.get("floats") and all(v is None for v in entry["floats"]):
            continue
        text = stages.verdict(name, stored, stored["outputs"] | {output: nudged(entry)})
        assert output in text
        assert "in workers/produce.py" in text
        if name in produce.STAGES:
            version = produce.STAGES[name]
            assert f"raise STAGES['{name}'] ({version} -> {version + 1})" in text


def test_the_last_digits_and_single_grey_levels_do_not_matter() -> None:
    near = {"shape": [2], "floats": [1.0, 200.0]}
    assert stages.differences({"a": near}, {"a": near | {"floats": [1.00002, 200.003]}}) == []
    assert stages.differences({"a": near}, {"a": near | {"floats": [1.0005, 200.0]}}) != []
    picture = np.full(432, 100)
    noisy = picture + np.arange(432) % 2
    assert stages.differences(*({"p": {"thumbnail": list(p)}} for p in (picture, noisy))) == []


def test_renewal_refuses_a_change_without_a_raised_version(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; sys.path[:0] = ['.', 'tests']; from golden import renew, stages;"
        f"stages.FOLDER = pathlib.Path({str(tmp_path)!r}); sys.exit(renew.main(['annotate']))"
    )

    def renew() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT
        )

    path = tmp_path / "annotate.json"
    assert renew().returncode == 0
    assert json.loads(path.read_text())["outputs"] == json.loads(made("annotate"))
    document = stages.load("annotate")
    document["outputs"]["box"]["floats"][0] += 1
    path.write_text(json.dumps(document))
    refused = renew()
    assert refused.returncode == 1
    assert "raise STAGES['annotate']" in refused.stderr
    assert json.loads(path.read_text()) == document
    document["basis"]["stages"]["annotate"] -= 1
    path.write_text(json.dumps(document))
    assert renew().returncode == 0
    assert json.loads(path.read_text())["basis"] == stages.basis("annotate")
