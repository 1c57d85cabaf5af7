"""A cluster runs the whole path from `ray job submit --working-dir .`: a build, then a short fit."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ports import free_ports
from tiny_coco import small_set

ROOT = Path(__file__).parents[1]
RAY = str(Path(sys.executable).parent / "ray")
TOKEN = "kineforge-test-token-0123456789abcdef"


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Starts a Ray head with a dashboard; yields the environment of its clients."""
    port, dashboard = free_ports(2)
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
            + [f"--dashboard-port={dashboard}", "--dashboard-agent-listen-port=0"]
            + ["--include-dashboard=true", "--disable-usage-stats"],
            env=environment,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until_jobs_run(environment, process, log)
        yield environment | {"RAY_ADDRESS": f"127.0.0.1:{port}"}
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        shutil.rmtree(environment["RAY_TMPDIR"], ignore_errors=True)


def wait_until_jobs_run(
    environment: dict[str, str], process: subprocess.Popen[bytes], log: Path
) -> None:
    """Waits until an empty job succeeds: the dashboard answers before the agent that runs jobs."""
    address = {"RAY_ADDRESS": environment["RAY_API_SERVER_ADDRESS"]}
    deadline, said = time.monotonic() + 120, ""
    while process.poll() is None and time.monotonic() < deadline:
        asked = subprocess.run(
            [RAY, "job", "submit", "--", "true"],
            env=environment | address,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        if asked.returncode == 0:
            return
        said = asked.stdout
        time.sleep(0.5)
    session = Path(environment["RAY_TMPDIR"], "ray/session_latest/logs")
    logs = [log, *session.glob("dashboard*.log")]
    tails = [f"{path.name}: {path.read_text()[-3000:]}" for path in logs]
    raise RuntimeError("\n\n".join(["no Ray head that runs jobs", said[-3000:], *tails]))


def submit(head: dict[str, str], *command: str) -> str:
    """Submits a job, waits for it, and returns what it and the client printed."""
    environment = {k: v for k, v in head.items() if k != "RAY_ADDRESS"}
    done = subprocess.run(
        [RAY, "job", "submit", "--working-dir", ".", "--", sys.executable, "-m", *command],
        cwd=ROOT,
        env=environment | {"RAY_ADDRESS": head["RAY_API_SERVER_ADDRESS"]},
        capture_output=True,
        text=True,
        timeout=800,  # only guards against hanging
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-6000:]
    return output


@pytest.mark.ray
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
