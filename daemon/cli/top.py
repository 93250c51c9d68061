"""`ingestd top`: what a running daemon does, second by second. Its status twice in; rates, lag, bottleneck out."""

import itertools
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import click
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..observers import bottleneck
from .shared import streams
from .shared.daemon_client import DaemonClient, find, place_options
from .shared.messages import printable
from .shared.output import Output, pictures, table, write_json_line

PARTITIONS_SHOWN: Final = 8
BAR_COLUMNS: Final = 30
# Of the loop's time: a name, its share, and what is between them and the bar.
LOOP_TEXT_COLUMNS: Final = 30
NAME_COLUMNS: Final = 14
PHASE_WORDS: Final = {
    "poll": "taking from Kafka",
    "process": "decoding and rules",
    "produce": "sending to Kafka",
    "redis": "writing to Redis",
    "commit": "offsets",
    "other": "all else",
    "waiting": "waiting",
}
STATUS_STYLES: Final = {"healthy": "green", "degraded": "yellow", "unhealthy": "bold red"}


class View(NamedTuple):
    """What happened between two looks at a daemon. Rates are a second, times in seconds."""

    time: str
    seconds: float
    host: str
    version: str
    uptime_s: float
    received: float
    delivered: float
    by_type: dict[str, float]
    discarded: dict[str, float]
    dead_lettered: dict[str, float]
    errors: dict[str, float]
    lag_records: int
    lag_seconds: float
    partitions: list[dict[str, Any]]
    sinks: dict[str, dict[str, Any]]
    in_flight_events: int
    buffer_bytes: int
    loop: dict[str, float]
    held_back_by: str | None
    taps: int
    health: dict[str, str]
    bottleneck: str
    words: str


def _rates(before: dict[str, int], after: dict[str, int], metric: str, took_s: float) -> dict[str, float]:
    """Of a counter's label sets, those that moved: `reason=rule,intentional=true` -> a second."""
    head = f"{metric}{{"
    moved = {
        name[len(head) : -1]: (count - before.get(name, 0)) / took_s
        for name, count in after.items()
        if name.startswith(head) and count != before.get(name, 0)
    }
    return dict(sorted(moved.items(), key=lambda row: -row[1]))


def _books(status: dict[str, Any], column: str) -> int:
    return sum(account[column] for account in status["books"].values())


