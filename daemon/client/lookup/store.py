"""EventStore: looks up stored events and traces in Redis by their ids, through the indexes only. Uses redis-py.

    with EventStore("redis://localhost:6379/0") as store:
        for event in store.correlated("a1b2", levels=["error", "fatal"]):
            ...
        tree = store.trace("4bf92f3577b34da6a3ce929d0e0e4736")

`AsyncEventStore` has the same methods, awaited. Both run the plans of `lookup.plans`. An id that is unknown, or whose
events have expired, is an empty answer. Errors of the connection come as redis-py raises them.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, Self, Unpack

from ...config.redis_options import SENTINEL_OPTIONS, place_options, redis_py_options, sentinel_nodes, url_endpoint
from ...config.schema import RedisConfig
from ...errors import missing_extra
from ..closing import Closing
from ..events import Event
from . import plans as look_up
from .plans import Filters, Follower, Page, Pages, Plan, Selection, T
from .trace_tree import TraceTree, build_tree

try:
    import redis
    import redis.asyncio
    import redis.asyncio.sentinel
    import redis.sentinel
except ModuleNotFoundError as error:
    raise missing_extra(error, "looking up events") from error

_LOG: Final = logging.getLogger("ingestd.client.lookup.store")
PAGE_EVENTS: Final = 1000


def _connect(config: RedisConfig, client: Any, sentinel: Any) -> list[Any]:
    """A client of redis-py, of either kind, and those that it asks for the way. They dial when they are first used."""
    options = redis_py_options(config, config.reply_timeout_ms / 1000)
    if config.sentinel is None:
        return [client(**options, **place_options(url_endpoint(config)))]
    finder = sentinel(sentinel_nodes(config), sentinel_kwargs=SENTINEL_OPTIONS)
    return [finder.master_for(config.sentinel.master, **options), *finder.sentinels]


def _checked(page: Page) -> Page:
    if page.unreadable:
        _LOG.warning("values in Redis cannot be read as events", extra={"keys": page.unreadable[:10]})
    return page


class EventStore(Closing):
    """Look-ups. `source`: a URL, a redis-py client (it stays yours to close), or the `redis` section of a config.

    URL: `redis://[USER:PASSWORD@]HOST:PORT/DATABASE`, `rediss://` with TLS, `unix:///PATH?db=DATABASE`; what else it
    has raises ValueError. For more, give a client of your own.

    Runs on: any thread; several may share a store.
    """

    def __init__(self, source: "str | redis.Redis | RedisConfig") -> None:
        self._own: list[Any] = []
        if isinstance(source, str):
            source = RedisConfig(url=source)
        if isinstance(source, RedisConfig):
            self._own = _connect(source, redis.Redis, redis.sentinel.Sentinel)
        self._redis: Any = self._own[0] if self._own else source

    def _run(self, plan: Plan[T]) -> T:
        reply = None
        while True:
            try:
                request = plan.send(reply)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            reply = request(self._redis)

    def get(self, event_id: str, type: str | None = None) -> Event | None:
        """One event, or None. Without `type`, the first of log, metric, alert, trace, health that has the id.

        Raises InvalidEvent when what stands there is no event.
        """
        return self._run(look_up.one(event_id, type))

    def correlated(
        self, correlation_id: str, *, limit: int | None = None, cursor: str | None = None, **filters: Unpack[Filters]
    ) -> list[Event]:
        """All events of a correlation in time order, ties by id, each once; or the first `limit` behind `cursor`."""
        return self.page(correlation_id, limit=limit, cursor=cursor, **filters).events

    def page(
        self,
        correlation_id: str,
        *,
        limit: int | None = PAGE_EVENTS,
        cursor: str | None = None,
        **filters: Unpack[Filters],
    ) -> Page:
        """A part of a correlation, and the cursor at which the next begins."""
        group, selection = look_up.correlation(correlation_id), Selection(**filters)
        return _checked(self._run(Pages(group, selection, limit, cursor).read()))

    def pages(
        self, correlation_id: str, *, limit: int = PAGE_EVENTS, **filters: Unpack[Filters]
    ) -> Iterator[list[Event]]:
        """A large correlation, `limit` events at a time. What comes while it is read is met where its time is ahead."""
        pages = Pages(look_up.correlation(correlation_id), Selection(**filters), limit)
        while (page := _checked(self._run(pages.read()))).events:
            yield page.events

    def follow(
        self,
        correlation_id: str,
        *,
        interval_s: float = 1.0,
        for_s: float | None = None,
        **filters: Unpack[Filters],
    ) -> Iterator[Event]:
        """A correlation that goes on: what is there, then what comes, for `for_s` seconds, None: until it is closed.

        An event that comes late has its turn when it comes. Each poll looks at the newest 10,000 members.
        """
        follower = Follower(look_up.correlation(correlation_id), Selection(**filters))
        end_s = None if for_s is None else time.monotonic() + for_s
        while True:
            yield from self._run(follower.poll())
            if end_s is not None and time.monotonic() >= end_s:
                return
            time.sleep(interval_s)

    def trace_events(self, trace_id: str, **filters: Unpack[Filters]) -> list[Event]:
        """All events with a trace id, of every type, in time order."""
        group, selection = look_up.trace(trace_id), Selection(**filters)
        return _checked(self._run(Pages(group, selection).read())).events

    def trace(self, trace_id: str) -> TraceTree:
        """A trace as a tree of its spans. False when there is none."""
        return build_tree(trace_id, self.trace_events(trace_id))

    def close(self) -> None:
        """Close the connections, if they are the store's own."""
        for client in self._own:
            client.close()


