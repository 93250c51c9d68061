"""The bench at a tiny size, so that it still runs on the day that someone needs it. In: the command. Out: its JSON."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.wait import MULTIPLIER

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(300)]
# A quarter of a second of CPU: what a start costs, which is subtracted, differs by a tenth of one on a busy machine.
EVENTS = 100_000
RUN_DEADLINE_S = 120


def processes_of_session(session: int) -> list[int]:
    """Who still runs in it; a process that has ended may have left between the list and the look."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _parent, _group, of_session = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(of_session) == session and state != "Z":
            found.append(int(folder.name))
    return found


def test_bench_at_a_tiny_size_gives_every_figure_and_leaves_no_process() -> None:
    words = [sys.executable, "-m", "bench.run", "--events", str(EVENTS), "--rounds", "1", "--redis", "--json"]
    process = subprocess.Popen(
        words,
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "120"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=RUN_DEADLINE_S * MULTIPLIER)
        left = processes_of_session(process.pid)
    finally:
        # What a failed run left behind is in its session, and nobody else is.
        for pid in processes_of_session(process.pid):
            os.kill(pid, signal.SIGKILL)
    assert process.returncode == 0, err[-3000:]
    result = json.loads(out)
    assert result["events"] == EVENTS
    assert set(result["median"]) == {"native loop", "ingestd", "ingestd with Redis"}
    for side, run in result["median"].items():
        assert all(figure > 0 for figure in run.values()), (side, run)
        assert len(result["runs"][side]) == 1
    assert result["ratio"] > 0
    assert left == []
