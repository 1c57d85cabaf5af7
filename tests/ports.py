"""Ports for test servers, where neither outgoing connections nor Ray's workers take them first."""

import random
import socket
from itertools import islice

_FREE = range(20_000, 22_700)
"""Above Ray's workers (10,002 to 19,999); with a twin still below what Linux hands out (32,768)."""


def free_ports(count: int, twin: int = 0) -> list[int]:
    """Finds free ports on loopback, each with a free port that lies `twin` above it."""
    tried = random.SystemRandom().sample(_FREE, len(_FREE))
    free = (port for port in tried if _is_free(port) and _is_free(port + twin))
    found = list(islice(free, count))
    if len(found) < count:
        raise RuntimeError(f"fewer than {count} free ports in {_FREE}")
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
