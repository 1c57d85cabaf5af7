"""Prints for people without what a terminal would obey: names, dates and reasons may be a stranger's."""

import os
import sys


def say(text: object, *, error: bool = False) -> None:
    """Prints text; what is neither printable nor a line's end becomes a question mark."""
    shown = "".join(c if c.isprintable() or c in "\n\t" else "?" for c in str(text))
    print(shown, file=sys.stderr if error else sys.stdout)


def hang_up() -> None:
    """Lets the rest go nowhere where nobody reads on, as after `| head`; at its end Python would complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
