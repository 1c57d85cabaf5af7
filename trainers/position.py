"""Where a stream stands, in less than a kilobyte of JSON: what it reads, in which order, and how far it came."""

import json
from dataclasses import dataclass
from typing import Any

from schemas import untrusted
from schemas.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Position:
    """A place in a stream. It means the same for any number of ranks and threads."""

    order: dict[str, Any]
    """What the order of samples is a function of: data, seed, batch, lanes, window, and the order's version."""
    epoch: int
    step: int

    def to_json(self) -> str:
        """Returns one line."""
        return json.dumps({"order": self.order, "epoch": self.epoch, "step": self.step})

    @staticmethod
    def from_json(text: str) -> "Position":
        """Reads what `to_json` wrote.

        Raises:
            InputError: it did not write that.
        """
        try:
            found = untrusted.json_object(text)
            order, epoch, step = dict(found["order"]), found["epoch"], found["step"]
            if not (isinstance(epoch, int) and isinstance(step, int) and min(epoch, step) >= 0):
                raise ValueError(f"epoch {epoch!r}, step {step!r}")
        except (KeyError, TypeError, ValueError) as error:
            why = f"is no position of a stream ({error})"
            raise InputError(f"{text:.60}", why, "Begin the run anew") from error
        return Position(order=order, epoch=epoch, step=step)

    def check(self, order: dict[str, Any]) -> None:
        """Refuses to be read as a place in another order.

        Raises:
            InputError: it is one; names what differs.
        """
        names = [n for n in {**self.order, **order} if self.order.get(n) != order.get(n)]
        if names:
            changes = ", ".join(f"{n}: {self.order.get(n)} -> {order.get(n)}" for n in names)
            raise InputError(
                f"step {self.step} of epoch {self.epoch}",
                f"is a place in another order of samples ({changes})",
                "Go on with what the run was begun with (`version` is the release's), or begin it anew",
            )
