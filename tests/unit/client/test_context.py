"""Which correlation and trace the running code belongs to: in blocks, threads, tasks, headers, with OpenTelemetry."""

import asyncio
import contextvars
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
from opentelemetry import trace as otel
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from ingestd.client import attach, bind, current, detach, extract, inject
from ingestd.client.context import EMPTY, HeaderNames, TraceContext
from ingestd.client.ids import new_event_id, new_span_id, new_trace_id

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def otel_span(trace: int, span: int, flags: int = 1):
    context = SpanContext(trace, span, is_remote=False, trace_flags=TraceFlags(flags))
    return otel.use_span(NonRecordingSpan(context))


def test_blocks_nest_and_end():
    assert current() == EMPTY
    with bind(correlation_id="c"):
        with bind(trace_id="t", span_id="s", sampled=True):
            assert current() == TraceContext("c", "t", "s", True)
            with bind(trace_id="other"):
                assert current() == TraceContext("c", "other")
            with bind(correlation_id=""):
                assert current() == TraceContext(None, "t", "s", True)
        assert current() == TraceContext("c")
    assert current() == EMPTY


def test_a_hook_may_attach_and_detach():
    token = attach(TraceContext("c"))
    assert current().correlation_id == "c"
    detach(token)
    assert current() == EMPTY


def test_each_task_has_its_own_and_starts_with_its_makers():
    async def child(name: str) -> tuple[str | None, str | None]:
        with bind(correlation_id=name):
            await asyncio.sleep(0)
            return current().correlation_id, current().trace_id

    async def work() -> list[tuple[str | None, str | None]]:
        with bind(trace_id="t"):
            return await asyncio.gather(*(child(f"c{number}") for number in range(10)))

    assert asyncio.run(work()) == [(f"c{number}", "t") for number in range(10)]


def in_thread(call: Callable[[], TraceContext]) -> TraceContext:
    found: list[TraceContext] = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]


def test_a_thread_has_none_unless_it_is_carried_over():
    with bind(correlation_id="c"):
        carried = contextvars.copy_context()
        assert in_thread(current) == EMPTY
        assert in_thread(lambda: carried.run(current)) == TraceContext("c")


def test_headers_of_a_request():
    with bind(correlation_id="c", trace_id=TRACE, span_id=SPAN):
        headers = inject({"Accept": "x"})
    parent = f"00-{TRACE}-{SPAN}-01"
    assert headers == {
        "Accept": "x",
        "X-Correlation-ID": "c",
        "X-Trace-ID": TRACE,
        "X-Span-ID": SPAN,
        "traceparent": parent,
    }
    assert extract(headers) == TraceContext("c", TRACE, SPAN, True)
    assert extract({name.lower(): text for name, text in headers.items()}) == TraceContext("c", TRACE, SPAN, True)
    assert extract([(name.encode(), text.encode()) for name, text in headers.items()]).span_id == SPAN


def test_headers_of_a_record_are_replaced_in_place():
    headers = [("x-correlation-id", b"old"), ("a", b"b")]
    assert inject(headers, context=TraceContext("c")) is headers
    assert headers == [("a", b"b"), ("X-Correlation-ID", b"c")]
    assert extract(headers) == TraceContext("c")
    assert extract([("correlation_id", b"plain"), ("event_type", b"log")]) == TraceContext("plain")
    assert extract(None) == EMPTY == extract([])


def test_header_names_are_configurable():
    names = HeaderNames("C", "T", "S")
    assert inject({}, names, TraceContext("c", "t", "s")) == {"C": "c", "T": "t", "S": "s"}
    assert extract({"c": "1", "T": "2", "s": "3"}, names) == TraceContext("1", "2", "3")


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"traceparent": f"00-{TRACE}-{SPAN}-00"}, (TRACE, SPAN, False)),
        ({"traceparent": f" 00-{TRACE}-{SPAN}-03 "}, (TRACE, SPAN, True)),
        ({"traceparent": f"cc-{TRACE}-{SPAN}-01-more"}, (TRACE, SPAN, True)),
        ({"traceparent": f"00-{TRACE}-{SPAN}-01-more"}, (None, None, None)),
        ({"traceparent": f"ff-{TRACE}-{SPAN}-01"}, (None, None, None)),
        ({"traceparent": f"00-{TRACE.upper()}-{SPAN}-01"}, (None, None, None)),
        ({"traceparent": f"00-{'0' * 32}-{SPAN}-01"}, (None, None, None)),
        ({"traceparent": "nonsense"}, (None, None, None)),
        ({"X-Trace-ID": "mine", "traceparent": f"00-{TRACE}-{SPAN}-01"}, ("mine", None, None)),
        (
            {"X-Trace-ID": "4bf92f35-77b3-4da6-a3ce-929d0e0e4736", "traceparent": f"00-{TRACE}-{SPAN}-00"},
            ("4bf92f35-77b3-4da6-a3ce-929d0e0e4736", SPAN, False),
        ),
        ({"X-Span-ID": "alone"}, (None, None, None)),
    ],
)
def test_traceparent_is_read_as_w3c_has_it(headers: dict[str, str], found: tuple):
    context = extract(headers)
    assert (context.trace_id, context.span_id, context.sampled) == found


def test_the_current_span_of_opentelemetry_is_taken():
    with bind(correlation_id="c"), otel_span(0xABC, 0xDEF, 0):
        found = current()
        assert (found.correlation_id, found.trace_id, found.span_id) == ("c", f"{0xABC:032x}", f"{0xDEF:016x}")
        assert found.sampled is False
    assert current() == EMPTY


def test_of_ours_and_opentelemetrys_the_inner_one_counts():
    with otel_span(1, 2):
        with bind(trace_id="ours", span_id="s"):
            assert current().trace_id == "ours"
            with bind(correlation_id="c"):
                assert current().trace_id == "ours"
            with otel_span(3, 4):
                assert current().trace_id == f"{3:032x}"
                with bind(trace_id="inmost"):
                    assert current().trace_id == "inmost"
            assert current().trace_id == "ours"
        assert current().trace_id == f"{1:032x}"
    with bind(trace_id="ours"), otel_span(1, 2):
        assert current().trace_id == f"{1:032x}"


def test_opentelemetry_is_never_imported():
    code = "import sys; from ingestd.client import current; current(); assert 'opentelemetry' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_ids_have_their_form_and_differ():
    events, traces, spans = ({make() for _ in range(2000)} for make in (new_event_id, new_trace_id, new_span_id))
    assert len(events) == len(traces) == len(spans) == 2000
    for text in events:
        assert [len(part) for part in text.split("-")] == [8, 4, 4, 4, 12]
        assert text[14] == "4" and text[19] in "89ab"
    assert {len(text) for text in traces} == {32} and {len(text) for text in spans} == {16}
    assert not "".join(traces | spans).strip("0123456789abcdef")
