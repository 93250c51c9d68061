"""Spans and sampling: what a trace publishes, how it nests, and that it decides as the daemon does."""

import asyncio
import json
import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace as otel
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from ingestd.client import (
    AsyncEventStreamingService,
    Event,
    EventStreamingService,
    EventType,
    Level,
    Producer,
    PublishError,
    QueueFull,
    bind,
    current,
)
from ingestd.client.context import EMPTY, restore
from ingestd.client.producing.shared_producer import Record, SharedProducer
from ingestd.client.spans import UnknownSpan
from ingestd.config.loading import parse
from ingestd.config.schema import Config
from ingestd.errors import ConfigError
from tests.support.fastpath import event, outcome, rule

SENT: list[Event] = []


def config(rate: float = 1.0, **more: Any) -> Config:
    streaming = {"service_name": "checkout", "trace_sampling_rate": rate, **more}
    return parse(json.dumps({"kafka": {"brokers": ["127.0.0.1:1"]}, "observability": {"event_streaming": streaming}}))


@pytest.fixture(autouse=True)
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Event]]:
    """Every event that would go to librdkafka; each is acknowledged at once."""
    SENT.clear()

    def try_send(self: SharedProducer, record: Record, owner: object) -> bool:
        SENT.append(Event.from_json(record[1].to_json()))
        return True

    monkeypatch.setattr(SharedProducer, "try_send", try_send)
    yield SENT
    restore(EMPTY)  # a span that another thread ended leaves the thread that began it where it was


@pytest.fixture
def service() -> Iterator[EventStreamingService]:
    with EventStreamingService(config(), librdkafka={"log_level": 0}) as service:
        yield service


def test_a_span_publishes_its_beginning_and_its_end(service: EventStreamingService, sent: list[Event]):
    with bind(correlation_id="c"):
        trace_id, span_id = service.start_trace("place order", {"env": "prod"})
        assert (len(trace_id), len(span_id)) == (32, 16) and not (trace_id + span_id).strip("0123456789abcdef")
        assert (current().trace_id, current().span_id, current().sampled) == (trace_id, span_id, True)
        service.end_trace(trace_id, span_id, metadata={"items": 3})
        assert current().trace_id is None and current().correlation_id == "c"
    begun, ended = sent
    for found in sent:
        assert (found.trace_id, found.span_id, found.correlation_id) == (trace_id, span_id, "c")
        assert (found.type, found.level, found.service, found.component) == ("trace", "info", "checkout", "tracing")
        assert found.message == "Trace: place order" and found.labels == {"env": "prod"}
    assert begun.data == {"operation": "place order"}
    assert ended.data["operation"] == "place order" and ended.data["duration_ms"] >= 0
    assert ended.metadata == {"items": 3}


def test_children_name_their_parents(service: EventStreamingService, sent: list[Event]):
    with service.trace("outer") as outer, service.trace("inner") as inner:
        assert inner.trace_id == outer.trace_id and inner.parent_span_id == outer.span_id
        inner.labels["shard"] = "7"
        inner.metadata["rows"] = 12
    ended = {found.span_id: found for found in sent if "duration_ms" in found.data}
    assert ended[inner.span_id].metadata == {"rows": 12, "parent_span_id": outer.span_id}
    assert ended[inner.span_id].labels == {"shard": "7"}
    assert ended[outer.span_id].metadata is None
    assert current() == EMPTY


def test_an_exception_ends_the_span_with_an_error_and_goes_on(service: EventStreamingService, sent: list[Event]):
    with pytest.raises(KeyError), service.trace("charge"):
        raise KeyError("card")
    assert sent[-1].level == Level.ERROR
    assert sent[-1].metadata == {"error": "'card'", "error_type": "KeyError"}
    assert current() == EMPTY


def test_an_end_from_another_thread_leaves_its_context_alone(service: EventStreamingService, sent: list[Event]):
    ids = service.start_trace("job")
    thread = threading.Thread(target=service.end_trace, args=ids)
    thread.start()
    thread.join()
    assert "duration_ms" in sent[-1].data
    with pytest.raises(UnknownSpan, match="was ended before"):
        service.end_trace(*ids)


def test_tasks_do_not_mix_their_traces(sent: list[Event]):
    async def request(service: AsyncEventStreamingService, number: int) -> tuple[str, str | None]:
        async with service.trace(f"request {number}") as span:
            await asyncio.sleep(0)
            async with service.trace("step") as step:
                await asyncio.sleep(0)
                assert step.parent_span_id == span.span_id and step.trace_id == span.trace_id
            ids = await service.start_trace("loose")
            assert ids[0] == span.trace_id
            await service.end_trace(*ids)
            assert current().span_id == span.span_id
        return span.trace_id, current().trace_id

    async def work() -> list[tuple[str, str | None]]:
        async with AsyncEventStreamingService(config(), librdkafka={"log_level": 0}) as service:
            return await asyncio.gather(*(request(service, number) for number in range(10)))

    found = asyncio.run(work())
    assert len({trace for trace, _ in found}) == 10 and {after for _, after in found} == {None}
    assert len(sent) == 60