class AsyncEventStore:
    """`EventStore` for asyncio, over redis.asyncio.

    Runs on: the loop on which it is first used.
    """

    def __init__(self, source: "str | redis.asyncio.Redis | RedisConfig") -> None:
        self._own: list[Any] = []
        if isinstance(source, str):
            source = RedisConfig(url=source)
        if isinstance(source, RedisConfig):
            self._own = _connect(source, redis.asyncio.Redis, redis.asyncio.sentinel.Sentinel)
        self._redis: Any = self._own[0] if self._own else source

    async def _run(self, plan: Plan[T]) -> T:
        reply = None
        while True:
            try:
                request = plan.send(reply)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            reply = await request(self._redis)

    async def get(self, event_id: str, type: str | None = None) -> Event | None:
        """See EventStore.get."""
        return await self._run(look_up.one(event_id, type))

    async def correlated(
        self, correlation_id: str, *, limit: int | None = None, cursor: str | None = None, **filters: Unpack[Filters]
    ) -> list[Event]:
        """See EventStore.correlated."""
        return (await self.page(correlation_id, limit=limit, cursor=cursor, **filters)).events

    async def page(
        self,
        correlation_id: str,
        *,
        limit: int | None = PAGE_EVENTS,
        cursor: str | None = None,
        **filters: Unpack[Filters],
    ) -> Page:
        """See EventStore.page."""
        group, selection = look_up.correlation(correlation_id), Selection(**filters)
        return _checked(await self._run(Pages(group, selection, limit, cursor).read()))

    async def pages(
        self, correlation_id: str, *, limit: int = PAGE_EVENTS, **filters: Unpack[Filters]
    ) -> AsyncIterator[list[Event]]:
        """See EventStore.pages."""
        pages = Pages(look_up.correlation(correlation_id), Selection(**filters), limit)
        while (page := _checked(await self._run(pages.read()))).events:
            yield page.events

    async def follow(
        self,
        correlation_id: str,
        *,
        interval_s: float = 1.0,
        for_s: float | None = None,
        **filters: Unpack[Filters],
    ) -> AsyncIterator[Event]:
        """See EventStore.follow."""
        follower = Follower(look_up.correlation(correlation_id), Selection(**filters))
        end_s = None if for_s is None else time.monotonic() + for_s
        while True:
            for event in await self._run(follower.poll()):
                yield event
            if end_s is not None and time.monotonic() >= end_s:
                return
            await asyncio.sleep(interval_s)

    async def trace_events(self, trace_id: str, **filters: Unpack[Filters]) -> list[Event]:
        """See EventStore.trace_events."""
        group, selection = look_up.trace(trace_id), Selection(**filters)
        return _checked(await self._run(Pages(group, selection).read())).events

    async def trace(self, trace_id: str) -> TraceTree:
        """See EventStore.trace."""
        return build_tree(trace_id, await self.trace_events(trace_id))

    async def aclose(self) -> None:
        """Close the connections, if they are the store's own."""
        for client in self._own:
            await client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()
