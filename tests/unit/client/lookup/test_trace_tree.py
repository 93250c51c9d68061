"""Unit tests of the trace tree. In: the events of a trace. Out: spans, times, the critical path, what is missing."""

import random
from typing import Any

import pytest

from ingestd.client.events import Event, EventType, Level, format_timestamp
from ingestd.client.lookup.trace_tree import Span, TraceTree, build_tree

BEGUN_MS = 1_795_000_000_000


def event(span_id: str | None, at_ms: float, ms: Any = None, parent: str | None = None, **fields: Any) -> Event:
    """A trace event; `ms` is its duration, by which it is an end."""
    data = {"operation": f"op {span_id}"} | ({} if ms is None else {"duration_ms": ms})
    made = {
        "id": f"{span_id}@{at_ms}",
        "type": EventType.TRACE,
        "level": Level.INFO,
        "service": "shop",
        "component": "tracing",
        "message": "a message",
        "timestamp": format_timestamp(int((BEGUN_MS + at_ms) * 1_000_000)),
        "trace_id": "t",
        "span_id": span_id,
        "metadata": {"parent_span_id": parent} if parent is not None else None,
        "data": data,
    }
    return Event(**(made | fields))


def tree_of(*events: Event) -> TraceTree:
    return build_tree("t", sorted(events, key=lambda one: (one.timestamp_ns, one.id)))


def times_ms(tree: TraceTree, span: Span) -> tuple[float, float]:
    return (span.start_ns - tree.start_ns) / 1e6, (span.end_ns - tree.start_ns) / 1e6


def path_ms(tree: TraceTree) -> list[tuple[str | None, float, float]]:
    return [
        (part.span and part.span.span_id, (part.start_ns - tree.start_ns) / 1e6, (part.end_ns - tree.start_ns) / 1e6)
        for part in tree.critical_path
    ]


def test_nothing_is_a_tree_without_spans() -> None:
    tree = tree_of()
    assert not tree
    assert (tree.spans, tree.roots, tree.critical_path, tree.bottleneck, tree.duration_ns) == ([], [], [], None, 0)


def test_an_end_alone_tells_the_start_by_its_duration() -> None:
    tree = tree_of(event("root", 100, 100))
    (root,) = tree.spans
    assert times_ms(tree, root) == (0, 100) and not root.is_open
    assert (root.operation, root.service, root.component) == ("op root", "shop", "tracing")


def test_start_and_end_of_a_span_are_one_span() -> None:
    tree = tree_of(event("root", 0, 0), event("root", 101, 100), event("kid", 20, None, "root"), event("kid", 50, 30))
    assert [times_ms(tree, span) for span in tree.spans] == [(0, 100), (20, 50)]
    assert [len(span.events) for span in tree.spans] == [2, 2]
    assert tree.find("kid").parent_id == "root"


def test_two_beginnings_are_a_start_and_an_end() -> None:
    tree = tree_of(event("root", 0), event("root", 70))
    assert times_ms(tree, tree.spans[0]) == (0, 70) and not tree.spans[0].is_open


def test_a_start_alone_is_open_and_lasts_as_long_as_what_is_known_below_it() -> None:
    tree = tree_of(event("root", 0), event("kid", 60, 50, "root"))
    root, kid = tree.spans
    assert root.is_open and not kid.is_open
    assert times_ms(tree, root) == (0, 60)
    assert root.self_ns == 10_000_000


def test_an_end_of_no_length_is_an_end() -> None:
    tree = tree_of(event("root", 5, 0))
    assert tree.spans[0].duration_ns == 0 and not tree.spans[0].is_open
    assert tree.critical_path == [] and tree.bottleneck is None


@pytest.mark.parametrize("ms", [True, "12", -1, float("nan"), float("inf"), 1e300, None, [1], {"a": 1}])
def test_what_is_no_duration_is_as_good_as_none(ms: Any) -> None:
    tree = tree_of(event("root", 0, ms))
    assert tree.spans[0].is_open and tree.spans[0].duration_ns == 0


@pytest.mark.parametrize("data", [None, [], "text", 5, {}])
def test_data_of_any_form_makes_a_span_named_by_its_message(data: Any) -> None:
    assert tree_of(event("root", 0, data=data)).spans[0].operation == "a message"


def test_self_time_is_what_the_children_leave_counted_once_where_they_overlap() -> None:
    tree = tree_of(
        event("root", 100, 100),
        event("a", 40, 30, "root"),  # 10-40
        event("b", 60, 30, "root"),  # 30-60
        event("c", 120, 30, "root"),  # 90-120: it outlasts the root
    )
    assert tree.find("root").self_ns == 40_000_000
    assert [span.span_id for span in tree.spans] == ["root", "a", "b", "c"]


def test_the_critical_path_goes_back_from_the_last_end_by_what_was_waited_for() -> None:
    tree = tree_of(
        event("root", 100, 100),
        event("quick", 30, 20, "root"),  # 10-30, beside slow
        event("slow", 60, 55, "root"),  # 5-60
        event("inner", 40, 20, "slow"),  # 20-40
        event("last", 90, 20, "root"),  # 70-90
    )
    assert path_ms(tree) == [
        ("root", 0, 5),
        ("slow", 5, 20),
        ("inner", 20, 40),
        ("slow", 40, 60),
        ("root", 60, 70),
        ("last", 70, 90),
        ("root", 90, 100),
    ]
    assert tree.find("quick").critical_ns == 0
    assert tree.bottleneck.span_id == "slow" and tree.bottleneck.critical_ns == 35_000_000


def test_the_time_between_a_send_and_its_receipt_belongs_to_nobody() -> None:
    tree = tree_of(event("send", 10, 10), event("receive", 300, 100, "send", service="mailer"))
    assert path_ms(tree) == [("send", 0, 10), (None, 10, 200), ("receive", 200, 300)]
    assert tree.bottleneck.span_id == "receive"
    assert tree.duration_ns == 300_000_000


