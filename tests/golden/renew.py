"""Writes the golden outputs of stages anew: python tests/golden/renew.py [STAGE …]

Refuses where the output changed and the stage's version in workers/produce.py did not: raise that first.
"""

import json
import sys
from pathlib import Path

sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[1:3]]

from golden import stages  # noqa: E402


def main(names: list[str]) -> int:
    """Renews the named stages, or all; returns 1 where one was refused."""
    refused = 0
    for name in names or list(stages.MAKERS):
        made, path = stages.MAKERS[name][0](), stages.path_of(name)
        if path.exists():
            stored = stages.load(name)
            if stored["basis"] == stages.basis(name):
                wrong = stages.verdict(name, stored, made)
                print(wrong or f"{name}: as stored", file=sys.stderr)
                refused += bool(wrong)
                continue
        document = {"basis": stages.basis(name), "outputs": made}
        path.write_text(json.dumps(document, separators=(",", ":")) + "\n")
        print(f"{name}: renewed", file=sys.stderr)
    return min(refused, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
