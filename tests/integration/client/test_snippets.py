"""The snippets of docs/client.md are programs that run."""

import re
import subprocess
import sys

import pytest

from tests.support.harness import mock_cluster, read_all
from tests.support.paths import ROOT
from tests.support.wait import MULTIPLIER

PAGE = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
# How many events each publishes.
EVENTS = (6, 1, 101, 1, 1, 7, 1)


def test_the_page_has_its_snippets():
    assert len(SNIPPETS) == len(EVENTS)


@pytest.mark.parametrize(("snippet", "count"), list(zip(SNIPPETS, EVENTS, strict=True)), ids=range(len(EVENTS)))
def test_a_snippet_runs_and_publishes(snippet: str, count: int):
    cluster = mock_cluster()
    try:
        program = snippet.replace("localhost:9092", cluster.bootstraps)
        words = [sys.executable, "-W", "error", "-c", program]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60 * MULTIPLIER)
        assert done.returncode == 0, done.stderr
        assert len(read_all(cluster, "observability.events", count)) == count
    finally:
        cluster.close()
