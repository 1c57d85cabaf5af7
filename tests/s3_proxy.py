"""A server between a client and a real S3 server, which slows, refuses, drops or loses what it is told to."""

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

Fault = Literal[
    "pass", "busy", "slow", "dropped", "answer lost", "clock skewed", "token expired", "disk full"
]
Decide = Callable[[str, str, int], Fault]
"""Given method, path and how often just this was asked before, says what happens to the request."""
_ANSWERS: dict[Fault, tuple[int, str, str]] = {
    "busy": (503, "SlowDown", "Please reduce your request rate."),
    "clock skewed": (
        403,
        "RequestTimeTooSkewed",
        "The difference between the request time and the current time is too large.",
    ),
    "token expired": (400, "ExpiredToken", "The provided token has expired."),
    "disk full": (507, "InsufficientStorage", "No space left."),
}


class Proxy:
    """What the server does and has seen."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        self.decide: Decide = lambda method, path, before: "pass"
        self.met: list[Fault] = []
        """What happened to the requests so far."""
        self._asked: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    def fate(self, method: str, path: str) -> Fault:
        """Counts a request and says what happens to it."""
        with self._lock:
            before = self._asked.get((method, path), 0)
            self._asked[method, path] = before + 1
            fault = self.decide(method, path, before)
            self.met.append(fault)
        return fault


@contextmanager
def s3_proxy(endpoint: str) -> Iterator[Proxy]:
    """Runs a proxy in front of the S3 server at `endpoint`; without orders it changes nothing."""
    there = urlsplit(endpoint).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            """Says nothing."""

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fault = proxy.fate(self.command, self.path)
            if fault == "dropped":
                self.close_connection = True
                return
            if fault in _ANSWERS:
                self._refuse(*_ANSWERS[fault])
                return
            if fault == "slow":
                time.sleep(0.05)
            status, headers, answer = forward(self.command, self.path, dict(self.headers), body)
            if fault == "answer lost":
                self.close_connection = True
                return
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in ("transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def _refuse(self, status: int, code: str, message: str) -> None:
            text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
            self.send_response_only(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any

    def forward(
        method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        # The signature covers the Host header, so it goes on as it came.
        connection = http.client.HTTPConnection(there, timeout=60)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            answer = response.read()
            held = [h for h in response.getheaders() if h[0].lower() != "content-length"]
            length = response.getheader("Content-Length", "0") if method == "HEAD" else len(answer)
            return response.status, [*held, ("Content-Length", str(length))], answer
        finally:
            connection.close()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy = Proxy(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
