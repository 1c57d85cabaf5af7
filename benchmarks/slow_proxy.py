"""Adds a delay to every request to a server: a stand-in for the way to an object store.

Bytes pass through unread, by one thread per direction, so that it costs the two cores it shares with what is measured
as little as it can. A client sends its next request on a connection only after the answer to the last, and a
request without a body comes in one piece: a delay per piece is a delay per request.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

_PIECE = 1 << 20


@contextmanager
def slow_proxy(endpoint: str, seconds: float) -> Iterator[str]:
    """Runs in front of the server at `endpoint`, for readers; yields the URL to use instead of it."""
    there = urlsplit(endpoint)
    address = (there.hostname or "127.0.0.1", there.port or 80)
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        accepting = threading.Thread(target=_accept, args=(listener, address, seconds), daemon=True)
        accepting.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()


def _accept(listener: socket.socket, address: tuple[str, int], seconds: float) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:  # closed
            return
        server = socket.create_connection(address)
        for connection in (client, server):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for ends in ((client, server, seconds), (server, client, 0.0)):
            threading.Thread(target=_pass_on, args=ends, daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket, seconds: float) -> None:
    """Copies until one side ends, then ends the other."""
    try:
        while piece := source.recv(_PIECE):
            if seconds:
                time.sleep(seconds)
            target.sendall(piece)
    except OSError:
        pass
    finally:
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        target.close()
