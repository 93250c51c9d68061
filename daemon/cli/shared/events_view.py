"""How found events look on a terminal: timelines and waterfalls of a given width, and the same as JSON. Pure.

Whatever an event holds, what is printed holds no command for the terminal: characters that are no print are escaped.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from rich.cells import cell_len, chop_cells
from rich.text import Text

from ...client.events import ZERO_TIMESTAMP, Event, EventType, InvalidEvent, Level
from ...client.lookup.trace_tree import Span, TraceTree
from . import times
from .messages import printable

LEVEL_STYLES = {Level.DEBUG: "dim", Level.WARNING: "yellow", Level.ERROR: "red", Level.FATAL: "bold red"}
WHO_CELLS_MAX = 26  # so far names of services are aligned; a longer one is longer
MESSAGE_CELLS_MIN = 40  # a message that has less beside its event, and is longer, stands below
MESSAGE_LINES_MAX = 4
MESSAGE_INDENT = 6
LABEL_SHARE = 0.4  # of the width, for the names in a waterfall
BAR_CELLS_MIN = 10
STACKED_BELOW_CELLS = 64  # a narrower waterfall has its names above the bars
INDENT_CELLS = 2
ERRORS_SHOWN_MAX = 10
NOTES_SHOWN_MAX = 10


def shown(text: Text, width: int | None) -> Text:
    """Cut to the width, with an ellipsis; None: as it is."""
    if width is not None:
        text.truncate(max(1, width), overflow="ellipsis")
    return text


def wrapped(text: str, cells: int, lines_max: int) -> list[str]:
    """Lines of so many cells, broken between words where that can be; the last ends with an ellipsis when it must."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(longer) <= cells:
            lines[-1] = longer
        else:
            lines += chop_cells(word, cells)
    lines = [line for line in lines if line] or [""]
    if len(lines) > lines_max:
        last = Text(lines[lines_max - 1])
        last.truncate(cells - 1)
        lines[lines_max - 1 :] = [last.plain + "…"]
    return lines


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def time_of(event: Event) -> int | None:
    """None: it has none, or one that is no moment."""
    try:
        return None if event.timestamp == ZERO_TIMESTAMP else event.timestamp_ns
    except InvalidEvent:
        return None


def moment_text(event: Event, local: bool) -> str:
    time_ns = time_of(event)
    if time_ns is None:
        return "no time"
    moment = times.from_ns(time_ns, local)
    return f"{times.of_date(moment)} {times.of_day(moment)}"


def who(event: Event) -> str:
    return printable(f"{event.service}/{event.component}" if event.component else event.service)


class Timeline:
    """Lines for events as they come; a line for the day where it changes. `width` None: nothing is cut."""

    def __init__(self, width: int | None, local: bool) -> None:
        self._width, self._local = width, local
        self._day = ""
        self._who_cells = 0
        self._levels: Counter[Level] = Counter()
        self._services: set[str] = set()
        self._bounds: tuple[int, int] | None = None
        self.count = 0

    def lines(self, events: Iterable[Event]) -> Iterator[Text]:
        batch = list(events)
        widest = max((cell_len(who(event)) for event in batch), default=0)
        self._who_cells = max(self._who_cells, min(WHO_CELLS_MAX, widest))
        for event in batch:
            time_ns = time_of(event)
            self._tell(event, time_ns)
            clock = "no time"
            if time_ns is not None:
                moment = times.from_ns(time_ns, self._local)
                clock = times.of_day(moment)
                if times.of_date(moment) != self._day:
                    self._day = times.of_date(moment)
                    yield Text(self._day, "dim")
            yield from (shown(line, self._width) for line in self._event(event, f"{clock:12}"))

    def _tell(self, event: Event, time_ns: int | None) -> None:
        self.count += 1
        self._levels[event.level] += 1
        self._services.add(event.service)
        if time_ns is not None:
            first, last = self._bounds or (time_ns, time_ns)
            self._bounds = min(first, time_ns), max(last, time_ns)

    def _event(self, event: Event, time: str) -> Iterator[Text]:
        """On one line where it fits; else the message goes on below, over the width that is there."""
        style = LEVEL_STYLES.get(event.level, "")
        message_style = style if event.level in (Level.ERROR, Level.FATAL) else ""
        place, message = who(event), printable(event.message)
        start = Text.assemble((f"  {time}  ", "dim"), (f"{event.level:7}  ", style), f"{event.type:6}  ")
        padding = " " * max(0, self._who_cells - cell_len(place))
        head = start.copy().append(f"{place}{padding}  ", "cyan")
        room = 0 if self._width is None else self._width - head.cell_len
        if self._width is None or cell_len(message) <= room:
            yield head.append(message, message_style)
            return
        beside = room >= MESSAGE_CELLS_MIN
        indent = head.cell_len if beside else MESSAGE_INDENT
        cells = max(MESSAGE_INDENT, self._width - indent)
        if beside:
            pass
        elif start.cell_len + cell_len(place) <= self._width:
            yield start.append(place, "cyan")
        else:
            yield start
            yield from (Text(" " * indent).append(part, "cyan") for part in wrapped(place, cells, MESSAGE_LINES_MAX))
        for at, part in enumerate(wrapped(message, cells, MESSAGE_LINES_MAX)):
            line = head if beside and not at else Text(" " * indent)
            yield line.append(part, message_style)

    def summary(self) -> Text:
        errors = self._levels[Level.ERROR] + self._levels[Level.FATAL]
        text = Text(f"{plural(self.count, 'event')} of {plural(len(self._services), 'service')}")
        if self.count > 1 and self._bounds is not None:
            text.append(f" in {times.length(self._bounds[1] - self._bounds[0])}")
        if errors:
            text.append(f", {plural(errors, 'error')}", "red")
        return text


