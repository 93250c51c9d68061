"""The wire form, byte for byte: arguments of publish_* in, value, key and headers of the record out."""

import random
import uuid
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from ingestd._fastpath import utc_text, uuid4_texts
from ingestd.client.context import DEFAULT_HEADER_NAMES, EMPTY, HeaderNames, TraceContext, bind
from ingestd.client.events import Event, EventType, InvalidEvent, Level, format_timestamp, parse_timestamp_ns
from ingestd.client.producing import publishing
from ingestd.client.producing.delivery import DeliveryFuture
from ingestd.client.producing.publishing import EventMaker, PublishMethods
from ingestd.client.producing.record import RecordMaker

ID = "0b0bfc5e-3c1c-4b5f-9d7e-0c8f1f0f1e11"
NOW_NS = 1_795_510_861_123_456_780  # 2026-11-24T09:01:01.12345678Z
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Recorded(PublishMethods[tuple[bytes, str | None, list[Any]]]):
    """A producer that keeps the record and sends nothing."""

    def __init__(self, names: HeaderNames = DEFAULT_HEADER_NAMES) -> None:
        self._maker = EventMaker("checkout", lambda: NOW_NS)
        self.records = RecordMaker(names, 1000)

    def _publish(self, made):
        value, key, headers = self.records.make(*made)
        return value, key, [(name, text if isinstance(text, bytes) else text.encode()) for name, text in headers]


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    monkeypatch.setattr(publishing, "new_event_id", lambda: ID)
    return Recorded()


def wire(kind: str, level: str, component: str, message: str, rest: str = "") -> bytes:
    return (
        f'{{"id":"{ID}","type":"{kind}","level":"{level}","service":"checkout","component":"{component}",'
        f'"message":"{message}","timestamp":"2026-11-24T09:01:01.12345678Z"{rest}}}'
    ).encode()


def head(kind: str, level: str) -> list[tuple[str, bytes]]:
    return [("event_type", kind.encode()), ("event_level", level.encode()), ("service", b"checkout")]


def test_a_log_without_anything_optional(producer: Recorded):
    assert producer.publish_log("info", "api", "hello") == (
        wire("log", "info", "api", "hello"),
        None,
        head("log", "info"),
    )


def test_a_log_with_every_field(producer: Recorded):
    value, key, headers = producer.publish_log(
        Level.ERROR,
        "api",
        'caf\u00e9 "x"',
        {"env": "prod"},
        {"n": 1, "deep": {"a": [None, True]}},
        correlation_id="order-7",
        trace_id=TRACE,
        span_id=SPAN,
        data={"k": 1.5},
    )
    assert value == wire(
        "log",
        "error",
        "api",
        'caf\u00e9 \\"x\\"',
        f',"correlation_id":"order-7","trace_id":"{TRACE}","span_id":"{SPAN}","labels":{{"env":"prod"}},'
        '"metadata":{"n":1,"deep":{"a":[null,true]}},"data":{"k":1.5}',
    )
    assert key == TRACE
    assert headers == [
        *head("log", "error"),
        ("correlation_id", b"order-7"),
        ("X-Correlation-ID", b"order-7"),
        ("X-Trace-ID", TRACE.encode()),
        ("X-Span-ID", SPAN.encode()),
        ("traceparent", f"00-{TRACE}-{SPAN}-01".encode()),
    ]


@pytest.mark.parametrize(
    ("value", "text", "number"),
    [
        (3, "3", "3"),
        (3.0, "3", "3"),
        (0.25, "0.25", "0.25"),
        (-2.5, "-2.5", "-2.5"),
        (1e-05, "1e-05", "0.00001"),
        (10**18, "1000000000000000000", "1000000000000000000"),
    ],
)
def test_a_metric(producer: Recorded, value: float, text: str, number: str):
    got, _, headers = producer.publish_metric("runtime", "cpu", value)
    rest = f',"data":{{"metric_name":"cpu","value":{number}}}'
    assert got == wire("metric", "info", "runtime", f"Metric: cpu = {text}", rest)
    assert headers == head("metric", "info")


