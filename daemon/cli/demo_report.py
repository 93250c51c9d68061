"""The demo's closing report. The books, topics' ends and Redis in; tables out, and whether everything was found."""

import json
from typing import Any, NamedTuple

import redis
from rich.console import Console
from rich.table import Table

from ingestd.cli.demo_traffic import Request

WATERFALL_COLUMNS = 40


class Found(NamedTuple):
    """What Redis gave back of one request."""

    events: list[dict[str, Any]]  # in time order
    spans: list[dict[str, Any]]  # in time order


def look_up(client: redis.Redis, request: Request) -> Found:
    """Through the indexes only: one ZRANGE and one MGET each."""

    def members(index: str) -> list[dict[str, Any]]:
        keys = client.zrange(index, 0, -1)
        values = client.mget(keys) if keys else []
        return [json.loads(value) for value in values if value is not None]

    events = {event["id"]: event for event in members(f"correlation_index:{request.correlation_id}")}
    spans = {
        event["span_id"]: event for event in members(f"trace_index:{request.trace_id}") if event["type"] == "trace"
    }
    order = lambda event: event["timestamp"]  # noqa: E731 - RFC 3339 in UTC sorts as text
    return Found(sorted(events.values(), key=order), sorted(spans.values(), key=order))


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
    missing = request.event_ids - {event["id"] for event in found.events}
    if missing:
        result.append(f"of the request {request.correlation_id}, {len(missing)} events are not in Redis")
    if {span["span_id"] for span in found.spans} != set(request.span_ids):
        result.append(f"the trace {request.trace_id} is not whole in Redis")
    return result


def show(console: Console, books: dict[str, Any], found: Found, request: Request, wrong: list[str]) -> None:
    """The books, one request, one trace."""
    table = Table(title="The books: received = delivered + dropped + dead-lettered + abandoned + in flight")
    table.add_column("source topic")
    columns = ("received", "delivered", "dropped", "dead_lettered", "abandoned", "in_flight")
    for name in columns:
        table.add_column(name.replace("_", "-"), justify="right")
    for topic, account in books["books"].items():
        table.add_row(topic, *(f"{account[name]:,}" for name in columns))
    console.print(table)
    console.print(f"They balance: {'yes' if books['balanced'] else '[red]NO[/red]'}\n")

    console.print(f"One request, correlation id [bold]{request.correlation_id}[/bold], read back from Redis:")
    for event in found.events:
        colour = "red" if event["level"] in ("error", "fatal") else "default"
        console.print(
            f"  {event['timestamp'][11:23]}  {event['level']:7} {event['type']:6} {event['service']:9} "
            f"[{colour}]{event['message']}[/{colour}]",
            highlight=False,
        )
    console.print(f"\nIts trace [bold]{request.trace_id}[/bold]:")
    whole_ms = sum(span["data"]["duration_ms"] for span in found.spans) or 1.0
    offset_ms = 0.0
    for depth, span in enumerate(found.spans):
        own_ms = span["data"]["duration_ms"]
        start, width = int(offset_ms / whole_ms * WATERFALL_COLUMNS), max(1, int(own_ms / whole_ms * WATERFALL_COLUMNS))
        bar = " " * start + "█" * width
        console.print(
            f"  {'  ' * depth + span['service']:15} {bar:{WATERFALL_COLUMNS + 1}} {own_ms:8.2f} ms  "
            f"{span['data']['operation']}",
            highlight=False,
        )
        offset_ms += own_ms
    console.print()
    for line in wrong:
        console.print(f"[red]{line}[/red]")
