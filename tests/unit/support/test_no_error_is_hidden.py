"""The guard of tests/conftest.py. In: a test whose loop meets an error in a callback. Out: a run that is not good."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.wait import MULTIPLIER

TEST = """\
import asyncio
import uvloop

async def work():
    asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    for _ in range(3):
        await asyncio.sleep(0)

def test_something():
    asyncio.Runner(loop_factory={factory}).run(work())
"""


@pytest.mark.parametrize("factory", ["asyncio.new_event_loop", "uvloop.new_event_loop"])
def test_an_error_in_a_callback_fails_the_test_on_either_loop(tmp_path: Path, factory: str) -> None:
    path = tmp_path / "test_with_an_error.py"
    path.write_text(TEST.format(factory=factory))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "tests.conftest",
            "-c",
            "/dev/null",
            "--rootdir",
            str(tmp_path),
            str(path),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60 * MULTIPLIER,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "errors that nobody looked at" in done.stdout and "ZeroDivisionError" in done.stdout
