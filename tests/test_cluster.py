"""The cluster file is what Ray itself accepts, says what the docs say, and pins the Ray that is tested."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[1]


def document() -> dict[str, Any]:
    """Reads the cluster file."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "ray_cluster.yaml").read_text())
    return loaded


def test_rays_own_schema_accepts_the_file() -> None:
    validate_config(prepare_config(document()))


def test_rays_own_schema_refuses_a_misspelt_key() -> None:
    with pytest.raises(Exception, match="max_wrokers"):
        validate_config(prepare_config(document() | {"max_wrokers": 3}))


def test_render_nodes_scale_from_none_and_training_nodes_have_a_gpu() -> None:
    types = document()["available_node_types"]
    assert types["render"]["min_workers"] == 0
    assert types["render"]["max_workers"] > 1
    assert types["train"]["resources"]["GPU"] >= 1
    assert document()["head_node_type"] == "head"


def test_ray_is_pinned_once() -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    version = next(d.split("==")[1] for d in dependencies if d.startswith("ray["))
    images = [document()["docker"]["image"]]
    images.append(document()["available_node_types"]["train"]["docker"]["worker_image"])
    assert all(f":{version}-" in image for image in images)