def test_an_alert(producer: Recorded):
    got, _, headers = producer.publish_alert("a-1", "disk full", "93 %", "critical")
    rest = ',"data":{"alert_id":"a-1","alert_name":"disk full"}'
    assert got == wire("alert", "fatal", "alerting", "93 %", rest)
    assert headers == head("alert", "fatal")


@pytest.mark.parametrize(
    ("duration", "text"),
    [(0.25, "250"), (timedelta(milliseconds=3, microseconds=250), "3.25"), (2, "2000"), (1e-9, "1e-6"), (0, "0")],
)
def test_a_trace(producer: Recorded, duration: float | timedelta, text: str):
    got, key, _ = producer.publish_trace(TRACE, SPAN, "charge", duration, parent_span_id="b" * 16)
    rest = (
        f',"trace_id":"{TRACE}","span_id":"{SPAN}","metadata":{{"parent_span_id":"bbbbbbbbbbbbbbbb"}},'
        f'"data":{{"operation":"charge","duration_ms":{text}}}'
    )
    assert got.replace(b"1e-06", b"1e-6") == wire("trace", "info", "tracing", "Trace: charge", rest)
    assert key == TRACE


@pytest.mark.parametrize(("status", "level"), [("healthy", "info"), ("degraded", "warning"), ("down", "warning")])
def test_health(producer: Recorded, status: str, level: str):
    got, _, headers = producer.publish_health("db", status, {"pool": 3})
    rest = f',"metadata":{{"pool":3}},"data":{{"status":"{status}"}}'
    assert got == wire("health", level, "db", f"Health check: db is {status}", rest)
    assert headers == head("health", level)


def test_an_error_is_a_log_of_level_error(producer: Recorded):
    got, _, headers = producer.publish_error("api", ValueError("no such order"))
    assert got == wire("log", "error", "api", "no such order", ',"data":{"error_type":"ValueError"}')
    assert headers == head("log", "error")
    got, _, _ = producer.publish_error("api", "gone", "Timeout")
    assert got == wire("log", "error", "api", "gone", ',"data":{"error_type":"Timeout"}')


def test_an_error_that_was_raised_has_its_stack(producer: Recorded):
    try:
        raise KeyError("x")
    except KeyError as error:
        event = Event.from_json(producer.publish_error("api", error, metadata={"try": 2})[0])
    assert event.metadata is not None and event.metadata["try"] == 2
    assert event.metadata["stack_trace"].endswith("KeyError: 'x'\n")


@pytest.mark.parametrize(
    ("trace", "span", "parent"),
    [
        ("4bf92f35-77b3-4da6-a3ce-929d0e0e4736", SPAN, f"00-{TRACE}-{SPAN}-01"),
        (TRACE.upper(), SPAN.upper(), f"00-{TRACE}-{SPAN}-01"),
        (TRACE, SPAN[:-1], None),
        (TRACE, "g" * 16, None),
        (TRACE, "0" * 16, None),
        ("0" * 32, SPAN, None),
        (TRACE[:-1], SPAN, None),
        ("order 7", SPAN, None),
        ("4bf92f3577b3-4da6-a3ce-929d0e0e4736-", SPAN, None),
        (TRACE, "", None),
        ("", SPAN, None),
    ],
)
def test_traceparent_is_never_made_up(producer: Recorded, trace: str, span: str, parent: str | None):
    _, _, headers = producer.publish_log("info", "api", "x", trace_id=trace, span_id=span)
    found = dict(headers)
    assert found.get("traceparent") == (parent.encode() if parent else None)
    assert found.get("X-Trace-ID") == (trace.encode() or None) and found.get("X-Span-ID") == (span.encode() or None)


