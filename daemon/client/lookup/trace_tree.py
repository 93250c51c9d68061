"""Builds the tree of a trace from its events: spans with their times, the critical path, and what is missing.

No I/O. How times are read: `data.duration_ms` is the length of a span. An event without one is the span's beginning;
the event with it was written at the end. A span with a beginning alone is open: it lasts as long as what is known below
it.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from ..events import Event, EventType, InvalidEvent, Level

_NS_PER_MS: Final = 1_000_000
# A century; what is longer is no duration.
_DURATION_MS_MAX: Final = 3_155_760_000_000


@dataclass(eq=False, slots=True)
class Span:
    """One span. Times are those of its own clock, moved by `skew_ns` where that clock was seen to be behind.

    missing: others name it as their parent, and no event of it was found; then only `span_id` and `children` are known.
    """

    span_id: str
    parent_id: str | None = None
    service: str = ""
    component: str = ""
    operation: str = ""
    start_ns: int = 0
    end_ns: int = 0
    self_ns: int = 0  # without its children
    critical_ns: int = 0  # of its own on the critical path
    skew_ns: int = 0
    depth: int = 0
    is_open: bool = False
    missing: bool = False
    has_error: bool = False
    children: list["Span"] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)  # in time order: its own, and the logs that carry its id

    @property
    def duration_ns(self) -> int:
        return self.end_ns - self.start_ns


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of the critical path. span None: nothing ran, as between a send and its receipt."""

    span: Span | None
    start_ns: int
    end_ns: int


@dataclass(eq=False, slots=True)
class TraceTree:
    """A trace. False when nothing of it was found."""

    trace_id: str
    events: list[Event]
    roots: list[Span] = field(default_factory=list)  # the missing parents are among them
    spans: list[Span] = field(default_factory=list)  # each before its children, siblings by their start
    critical_path: list[Segment] = field(default_factory=list)  # from the first start to the last end
    bottleneck: Span | None = None  # the longest of its own on the critical path
    start_ns: int = 0
    end_ns: int = 0

    def __bool__(self) -> bool:
        return bool(self.events)

    @property
    def duration_ns(self) -> int:
        return self.end_ns - self.start_ns

    @property
    def missing_parents(self) -> list[str]:
        """Span ids that are named as parents, and of which there is no event."""
        return [span.span_id for span in self.roots if span.missing]

    @property
    def orphans(self) -> list[Span]:
        """Spans whose parent is missing."""
        return [child for span in self.roots if span.missing for child in span.children]

    @property
    def errors(self) -> list[Span]:
        return [span for span in self.spans if span.has_error]

    def find(self, span_id: str) -> Span | None:
        return next((span for span in self.spans if span.span_id == span_id), None)


def build_tree(trace_id: str, events: Iterable[Event]) -> TraceTree:
    """The tree of events that are in time order."""
    kept = list(events)
    by_span: dict[str, list[Event]] = defaultdict(list)
    for event in kept:
        if event.span_id:
            by_span[event.span_id].append(event)
    spans = {
        span_id: _read_span(span_id, of_span)
        for span_id, of_span in by_span.items()
        if any(event.type == EventType.TRACE for event in of_span)
    }
    tree = TraceTree(trace_id, kept, _link(spans))
    tree.spans = list(_walk(tree.roots))
    _mend_clocks(tree.spans)
    for span in reversed(tree.spans):
        _stretch(span)
        span.children.sort(key=_by_start)
        span.self_ns = 0 if span.missing else span.duration_ns - _covered_ns(span)
    tree.roots.sort(key=_by_start)
    tree.spans = list(_walk(tree.roots))
    if tree.spans:
        tree.start_ns = min(span.start_ns for span in tree.spans)
        tree.end_ns = max(span.end_ns for span in tree.spans)
        tree.critical_path = _critical_path(tree.roots, tree.start_ns, tree.spans)
        on_path = [span for span in tree.spans if span.critical_ns and not span.missing]
        tree.bottleneck = max(on_path, key=lambda span: span.critical_ns, default=None)
    return tree


def _by_start(span: Span) -> tuple[int, str]:
    return span.start_ns, span.span_id


def duration_ns(event: Event) -> int | None:
    """`data.duration_ms` when it is one: finite, not negative, no boolean."""
    value = event.data.get("duration_ms") if isinstance(event.data, dict) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if not (math.isfinite(value) and 0 <= value <= _DURATION_MS_MAX):
        return None
    return round(value * _NS_PER_MS)


def _text_of(events: Iterable[Event], carrier: str, name: str) -> str:
    """The first of such texts in `metadata` or `data`."""
    for event in events:
        fields: Any = getattr(event, carrier)
        found = fields.get(name) if isinstance(fields, dict) else None
        if isinstance(found, str) and found:
            return found
    return ""


def _time_ns(event: Event) -> int:
    try:
        return event.timestamp_ns
    except InvalidEvent:
        return 0


def _read_span(span_id: str, events: list[Event]) -> Span:
    own = [event for event in events if event.type == EventType.TRACE]
    span = Span(
        span_id,
        parent_id=_text_of(own, "metadata", "parent_span_id") or None,
        service=own[0].service,
        component=own[0].component,
        operation=_text_of(own, "data", "operation") or own[0].message,
        events=events,
        has_error=any(event.level in (Level.ERROR, Level.FATAL) for event in events),
    )
    times = [(_time_ns(event), duration_ns(event)) for event in own]
    lengths = [(time_ns, length_ns) for time_ns, length_ns in times if length_ns is not None]
    begins = [time_ns for time_ns, length_ns in times if not length_ns]
    if not lengths:
        # Two beginnings are what a library that knows no durations writes: a start and an end.
        span.start_ns, span.end_ns, span.is_open = min(begins), max(begins), len(begins) == 1
        return span
    # A beginning may say 0 ms: beside an end that says more, it is none.
    end_ns, length_ns = max(lengths, key=lambda one: (one[1] > 0, one[0]))
    span.start_ns = min(begins) if begins and length_ns else end_ns - length_ns
    span.end_ns = span.start_ns + length_ns
    return span


