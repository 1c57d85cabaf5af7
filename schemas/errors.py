"""The two ways bad input ends: a refusal that a person reads, and a quarantined sample."""

import re


class InputError(ValueError):
    """Refuses an input: what was given, why it cannot be used, what to do about it."""

    def __init__(self, value: str, reason: str, remedy: str) -> None:
        # Libraries' own messages, which reasons quote, run over lines; a refusal is one paragraph.
        super().__init__(re.sub(r"\s*\n\s*", " ", f"{value}: {reason}. {remedy}."))
        self.value, self.reason, self.remedy = value, reason, remedy

    def __reduce__(self) -> tuple[type["InputError"], tuple[str, str, str]]:
        return type(self), (self.value, self.reason, self.remedy)


class SampleRejected(Exception):
    """Sends one sample to quarantine; the rest of its shard goes on.

    `reason` is a short stable code (`truncated_jpeg`), `detail` the sentence a person reads.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail

    def __reduce__(self) -> tuple[type["SampleRejected"], tuple[str, str]]:
        return type(self), (self.reason, self.detail)


def changed(what: str) -> InputError:
    """Returns the refusal of an input that is no longer what the shards are named after."""
    return InputError(what, "changed since the build was planned", "Run the same command again")