def test_a_trace_that_came_from_elsewhere_goes_on(service: EventStreamingService, sent: list[Event]):
    headers = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"}
    with bind(service.extract(headers)), service.trace("handle") as span:
        assert span.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736" and span.parent_span_id == "00f067aa0ba902b7"
        assert service.inject({})["traceparent"] == f"00-{span.trace_id}-{span.span_id}-00"
    assert sent == [], "its first program decided that it is not sampled"


def test_ids_and_flag_of_opentelemetry_are_taken(service: EventStreamingService, sent: list[Event]):
    for flags, count in ((1, 2), (0, 0)):
        sent.clear()
        context = SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(flags))
        with otel.use_span(NonRecordingSpan(context)), service.trace("inner") as span:
            assert span.trace_id == f"{0xABC:032x}" and span.parent_span_id == f"{0xDEF:016x}"
            assert current().span_id == span.span_id
        assert len(sent) == count


@pytest.mark.parametrize("rate", [0, 0.001, 0.1, 0.5, 1])
def test_sampling_decides_as_the_daemon_does(rate: float, seed: int, sent: list[Event]):
    source = random.Random(seed)
    with EventStreamingService(config(rate), librdkafka={"log_level": 0}) as service:
        traces = [f"{source.getrandbits(128):032x}" for _ in range(200)]
        traces += ["4bf92f35-77b3-4da6-a3ce-929d0e0e4736", "order 42", "F" * 32]
        for trace in traces:
            sent.clear()
            with bind(trace_id=trace), service.trace("work"):
                pass
            kept = bool(outcome(event(trace_id=trace), rule("sample", rate=rate)).topics)
            assert service.samples(trace) is kept is bool(sent), trace


def test_what_is_not_sampled_has_ids_all_the_same(sent: list[Event]):
    with EventStreamingService(config(0.0), librdkafka={"log_level": 0}) as service, service.trace("work") as span:
        assert len(span.trace_id) == 32 and current().sampled is False
        made, sampled = service.producer.core.maker.make(EventType.LOG, "info", "a", "x", None, None, None)
        assert made.trace_id == span.trace_id and not sampled
    assert sent == []


def test_a_full_queue_never_blocks_a_span(service: EventStreamingService, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(SharedProducer, "try_send", lambda *arguments: False)
    with service.trace("work"):
        pass
    assert service.lost_count == 2

    def closed(*arguments: object) -> bool:
        raise QueueFull("closed")

    monkeypatch.setattr(SharedProducer, "try_send", closed)
    with service.trace("work"):
        pass
    assert service.lost_count == 4


def test_a_wrong_span_leaves_the_context_as_it_was(service: EventStreamingService):
    for labels, operation in (({"a": 1}, "work"), (None, "")):
        with pytest.raises(ValueError), service.trace(operation, labels):
            pass
        assert current() == EMPTY


def test_the_config_gives_service_headers_and_rate():
    headers = {"correlation_id_header": "C", "trace_id_header": "T", "span_id_header": "S"}
    with EventStreamingService(config(**headers), librdkafka={"log_level": 0}) as service:
        assert service.producer.service == "checkout" and service.producer.topic == "observability.events"
        with bind(correlation_id="c", trace_id="t", span_id="s"):
            assert service.inject({}) == {"C": "c", "T": "t", "S": "s"}
    with pytest.raises(ValueError, match="trace_sampling_rate"):
        EventStreamingService(config(1.5), librdkafka={"log_level": 0})


def test_a_config_file_may_be_named(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("kafka: {brokers: ['127.0.0.1:1']}\nobservability: {event_streaming: {service_name: mine}}\n")
    with EventStreamingService(path, librdkafka={"log_level": 0}) as service:
        assert service.producer.service == "mine"
    path.write_text("kafka: {broker: x}\n")
    with pytest.raises(ConfigError, match="kafka.broker"):
        EventStreamingService(str(path))


def test_a_block_that_ends_with_events_given_up_closes_the_look_ups_too(monkeypatch: pytest.MonkeyPatch):
    class Store:
        closed = False

        def close(self) -> None:
            self.closed = True

    def give_up(self: Producer, timeout_s: float | None = None) -> None:
        raise PublishError("3 events were given up")

    monkeypatch.setattr(Producer, "close", give_up)
    store = Store()
    with pytest.raises(PublishError, match="given up"):
        with EventStreamingService(config(), librdkafka={"log_level": 0}) as service:
            service._store = store  # type: ignore[assignment]
    assert store.closed
    with pytest.raises(ZeroDivisionError):
        with EventStreamingService(config(), librdkafka={"log_level": 0}):
            raise ZeroDivisionError  # which the events that were given up do not hide