def card(event: Event, local: bool) -> Iterator[Text]:
    """One event, field by field."""
    style = LEVEL_STYLES.get(event.level, "")
    rows = [
        ("time", f"{moment_text(event, local)}  ({event.timestamp})", ""),
        ("type", str(event.type), ""),
        ("level", str(event.level), style),
        ("from", who(event), ""),
        ("message", event.message, style),
        ("correlation", event.any_correlation_id or "", ""),
        ("trace", event.trace_id or "", ""),
        ("span", event.span_id or "", ""),
    ]
    yield Text(printable(event.id), "bold")
    for name, value, value_style in rows:
        if value:
            yield Text.assemble((f"  {name:12}", "dim"), (printable(value), value_style))
    for name, fields in (("labels", event.labels), ("metadata", event.metadata), ("data", event.data)):
        if fields:
            pairs = fields.items() if isinstance(fields, dict) else [("", fields)]
            for key, item in pairs:
                text = item if isinstance(item, str) else msgspec.json.encode(item).decode()
                yield Text.assemble((f"  {name:12}", "dim"), printable(f"{key} = {text}" if key else text))
                name = ""


def span_name(span: Span) -> str:
    if span.missing:
        return f"? {printable(span.span_id)}"
    return printable(f"{span.service} {span.operation}".strip()) or printable(span.span_id)


