"""The rooms stay apart at run time too: training needs no OpenSim, nouns need neither torch nor Ray."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def loaded_by(room: str) -> set[str]:
    """Imports every module of a room but its `__main__` in a fresh process; returns all loaded packages."""
    names = sorted(
        p.stem for p in (ROOT / room).glob("*.py") if p.stem not in ("__main__", "__init__")
    )
    program = (
        f"import importlib, sys; [importlib.import_module('{room}.' + n) for n in {names}];"
        "print('\\n'.join({m.split('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("room", "strangers"),
    [
        ("schemas", {"workers", "pipeline", "trainers", "ray", "torch", "opensim"}),
        ("workers", {"pipeline", "trainers", "ray", "torch", "anny"}),
        ("trainers", {"workers", "pipeline", "opensim", "moderngl"}),
        ("pipeline", {"trainers", "torch", "anny"}),
    ],
)
def test_a_room_loads_no_stranger(room: str, strangers: set[str]) -> None:
    assert loaded_by(room) & strangers == set()
