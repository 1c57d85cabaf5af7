"""Fixtures that several test files share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from s3_server import BUCKET, s3_server

# Threads that spin while they wait for each other make a busy machine five times slower; torch reads it when loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Every run tries the same examples, and a busy machine may take its time over each.
settings.load_profile("ci")
SHARED_DATA = Path(__file__).parents[1].parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Returns the folder of real COCO pictures and OpenSim models, or skips where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("shared/data is not beside the repository")
    return SHARED_DATA


@pytest.fixture(scope="session")
def _s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with s3_server(tmp_path_factory.mktemp("s3")) as environment:
        yield environment


@pytest.fixture
def s3_bucket(_s3: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Returns the URL of a bucket on a real S3 server; the environment points every client at it."""
    for name, value in _s3.items():
        monkeypatch.setenv(name, value)
    assert os.environ["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")
    return f"s3://{BUCKET}"


@pytest.fixture(params=["memory", "file", pytest.param("s3", marks=pytest.mark.s3)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Returns the URL of an empty store of each kind."""
    if request.param == "memory":
        return f"memory://{tmp_path.name}-{request.node.name}"
    if request.param == "file":
        return str(tmp_path / "set")
    return f"{request.getfixturevalue('s3_bucket')}/{tmp_path.name}-{request.module.__name__}"
