"""The demo's closing report: the books, the topics and Redis as tables, and whether everything was found."""

from typing import Any, NamedTuple

import redis

from ...client.events import Event
from ...client.lookup.store import EventStore
from ...client.lookup.trace_tree import TraceTree
from ..shared.events_view import Timeline, Waterfall, trace_notes
from ..shared.messages import printable
from ..shared.output import PICTURE_COLUMNS, Output, show_table
from .traffic import Request


class Found(NamedTuple):
    """What Redis gave back of one request."""

    events: list[Event]  # in time order
    tree: TraceTree


def look_up(client: redis.Redis, request: Request) -> Found:
    """As any program does it."""
    store = EventStore(client)
    return Found(store.correlated(request.correlation_id), store.trace(request.trace_id))


def problems(
    books: dict[str, Any], sent: dict[str, int], counts: dict[str, int], found: Found, request: Request
) -> list[str]:
    """Everything that is not as it must be. sent: records by kind and `dropped`; counts: records by output kind."""
    result = []
    totals = {
        name: sum(account[name] for account in books["books"].values())
        for name in ("received", "delivered", "dropped", "dead_lettered", "abandoned", "in_flight")
    }
    ended = totals["delivered"] + totals["dropped"] + totals["dead_lettered"] + totals["abandoned"]
    if not books["balanced"] or totals["received"] != ended + totals["in_flight"]:
        result.append(f"the books do not balance: {totals}")
    expected = {"received": sent["all"], "dropped": sent["dropped"], "dead_lettered": sent["bad"], "in_flight": 0}
    result += [
        f"{name}: {totals[name]} in the books, {count} were sent"
        for name, count in expected.items()
        if totals[name] != count
    ]
    for kind, count in counts.items():
        if count != sent.get(kind, 0):
            result.append(f"the topic of {kind} has {count} records, {sent.get(kind, 0)} were expected")
    missing = request.event_ids - {event.id for event in found.events}
    if missing:
        result.append(f"of the request {request.correlation_id}, {len(missing)} events are not in Redis")
    if {span.span_id for span in found.tree.spans} != set(request.span_ids):
        result.append(f"the trace {request.trace_id} is not whole in Redis")
    return result


def show(console: Output, books: dict[str, Any], found: Found, request: Request, wrong: list[str]) -> None:
    """The books, one request, one trace."""
    columns = ("received", "delivered", "dropped", "dead_lettered", "abandoned", "in_flight")
    console.line("\nThe books: received = delivered + dropped + dead-lettered + abandoned + in flight")
    show_table(
        console,
        # As narrow as it can be: 80 columns hold it.
        ("source topic", *(name.replace("_", "\n") for name in columns)),
        [(topic, *(f"{account[name]:,}" for name in columns)) for topic, account in books["books"].items()],
    )
    console.line("They balance: ", "yes" if books["balanced"] else ("NO", "red"), "\n")
    console.line(f"One request, as `ingestd events correlated {request.correlation_id}` shows it:")
    for line in Timeline(console.text_columns, False).lines(found.events):
        console.line(line)
    console.line(f"\nIts trace, as `ingestd events trace {request.trace_id}` shows it:")
    picture = Waterfall(found.tree, min(console.picture_columns, PICTURE_COLUMNS), len(found.tree.spans))
    for line in (*picture.lines(), *trace_notes(found.tree)):
        console.line(line)
    console.line()
    for text in wrong:
        console.line((printable(text), "red"))
