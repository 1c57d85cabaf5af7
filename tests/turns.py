"""Runs clients of one store in turns: exactly one moves at a time, and it is said beforehand who stops when."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from faulty_store import FaultyObjects, Operation


class Turns:
    """Two clients in two threads that hand each other the turn between operations of the store."""

    def __init__(self, store: FaultyObjects, clients: Sequence[Callable[[], Any]]) -> None:
        self._clients = clients
        self._store = store
        self._ends: list[Any] = [None] * len(clients)
        self._free = [threading.Semaphore(0) for _ in clients]
        self._stopped = threading.Semaphore(0)
        self._left: list[int | None] = [None] * len(clients)
        """Operations that each may still do in its turn; None: all."""
        self._dead: set[int] = set()
        store.before = self._operation

    def run(self, switches: tuple[int, int], first_dies: bool) -> list[Any]:
        """Lets the first do `switches[0]` operations, then the second `switches[1]`, then each the rest.

        Args:
            switches: operations of the first turns; more than a client needs is no harm.
            first_dies: the first does not go on after its turn, but crashes before its next operation.

        Returns:
            What each client returned.
        """
        threads = [threading.Thread(target=self._live, args=(n,), name=str(n)) for n in (0, 1)]
        for thread in threads:
            thread.start()
        self._turn(0, switches[0])
        if first_dies:
            self._dead.add(0)
        self._turn(1, switches[1])
        self._turn(0, None)
        self._turn(1, None)
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        return self._ends

    def _turn(self, client: int, operations: int | None) -> None:
        if self._ends[client] is None:
            self._left[client] = operations
            self._free[client].release()
            assert self._stopped.acquire(timeout=60)

    def _live(self, client: int) -> None:
        assert self._free[client].acquire(timeout=60)
        try:
            self._ends[client] = self._clients[client]()
        except BaseException as error:  # noqa: BLE001 (whatever it is, the other must not wait for ever)
            self._ends[client] = error
        self._stopped.release()

    def _operation(self, operation: Operation) -> None:
        name = threading.current_thread().name
        if name not in ("0", "1"):
            return
        client = int(name)
        if self._left[client] == 0:
            self._stopped.release()
            assert self._free[client].acquire(timeout=60)
            if client in self._dead:
                raise self._store.crash(operation)
        left = self._left[client]
        self._left[client] = None if left is None else left - 1
