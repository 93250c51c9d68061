"""`examples/event_streaming/` as its readers run it. In: the command. Out: what it found, what it leaves."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.paths import ROOT
from tests.support.wait import MULTIPLIER

SHOWN = (
    "Structured publishing",
    "A producer of one's own",
    "A consumer of one's own",
    "Filtering and routing",
    "Storage and retrieval",
    "Distributed tracing",
    "Health and error tracking",
    "bottleneck: payments charge card",
)


def test_the_example_shows_all_it_promises_and_leaves_nothing() -> None:
    with tempfile.TemporaryDirectory() as folder:  # a short path: Redis listens on a socket in it
        done = subprocess.run(
            [sys.executable, "examples/event_streaming/main.py"],
            cwd=ROOT,
            env=os.environ | {"TMPDIR": folder, "COLUMNS": "100"},
            capture_output=True,
            text=True,
            timeout=90 * MULTIPLIER,
            check=False,
        )
        left = list(Path(folder).iterdir())
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "MISSING" not in done.stdout and done.stdout.endswith("Everything was found.\n")
    assert [words for words in SHOWN if words not in done.stdout] == []
    assert left == []
