"""Reads the documents for tests that hold them true: their blocks of code, and the example's shop to run them on."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.support.paths import ROOT

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


class Block(NamedTuple):
    """One fenced block: `language` is "" for what a command prints."""

    language: str
    text: str


def blocks(page: str) -> list[Block]:
    """All fenced blocks of a page, in order. page: its path from the root."""
    return [Block(*found) for found in BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))]


def snippets(page: str, language: str) -> list[str]:
    return [block.text for block in blocks(page) if block.language == language]


class OpenShop(NamedTuple):
    """A mock Kafka, a Redis, the daemon, and a shop that takes orders."""

    config_path: str
    environment: dict[str, str]  # for commands that look at it

    def run(self, words: list[str], folder: Path, limit_s: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, cwd=folder, env=self.environment, capture_output=True, text=True, timeout=limit_s, check=False
        )


@contextmanager
def open_shop() -> Iterator[OpenShop]:
    """`python examples/event_streaming/main.py --stay`, until the block ends. It must end well, and say so."""
    words = [sys.executable, "examples/event_streaming/main.py", "--stay"]
    process = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        found = None
        for line in process.stdout:
            if found := re.search(r"export INGESTD_CONFIG=(\S+)", line):
                break
        assert found, "the shop did not open"
        beside = os.path.dirname(sys.executable)
        path = f"{beside}:{os.environ['PATH']}"
        yield OpenShop(found[1], os.environ | {"INGESTD_CONFIG": found[1], "PATH": path, "COLUMNS": "80"})
    finally:
        process.terminate()
        rest, _ = process.communicate(timeout=60)
        code = process.returncode
    assert code == 0 and "The shop took" in rest, rest
    assert not os.path.exists(os.path.dirname(found[1]))
