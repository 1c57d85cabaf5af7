"""A cluster runs the whole path from `ray job submit --working-dir .`: a build, then a short fit."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_coco import small_set

ROOT = Path(__file__).parents[1]
RAY = str(Path(sys.executable).parent / "ray")
TOKEN = "kineforge-test-token-0123456789abcdef"


def free_ports(count: int) -> list[int]:
    """Finds free ports above the range that Ray's workers use."""
    sockets = [socket.socket() for _ in range(count)]
    ports = []
    for held in sockets:
        held.bind(("127.0.0.1", 0))
        ports.append(int(held.getsockname()[1]))
    for held in sockets:
        held.close()
    return ports


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Starts a Ray head with a dashboard; yields the environment of its clients."""
    port, dashboard, agent = free_ports(3)
    log = tmp_path_factory.mktemp("ray") / "head.log"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | {
        "RAY_TMPDIR": f"/tmp/kineforge-{os.getpid()}",  # sockets' paths must be short
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard}",
    }
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [RAY, "start", "--head", "--block", "--num-cpus=4", f"--port={port}"]
            + [f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"]
            + ["--include-dashboard=true", "--disable-usage-stats"],
            env=environment,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for(f"http://127.0.0.1:{dashboard}/api/version", process, log)
        yield environment | {"RAY_ADDRESS": f"127.0.0.1:{port}"}
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        shutil.rmtree(environment["RAY_TMPDIR"], ignore_errors=True)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 90
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {TOKEN}"})
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(request, timeout=2)
        except OSError:
            time.sleep(0.5)
        else:
            return
    raise RuntimeError(f"no Ray head: {log.read_text()[-3000:]}")


def submit(head: dict[str, str], *command: str) -> str:
    """Submits a job, waits for it, and returns what it and the client printed."""
    environment = {k: v for k, v in head.items() if k != "RAY_ADDRESS"}
    done = subprocess.run(
        [RAY, "job", "submit", "--working-dir", ".", "--", sys.executable, "-m", *command],
        cwd=ROOT,
        env=environment | {"RAY_ADDRESS": head["RAY_API_SERVER_ADDRESS"]},
        capture_output=True,
        text=True,
        timeout=280,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-6000:]
    return output


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_build_and_a_short_fit_succeed_as_jobs(head: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "coco").mkdir()
    pictures = small_set(tmp_path / "coco", 12)
    dataset, model = tmp_path / "set", tmp_path / "model"
    words = [f"images={pictures}", f"annotations={pictures}/persons.json", "image_px=96"]
    words += ["shard_samples=8", "splits={train: 0.6, val: 0.2, test: 0.2}"]
    settings = [part for word in words for part in ("--set", word)]
    built = submit(head, "pipeline", "build", "coco_lower", "--to", str(dataset), *settings)
    assert "succeeded" in built
    assert (dataset / "commits" / f"{0:020d}.json").is_file()
    small = ["max_steps=2", "epochs=1", "batch=4", "task.input=[64, 64]"]
    fitted = submit(
        head,
        *("trainers", "fit", "pose2d_resnet18", "--data", str(dataset), "--to", str(model)),
        *(part for word in small for part in ("--set", word)),
    )
    assert "succeeded" in fitted
    checkpoint = next(model.glob("step-*/checkpoint.json"))
    assert json.loads(checkpoint.read_text())["skeleton"] is None
