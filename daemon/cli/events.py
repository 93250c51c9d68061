"""`ingestd events`: shows what is stored by id, as a timeline, a waterfall or JSON."""

import contextlib
import signal
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import click
import redis

from ..client.events import Event
from ..client.lookup.plans import Filters
from ..client.lookup.store import EventStore
from ..config import checks
from ..config.loading import load_located
from ..config.redis_options import BadUrl, url_endpoint
from ..config.schema import RedisConfig
from ..errors import ConfigError, IngestdError
from ..events.vocabulary import LEVEL_ALIASES, LEVEL_NAMES, TYPE_ALIASES, TYPE_NAMES
from . import config_option
from .shared import signals, streams
from .shared.events_view import (
    Timeline,
    Waterfall,
    card,
    error_events,
    plural,
    trace_heading,
    trace_notes,
    tree_object,
)
from .shared.messages import Choice, printable
from .shared.output import Output, write_json, write_json_line
from .shared.times import Moment, Span

PAGE_EVENTS = 500
POLL_INTERVAL_S = 0.5
SPANS_SHOWN = 200
REASONS = "it never came, has expired, or its type is not stored"


class NotFound(IngestdError):
    """There is no such event, correlation or trace."""


@contextlib.contextmanager
def open_store(config_path: str | None, url: str | None) -> Iterator[EventStore]:
    """The Redis of `--redis`, else of the config. Its failures are one line."""
    config, where = _redis_config(config_path, url)
    try:
        with EventStore(config) as store:
            yield store
    except (redis.RedisError, OSError) as error:
        raise IngestdError(f"Redis at {where}: {error}") from error


def _redis_config(config_path: str | None, url: str | None) -> tuple[RedisConfig, str]:
    """How Redis is reached, and its place in words, without a password."""
    if url is None:
        loaded = load_located(config_path)
        config = loaded.config.redis
        if problems := checks.redis_problems(config):
            raise ConfigError(loaded.located(problems), loaded.source)
    else:
        config = RedisConfig(url=url)
    try:
        endpoint = url_endpoint(config)
    except BadUrl as error:
        raise click.UsageError(str(error)) from error
    return config, f"redis.sentinel {config.sentinel.master}" if config.sentinel else str(endpoint)


class Interrupts:
    """Ctrl-C while following: it ends the waiting at once, and never leaves a line half printed or printed twice."""

    def __init__(self) -> None:
        self.seen = False
        self.held = False

    def __enter__(self) -> "Interrupts":
        self._before = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> bool:
        signal.signal(signal.SIGINT, self._before)
        return kind is KeyboardInterrupt

    def _on_signal(self, *_: object) -> None:
        self.seen = True
        if not self.held:
            raise KeyboardInterrupt