def test_traceparent_says_when_a_trace_is_not_sampled(producer: Recorded):
    with bind(trace_id=TRACE, span_id=SPAN, sampled=False):
        assert producer.publish_log("info", "api", "x")[2][-1] == ("traceparent", f"00-{TRACE}-{SPAN}-00".encode())
        other = "f" * 32
        headers = producer.publish_log("info", "api", "x", trace_id=other, span_id=SPAN)[2]
        assert headers[-1] == ("traceparent", f"00-{other}-{SPAN}-01".encode())


def test_header_names_are_configurable(monkeypatch: pytest.MonkeyPatch):
    producer = Recorded(HeaderNames("Corr", "Tr", "Sp"))
    _, _, headers = producer.publish_log("info", "api", "x", correlation_id="c", trace_id="t", span_id="s")
    assert headers[3:] == [("correlation_id", b"c"), ("Corr", b"c"), ("Tr", b"t"), ("Sp", b"s")]


def test_a_header_with_a_zero_byte_is_whole(producer: Recorded):
    _, _, headers = producer.publish_log("info", "api", "x", correlation_id="a\0b")
    assert ("correlation_id", b"a\0b") in headers


def test_the_key_is_the_trace_else_the_correlation(producer: Recorded):
    assert producer.publish_log("info", "a", "x", correlation_id="c", trace_id="t")[1] == "t"
    assert producer.publish_log("info", "a", "x", correlation_id="c")[1] == "c"
    assert producer.publish_log("info", "a", "x")[1] is None


def test_ids_come_from_the_running_code_unless_they_are_given(producer: Recorded):
    with bind(correlation_id="c", trace_id=TRACE, span_id=SPAN):
        event = Event.from_json(producer.publish_log("info", "a", "x")[0])
        assert (event.correlation_id, event.trace_id, event.span_id) == ("c", TRACE, SPAN)
        event = Event.from_json(producer.publish_log("info", "a", "x", correlation_id="", trace_id="other")[0])
        assert (event.correlation_id, event.trace_id, event.span_id) == (None, "other", None)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("2026-01-02T03:04:05.120000001+02:00", "2026-01-02T03:04:05.120000001+02:00"),
        (datetime(2026, 1, 2, 3, 4, 5, 120000, timezone(timedelta(hours=2))), "2026-01-02T01:04:05.12Z"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00Z"),
    ],
)
def test_a_timestamp_may_be_given(producer: Recorded, given: datetime | str, text: str):
    assert Event.from_json(producer.publish_log("info", "a", "x", timestamp=given)[0]).timestamp == text


@pytest.mark.parametrize("second", [0, 59, 86_399, 1_795_510_861])
def test_the_clock_is_written_as_go_writes_it(second: int):
    for ns, fraction in ((0, ""), (1, ".000000001"), (500_000_000, ".5"), (120, ".00000012")):
        maker = EventMaker("s", lambda ns=ns: second * 10**9 + ns)
        whole = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        assert maker.now() == maker.now() == f"{whole}{fraction}Z"


