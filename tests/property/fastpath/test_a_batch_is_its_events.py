"""Records by compiled code, alone and in a batch, are what RecordMaker.make says; what is let pass needed nothing."""

import json
import random
import string
import threading
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestd._librdkafka import MockCluster
from ingestd.client import Event, EventType, InvalidEvent, Level, Producer, bind
from ingestd.client.context import DEFAULT_HEADER_NAMES, TraceContext
from ingestd.client.producing.record import RecordMaker
from tests.conftest import SEED
from tests.support.harness import mock_cluster, read_all

TOPIC = "observability.events"
NOW = "2026-11-24T09:01:01.5Z"
WAIT_S = 60


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    cluster = mock_cluster()
    yield cluster
    cluster.close()


def random_id(chance: random.Random) -> str:
    """Ids of the form that W3C wants, and of others."""
    size = chance.choice((1, 15, 16, 16, 16, 32, 32, 36))
    digits = chance.choice(("0123456789abcdef", "0123456789ABCDEF", "0", string.printable, "é"))
    return "".join(chance.choices(digits, k=size))


def random_event(chance: random.Random, number: int) -> Event:
    def maybe() -> str | None:
        return random_id(chance) if chance.random() < 0.6 else None

    return Event(
        id=f"e{number}",
        type=chance.choice(("log", "metric", "trace", "error")),
        level=chance.choice(("info", "warn", "ERROR")),
        service=chance.choice(("a", "bé", "")),
        component="c",
        message="m",
        timestamp=chance.choice(("", NOW, "2026-11-24T09:01:01Z", "2026-11-24T10:01:01+01:00")),
        correlation_id=maybe(),
        trace_id=maybe(),
        span_id=maybe(),
        labels=chance.choice((None, {"env": "prod"})),
        metadata=chance.choice((None, {"items": 3})),
    )


def contents(record: Any) -> tuple[Any, ...]:
    return record.value(), record.key(), record.headers()


def said(maker: RecordMaker, event: Event, context: TraceContext) -> tuple[Any, ...]:
    """What the readable code says: a span of the running code's trace is sampled as that is, any other is."""
    checked = maker.checked(event, "s", context, lambda: NOW)
    sampled = context.sampled is not False or checked.trace_id != context.trace_id
    value, key, headers = maker.make(checked, sampled)
    return (
        value,
        None if key is None else key.encode(),
        [(name, text if isinstance(text, bytes) else text.encode()) for name, text in headers],
    )


def test_records_are_what_the_readable_code_says_alone_and_in_a_batch(cluster: MockCluster, seed: int):
    chance, count = random.Random(seed), 400
    made = [random_event(chance, number) for number in range(count)]
    for event in made:
        event.timestamp = event.timestamp or NOW  # else it is the clock's, which is another one each time
    ids = {
        "correlation_id": "order-7",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "span_id": "00f067aa0ba902b7",
    }
    maker, expected = RecordMaker(DEFAULT_HEADER_NAMES, 1 << 20), []
    with Producer(cluster.bootstraps, TOPIC, "s", librdkafka={"log_level": 0}) as producer:
        for sampled in (True, False):
            expected += 2 * [said(maker, event, TraceContext(**ids, sampled=sampled)) for event in made]
            with bind(**ids, sampled=sampled):
                for event in made:
                    producer.publish_event(event)
                producer.flush()
                assert producer.publish_many(made).result(WAIT_S) == count
    assert [contents(record) for record in read_all(cluster, TOPIC, 4 * count)] == expected
    ends = {dict(headers).get("traceparent", b"")[-3:] for _, _, headers in expected}
    assert ends == {b"", b"-00", b"-01"}


def test_an_event_of_a_class_of_ones_own_is_written_with_its_fields(cluster: MockCluster):
    class Order(Event, kw_only=True):
        order: str = ""

    event = Order(**{**PLAIN, "timestamp": NOW, "trace_id": "t"}, order="o-7")
    with Producer(cluster.bootstraps, TOPIC, "s", librdkafka={"log_level": 0}) as producer:
        producer.publish_event(event).result(WAIT_S)
        assert producer.publish_many([event]).result(WAIT_S) == 1
    for record in read_all(cluster, TOPIC, 2):
        assert record.key() == b"t" and json.loads(record.value())["order"] == "o-7"


