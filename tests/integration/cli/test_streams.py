"""Every verb with streams that are closed, full, broken or not UTF-8, and with few descriptors: words and codes."""

import os
import resource
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.cli.world import World, built, json_values
from tests.support.daemon_process import DaemonProcess
from tests.support.harness import event, mock_cluster, publish
from tests.support.ports import free_ports
from tests.support.redis_node import RedisNode
from tests.support.terminal import ASCII, INGESTD, environment
from tests.support.wait import MULTIPLIER, wait_until

VERBS = (
    "validate", "test", "top", "tap", "reload", "lag", "events get", "events correlated", "events trace",
    "migrate-config", "compare", "help",
)  # fmt: skip
WITH_JSON = [verb for verb in VERBS if verb not in ("migrate-config", "help")]
EXIT_FAILED = 1
# What these say on standard error when all is well.
NOTES = {"tap": " that matched", "migrate-config": "left out"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with built(tmp_path_factory.mktemp("w")) as made:
        yield made


def run(
    words: tuple[str, ...],
    *,
    close: tuple[int, ...] = (),
    limit: tuple[int, int] | None = None,
    **options: object,
) -> subprocess.CompletedProcess[bytes]:
    def prepare() -> None:
        for number in close:
            os.close(number)
        if limit is not None:
            resource.setrlimit(limit[0], (limit[1], limit[1]))

    given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment()}
    return subprocess.run(
        (*INGESTD, *words),
        preexec_fn=prepare,
        timeout=60 * MULTIPLIER,
        **(given | options),  # type: ignore[call-overload]
    )


def is_calm(done: subprocess.CompletedProcess[bytes]) -> bool:
    text = (done.stdout or b"") + (done.stderr or b"")
    return b"Traceback" not in text and b"Exception ignored" not in text and done.returncode >= 0


def own_words(stderr: bytes, verb: str) -> list[str]:
    note = NOTES.get(verb)
    return [line for line in stderr.decode().splitlines() if note is None or note not in line]


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_works_with_all_its_streams_closed(world: World, verb: str) -> None:
    assert run(world.words[verb], close=(0, 1, 2), stdout=None, stderr=None, stdin=None).returncode == 0


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_works_where_output_is_ascii(world: World, verb: str) -> None:
    done = run(world.words[verb], env=environment(**ASCII))
    assert done.returncode == 0 and is_calm(done), done.stderr
    assert done.stderr.isascii()
    # A new config is data for a program, and stays UTF-8.
    assert done.stdout.isascii() or verb == "migrate-config"


def test_what_latin_1_has_is_shown_in_it(world: World) -> None:
    done = run(world.words["events get"], env=environment(PYTHONIOENCODING="latin-1"))
    assert done.returncode == 0 and is_calm(done)
    assert "grüße > + \\u670d\\u52a1" in done.stdout.decode("latin-1")


@pytest.mark.parametrize("verb", WITH_JSON)
def test_json_is_whole_where_output_is_not_utf_8(world: World, verb: str) -> None:
    done = run(world.with_json()[verb], env=environment(**ASCII, FORCE_COLOR="1"))
    assert done.returncode == 0 and b"\x1b" not in done.stdout
    assert json_values(done.stdout.decode())


@pytest.mark.parametrize("verb", VERBS)
def test_a_full_disk_is_one_line_and_exit_1(world: World, verb: str) -> None:
    with open("/dev/full", "wb") as full:
        done = run(world.words[verb], stdout=full)
    assert done.returncode == EXIT_FAILED and is_calm(done)
    assert own_words(done.stderr, verb) == ["ingestd: standard output can't be written: No space left on device"]


@pytest.mark.parametrize("verb", VERBS)
def test_a_reader_who_has_gone_is_no_failure(world: World, verb: str) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = run(world.words[verb], stdout=write_end)
    os.close(write_end)
    assert done.returncode == 0 and is_calm(done)
    assert own_words(done.stderr, verb) == []


