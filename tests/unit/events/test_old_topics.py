"""Messages of old topics become events: always the same bytes, the message's own text in `data`."""

import json
from typing import Any

import pytest

from ingestd._fastpath import Batch, IndexCache, process_batch
from ingestd.config.loading import parse
from ingestd.config.schema import Config
from ingestd.events.old_topics import PROCESSED, RAW, Converter, NoEvent, convert, time_text
from ingestd.events.vocabulary import DEAD_LETTER_TOPIC_INDEX, EventType, Fault, Verdict
from tests.support.fastpath import NOW_S, TIMESTAMP_MS, table

RAW_MESSAGE = {
    "symbol": "BTCUSDT",
    "price": 65000.10,
    "volume": 12.5,
    "timestamp": "2026-11-24T09:51:28.123456789Z",
    "source": "binance",
}
PROCESSED_MESSAGE = {
    "symbol": "ETHUSDT",
    "price": 3000,
    "volume": 1,
    "price_change_24h": -1.5,
    "volume_change_24h": 0,
    "moving_avg_5m": 2999.5,
    "moving_avg_15m": 2998.5,
    "moving_avg_1h": 2990.25,
    "timestamp": 1764000000,
    "processed_at": "2026-11-24T09:51:29Z",
}


def converted(message: Any, kind: str = RAW, record_ms: int = TIMESTAMP_MS) -> dict[str, Any]:
    payload = message if isinstance(message, bytes) else json.dumps(message).encode()
    return json.loads(convert(payload, kind, "crypto.raw-0-7", record_ms, "pipeline"))


def test_a_raw_message_is_a_log_event_of_ingestion():
    assert converted(RAW_MESSAGE) == {
        "id": "crypto.raw-0-7",
        "type": "log",
        "level": "info",
        "service": "pipeline",
        "component": "ingestion",
        "message": "Raw data: BTCUSDT at 65000.1",
        "timestamp": "2026-11-24T09:51:28.123456789Z",
        "labels": {"symbol": "BTCUSDT", "source": "binance"},
        "data": RAW_MESSAGE,
    }


def test_a_processed_message_is_an_alert_event():
    found = converted(PROCESSED_MESSAGE, PROCESSED)
    assert (found["type"], found["component"], found["labels"]) == ("alert", "alerting", {"symbol": "ETHUSDT"})
    assert found["timestamp"] == "2025-11-24T16:00:00Z" and found["data"] == PROCESSED_MESSAGE


def test_the_message_s_own_text_stands_in_data_as_it_came():
    payload = b' {"symbol":"\\u00e9", "price": 1.10e2 ,"more":[1,{"a":null}],"big":123456789012345678901234567890}\n'
    assert payload in convert(payload, RAW, "a-0-1", 0, "s")


@pytest.mark.parametrize(
    ("timestamp", "text"),
    [
        ("2026-11-24T09:51:28+05:30", "2026-11-24T09:51:28+05:30"),
        ("2026-11-24 09:51:28.5", "2026-11-24T09:51:28.5Z"),
        ("2026-11-24T09:51:28", "2026-11-24T09:51:28Z"),
        ("0001-01-01T00:00:00Z", "2027-01-15T07:59:59.123000Z"),
        ("", "2027-01-15T07:59:59.123000Z"),
        (None, "2027-01-15T07:59:59.123000Z"),
        (0, "2027-01-15T07:59:59.123000Z"),
        (1764000000, "2025-11-24T16:00:00Z"),
        (1764000000.25, "2025-11-24T16:00:00.250000Z"),
        (1764000000250, "2025-11-24T16:00:00.250000Z"),
        (1764000000250000, "2025-11-24T16:00:00.250000Z"),
        (1764000000250000000, "2025-11-24T16:00:00.250000Z"),
        (-1, "1969-12-31T23:59:59Z"),
    ],
)
def test_the_time_is_the_message_s_own_and_without_one_the_record_s(timestamp: Any, text: str):
    assert time_text(timestamp, TIMESTAMP_MS) == text


