"""Log lines. In: a message with fields. Out: one line in the form that its reader takes; repeated ones kept back."""

import io
import json
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from ingestd.rate_limited_log import RateLimitedLog
from ingestd.telemetry import logs
from ingestd.telemetry.logs import set_up
from tests.support.harness import LogLines


@pytest.fixture(autouse=True)
def logger_as_before() -> Iterator[None]:
    logger = logging.getLogger("ingestd")
    before = (logger.handlers[:], logger.level, logger.propagate)
    yield
    logger.handlers[:], logger.level, logger.propagate = before


def lines_of(monkeypatch: pytest.MonkeyPatch, form: str, terminal: bool = False, level: str = "debug") -> Any:
    """The logger, and what it has written so far."""
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    logger = set_up(level, form)
    return logger, lambda: stream.getvalue().splitlines()


def test_json_has_the_time_the_level_the_message_and_the_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    log, lines = lines_of(monkeypatch, "json")
    log.warning("redis reconnect", extra={"attempt": 3, "address": "h:1", "at": io})
    (line,) = map(json.loads, lines())
    assert (line["level"], line["message"], line["attempt"], line["address"]) == (
        "warning",
        "redis reconnect",
        3,
        "h:1",
    )
    assert line["time"].endswith("Z") and line["time"][10] == "T" and len(line["time"]) == 24
    assert "module 'io'" in line["at"], "what JSON does not know is told as text"
    assert set(line) == {"time", "level", "message", "attempt", "address", "at"}


def test_plain_has_its_fields_behind_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    log, lines = lines_of(monkeypatch, "plain")
    log.info("stopped", extra={"drained": True, "reason": "two\nlines"})
    (line,) = lines()
    stamp, level, rest = line.split(maxsplit=2)
    assert (stamp[-1], level, rest) == ("Z", "info", 'stopped drained=true reason="two\\nlines"')


@pytest.mark.parametrize(
    ("level", "number"), [("debug", 7), ("info", 6), ("warning", 4), ("error", 3), ("critical", 2)]
)
def test_journald_gets_its_number_and_no_time(monkeypatch: pytest.MonkeyPatch, level: str, number: int) -> None:
    log, lines = lines_of(monkeypatch, "journal")
    getattr(log, level)("hello", extra={"n": 1})
    assert lines() == [f"<{number}>hello n=1"]


@pytest.mark.parametrize(
    ("journal", "terminal", "start"),
    [("own", False, "<6>hello"), ("own", True, "<6>hello"), ("8:1234", False, "{"), ("", True, "20"), ("", False, "{")],
)
def test_auto_is_journald_s_form_under_systemd_plain_on_a_terminal_and_else_json(
    monkeypatch: pytest.MonkeyPatch, journal: str, terminal: bool, start: str
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    own = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{own.st_dev}:{own.st_ino}" if journal == "own" else journal)
    set_up("info", "auto").info("hello")
    assert stream.getvalue().startswith(start)


@pytest.mark.parametrize("form", ["json", "plain", "journal"])
def test_an_error_with_its_trace_and_a_message_of_two_lines_are_one_line_each(
    monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """The second line of an entry would be one of its own to journald and to whatever reads JSON lines."""
    log, lines = lines_of(monkeypatch, form)
    try:
        raise ValueError("first\nsecond")
    except ValueError as error:
        log.error("it failed", exc_info=error)
    log.warning("first\nsecond\r\n<0>third")
    assert len(lines()) == 2
    assert "Traceback" in lines()[0] and "ValueError" in lines()[0]
    assert "third" in lines()[1]


def test_what_is_below_the_level_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    log, lines = lines_of(monkeypatch, "plain", level="warning")
    log.info("quiet")
    log.warning("loud")
    assert len(lines()) == 1


def test_setting_up_twice_writes_each_line_once_and_nothing_reaches_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    root = LogLines()
    logging.getLogger().addHandler(root)
    try:
        lines_of(monkeypatch, "plain")
        log, lines = lines_of(monkeypatch, "plain")
        log.warning("once")
    finally:
        logging.getLogger().removeHandler(root)
    assert len(lines()) == 1 and root.records == []


# RateLimitedLog


class Clock:
    """A limited_log log with a clock that the test turns."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.lines = LogLines()
        log = logging.getLogger("test.limited_log")
        log.handlers[:], log.propagate = [self.lines], False
        log.setLevel(logging.DEBUG)
        self.limited_log = RateLimitedLog(log, 10.0, lambda: self.now_s)

    def say(self, message: str = "down", key: object = None, **fields: object) -> None:
        self.limited_log.say(logging.WARNING, message, key, **fields)

    def told(self) -> list[tuple[str, int]]:
        """(message, how many were kept back before it)."""
        return [(line.getMessage(), getattr(line, "kept_back", 0)) for line in self.lines.records]


def test_a_repeated_line_is_said_once_in_its_interval_and_then_with_the_number_kept_back() -> None:
    clock = Clock()
    for _ in range(5):
        clock.say()
    assert clock.told() == [("down", 0)]
    clock.now_s += 9.9
    clock.say()
    assert len(clock.told()) == 1
    clock.now_s += 0.1
    clock.say()
    assert clock.told() == [("down", 0), ("down", 5)]
    clock.now_s += 10
    clock.say()
    assert clock.told()[-1] == ("down", 0), "those were told"


def test_lines_with_another_message_or_key_are_lines_of_their_own() -> None:
    clock = Clock()
    for key in ("a", "b", "a"):
        clock.say("down", key)
    clock.say("up", "a")
    assert [message for message, _ in clock.told()] == ["down", "down", "up"]


def test_the_fields_are_those_of_the_line_that_is_said() -> None:
    clock = Clock()
    clock.say(attempt=1)
    clock.say(attempt=2)
    clock.now_s += 10
    clock.say(attempt=3)
    assert [(line.attempt, line.levelno) for line in clock.lines.records] == [
        (1, logging.WARNING),
        (3, logging.WARNING),
    ]


def test_a_flood_of_different_lines_does_not_grow_memory() -> None:
    clock = Clock()
    for number in range(10 * RateLimitedLog.KEYS_MAX):
        clock.say("down", number)
        assert len(clock.limited_log._said) <= RateLimitedLog.KEYS_MAX
    assert len(clock.told()) == 10 * RateLimitedLog.KEYS_MAX


def test_every_level_of_the_config_has_a_number_for_journald() -> None:
    assert {logging.getLevelName(level) for level in (10, 20, 30, 40, 50)} == set(logs._SYSLOG_LEVELS)
