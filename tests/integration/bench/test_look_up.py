"""The look-up bench at a small size: it runs, and a group is found at its price. In: the command. Out: its JSON."""

import json
import subprocess
import sys

from bench.look_up import RATIO_MAX
from tests.support.paths import ROOT
from tests.support.wait import MULTIPLIER


def test_a_group_of_a_hundred_costs_at_most_three_times_a_pipelined_get_of_its_keys() -> None:
    words = [sys.executable, "-m", "bench.look_up", "--events", "20000", "--rounds", "60", "--json"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60 * MULTIPLIER, check=False)
    assert done.stdout, done.stderr[-3000:]
    result = json.loads(done.stdout)
    assert result["ratio"] <= RATIO_MAX, result
    assert result["keys"] > result["events"] == 20_000
    assert all(value > 0 for value in result["median_us"].values())
