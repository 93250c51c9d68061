"""Integration tests of `ingestd demo`. In: the verb in a child process. Out: exit code, output, what it leaves."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.wait import MULTIPLIER, wait_until

RUN_DEADLINE_S = 60 * MULTIPLIER
ENDS = ("delivered", "dropped", "dead_lettered", "abandoned", "in_flight")


@pytest.fixture
def temp_folder(tmp_path: Path) -> Path:
    """Where the demo makes its own temporary folders, so that a test can see what it leaves."""
    folder = tmp_path / "t"
    folder.mkdir()
    return folder


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "ingestd", "demo", *options]


def environment(temp_folder: Path) -> dict[str, str]:
    return os.environ | {"TMPDIR": str(temp_folder), "COLUMNS": "80"}


def run_demo(temp_folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*options), env=environment(temp_folder), capture_output=True, text=True, timeout=RUN_DEADLINE_S
    )


@contextmanager
def running_demo(temp_folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command(*options), env=environment(temp_folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            for left in processes_of(temp_folder):
                with suppress(ProcessLookupError):
                    os.kill(left, signal.SIGKILL)


def processes_of(temp_folder: Path) -> list[int]:
    """The demo and all that it started, in whatever session: they inherit the environment that names the folder, or
    (redis-server writes its title over its environment) stand in the folder."""
    mark = f"TMPDIR={temp_folder}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            at_home = (entry / "cwd").resolve().is_relative_to(temp_folder.resolve())
            if at_home or mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue  # it ended meanwhile, or belongs to somebody else
    return found


def test_a_short_demo_ends_by_itself_with_balanced_books(temp_folder):
    done = run_demo(temp_folder, "--seconds", "3", "--json")

    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["balanced"] is True
    assert report["books"]
    for topic, book in report["books"].items():
        assert book["received"] == sum(book[end] for end in ENDS), topic
        assert book["in_flight"] == 0, topic


def test_the_demo_shows_every_end_that_an_event_can_have_on_a_quiet_day(temp_folder):
    done = run_demo(temp_folder, "--seconds", "3", "--json")

    assert done.returncode == 0, done.stdout + done.stderr
    books = json.loads(done.stdout)["books"].values()
    for end in ("received", "delivered", "dropped", "dead_lettered"):
        assert sum(book[end] for book in books) > 0, end
    assert sum(book["abandoned"] for book in books) == 0


def test_a_demo_without_a_terminal_prints_plain_lines_of_which_80_columns_cut_nothing(temp_folder):
    done = run_demo(temp_folder, "--seconds", "3")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "\x1b" not in done.stdout and "…" not in done.stdout
    assert len(done.stdout.splitlines()) > 3


def test_a_finished_demo_leaves_no_folder_behind(temp_folder):
    done = run_demo(temp_folder, "--seconds", "3", "--json")

    assert done.returncode == 0, done.stdout + done.stderr
    assert list(temp_folder.iterdir()) == []


def test_more_traffic_than_the_mock_cluster_keeps_is_a_usage_error_that_names_the_options(temp_folder):
    done = run_demo(temp_folder, "--rate", "1000000", "--seconds", "600")

    assert done.returncode == 2, done.stdout + done.stderr
    assert "--rate" in done.stderr or "--seconds" in done.stderr
    assert list(temp_folder.iterdir()) == []


def test_control_c_leaves_no_process_and_no_folder_behind(temp_folder):
    with running_demo(temp_folder, "--seconds", "20", "--rate", "200") as process:
        # Beside itself: the mock cluster, the private Redis, the daemon.
        wait_until(lambda: len(processes_of(temp_folder)) >= 4, "the demo with its three children")
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=RUN_DEADLINE_S)
        assert "Traceback" not in output
        assert process.returncode == 130
        wait_until(lambda: not processes_of(temp_folder), "no process left")
    assert list(temp_folder.iterdir()) == []


def test_a_folder_too_deep_for_the_socket_of_redis_is_an_error_that_names_the_mend(temp_folder: Path):
    deep = temp_folder / ("d" * 100)
    deep.mkdir()
    done = run_demo(deep, "--seconds", "1")
    assert done.returncode == 1
    assert "set TMPDIR to a shorter folder" in done.stdout + done.stderr
    assert list(deep.iterdir()) == []