def common(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of all three."""
    for option in (
        click.option("--local", is_flag=True, help="Times in the zone of this machine. Else in UTC."),
        click.option("--json", "as_json", is_flag=True, help="JSON for programs; events are one a line."),
        click.option("--redis", "url", metavar="URL", help="Look here, without a config. Else at its redis section."),
        config_option,
    ):
        function = option(function)
    return function


def _labels(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, list[str]]:
    labels: dict[str, list[str]] = {}
    for value in values:
        name, sign, text = value.partition("=")
        if not sign or not name:
            raise click.BadParameter(f"{value!r} is no NAME=VALUE")
        labels.setdefault(name, []).append(text)
    return labels


@click.group("events")
def command() -> None:
    """What is stored in Redis: one event, all of a correlation, or a trace.

    Through the indexes only: it costs a busy Redis little. Exit 1 when nothing is found.
    """


@command.command("get")
@click.argument("event_id", metavar="ID")
@click.option("--type", "kind", type=Choice([*TYPE_NAMES, *TYPE_ALIASES]), help="Look among these only.")
@common
def get(event_id: str, kind: str | None, config_path: str | None, url: str | None, as_json: bool, local: bool) -> int:
    """One event by its id."""
    console = Output()
    with open_store(config_path, url) as store:
        event = store.get(event_id, kind)
        if event is None:
            raise NotFound(f"no event {printable(event_id)}: {REASONS}")
        if as_json:
            write_json_line(event.to_json())
            return 0
        for line in card(event, local):
            console.print(line, soft_wrap=True)
    return 0


@command.command("correlated")
@click.argument("correlation_id", metavar="ID")
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until Ctrl-C or the end of --for.")
@click.option("--for", "for_time", type=Span(), metavar="TIME", help="With --follow: for so long.")
@click.option("--since", type=Moment(), metavar="TIME", help="Events from then on: 1h (ago), or RFC 3339.")
@click.option("--until", type=Moment(), metavar="TIME", help="Events before then.")
@click.option(
    "--level",
    "levels",
    multiple=True,
    type=Choice([*LEVEL_NAMES, *LEVEL_ALIASES], case_sensitive=False),
    help="May be repeated.",
)
@click.option(
    "--type",
    "types",
    multiple=True,
    type=Choice([*TYPE_NAMES, *TYPE_ALIASES]),
    help="May be repeated.",
)
@click.option("--label", "labels", multiple=True, callback=_labels, metavar="NAME=VALUE", help="May be repeated.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many, the first ones.")
@common
def correlated(
    correlation_id: str,
    follow: bool,
    for_time: timedelta | None,
    since: datetime | None,
    until: datetime | None,
    levels: tuple[str, ...],
    types: tuple[str, ...],
    labels: dict[str, list[str]],
    limit: int | None,
    config_path: str | None,
    url: str | None,
    as_json: bool,
    local: bool,
) -> int:
    """All events of a correlation, as a timeline.

    Also those whose correlation id stands in their metadata or labels. Filters of different kinds must all hold, of
    one kind any.
    """
    if for_time is not None and not follow:
        raise click.UsageError("--for goes with --follow")
    if follow and limit is not None:
        raise click.UsageError("--limit does not go with --follow")
    console = Output()
    filters = Filters(since=since, until=until, levels=levels, types=types, labels=labels)
    with open_store(config_path, url) as store:
        source: Iterable[list[Event]]
        interrupted = False
        if follow:
            for_s = None if for_time is None else for_time.total_seconds()
            following = store.follow(correlation_id, interval_s=POLL_INTERVAL_S, for_s=for_s, **filters)
            source = ([event] for event in following)
        elif limit is not None:
            source = [store.correlated(correlation_id, limit=limit, **filters)]
        else:
            source = store.pages(correlation_id, limit=PAGE_EVENTS, **filters)
        timeline = Timeline(console.text_columns, local)
        if follow:
            interrupted = tell_until_interrupted(console, timeline, source, as_json)
        else:
            for events in source:
                tell(console, timeline, events, as_json)
                if streams.reader_gone():
                    break
        if not timeline.count:
            raise NotFound(nothing(store, correlation_id, filters))
        if not as_json:
            console.print(timeline.summary(), soft_wrap=True)
    return signals.EXIT_INTERRUPTED if interrupted else 0


def tell(console: Output, timeline: Timeline, events: list[Event], as_json: bool) -> None:
    for line in timeline.lines(events):
        if not as_json:
            console.print(line, soft_wrap=True)
    if as_json:
        for event in events:
            write_json_line(event.to_json())


def tell_until_interrupted(console: Output, timeline: Timeline, source: Iterable[list[Event]], as_json: bool) -> bool:
    """Whether it was interrupted."""
    with Interrupts() as interrupts:
        for events in source:
            interrupts.held = True
            tell(console, timeline, events, as_json)
            interrupts.held = False
            if interrupts.seen or streams.reader_gone():
                break
    return interrupts.seen


def nothing(store: EventStore, correlation_id: str, filters: Filters) -> str:
    """Why: no such id, or filters that nothing passes."""
    if any(filters.values()):
        count = len(store.correlated(correlation_id))
        if count:
            return f"none of {plural(count, 'event')} of the correlation {printable(correlation_id)} passes the filters"
    return f"no events of the correlation {printable(correlation_id)}: {REASONS}"


@command.command("trace")
@click.argument("trace_id", metavar="ID")
@click.option("--limit", default=SPANS_SHOWN, show_default=True, type=click.IntRange(1), help="Spans shown.")
@common
def trace(trace_id: str, limit: int, config_path: str | None, url: str | None, as_json: bool, local: bool) -> int:
    """A trace as a waterfall: who waited for whom, and for how long.

    The solid part of a bar is on the critical path: what the trace as a whole waited for. The bottleneck is the span
    with the most of it.
    """
    console = Output()
    with open_store(config_path, url) as store:
        tree = store.trace(trace_id)
        if not tree:
            raise NotFound(f"no events of the trace {printable(trace_id)}: {REASONS}")
        if as_json:
            write_json(tree_object(tree))
            return 0
        console.print(trace_heading(tree, local), soft_wrap=True)
        for line in Waterfall(tree, console.picture_columns, limit).lines():
            console.print(line, soft_wrap=True)
        for line in trace_notes(tree):
            console.print(line, soft_wrap=True)
        errors = error_events(tree)
        if errors:
            timeline = Timeline(console.text_columns, local)
            console.print("errors:", style="red")
            for line in timeline.lines(errors):
                console.print(line, soft_wrap=True)
    return 0