NAN = float("nan")


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda p: p.publish_log("loud", "a", "x"), "level: 'loud'"),
        (lambda p: p.publish_log(7, "a", "x"), "level: 7"),
        (lambda p: p.publish_log("info", "", "x"), "component: is empty"),
        (lambda p: p.publish_log("info", 5, "x"), "component: 5 is not a string"),
        (lambda p: p.publish_log("info", "a", b"x"), "message: b'x'"),
        (lambda p: p.publish_log("info", "a", "x", {"env": 5}), "labels.env: 5"),
        (lambda p: p.publish_log("info", "a", "x", {1: "x"}), "the key of labels.1"),
        (lambda p: p.publish_log("info", "a", "x", ["env"]), "labels: "),
        (lambda p: p.publish_log("info", "a", "x", None, "meta"), "metadata: 'meta'"),
        (lambda p: p.publish_log("info", "a", "x", None, {"f": object()}), "metadata: can't be written as JSON"),
        (lambda p: p.publish_log("info", "a", "x", data={"f": {1, 2}, "g": object()}), "data: can't be written"),
        (lambda p: p.publish_log("info", "a", "\ud800"), "message: can't be written as JSON"),
        (lambda p: p.publish_log("info", "a", "x" * 2000), "the event has 2"),
        (lambda p: p.publish_log("info", "a", "x", correlation_id=5), "correlation_id: 5"),
        (lambda p: p.publish_log("info", "a", "x", trace_id=5), "trace_id: 5"),
        (lambda p: p.publish_log("info", "a", "x", span_id=b"s"), "span_id: b's'"),
        (lambda p: p.publish_log("info", "a", "x", timestamp="yesterday"), "timestamp: 'yesterday'"),
        (lambda p: p.publish_log("info", "a", "x", timestamp=datetime(2026, 1, 1)), "timestamp: datetime"),
        (lambda p: p.publish_metric("a", "", 1), "name: is empty"),
        (lambda p: p.publish_metric("a", "m", NAN), "value: nan is not finite"),
        (lambda p: p.publish_metric("a", "m", "1"), "value: '1' is not a number"),
        (lambda p: p.publish_metric("a", "m", True), "value: True is not a number"),
        (lambda p: p.publish_metric("a", "m", 1, data=[1]), "data: "),
        (lambda p: p.publish_alert("", "n", "m"), "alert_id: is empty"),
        (lambda p: p.publish_alert("i", "", "m"), "alert_name: is empty"),
        (lambda p: p.publish_trace("", SPAN, "o", 1), "trace_id: is empty"),
        (lambda p: p.publish_trace(TRACE, "", "o", 1), "span_id: is empty"),
        (lambda p: p.publish_trace(TRACE, SPAN, "", 1), "operation: is empty"),
        (lambda p: p.publish_trace(TRACE, SPAN, "o", -1), "duration: -1 is negative"),
        (lambda p: p.publish_trace(TRACE, SPAN, "o", "1s"), "duration: '1s' is not a number"),
        (lambda p: p.publish_health("a", ""), "status: is empty"),
    ],
)
def test_what_may_not_be_sent_is_refused_with_the_name_of_the_field(producer: Recorded, call, field: str):
    with pytest.raises(InvalidEvent) as caught:
        call(producer)
    assert str(caught.value).startswith(field)


def test_an_unknown_keyword_is_a_type_error(producer: Recorded):
    with pytest.raises(TypeError, match="corelation_id"):
        producer.publish_log("info", "a", "x", corelation_id="c")


# Events of a program's own


def own(**more: Any) -> Event:
    fields = {"id": ID, "type": EventType.LOG, "level": Level.INFO, "service": "other", "component": "a"}
    return Event(**{**fields, "message": "x", "timestamp": "2026-11-24T10:01:01.5+01:00", **more})


def checked(event: Event, context: TraceContext = EMPTY, records: RecordMaker | None = None) -> Event:
    records = records or RecordMaker(DEFAULT_HEADER_NAMES, 1000)
    return records.checked(event, "checkout", context, lambda: "2026-01-01T00:00:00Z")


def test_a_complete_event_goes_out_as_it_is():
    records = RecordMaker(DEFAULT_HEADER_NAMES, 1000)
    for text in ("2026-11-24T10:01:01.5+01:00", "2026-11-24T10:01:01.5Z", "2026-11-24T10:01:01Z"):
        event = own(timestamp=text, labels={"a": "b"}, metadata={"n": 1}, correlation_id="c", trace_id="t", span_id="s")
        for _ in range(2):  # the second time by the short way
            assert checked(event, records=records) is event
            assert Event.from_json(records.make(event, True)[0]) == event


def test_what_an_event_lacks_is_filled_in():
    event = own(id="", service="", timestamp="", type="error", level="WARN", labels={}, metadata={}, correlation_id="")
    found = checked(event, TraceContext("c", TRACE, SPAN))
    assert len(found.id) == 36 and found.id[14] == "4"
    assert (found.service, found.timestamp) == ("checkout", "2026-01-01T00:00:00Z")
    assert (found.type, found.level) == (EventType.LOG, Level.WARNING)
    assert (found.labels, found.metadata) == (None, None)
    assert (found.correlation_id, found.trace_id, found.span_id) == ("c", TRACE, SPAN)
    assert event.id == "" and event.labels == {}