@pytest.mark.parametrize(
    "words",
    [("top", "--interval", "0.1"), ("top", "--interval", "0.1", "--json"), ("tap",), ("tap", "--json")],
    ids=" ".join,
)
def test_a_verb_without_an_end_ends_when_nobody_reads(world: World, words: tuple[str, ...]) -> None:
    config = ("-c", str(world.daemon.config_path))
    with subprocess.Popen((*INGESTD, *words, *config), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(30 * MULTIPLIER) == 0
        assert own_words(process.stderr.read(), words[0]) == []


def test_problems_are_exit_78_also_when_nobody_reads_them(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("kaffka: {}\n")
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = run(("validate", "--offline", "-c", str(tmp_path / "bad.yaml")), stdout=write_end)
    os.close(write_end)
    assert done.returncode == 78 and done.stderr == b""


@pytest.mark.parametrize("verb", ["validate", "tap", "migrate-config"])
def test_a_full_standard_error_changes_nothing(world: World, verb: str) -> None:
    with open("/dev/full", "wb") as full:
        assert run(world.words[verb], stderr=full).returncode == 0


@pytest.mark.parametrize("verb", ["validate", "lag", "tap", "events trace"])
@pytest.mark.parametrize("count", [8, 20])
def test_few_descriptors_end_in_words(world: World, verb: str, count: int) -> None:
    done = run(world.words[verb], limit=(resource.RLIMIT_NOFILE, count))
    assert is_calm(done) and done.returncode in (0, EXIT_FAILED), done.stderr
    assert done.returncode == 0 or len(own_words(done.stderr, verb)) == 1


def test_a_demo_without_a_folder_for_temporary_files_is_one_line() -> None:
    # Where no file may have a byte, tempfile finds no folder that it can use.
    done = run(("demo", "--seconds", "1"), limit=(resource.RLIMIT_FSIZE, 0))
    assert done.returncode == EXIT_FAILED and is_calm(done)
    (line,) = done.stderr.decode().splitlines()
    assert "No usable temporary directory" in line


def test_a_demo_with_a_full_disk_ends_in_one_line(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = run(("demo", "--seconds", "1"), stdout=full, env=environment(TMPDIR=str(tmp_path)))
    assert done.returncode == EXIT_FAILED and is_calm(done)
    assert len(done.stderr.splitlines()) == 1 and list(tmp_path.iterdir()) == []


def test_an_input_that_is_a_folder_is_refused_in_words(world: World, tmp_path: Path) -> None:
    done = run(("test", str(tmp_path), "-c", str(world.daemon.config_path)))
    assert done.returncode in (EXIT_FAILED, 2) and is_calm(done)
    assert "Is a directory" in done.stderr.decode()


@pytest.mark.parametrize(
    ("word", "meant"), [("vaildate", "validate"), ("migrate", "migrate-config"), ("relaod", "reload")]
)
def test_an_unknown_verb_is_answered_with_the_one_that_is_near(word: str, meant: str) -> None:
    done = run((word,))
    assert done.returncode == 2 and f"Did you mean {meant}?" in done.stderr.decode()


def test_an_unknown_value_is_answered_with_the_one_that_is_near() -> None:
    done = run(("tap", "--level", "eror"))
    assert done.returncode == 2 and "Did you mean error?" in done.stderr.decode()


@pytest.mark.parametrize(
    "place", ["nowhere", "host:port", "host:0", "host:99999", ":80", "a..b:80", "h\u00f6st:80", "[::1:80"]
)
def test_a_place_that_is_no_address_is_refused_in_words(place: str) -> None:
    done = run(("top", "--at", place))
    assert done.returncode in (EXIT_FAILED, 2) and is_calm(done), done.stderr


# The daemon itself.


@pytest.fixture
def own_daemon(tmp_path: Path) -> Iterator[Callable[..., DaemonProcess]]:
    cluster, redis = mock_cluster(), RedisNode(tmp_path / "redis", keep_data=True).start()
    made: list[DaemonProcess] = []

    def make(**sections: object) -> DaemonProcess:
        daemon = DaemonProcess(tmp_path / "d", cluster.bootstraps, redis.url, **sections)
        daemon.cluster, daemon.redis = cluster, redis  # type: ignore[attr-defined]
        made.append(daemon)
        return daemon

    yield make
    for daemon in made:
        daemon.kill()
    redis.stop()
    cluster.close()


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_a_daemon_with_closed_streams_runs_and_ends_with_0(own_daemon, closed: tuple[int, ...]) -> None:
    daemon = own_daemon()

    def close() -> None:
        for number in closed:
            os.close(number)

    words = (*INGESTD, "run", "-c", str(daemon.config_path), "--books-file", str(daemon.books_path))
    daemon.process = subprocess.Popen(words, preexec_fn=close, stderr=None if 2 in closed else subprocess.DEVNULL)
    daemon.wait_joined()
    publish(daemon.cluster, [event("a")])
    wait_until(lambda: daemon.column("delivered") == 1, "an event passes")
    for number in closed:
        assert os.readlink(f"/proc/{daemon.pid}/fd/{number}") == "/dev/null"
    assert daemon.stop() == 0


def test_a_daemon_that_may_open_too_few_files_says_so_and_ends(own_daemon) -> None:
    done = run(("run", "-c", str(own_daemon().config_path)), limit=(resource.RLIMIT_NOFILE, 40))
    assert done.returncode == EXIT_FAILED and is_calm(done)
    (line,) = done.stderr.decode().splitlines()
    assert "40 open files are allowed, and at least 64 are needed" in line


def test_idle_http_connections_leave_the_sinks_their_descriptors(own_daemon, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    daemon = own_daemon(http={"listen": f"127.0.0.1:{port}"})
    words = (*INGESTD, "run", "-c", str(daemon.config_path), "--books-file", str(daemon.books_path))
    with open(daemon.log_path, "wb") as log:
        daemon.process = subprocess.Popen(
            words,
            stderr=log,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)),
        )
    daemon.wait_joined()
    held = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(200)]
    try:
        # Redis goes and comes: its connection must be had anew, while those who look on hold all that they can.
        daemon.redis.stop()
        wait_until(lambda: not daemon.state()["redis"], "redis is away")
        daemon.redis.start()
        publish(daemon.cluster, [event("a")])
        wait_until(lambda: daemon.column("delivered") == 1, "an event passes")
    finally:
        for each in held:
            each.close()
    assert "Too many open files" not in daemon.log_path.read_text()
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
