"""The client's bench at a tiny size, on the mock cluster, so that it still runs on the day that someone needs it."""

import json
import subprocess
import sys

import pytest

from tests.support.paths import ROOT
from tests.support.wait import MULTIPLIER

EVENTS = 3000


@pytest.mark.timeout(180)
def test_the_clients_bench_gives_every_figure():
    words = [sys.executable, "-m", "bench.client", "--mock", "--events", str(EVENTS), "--rounds", "2", "--json"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=90 * MULTIPLIER)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout)
    assert result["events"] == EVENTS
    assert set(result["runs"]) == {"bare", "bare record", "publish_log", "publish_many"}
    assert all(figure > 0 for runs in result["runs"].values() for run in runs for figure in run.values())
    for own in ("publish_log", "publish_many"):
        assert all(result[kind][own][bare] > 0 for kind in ("ratio", "cpu_ratio") for bare in ("bare", "bare record"))


@pytest.mark.timeout(180)
def test_its_profile_names_the_functions():
    words = [sys.executable, "-m", "bench.client", "--mock", "--events", "500", "--profile", "publish_log"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=90 * MULTIPLIER)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "(publish_log)" in done.stdout and "(make)" in done.stdout