def _link(spans: dict[str, Span]) -> list[Span]:
    """Children under their parents; gives the roots. A parent without events gets a place of its own."""
    missing: dict[str, Span] = {}
    roots = []
    cut = _round_heads(spans)
    for span in spans.values():
        if span.parent_id is None or span in cut:
            roots.append(span)
            continue
        parent = spans.get(span.parent_id) or missing.setdefault(span.parent_id, Span(span.parent_id, missing=True))
        parent.children.append(span)
    return [*roots, *missing.values()]


def _round_heads(spans: dict[str, Span]) -> set[Span]:
    """Where parents go round, the first span to begin of each round: there it is cut."""
    heads: set[Span] = set()
    done: set[Span] = set()
    for span in spans.values():
        path: dict[Span, None] = {}
        at: Span | None = span
        while at is not None and at not in done and at not in path:
            path[at] = None
            at = spans.get(at.parent_id or "")
        if at is not None and at in path:
            walked = list(path)
            heads.add(min(walked[walked.index(at) :], key=_by_start))
        done.update(path)
    return heads


def _walk(roots: list[Span]) -> Iterator[Span]:
    """Each before its children. Without recursion: a trace may be ten thousand spans deep."""
    for root in roots:
        root.depth = 0
    waiting = roots[::-1]
    while waiting:
        span = waiting.pop()
        yield span
        for child in reversed(span.children):
            child.depth = span.depth + 1
            waiting.append(child)


def _clock(span: Span) -> tuple[str, str]:
    """Whose clock a span's times are from."""
    return span.service, _text_of(span.events, "metadata", "host")


def _mend_clocks(spans: list[Span]) -> None:
    """No child begins before its parent: where one does, its clock is behind, and all of that clock move together.

    A child that ends after its parent is no such sign, as a message may be worked on long after it was sent.
    """
    for parent in spans:
        behind: dict[tuple[str, str], int] = {}
        for child in parent.children:
            child.skew_ns += parent.skew_ns
            child.start_ns += parent.skew_ns
            child.end_ns += parent.skew_ns
            if not parent.missing and child.start_ns < parent.start_ns:
                clock = _clock(child)
                behind[clock] = max(behind.get(clock, 0), parent.start_ns - child.start_ns)
        if not behind:
            continue
        for child in parent.children:
            shift_ns = behind.get(_clock(child), 0)
            child.skew_ns += shift_ns
            child.start_ns += shift_ns
            child.end_ns += shift_ns


def _stretch(span: Span) -> None:
    """What is missing or open lasts as long as what is below it."""
    if span.missing:
        span.start_ns = min(child.start_ns for child in span.children)
    if span.missing or span.is_open:
        span.end_ns = max([span.start_ns, *(child.end_ns for child in span.children)])


def _covered_ns(span: Span) -> int:
    """How much of a span its children take. They are in order of their starts."""
    covered_ns, reached_ns = 0, span.start_ns
    for child in span.children:
        begin_ns, end_ns = max(child.start_ns, reached_ns), min(child.end_ns, span.end_ns)
        if end_ns > begin_ns:
            covered_ns += end_ns - begin_ns
            reached_ns = end_ns
    return covered_ns


def _critical_path(roots: list[Span], start_ns: int, spans: list[Span]) -> list[Segment]:
    """From the last end backwards: at each moment the one that was waited for, down to the leaves.

    `reach`: the end of a span and of all below it, which may outlast it.
    """
    reach: dict[Span, int] = {}
    for span in reversed(spans):
        reach[span] = max([span.end_ns, *(reach[child] for child in span.children)])
    segments: list[Segment] = []
    waiting: list[tuple[Span | None, list[Span], int, int]] = [
        (None, roots, start_ns, max(reach[root] for root in roots))
    ]
    while waiting:
        owner, children, begin_ns, at_ns = waiting.pop()
        for child in sorted(children, key=lambda one: (-reach[one], one.start_ns)):
            if reach[child] > at_ns or reach[child] <= max(child.start_ns, begin_ns):
                continue  # beside the one that was waited for, or of no length
            _add_segments(segments, owner, reach[child], at_ns)
            at_ns = max(child.start_ns, begin_ns)
            waiting.append((child, child.children, at_ns, reach[child]))
        _add_segments(segments, owner, begin_ns, at_ns)
    return sorted(segments, key=lambda segment: segment.start_ns)


def _add_segments(segments: list[Segment], owner: Span | None, begin_ns: int, end_ns: int) -> None:
    """The owner's own time; what is after its end belongs to nobody."""
    own_end_ns = begin_ns if owner is None or owner.missing else min(end_ns, max(owner.end_ns, begin_ns))
    if own_end_ns > begin_ns:
        assert owner is not None
        owner.critical_ns += own_end_ns - begin_ns
        segments.append(Segment(owner, begin_ns, own_end_ns))
    if end_ns > own_end_ns:
        segments.append(Segment(None, own_end_ns, end_ns))
