"""Lanes, seeds and the servers that tests share. A lane that a machine lacks is skipped by name, or an error in CI."""

import asyncio
import itertools
import logging
import os
import random
import signal
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop
from hypothesis import HealthCheck, settings

from ingestd.cli.demo.private_redis import find_server
from ingestd.errors import IngestdError
from tests.support import kafka_node, systemd_lab
from tests.support.kafka_node import KafkaNode
from tests.support.redis_node import RedisNode

SEED = int(os.environ.get("INGESTD_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
os.environ["INGESTD_TEST_SEED"] = str(SEED)  # workers of pytest-xdist make the same tests of it
OUTLIVES_HANGUP = "INGESTD_TEST_OUTLIVES_HANGUP"  # set here, for the workers
REQUIRE_ALL = os.environ.get("INGESTD_REQUIRE_ALL") == "1"


def hear_signals() -> None:
    """`&` starts a program with SIGINT ignored, nohup with SIGHUP, and what the tests start would inherit that.

    A handler is not inherited: programs that tests start hear both. This process hears SIGINT, and outlives a SIGHUP
    where it was told to, as do the workers of pytest-xdist.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN or os.environ.get(OUTLIVES_HANGUP):
        signal.signal(signal.SIGHUP, lambda _number, _frame: None)
        os.environ[OUTLIVES_HANGUP] = "1"


hear_signals()

# A busy machine makes an example slow without anything being wrong: no deadline, and the same examples everywhere.
settings.register_profile("ingestd", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("ingestd")


def pytest_report_header(config: pytest.Config) -> list[str]:
    flavour = "debug" if os.environ.get("INGESTD_DEBUG") == "1" else "release"
    seed = f"seed {SEED} (INGESTD_TEST_SEED={SEED} repeats it)"
    return [f"ingestd: {flavour} build; {seed}", f"Redis server: {redis_server()}"]


def redis_server() -> str:
    """The one that tests start, by its own words."""
    try:
        words = [find_server(), "--version"]
    except IngestdError as error:
        return str(error)
    return subprocess.run(words, capture_output=True, text=True).stdout.split(" sha=")[0].strip()


def lane_missing(lane: str) -> str | None:
    """Why this machine cannot run a lane, or None."""
    if lane == "real":
        found = kafka_node.missing()
        try:
            find_server()
        except IngestdError as error:
            found = found or str(error)
        return found
    if lane == "systemd":
        return systemd_lab.missing() or lane_missing("real")
    return None


def lane_not_allowed(lane: str) -> str | None:
    """Why this user may not run a lane. That is no error in CI either: the machine has what it needs."""
    return systemd_lab.not_allowed() if lane == "systemd" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for lane in ("real", "systemd"):
        forbidden = lane_not_allowed(lane)
        reason = forbidden or lane_missing(lane)
        if reason is None:
            continue
        if REQUIRE_ALL and not forbidden:
            raise pytest.UsageError(f"the {lane} lane is required here, but {reason}")
        for item in items:
            if item.get_closest_marker(lane):
                item.add_marker(pytest.mark.skip(reason=f"{lane} lane: {reason}"))


@pytest.fixture
def seed() -> int:
    """The seed of this run, printed in its header."""
    return SEED


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    """For topics and groups of one's own in a cluster that the tests of a module share."""
    return itertools.count()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaNode]:
    """One Apache Kafka broker for the session. Tests make topics and groups of their own, or say that they stop it."""
    node = KafkaNode(tmp_path_factory.mktemp("kafka")).start()
    yield node
    node.kill()


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[KafkaNode]:
    """A broker that the test may stop, freeze and leave in any state."""
    node = KafkaNode(tmp_path / "kafka").start()
    yield node
    node.kill()


@pytest.fixture
def redis_node(tmp_path: Path) -> Iterator[RedisNode]:
    """A private Redis that keeps its data from one start to the next."""
    node = RedisNode(tmp_path / "redis", keep_data=True).start()
    yield node
    node.stop()


@pytest.fixture(autouse=True)
def the_logger_is_put_back() -> Iterator[None]:
    """A daemon in this process takes its log lines for itself: caplog would not see those of the tests after it."""
    logger = logging.getLogger("ingestd")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


@pytest.fixture(autouse=True)
def no_error_is_hidden(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test fails when a loop's exception handler was called and nobody set one, or a loop ended with open sockets."""
    seen: list[object] = []
    close = uvloop.Loop.close

    def close_and_tell(loop: uvloop.Loop) -> None:
        # uvloop warns of each. Warnings are errors here, and one that is raised inside keeps the transport open: close
        # then waits for it for ever, so that a test which failed would never end.
        with warnings.catch_warnings(record=True) as unclosed:
            warnings.simplefilter("always")
            close(loop)
        seen.extend(str(warning.message) for warning in unclosed)

    monkeypatch.setattr(uvloop.Loop, "close", close_and_tell)
    for loop_class in (asyncio.BaseEventLoop, uvloop.Loop):  # uvloop's is no BaseEventLoop
        monkeypatch.setattr(loop_class, "default_exception_handler", lambda loop, context: seen.append(context))
    yield
    assert not seen, f"errors that nobody looked at: {seen}"