class Waterfall:
    """A trace as bars under each other, as wide as `width`. At most `rows_max` spans."""

    def __init__(self, tree: TraceTree, width: int, rows_max: int) -> None:
        self._tree, self._width = tree, width
        self._rows = tree.spans[:rows_max]
        self._times = [self._time(span) for span in self._rows]
        times_cells = max((len(text) for text in self._times), default=0)
        widest = max((cell_len(self._label(span)) for span in self._rows), default=0)
        self._stacked = width < STACKED_BELOW_CELLS and widest > int(width * LABEL_SHARE)
        self._label_cells = 0 if self._stacked else min(widest, int(width * LABEL_SHARE))
        # Two spaces around the bar; in front of all a column for the mark of an error.
        self._bar_cells = max(BAR_CELLS_MIN, width - self._label_cells - times_cells - 6)
        self._times_cells = times_cells
        self._own: dict[Span, list[tuple[int, int]]] = {}
        for part in tree.critical_path:
            if part.span is not None:
                self._own.setdefault(part.span, []).append((part.start_ns, part.end_ns))

    @staticmethod
    def _time(span: Span) -> str:
        return "missing" if span.missing else f"{'> ' if span.is_open else ''}{times.length(span.duration_ns)}"

    def _label(self, span: Span) -> str:
        # A deep tree is not drawn out of the picture.
        return " " * min(INDENT_CELLS * span.depth, int(self._width * LABEL_SHARE) // 2) + span_name(span)

    def _cell(self, time_ns: int) -> float:
        return (time_ns - self._tree.start_ns) / (self._tree.duration_ns or 1) * self._bar_cells

    def _bar(self, span: Span) -> str:
        """▒ for the span, █ where it is on the critical path."""
        cells = [" "] * self._bar_cells
        pieces = [(span.start_ns, span.end_ns, "·" if span.missing else "▒")]
        pieces += [(begin, end, "█") for begin, end in self._own.get(span, ())]
        for begin_ns, end_ns, mark in pieces:
            begin = min(int(self._cell(begin_ns)), self._bar_cells - 1)
            for cell in range(begin, max(begin + 1, min(round(self._cell(end_ns)), self._bar_cells))):
                cells[cell] = mark
        return "".join(cells)

    def lines(self) -> Iterator[Text]:
        for span, time in zip(self._rows, self._times, strict=True):
            style = "red" if span.has_error else "dim" if span.missing else ""
            mark = ("! " if span.has_error else "  ", "red")
            label = Text(self._label(span))
            bold = " bold" if span is self._tree.bottleneck else ""
            if self._stacked:
                yield shown(Text.assemble(mark, (label.plain, style + bold)), self._width)
                mark, label = ("  ", ""), Text()
            else:
                label.truncate(self._label_cells, overflow="ellipsis", pad=True)
            yield shown(
                Text.assemble(
                    mark,
                    (label.plain, style + bold),
                    "  ",
                    (self._bar(span), style or "green"),
                    (f"  {time:>{self._times_cells}}", style + bold),
                ),
                self._width,
            )
        left = len(self._tree.spans) - len(self._rows)
        if left:
            yield Text(f"  and {plural(left, 'more span')}: --limit shows more, --json all", "dim")


def trace_heading(tree: TraceTree, local: bool) -> Text:
    if tree.spans:
        moment = times.from_ns(tree.start_ns, local)
        begun = f"{times.of_date(moment)} {times.of_day(moment)}"
    else:
        begun = moment_text(tree.events[0], local)
    count = sum(not span.missing for span in tree.spans)
    services = {span.service for span in tree.spans if not span.missing}
    text = Text.assemble(
        ("trace ", "dim"),
        (printable(tree.trace_id), "bold"),
        f"  {begun}\n",
        f"{plural(count, 'span')} of {plural(len(services), 'service')}, {times.length(tree.duration_ns)}",
    )
    if tree.errors:
        text.append(f", {len(tree.errors)} with errors", "red")
    return text


def trace_notes(tree: TraceTree) -> Iterator[Text]:
    """What the picture does not tell: the bottleneck, and what is missing, open or moved."""
    slow = tree.bottleneck
    if slow is not None:
        share = slow.critical_ns / tree.duration_ns
        yield Text.assemble(
            "bottleneck: ",
            (span_name(slow), "bold"),
            f", {times.length(slow.critical_ns)} of its own on the critical path, {share:.0%} of the trace",
        )
    for span_id in tree.missing_parents[:NOTES_SHOWN_MAX]:
        missing = tree.find(span_id)
        assert missing is not None
        children = ", ".join(span_name(child) for child in missing.children[:3])
        more = " and others" if len(missing.children) > 3 else ""
        yield Text(f"missing: span {printable(span_id)}, the parent of {children}{more}", "yellow")
    for span in [span for span in tree.spans if span.is_open][:NOTES_SHOWN_MAX]:
        yield Text(f"open: {span_name(span)} has no end yet", "yellow")
    moved = {span.service: span.skew_ns for span in tree.spans if span.skew_ns}
    for service, skew_ns in list(moved.items())[:NOTES_SHOWN_MAX]:
        yield Text(
            f"clock: {printable(service)} is at least {times.length(skew_ns)} behind; its spans are moved by that",
            "yellow",
        )


def error_events(tree: TraceTree) -> list[Event]:
    """What there is to read of the errors, logs first to last; an end that failed says less than its log."""
    bad = [event for event in tree.events if event.level in (Level.ERROR, Level.FATAL)]
    logs = [event for event in bad if event.type != EventType.TRACE]
    return (logs or bad)[:ERRORS_SHOWN_MAX]


def tree_object(tree: TraceTree) -> dict[str, Any]:
    """A trace for programs. Milliseconds are counted from its start."""

    def ms(time_ns: int) -> float:
        return round(time_ns / 1e6, 6)

    slow = tree.bottleneck
    start = times.from_ns(tree.start_ns, False).isoformat().replace("+00:00", "Z") if tree.spans else None
    return {
        "trace_id": tree.trace_id,
        "start": start,
        "duration_ms": ms(tree.duration_ns),
        "bottleneck": slow and slow.span_id,
        "missing_parents": tree.missing_parents,
        "critical_path": [
            {
                "span_id": part.span and part.span.span_id,
                "start_ms": ms(part.start_ns - tree.start_ns),
                "duration_ms": ms(part.end_ns - part.start_ns),
            }
            for part in tree.critical_path
        ],
        "spans": [
            {
                "span_id": span.span_id,
                "parent_span_id": span.parent_id,
                "depth": span.depth,
                "service": span.service,
                "component": span.component,
                "operation": span.operation,
                "start_ms": ms(span.start_ns - tree.start_ns),
                "duration_ms": ms(span.duration_ns),
                "self_ms": ms(span.self_ns),
                "critical_ms": ms(span.critical_ns),
                "skew_ms": ms(span.skew_ns),
                "error": span.has_error,
                "open": span.is_open,
                "missing": span.missing,
                "event_ids": [event.id for event in span.events],
            }
            for span in tree.spans
        ],
    }