def test_threads_that_publish_at_once_do_not_mix_their_values(cluster: MockCluster):
    """The value of a single event is written into a buffer that all threads share."""
    count, threads = 400, 4
    with Producer(cluster.bootstraps, TOPIC, "s", librdkafka={"log_level": 0}) as producer:

        def publish(name: str) -> None:
            for number in range(count):
                producer.publish_log("info", name, name * 50, {"n": str(number)}, trace_id=name)

        running = [threading.Thread(target=publish, args=(name,)) for name in "abcd"]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    for record in read_all(cluster, TOPIC, count * threads):
        event = Event.from_json(record.value())
        assert event.component * 50 == event.message and record.key().decode() == event.trace_id == event.component


ODD = st.one_of(st.none(), st.just(""), st.text(max_size=3), st.integers(), st.binary(max_size=2))
TEXT = st.one_of(st.sampled_from(("a", "b")), ODD)
SECONDS = st.sampled_from(("2026-11-24T09:01:01", "2026-11-24T09:01:02", "2026-11-24T09:01:99", "2026", "x" * 19))
FRACTION = st.sampled_from(("Z", ".5Z", ".Z", ".5", ".x5Z", "+01:00", ".123456789Z", "z", ".5é"))
TIME = st.one_of(st.tuples(SECONDS, FRACTION).map("".join), ODD)
MAPPING = st.one_of(st.none(), st.dictionaries(TEXT, TEXT, max_size=2), st.just([]), st.just({"a": {}}))


@hypothesis.seed(SEED)
@settings(max_examples=2000)
@given(
    fields=st.fixed_dictionaries(
        {
            "id": TEXT,
            "type": st.sampled_from(("log", "error", "LOG", None, 5)),
            "level": st.sampled_from(("info", "warn", "Info", None)),
            "service": TEXT,
            "component": TEXT,
            "message": TEXT,
            "timestamp": TIME,
            "correlation_id": TEXT,
            "trace_id": TEXT,
            "span_id": TEXT,
            "labels": MAPPING,
            "metadata": MAPPING,
        }
    ),
    context=st.builds(
        TraceContext,
        correlation_id=st.sampled_from((None, "a")),
        trace_id=st.sampled_from((None, "a")),
        span_id=st.sampled_from((None, "a")),
    ),
)
def test_what_the_quick_check_lets_pass_needs_nothing(fields: dict[str, Any], context: TraceContext):
    maker = RecordMaker(DEFAULT_HEADER_NAMES, 1000)
    for second in ("2026-11-24T09:01:01", "2026-11-24T09:01:02"):
        plain = Event(**{**PLAIN, "timestamp": second + "Z"})
        maker.make(maker.checked(plain, "s", TraceContext(), lambda: NOW), True)
    event = Event(**fields)
    quick = maker._plain.holds(event, context.correlation_id, context.trace_id, context.span_id)
    try:
        mended = maker._mended(event, "s", context, lambda: NOW)
    except InvalidEvent:
        mended = None
    hypothesis.event(f"quick: {quick}, mended: {mended is not None}")
    # A type that is a plain text stays one: it is written alike.
    assert not quick or (mended == event and mended.to_json() == event.to_json())


PLAIN: dict[str, Any] = {
    "id": "a",
    "type": EventType.LOG,
    "level": Level.INFO,
    "service": "a",
    "component": "c",
    "message": "",
    "timestamp": "",
}


def test_the_quick_check_lets_the_plain_event_pass():
    maker = RecordMaker(DEFAULT_HEADER_NAMES, 1000)
    event = Event(**{**PLAIN, "timestamp": NOW})
    assert not maker._plain.holds(event, None, None, None)
    assert maker.checked(event, "s", TraceContext(), lambda: NOW) is event
    maker.kind_headers(event.type, event.level, event.service)
    assert maker._plain.holds(event, None, None, None)
    assert not maker._plain.holds(event, "c", None, None)
