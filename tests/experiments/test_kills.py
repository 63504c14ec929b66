"""Programs that are killed at changes of their run directory; see kills.py."""

import subprocess
import sys
from pathlib import Path

import pytest

KILLS = Path(__file__).with_name("kills.py")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "every", "saving"),
    [
        ("run", 30, 3),
        ("seeds", 100, 0),
        ("figures", 50, 0),
        ("front", 120, 1),
        ("reproduce", 120, 0),
    ],
)
def test_every_kill_is_survived(program, every, saving):
    """All kills take an hour or two: python tests/experiments/kills.py."""
    words = [program, f"--every={every}", f"--random={saving}", "--jobs=1"]
    done = subprocess.run(
        [sys.executable, KILLS, *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-5000:]
    assert "survived" in done.stdout