def test_the_span_of_another_trace_is_not_filled_in():
    assert checked(own(trace_id="mine"), TraceContext("c", TRACE, SPAN)).span_id is None
    assert checked(own(trace_id=TRACE), TraceContext("c", TRACE, SPAN)).span_id == SPAN


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"id": 5}, "id: 5"),
        ({"service": None}, "service: None"),
        ({"component": 1.5}, "component: 1.5"),
        ({"message": None}, "message: None"),
        ({"timestamp": 5}, "timestamp: 5"),
        ({"timestamp": "2026-13-24T10:01:01Z"}, "timestamp: '2026-13"),
        ({"timestamp": "2026-11-24T10:01:01"}, "timestamp: '2026-11"),
        ({"timestamp": "2026-11-24T10:01:01.\u0665Z"}, "timestamp: '2026-11"),
        ({"type": "noise"}, "type: 'noise'"),
        ({"level": "loud"}, "level: 'loud'"),
        ({"correlation_id": 5}, "correlation_id: 5"),
        ({"trace_id": 5}, "trace_id: 5"),
        ({"span_id": 5}, "span_id: 5"),
        ({"labels": {"a": 1}}, "labels.a: 1"),
        ({"labels": "a"}, "labels: 'a'"),
        ({"metadata": [1]}, "metadata: [1]"),
    ],
)
def test_a_wrong_event_is_refused_by_the_short_way_too(more: dict[str, Any], text: str):
    records = RecordMaker(DEFAULT_HEADER_NAMES, 1000)
    good = own(timestamp="2026-11-24T10:01:01Z", correlation_id="c", trace_id="t", span_id="s")
    records.make(checked(good, records=records), True)
    assert checked(good, records=records) is good
    base = {"timestamp": "2026-11-24T10:01:01Z", "correlation_id": "c", "trace_id": "t", "span_id": "s"}
    with pytest.raises(InvalidEvent) as caught:
        checked(own(**{**base, **more}), records=records)
    assert str(caught.value).startswith(text)


def test_caches_are_bounded():
    records = RecordMaker(DEFAULT_HEADER_NAMES, 1000)
    for number in range(3000):
        event = own(service=f"s{number}", correlation_id=f"c{number}", timestamp=f"2026-11-24T10:{number % 60:02}:01Z")
        records.make(checked(event, records=records), True)
    assert len(records._kinds) <= 1024 and len(records._ids) <= 1024 and len(records._seconds) <= 1024


def test_a_future_has_the_id_of_its_event():
    assert DeliveryFuture("e1", None).event_id == "e1"  # type: ignore[arg-type]


def test_times_are_written_as_the_readable_code_writes_them(seed: int):
    chance = random.Random(seed)
    for _ in range(20_000):
        second, fraction = chance.randrange(9_000_000_000), chance.choice((0, 1, 10**8, 123_000_000, 999_999_999))
        time_ns = second * 10**9 + fraction
        assert utc_text(time_ns) == format_timestamp(time_ns)
    for text in ("1970-01-01T00:00:00Z", "2000-02-29T23:59:59.9Z", "2100-02-28T00:00:00Z", "2100-03-01T00:00:00Z"):
        assert utc_text(parse_timestamp_ns(text)) == text
    with pytest.raises(ValueError, match="before 1970"):
        utc_text(-1)


def test_uuids_are_version_4_and_keep_the_random_bits(seed: int):
    drawn = random.Random(seed).randbytes(16 * 200)
    texts = uuid4_texts(drawn)
    assert texts == [str(uuid.UUID(bytes=drawn[i : i + 16], version=4)) for i in range(0, len(drawn), 16)]
    assert uuid4_texts(b"short") == []