def _sink(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    batches = after["acknowledged_batches"] - before["acknowledged_batches"]
    seconds = after["acknowledged_seconds"] - before["acknowledged_seconds"]
    return {
        "connected": after["connected"],
        "open_batches": after["open_batches"],
        "mean_latency_ms": round(1000 * seconds / batches, 2) if batches else None,
    }


def view(before: dict[str, Any], after: dict[str, Any], now_s: float) -> View:
    """Pure: two answers of /status in."""
    took_s = max(1e-9, after["uptime_s"] - before["uptime_s"])
    counters, earlier = after["counters"], before["counters"]
    sent = _rates(earlier, counters, "ingestd_events_sent_total", took_s)
    verdict = bottleneck.find(bottleneck.pulse(before), bottleneck.pulse(after))
    return View(
        time=datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        seconds=round(took_s, 3),
        host=after["host"],
        version=after["version"],
        uptime_s=after["uptime_s"],
        received=(_books(after, "received") - _books(before, "received")) / took_s,
        delivered=(_books(after, "delivered") - _books(before, "delivered")) / took_s,
        by_type={name.split("type=")[1]: rate for name, rate in sent.items() if name.startswith("sink=kafka")},
        discarded={
            name.split("reason=")[1].split(",")[0]: rate
            for name, rate in _rates(earlier, counters, "ingestd_events_discarded_total", took_s).items()
        },
        dead_lettered={
            name.removeprefix("class="): rate
            for name, rate in _rates(earlier, counters, "ingestd_dead_letters_total", took_s).items()
        },
        errors=_rates(earlier, counters, "ingestd_errors_total", took_s),
        lag_records=sum(row["records"] for row in after["partitions"]),
        lag_seconds=max((row["seconds"] for row in after["partitions"]), default=0.0),
        partitions=sorted(after["partitions"], key=lambda row: -row["records"]),
        sinks={name: _sink(before["sinks"][name], after["sinks"][name]) for name in after["sinks"]},
        in_flight_events=after["in_flight_events"],
        buffer_bytes=after["buffer_bytes"],
        loop={
            name: max(0.0, (seconds - before["loop_seconds"].get(name, 0.0)) / took_s)
            for name, seconds in after["loop_seconds"].items()
        },
        held_back_by=after["held_back"]["by"],
        taps=after["taps"],
        health=after["health"],
        bottleneck=verdict.part,
        words=verdict.words,
    )


def _pairs(rates: dict[str, float]) -> Text:
    if not rates:
        return Text("none", "dim")
    return Text("   ".join(printable(f"{name} {rate:,.1f}/s") for name, rate in rates.items()))


def _loop_table(seen: View, columns: int) -> Table:
    bar_columns = max(0, min(BAR_COLUMNS, columns - LOOP_TEXT_COLUMNS))
    grid = Table(title="The loop's time", box=None, show_header=False, title_justify="left", title_style="bold")
    for name, share in sorted(seen.loop.items(), key=lambda row: -row[1]):
        bar = "█" * round(share * bar_columns)
        grid.add_row(PHASE_WORDS.get(name, name), Text(bar, "dim" if name == "waiting" else "cyan"), f"{share:.1%}")
    return grid


def _lag(seen: View, columns: int) -> Group:
    rows = [
        (
            f"{row['topic']}-{row['partition']}",
            f"{row['records']:,}",
            f"{row['seconds']:,.1f}",
            f"{row['position']:,}",
            f"{row['high_watermark']:,}",
        )
        for row in seen.partitions[:PARTITIONS_SHOWN]
    ]
    more = len(seen.partitions) - PARTITIONS_SHOWN
    return Group(
        *table(
            ("partition", "behind", "seconds", "position", "log end"),
            rows,
            columns,
            title=f"Lag: {seen.lag_records:,} records, {seen.lag_seconds:,.1f} s",
        ),
        *([Text(f"and {more} more")] if more > 0 else []),
    )


def _sinks(seen: View) -> Text:
    text = Text()
    for name, sink in seen.sinks.items():
        latency = (
            f"{sink['mean_latency_ms']:,.1f} ms a batch"
            if sink["mean_latency_ms"] is not None
            else "nothing acknowledged"
        )
        state = ("connected", "green") if sink["connected"] else ("away", "bold red")
        text.append("   " if text else "").append(f"{name} ").append(*state)
        text.append(f", {latency}, {sink['open_batches']} batches open")
    return text


def _health(seen: View) -> Text:
    text = Text()
    for name, status in seen.health.items():
        text.append("   " if text else "").append(f"{name} ").append(status, STATUS_STYLES.get(status, ""))
    return text


def render(seen: View, columns: int) -> Group:
    """The picture of one second, in so many columns."""
    held = f", holds back: {seen.held_back_by}" if seen.held_back_by else ""
    facts = Table.grid(padding=(0, 0))
    facts.add_column(width=NAME_COLUMNS, style="bold")
    facts.add_column()
    rows: tuple[tuple[str, RenderableType], ...] = (
        ("bottleneck", Text(printable(seen.words), "green" if seen.bottleneck == "none" else "yellow")),
        (
            "events",
            f"{seen.received:,.0f}/s received, {seen.delivered:,.0f}/s delivered; {seen.in_flight_events:,} in flight "
            f"({seen.buffer_bytes / (1 << 20):,.1f} MiB){held}",
        ),
        ("sent", _pairs(seen.by_type)),
        ("dropped", _pairs(seen.discarded)),
        ("dead letters", _pairs(seen.dead_lettered)),
        ("errors", _pairs(seen.errors)),
        ("sinks", _sinks(seen)),
        ("health", _health(seen)),
    )
    for row in rows:
        facts.add_row(*row)
    head = printable(f"{seen.version} on {seen.host}, up {seen.uptime_s:,.0f} s")
    return Group(
        Text.assemble(("ingestd ", "bold"), head, (f"   {seen.time}", "dim")),
        facts,
        Text(),
        _loop_table(seen, columns),
        Text(),
        _lag(seen, columns),
    )


def views(daemon: DaemonClient, interval_s: float, times: int | None) -> Iterator[View]:
    """Look again and again: without an end, or `times` times."""
    before = daemon.json("GET", "/status")
    for _ in itertools.count() if times is None else range(times):
        time.sleep(interval_s)
        after = daemon.json("GET", "/status")
        yield view(before, after, time.time())
        before = after


@click.command("top")
@place_options
@click.option("--interval", default=1.0, show_default=True, type=click.FloatRange(0.1, 60), help="Seconds a picture.")
@click.option("--times", type=click.IntRange(1), help="End after so many pictures.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a picture, a line each.")
def command(config_path: str | None, at: str | None, interval: float, times: int | None, as_json: bool) -> int:
    """Watch a running daemon: rates by type, lag, sinks, where the loop's time goes, and what is the bottleneck.

    The daemon is found by its config (-c), its socket or its address (--at). Ends with Ctrl-C, or after --times.
    """
    seen = views(find(config_path, at, control_only=False), interval, times)
    if as_json:
        for each in seen:
            write_json_line(each._asdict())
            if streams.reader_gone():
                break
        return 0
    console = Output()
    with pictures(console) as picture:
        for each in seen:
            picture.show(render(each, console.width))
            if streams.reader_gone():
                break
    return 0
