"""Unit tests of how events look. In: events, trees and widths. Out: lines that fit, and print nothing else."""

from datetime import UTC, datetime, timedelta

import pytest
from rich.cells import cell_len

from ingestd.cli.shared import times
from ingestd.cli.shared.events_view import Timeline, Waterfall, card, trace_heading, trace_notes
from ingestd.cli.shared.messages import printable
from ingestd.client.events import ZERO_TIMESTAMP, Event, EventType, Level, format_timestamp
from ingestd.client.lookup.trace_tree import TraceTree, build_tree


def event(number: int = 0, **fields: object) -> Event:
    made: dict[str, object] = {
        "id": f"e{number}",
        "type": EventType.LOG,
        "level": Level.ERROR,
        "service": "päyments 服务",
        "component": "c" * 40,
        "message": "a long message 😀 with wide characters 很长 " * 5 + "\x1b]0;title\x07\u202e",
        "timestamp": format_timestamp(1_795_000_000_000_000_000 + number * 7_000_000),
    }
    return Event(**(made | fields))  # type: ignore[arg-type]


def tree(count: int = 12) -> TraceTree:
    return build_tree(
        "t",
        [
            event(
                n,
                type=EventType.TRACE,
                span_id=f"s{n}",
                metadata={"parent_span_id": f"s{n - 1}" if n % 5 else "gone"},
                data={"duration_ms": n * 3.5} if n % 4 else None,
            )
            for n in range(count)
        ],
    )


@pytest.mark.parametrize("width", [1, 20, 40, 80, 133, 250])
def test_every_line_fits_the_width(width: int) -> None:
    timeline = Timeline(width, False)
    lines = list(timeline.lines(event(number) for number in range(5)))
    assert all(cell_len(line.plain) <= max(width, 14) for line in lines)
    for line in Waterfall(tree(), width, 100).lines():
        assert cell_len(line.plain) <= width


def test_without_a_width_nothing_is_cut() -> None:
    message, service = "x" * 1000, "s" * 50
    _, line = Timeline(None, False).lines([event(message=message, service=service)])
    assert line.plain.endswith(message) and f"{service}/{'c' * 40}" in line.plain


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_message_gets_the_width_that_is_there(width: int) -> None:
    message = "card refused by the bank of the customer: the limit of 200 euros a day is reached, try again tomorrow"
    _, *lines = Timeline(width, False).lines([event(service="payments", component="gateway-adapter", message=message)])
    shown = " ".join(line.plain for line in lines)
    assert "payments/gateway-adapter" in shown
    assert message in " ".join(shown.split())
    assert len(lines) == {40: 5, 80: 3, 200: 1}[width]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_waterfall_shows_every_name_and_time_at_every_width(width: int) -> None:
    spans = [
        event(
            n, type=EventType.TRACE, span_id=f"s{n}", service="payments", message=f"charge {n}", data={"duration_ms": 3}
        )
        for n in range(5)
    ]
    shown = "\n".join(line.plain for line in Waterfall(build_tree("t", spans), width, 100).lines())
    assert all(f"charge {n}" in shown for n in range(5)) and shown.count("3.00 ms") == 5
    assert "…" not in shown


def test_what_is_no_print_is_escaped() -> None:
    assert printable("a\x1b[2J\n\tb\u202e\ud800é服") == "a\\x1b[2J\\n\\tb\\u202e\\ud800é服"
    texts = [line.plain for line in card(event(id="\x1b[2J", metadata={"\x07": "\x1b"}, data=["\x1b"]), False)]
    texts += [line.plain for line in trace_notes(tree())] + [trace_heading(tree(), False).plain.replace("\n", "")]
    assert all(text.isprintable() for text in texts)


def test_events_without_a_time_say_so() -> None:
    timeline = Timeline(80, False)
    lines = [
        line.plain
        for line in timeline.lines(
            event(timestamp=text, message="m", component="c") for text in (ZERO_TIMESTAMP, "0000-00")
        )
    ]
    assert [line.strip().split("  ")[0] for line in lines] == ["no time", "no time"]
    assert timeline.summary().plain == "2 events of 1 service, 2 errors"


@pytest.mark.parametrize("timestamp", ["9999-12-31T23:59:59.999Z", "0001-01-01T00:00:00.1Z"])
def test_the_ends_of_the_calendar_are_shown(timestamp: str) -> None:
    assert len(list(Timeline(80, True).lines([event(timestamp=timestamp, message="m", component="c")]))) == 2


def test_the_day_is_said_where_it_changes() -> None:
    day_ns = 86_400_000_000_000
    events = [event(timestamp=format_timestamp(1_795_000_000_000_000_000 + n * day_ns // 2)) for n in range(4)]
    assert [line.plain for line in Timeline(80, False).lines(events) if "UTC" in line.plain] == [
        "2026-11-18 UTC", "2026-11-19 UTC",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "h", "1", "1x", "m1", "1m1h", "-1h", "1.5h", " 1h", "1h ", "٣h"])
def test_what_is_no_length_of_time(text: str) -> None:
    assert times.parse_span(text) is None


def test_lengths_of_time() -> None:
    assert times.parse_span("1h30m") == timedelta(minutes=90)
    assert times.parse_span("2w1d") == timedelta(days=15)
    assert times.parse_span("90s") == timedelta(seconds=90)
    assert times.parse_span("9" * 30 + "w") is None


def test_moments_are_ago_or_rfc_3339() -> None:
    moment = times.Moment()
    assert moment.convert("2026-11-24T10:00:00.5+01:00", None, None) == datetime(2026, 11, 24, 9, 0, 0, 500_000, UTC)
    begun = moment.convert("1h", None, None)
    ago = datetime.now(UTC) - begun
    assert timedelta(hours=1) <= ago < timedelta(hours=1, minutes=1)


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, "0.00 ms"),
        (412_300_000, "412.30 ms"),
        (2_500_000_000, "2.50 s"),
        (187_000_000_000, "3 min 07 s"),
        (3_600_000_000_000, "1 h 00 min"),
    ],
)
def test_lengths_are_said_with_what_can_be_told_apart(time_ns: int, text: str) -> None:
    assert times.length(time_ns) == text
