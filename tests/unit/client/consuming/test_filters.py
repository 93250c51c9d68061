"""What a filter takes: the words of rules, and the correlation id wherever it stands."""

import json
from typing import Any

import pytest
from confluent_kafka import Message

from ingestd.client.consuming.filters import EventFilter, InvalidFilter, Match, Matcher
from ingestd.client.events import Level
from ingestd.events.vocabulary import Fault

HEADERS = ["X-Correlation-ID", "correlation_id"]


def message(value: bytes | None, headers: Any = None) -> Message:
    return Message(topic="t", partition=0, offset=5, value=value, headers=headers, timestamp=(1, 1000))


def event(headers: Any = None, **fields: Any) -> Message:
    return message(json.dumps({"id": "e", "type": "log", "level": "info"} | fields).encode(), headers)


def matched(event_filter: EventFilter | None, *messages: Message) -> list[bool]:
    return [found.matched for found in Matcher(event_filter, 16).match(messages, HEADERS)]


def test_and_between_the_fields_or_within_one():
    wanted = EventFilter(types=["log", "alert"], services=["a", "b"], labels={"env": ["prod", "test"], "zone": "1"})
    labels = {"env": "test", "zone": "1", "more": "x"}
    assert matched(
        wanted,
        event(service="a", labels=labels),
        event(service="b", labels=labels, type="alert"),
        event(service="c", labels=labels),
        event(service="a", labels=labels, type="trace"),
        event(service="a", labels={"env": "test"}),
        event(service="a"),
    ) == [True, True, False, False, False, False]


def test_an_empty_filter_takes_every_good_event():
    for empty in (None, EventFilter(), EventFilter(types=[], labels={})):
        assert matched(empty, event(), event(type="trace", level="fatal"), message(b"{")) == [True, True, False]


def test_aliases_are_those_of_rules():
    assert matched(EventFilter(types="error"), event(), event(type="error"), event(type="metric")) == [
        True,
        True,
        False,
    ]
    assert (
        matched(EventFilter(levels=["WARN", Level.FATAL]), event(level="warning"), event(level="Critical"))
        == [True] * 2
    )


@pytest.mark.parametrize("wrong", [{"types": "logs"}, {"levels": ["info", "loud"]}])
def test_a_word_that_there_is_not_is_refused_at_once(wrong: dict[str, Any]):
    with pytest.raises(InvalidFilter):
        EventFilter(**wrong)


def test_the_correlation_id_is_found_where_the_daemon_finds_it():
    found = Matcher(EventFilter(correlation_ids="c"), 16).match(
        [
            event(correlation_id="c"),
            event(headers=[("X-Correlation-ID", b"c")]),
            event(headers=[("correlation_id", b"c")], correlation_id=""),
            event(metadata={"correlation_id": "c"}, labels={"correlation_id": "d"}),
            event(labels={"correlation_id": "c"}),
            event(headers=[("correlation_id", b"c")], correlation_id="d"),
            event(headers=[("correlation_id", b"\xff"), ("other", None)]),
        ],
        HEADERS,
    )
    assert [match.correlation_id for match in found] == ["c"] * 5 + ["d", ""]
    assert [match.matched for match in found] == [True] * 5 + [False] * 2


def test_a_bad_event_is_told_from_one_that_is_not_wanted():
    found = Matcher(EventFilter(types="metric"), 4).match([message(None), message(b"no"), event()], HEADERS)
    assert found == [Match(Fault.TOMBSTONE, False, ""), Match(Fault.NOT_JSON, False, ""), Match(0, False, "")]