def test_without_any_time_the_event_has_go_s_zero_time():
    assert time_text(None, -1) == "0001-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        (b"{", Fault.NOT_JSON),
        (b"[]", Fault.WRONG_SHAPE),
        (b"{}", Fault.WRONG_SHAPE),
        (b'{"symbol":"A"}', Fault.WRONG_SHAPE),
        (b'{"symbol":"","price":1}', Fault.WRONG_SHAPE),
        (b'{"symbol":"A","price":"1"}', Fault.WRONG_SHAPE),
        (b'{"symbol":"A","price":1,"volume":true}', Fault.WRONG_SHAPE),
        (b'{"symbol":"A","price":1,"timestamp":1e300}', Fault.WRONG_SHAPE),
        (b'{"symbol":"\xff","price":1}', Fault.INVALID_UTF8),
        (b'{"symbol":"A","price":1,"more":' + b"[" * 100_000, Fault.TOO_DEEP),
    ],
)
def test_what_has_not_the_shape_is_no_event(payload: bytes, fault: Fault):
    with pytest.raises(NoEvent) as caught:
        convert(payload, RAW, "a-0-1", 0, "s")
    assert caught.value.args[0] is fault


def processed(*rows: tuple[Any, ...], topics: dict[str, str]) -> Batch:
    batch = Batch(16)
    batch.load(rows)
    Converter(topics, "pipeline", 2000)(batch, lambda index: ("new", "old.raw", "old.processed")[index])
    process_batch(batch, table(event_bytes_max=2000), IndexCache(16), NOW_S)
    return batch


def row(index: int, payload: bytes | None, offset: int) -> tuple[Any, ...]:
    name = ("new", "old.raw", "old.processed")[index]
    return (payload, TIMESTAMP_MS, name, index, 0, offset, None, False)


def test_old_and_new_topics_stand_in_one_batch_each_judged_by_its_own_measure():
    new = b'{"id":"n","type":"metric","level":"info"}'
    batch = processed(
        row(0, new, 1),
        row(1, json.dumps(RAW_MESSAGE).encode(), 2),
        row(2, json.dumps(PROCESSED_MESSAGE).encode(), 3),
        row(1, new, 4),
        row(0, json.dumps(RAW_MESSAGE).encode(), 5),
        row(1, None, 6),
        row(1, b'{"symbol":"A","price":1,"timestamp":"yesterday"}', 7),
        row(1, b'{"symbol":"A","price":1,"x":"' + b"x" * 1960 + b'"}', 8),
        row(1, b"x" * 2001, 9),
        topics={"old.raw": RAW, "old.processed": PROCESSED},
    )
    assert batch.verdicts() == [
        (Verdict.ROUTED, Fault.NONE),
        (Verdict.ROUTED, Fault.NONE),
        (Verdict.ROUTED, Fault.NONE),
        (Verdict.DEAD, Fault.WRONG_SHAPE),
        (Verdict.DEAD, Fault.UNKNOWN_TYPE),
        (Verdict.DEAD, Fault.TOMBSTONE),
        (Verdict.DEAD, Fault.BAD_TIMESTAMP),
        (Verdict.DEAD, Fault.TOO_LARGE),
        (Verdict.DEAD, Fault.TOO_LARGE),
    ]
    assert [send[1] for send in batch.sends()][:4] == [
        EventType.METRIC,
        EventType.LOG,
        EventType.ALERT,
        DEAD_LETTER_TOPIC_INDEX,
    ]
    assert b"events:log:old.raw-0-2" in batch.resp() and b"alert_events:old.processed-0-3" in batch.resp()


def test_old_topics_are_inputs_with_a_key_each():
    config = parse("kafka: {topics: {raw_data: crypto.raw, processed_data: crypto.processed}}")
    assert config.input_topics() == ["observability.events", "crypto.raw", "crypto.processed"]
    assert config.old_topics() == {"crypto.raw": RAW, "crypto.processed": PROCESSED}
    assert Config().old_topics() == {}
