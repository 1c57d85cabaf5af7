"""A real S3 server (SeaweedFS) on loopback for the tests; it stops with them."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ports import free_ports

ACCESS_KEY, SECRET_KEY = "kineforge", "kineforge-secret"
BUCKET = "kineforge-test"
_GRPC = 10_000
"""SeaweedFS' ports for gRPC lie so far above the others."""


@contextmanager
def s3_server(folder: Path) -> Iterator[dict[str, str]]:
    """Runs a server on `folder` with one bucket; yields the environment that points clients at it."""
    config = folder / "s3.json"
    identity = {
        "name": "test",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    config.write_text(json.dumps({"identities": [identity]}))
    names = ("s3.port", "master.port", "volume.port", "filer.port")
    ports = dict(zip(names, free_ports(len(names), twin=_GRPC), strict=True))
    flags = [f"-{name}={port}" for name, port in ports.items()]
    log = (folder / "weed.log").open("wb")
    process = subprocess.Popen(
        [
            str(Path(sys.executable).parent / "weed"),
            *("server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"),
            *(f"-s3.config={config}", "-s3.port.iceberg=0", "-s3.port.lance=0"),
            *("-master.telemetry=false", "-master.electionTimeout=1s"),
            *("-master.volumeSizeLimitMB=64", "-volume.max=40", *flags),
        ],
        stdout=log,
        stderr=subprocess.STDOUT,
        env=os.environ | {"HOME": str(folder), "TMPDIR": str(folder)},
    )
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports['s3.port']}",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }
    try:
        _wait(environment["AWS_ENDPOINT_URL"], process, folder)
        _make_bucket(environment)
        yield environment
    finally:
        process.terminate()
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()
        for port in ports.values():
            _remove_sockets(port)


def _remove_sockets(port: int) -> None:
    """Removes what SeaweedFS leaves in /tmp for a port and its gRPC twin."""
    for own in (port, port + _GRPC):
        for socket_file in Path("/tmp").glob(f"seaweedfs-*-{own}.sock"):
            socket_file.unlink(missing_ok=True)


def _wait(url: str, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(url, timeout=1)
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"no S3 server: {(folder / 'weed.log').read_text()[-2000:]}")


def _make_bucket(environment: dict[str, str]) -> None:
    """Makes the bucket by botocore, which s3fs brings along; the first writes may come too early."""
    import botocore.session
    from botocore.exceptions import ClientError

    client = botocore.session.get_session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
    )
    client.create_bucket(Bucket=BUCKET)
    deadline = time.monotonic() + 60
    while True:
        try:
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"yes")
        except ClientError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)
        else:
            return
