"""The demo's closing report: the books, the topics and Redis as tables, and whether everything was found."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import redis
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...client.events import Event
from ...client.lookup.store import EventStore
from ...client.lookup.trace_tree import TraceTree
from ..shared.events_view import Timeline, Waterfall, trace_notes
from .traffic import Request

WATERFALL_COLUMNS = 100


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


def show(console: Console, books: dict[str, Any], found: Found, request: Request, wrong: list[str]) -> None:
    """The books, one request, one trace."""
    # As narrow as it can be: on a terminal of 80 columns nothing is cut.
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("source topic")
    columns = ("received", "delivered", "dropped", "dead_lettered", "abandoned", "in_flight")
    for name in columns:
        table.add_column(name.replace("_", "\n"), justify="right", vertical="bottom")
    console.print("\nThe books: received = delivered + dropped + dead-lettered + abandoned + in flight", soft_wrap=True)
    for topic, account in books["books"].items():
        table.add_row(topic, *(f"{account[name]:,}" for name in columns))
    console.print(table)
    console.print(f"They balance: {'yes' if books['balanced'] else '[red]NO[/red]'}\n")

    def lines(texts: Iterable[Text]) -> None:
        for text in texts:
            console.print(text, soft_wrap=True)

    console.print(f"One request, as `ingestd events correlated {request.correlation_id}` shows it:", soft_wrap=True)
    timeline = Timeline(console.width if console.is_terminal else None, False)
    lines(timeline.lines(found.events))
    console.print(f"\nIts trace, as `ingestd events trace {request.trace_id}` shows it:", soft_wrap=True)
    lines(Waterfall(found.tree, min(console.width, WATERFALL_COLUMNS), len(found.tree.spans)).lines())
    lines(trace_notes(found.tree))
    console.print()
    for line in wrong:
        console.print(f"[red]{line}[/red]")