def test_two_roots_are_two_parts_of_one_path() -> None:
    tree = tree_of(event("one", 10, 10), event("two", 50, 30))
    assert path_ms(tree) == [("one", 0, 10), (None, 10, 20), ("two", 20, 50)]


def test_a_missing_parent_is_named_and_holds_its_children() -> None:
    tree = tree_of(event("root", 100, 100), event("a", 40, 20, "gone"), event("b", 60, 10, "gone"))
    assert tree.missing_parents == ["gone"]
    assert [span.span_id for span in tree.orphans] == ["a", "b"]
    gone = tree.find("gone")
    assert gone.missing and times_ms(tree, gone) == (20, 60) and gone.self_ns == 0
    assert tree.bottleneck.span_id == "root"


def test_a_missing_parent_is_never_the_bottleneck() -> None:
    tree = tree_of(event("a", 10, 10, "gone"), event("b", 200, 20, "gone"))
    assert path_ms(tree) == [("a", 0, 10), (None, 10, 180), ("b", 180, 200)]
    assert tree.bottleneck.span_id == "b"


def test_a_clock_that_is_behind_is_moved_with_all_that_it_timed() -> None:
    tree = tree_of(
        event("root", 100, 100),
        event("early", -20, 10, "root", service="other"),  # 30 ms before its parent
        event("next", 0, 10, "root", service="other"),
        event("below", -22, 5, "early", service="other"),
        event("right", 50, 10, "root", service="third"),
    )
    assert times_ms(tree, tree.find("early")) == (0, 10)
    assert times_ms(tree, tree.find("next")) == (20, 30)
    assert times_ms(tree, tree.find("below")) == (3, 8)
    assert times_ms(tree, tree.find("right")) == (40, 50)
    assert {span.span_id: span.skew_ns // 1_000_000 for span in tree.spans} == {
        "root": 0, "early": 30, "next": 30, "below": 30, "right": 0,
    }  # fmt: skip
    assert tree.duration_ns == 100_000_000


def test_hosts_of_one_service_have_clocks_of_their_own() -> None:
    tree = tree_of(
        event("root", 100, 100),
        event("a", -10, 10, "root", service="s", metadata={"parent_span_id": "root", "host": "a"}),
        event("b", 30, 10, "root", service="s", metadata={"parent_span_id": "root", "host": "b"}),
    )
    assert [tree.find(name).skew_ns // 1_000_000 for name in "ab"] == [20, 0]


def test_parents_that_go_round_end_in_a_root() -> None:
    tree = tree_of(event("a", 10, 5, "c"), event("b", 20, 5, "a"), event("c", 30, 5, "b"), event("d", 8, 1, "c"))
    assert [(span.span_id, span.depth) for span in tree.spans] == [("a", 0), ("b", 1), ("c", 2), ("d", 3)]
    own = tree_of(event("a", 10, 5, "a"))
    assert [span.span_id for span in own.roots] == ["a"]


def test_an_error_of_a_span_or_of_a_log_in_it_marks_the_span() -> None:
    tree = tree_of(
        event("fine", 10, 10),
        event("failed", 9, 5, "fine", level=Level.ERROR),
        event("told", 8, 2, "fine"),
        event("told", 7, type=EventType.LOG, level=Level.FATAL, data=None),
    )
    assert sorted(span.span_id for span in tree.errors) == ["failed", "told"]
    assert tree.find("told").duration_ns == 2_000_000


def test_logs_and_trace_events_without_a_span_are_kept_and_make_none() -> None:
    log = event("nobody", 5, type=EventType.LOG)
    bare = event(None, 6, 10)
    tree = tree_of(log, bare)
    assert tree and tree.spans == [] and tree.critical_path == []
    assert tree.events == [log, bare]


def test_times_that_cannot_be_read_do_no_harm() -> None:
    tree = tree_of(event("root", 100, 100))
    odd = event("odd", 0, 5, "root")
    odd.timestamp = "0000-01-01T00:00:00Z"
    assert len(build_tree("t", [*tree.events, odd]).spans) == 2


def test_a_trace_ten_thousand_spans_deep_is_no_harder() -> None:
    events = [event(f"s{n}", 20_000 - n, 20_000 - 2 * n, f"s{n - 1}" if n else None) for n in range(9_999)]
    tree = tree_of(*events)
    assert tree.spans[-1].depth == 9_998
    assert sum(part.end_ns - part.start_ns for part in tree.critical_path) == tree.duration_ns


def test_any_tree_keeps_its_sums(seed: int) -> None:
    """The path covers the trace without a gap or an overlap; own times are those of its parts."""
    source = random.Random(seed)
    for _ in range(200):
        names = [f"s{number}" for number in range(source.randrange(1, 12))]
        events = [
            event(
                name,
                source.randrange(200),
                source.choice((None, 0, source.randrange(100))),
                source.choice((None, "gone", *names)),
                service=source.choice("abc"),
            )
            for name in names
        ]
        tree = tree_of(*events)
        assert sorted(span.span_id for span in tree.spans if not span.missing) == sorted(names)
        at_ns = tree.start_ns
        for part in tree.critical_path:
            assert part.start_ns == at_ns and part.end_ns > part.start_ns
            at_ns = part.end_ns
        assert at_ns == tree.end_ns
        for span in tree.spans:
            parts = [part for part in tree.critical_path if part.span is span]
            assert span.critical_ns == sum(part.end_ns - part.start_ns for part in parts) <= span.duration_ns
            assert 0 <= span.self_ns <= span.duration_ns
            assert all(child.start_ns >= span.start_ns for child in span.children)
