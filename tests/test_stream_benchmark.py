"""What the benchmark of streams proves and computes can fail: a lost or swapped sample, an order that is none."""

import http.client
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import numpy as np
import pytest
import simplejpeg
import torch

from benchmarks import shuffle, stream
from benchmarks.slow_proxy import slow_proxy
from benchmarks.stream_ours import DecodeBound, Kineforge
from benchmarks.stream_process import Case
from benchmarks.stream_samples import HEIGHT, WIDTH, Proof, Ready, Samples, expected

COUNT = 150


@pytest.fixture(scope="module")
def samples() -> Samples:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (COUNT, HEIGHT // 32, WIDTH // 32, 3), dtype=np.uint8)
    jpegs = [simplejpeg.encode_jpeg(np.kron(s, np.ones((32, 32, 1), np.uint8))) for s in small]
    return Samples(
        jpegs=np.frombuffer(b"".join(jpegs), np.uint8),
        offsets=np.cumsum([0, *map(len, jpegs)]),
        keypoints=np.round(rng.uniform(0, 256, (COUNT, 17, 3))).astype(np.float32),
        box=rng.uniform(0, 256, (COUNT, 4)).astype(np.float32),
    )


@pytest.mark.parametrize("kind", [Kineforge, DecodeBound])
def test_our_loaders_deliver_every_sample_once_in_every_epoch(
    kind: type[Kineforge | DecodeBound], samples: Samples, tmp_path: Path
) -> None:
    if kind is Kineforge:
        samples.keypoints[..., 2] = samples.keypoints[..., 2] > 128
    loader = kind()
    loader.write(samples, tmp_path / "set")
    epochs = loader.epochs(str(tmp_path / "set"), tmp_path / "cache", 2)
    for _ in range(2):
        proof = Proof(ids=[])
        for batch in next(epochs):
            proof.add(batch)
        proof.check(COUNT, expected(samples))


def _batch(count: int) -> Ready:
    rng = torch.Generator().manual_seed(0)
    return Ready(
        ids=torch.arange(count),
        images=torch.randint(0, 256, (count, HEIGHT, WIDTH, 3), generator=rng, dtype=torch.uint8),
        keypoints=torch.rand(count, 17, 3, generator=rng),
        box=torch.rand(count, 4, generator=rng),
    )


def _proof(batch: Ready) -> Proof:
    proof = Proof(ids=[])
    proof.add(batch)
    return proof


@pytest.mark.parametrize("part", ["images", "keypoints", "box"])
def test_a_swap_within_a_batch_is_seen(part: str) -> None:
    batch = _batch(8)
    total = _proof(batch).total
    _proof(batch).check(8, total)
    swapped = getattr(batch, part)[[1, 0, *range(2, 8)]]
    with pytest.raises(RuntimeError, match="checksum"):
        _proof(batch._replace(**{part: swapped})).check(8, total)


def test_a_lost_and_a_repeated_sample_are_seen() -> None:
    batch = _batch(8)
    with pytest.raises(RuntimeError, match="7 samples came, 7 of 8"):
        _proof(Ready(*(values[:7] for values in batch))).check(8, 0)
    again = Ready(*(values[[0, 0, *range(2, 8)]] for values in batch))
    with pytest.raises(RuntimeError, match="8 samples came, 7 of 8"):
        _proof(again).check(8, 0)


def test_floats_instead_of_pixels_are_refused() -> None:
    batch = _batch(2)
    with pytest.raises(RuntimeError, match="float32"):
        _proof(batch._replace(images=batch.images.float()))


def test_entropy_tells_an_order_from_a_permutation() -> None:
    rng, count = np.random.default_rng(0), 100_000
    whole = shuffle.entropy(rng.permutation(count), 64)
    assert shuffle.entropy(np.arange(count), 64) == 0
    assert shuffle.entropy(rng.permutation(count), 64) / whole == pytest.approx(1, abs=0.002)
    windows = np.arange(count).reshape(-1, 1000)
    near = rng.permuted(windows, axis=1).ravel()
    assert shuffle.entropy(near, 64) / whole < 0.6


def test_neighbours_in_a_batch_are_counted_within_clips_only() -> None:
    assert shuffle.together(np.arange(64), frames=8, batch=8) == 1
    assert shuffle.together(np.arange(64), frames=64, batch=8) == pytest.approx(56 / 63)
    assert shuffle.together(np.arange(64) * 8, frames=8, batch=8) == 0


def test_neighbours_meet_no_more_often_than_the_bound() -> None:
    found = shuffle.measure(100_000, frames=48, shard=512, epochs=2)
    assert found["together"] <= found["chance"] + found["bound"]


def test_the_verdict_takes_the_best_setting_of_the_best_peer() -> None:
    rates = {
        ("local", "decode-bound", 1): 1000.0,
        ("local", "decode-bound", 2): 2000.0,
        ("local", "kineforge", 1): 900.0,
        ("local", "kineforge", 2): 1600.0,
        ("local", "litdata", 0): 700.0,
        ("local", "litdata", 2): 800.0,
        ("local", "webdataset", 0): 750.0,
    }
    names = ("cold_per_s", "warm_per_s", "steady_per_s", "first_batch_seconds")
    found = {Case(*case): dict.fromkeys(names, rate) for case, rate in rates.items()}
    said = stream.verdict(found, ["local"])
    assert said["ratio_local"] == 2.0
    assert said["decode_bound_fraction"] == 0.8
    assert said["best_peer"]["local_warm"] == "litdata, 2 workers"


def test_a_failed_peer_leaves_no_figure_out_of_the_others() -> None:
    said = stream.verdict(
        {
            Case("local", "kineforge", 1): {"first_batch_seconds": 1.0}
            | dict.fromkeys(("cold_per_s", "warm_per_s"), 5.0)
        },
        ["local"],
    )
    assert np.isnan(said["ratio_local"])
    assert said["best_peer"]["local_cold"] == "none"


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        answer = self.path.encode() * 20_000
        self.send_response_only(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


def test_the_slow_proxy_passes_every_byte_of_many_requests_on_one_connection() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        with slow_proxy(f"http://127.0.0.1:{server.server_address[1]}", 0.001) as url:
            connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
            for number in range(5):
                connection.request("GET", f"/{number}")
                assert connection.getresponse().read() == f"/{number}".encode() * 20_000
            connection.close()
    finally:
        server.shutdown()
        server.server_close()
