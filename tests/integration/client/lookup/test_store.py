"""Look-ups on a private Redis that the daemon's own fast path has filled. In: events. Out: what both stores find."""

import asyncio
import inspect
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from ingestd.cli.demo.private_redis import PrivateRedis
from ingestd.client.events import Event, InvalidEvent, Level
from ingestd.client.lookup import plans
from ingestd.client.lookup.store import AsyncEventStore, EventStore
from ingestd.config.schema import RedisConfig
from tests.support import fastpath
from tests.support.stored import Loader

BEGUN = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRedis]:
    server = PrivateRedis(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def client(server: PrivateRedis) -> Iterator[redis.Redis]:
    with redis.Redis(unix_socket_path=str(server.socket)) as client:
        client.flushdb()
        yield client


@pytest.fixture(params=["full", "compact"])
def loader(request: pytest.FixtureRequest, server: PrivateRedis, client: redis.Redis) -> Iterator[Loader]:
    loader = Loader(server.socket, compact=request.param == "compact")
    yield loader
    loader.close()


class Both:
    """Calls both stores, and gives the answer that both gave."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __getattr__(self, name: str) -> Any:
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            async with AsyncEventStore(self.url) as store:
                answer = getattr(store, name)(*args, **kwargs)
                return await answer if inspect.isawaitable(answer) else [item async for item in answer]

        def call(*args: Any, **kwargs: Any) -> Any:
            with EventStore(self.url) as store:
                answer = getattr(store, name)(*args, **kwargs)
                found = list(answer) if inspect.isgenerator(answer) else answer
            again = asyncio.run(awaited(*args, **kwargs))
            if name != "trace":
                assert found == again
            return found

        return call


@pytest.fixture
def both(server: PrivateRedis) -> Both:
    return Both(server.url)


def event(ident: str, after_ms: float = 0, **fields: Any) -> dict[str, Any]:
    time = (BEGUN + timedelta(milliseconds=after_ms)).isoformat(timespec="microseconds")
    return fastpath.event(**({"id": ident, "timestamp": time, "correlation_id": "c1"} | fields))


def ids(events: list[Event]) -> list[str]:
    return [event.id for event in events]


def test_an_unknown_id_is_an_empty_answer(both: Both, loader: Loader) -> None:
    assert both.get("no") is None
    assert both.correlated("no") == [] == both.trace_events("no")
    assert both.page("no") == plans.Page([])
    assert list(both.pages("no")) == []
    tree = both.trace("no")
    assert not tree and tree.spans == [] and tree.bottleneck is None


@pytest.mark.parametrize("ident", ["", "*", "?", "c[0-9]", "\\*", "c*", "é😀", "\udcff", "a\r\nb\0", "x" * 5000])
def test_no_character_of_an_id_is_a_wildcard(ident: str, both: Both, loader: Loader) -> None:
    loader.store([event("e1"), event("c1", trace_id="t1", span_id="s1", type="trace")])
    assert both.get(ident) is None
    assert both.correlated(ident) == []
    assert both.trace_events(ident) == []


@pytest.mark.parametrize("ident", ["*", "?", "c[0-9]", "c*", "é😀", "a\r\nb\0", "a:b:c", "x" * 5000])
def test_an_id_of_any_characters_is_found_by_itself(ident: str, both: Both, loader: Loader) -> None:
    loader.store([event("other"), event(ident, correlation_id=ident, trace_id=ident)])
    assert both.get(ident).id == ident
    assert ids(both.correlated(ident)) == [ident] == ids(both.trace_events(ident))


@pytest.mark.parametrize("kind", ["log", "metric", "alert", "trace", "health"])
def test_every_type_is_found_by_its_id(kind: str, both: Both, loader: Loader) -> None:
    loader.store([event("e1", type=kind, message="found", trace_id="t", span_id="s", labels={"a": "b"})])
    assert both.get("e1") == both.get("e1", kind)
    assert both.get("e1").message == "found" and both.get("e1").type == kind
    assert both.get("e1", "health" if kind != "health" else "log") is None


def test_error_is_a_log_and_a_type_that_is_none_is_refused(both: Both, loader: Loader) -> None:
    loader.store([event("e1", type="error", level="CRITICAL")])
    assert both.get("e1", "error").level is Level.FATAL
    with pytest.raises(ValueError, match="errand"):
        both.get("e1", "errand")


def test_what_outlives_its_events_key_is_still_found(both: Both, loader: Loader, client: redis.Redis) -> None:
    loader.store([event("l", level="error"), event("a", type="alert"), event("m", type="metric")])
    client.delete("events:log:l", "events:alert:a", "events:metric:m")
    left = {"l", "a"} if client.exists("logs:error:l") else set()
    assert {ident for ident in "lam" if both.get(ident)} == left
    assert set(ids(both.correlated("c1"))) == left


def test_a_group_is_in_time_order_with_ties_by_id_and_each_event_once(both: Both, loader: Loader) -> None:
    span = {"type": "trace", "trace_id": "t", "span_id": "s"}
    made = [
        event("late", 900, type="alert"),
        event("start", 1, **span),
        event("b", 5, type="metric"),
        event("a", 5, level="error"),
        event("nano-2", 5.002, type="health"),
        event("nano-1", 5.001),
        event("end", 800, **span),
    ]
    random.Random(3).shuffle(made)
    loader.store(made)
    assert ids(both.correlated("c1")) == ["start", "a", "b", "nano-1", "nano-2", "end", "late"]


@pytest.mark.parametrize(
    "carried",
    [
        {"metadata": {"correlation_id": "old"}},
        {"labels": {"correlation_id": "old"}},
        {"correlation_id": "", "metadata": {"correlation_id": "old"}},
    ],
)
def test_a_correlation_id_in_metadata_or_labels_is_found(carried: dict, both: Both, loader: Loader) -> None:
    loader.store([event("e1", **({"correlation_id": None} | carried))])
    (found,) = both.correlated("old")
    assert found.id == "e1" and found.any_correlation_id == "old"


def test_a_correlation_id_that_stood_only_in_a_header_is_found(both: Both, loader: Loader) -> None:
    value = event("e1", correlation_id=None, metadata={"correlation_id": "weaker"})
    loader.store([fastpath.record(value, headers=[("X-Correlation-ID", b"from-header")])])
    assert ids(both.correlated("from-header")) == ["e1"]
    assert both.correlated("weaker") == []


@pytest.mark.parametrize("kind", ["log", "metric", "alert", "trace"])
def test_an_event_without_an_id_has_the_one_that_the_daemon_gave_it(kind: str, both: Both, loader: Loader) -> None:
    value = event("", type=kind, trace_id="t", span_id="s")
    loader.store([fastpath.record(value, offset=41, topic="in", partition=3)])
    assert ids(both.correlated("c1")) == ["in-3-41"] == ids(both.trace_events("t"))
    assert both.get("in-3-41").id == "in-3-41"


def test_an_event_without_a_time_stands_at_the_time_of_its_record(both: Both, loader: Loader) -> None:
    times_ms = {"first": 1_000, "second": 2_000, "third": 3_000}
    loader.store(
        fastpath.record({"id": name, "type": "metric", "level": "info", "correlation_id": "c1"}, timestamp_ms=at_ms)
        for name, at_ms in reversed(times_ms.items())
    )
    assert ids(both.correlated("c1")) == ["first", "second", "third"]
    until = datetime.fromtimestamp(3, UTC)
    assert ids(both.correlated("c1", since=datetime.fromtimestamp(2, UTC), until=until)) == ["second"]


def test_expired_members_are_skipped(both: Both, loader: Loader, client: redis.Redis) -> None:
    loader.store(event(f"e{number}", number, type="metric") for number in range(5))
    client.pexpire("events:metric:e1", 1)
    client.delete("events:metric:e3")
    while client.exists("events:metric:e1"):
        pass
    assert ids(both.correlated("c1")) == ["e0", "e2", "e4"]


def test_a_key_that_was_written_again_for_another_id_is_no_part_of_the_first_group(both: Both, loader: Loader) -> None:
    loader.store([event("same", type="metric"), event("same", 1, type="metric", correlation_id="c2")])
    assert both.correlated("c1") == []
    assert ids(both.correlated("c2")) == ["same"]


def test_the_filters_of_a_group_hold_all_together(both: Both, loader: Loader) -> None:
    loader.store(
        [
            event("1", 1, level="WARN", labels={"env": "prod", "shop": "7"}),
            event("2", 2, level="error", labels={"env": "prod"}),
            event("3", 3, level="critical", labels={"env": "test", "shop": 7}),
            event("4", 4, level="error", type="metric", labels={"env": "prod"}),
            event("5", 5, level="error", type="alert"),
        ]
    )
    for filters, expected in (
        ({}, "12345"),
        ({"levels": "warning"}, "1"),
        ({"levels": ["Error", "fatal"]}, "2345"),
        ({"types": "log"}, "123"),
        ({"types": ["metric", "alert"], "levels": ["error"]}, "45"),
        ({"labels": {"env": "prod"}}, "124"),
        ({"labels": {"env": ["prod", "test"]}, "types": ["error"]}, "123"),
        ({"labels": {"env": "prod", "shop": "7"}}, "1"),
        ({"labels": {"shop": "8"}}, ""),
        ({"since": BEGUN + timedelta(milliseconds=2), "until": BEGUN + timedelta(milliseconds=4)}, "23"),
        ({"until": BEGUN + timedelta(microseconds=2001)}, "12"),
        ({"since": BEGUN + timedelta(microseconds=4001)}, "5"),
    ):
        assert "".join(ids(both.correlated("c1", **filters))) == expected, filters


def test_filters_that_make_no_sense_are_refused(both: Both) -> None:
    for wrong in ({"levels": "loud"}, {"types": ["logs"]}, {"since": datetime(2026, 1, 1)}):  # noqa: DTZ001
        with pytest.raises(ValueError):
            both.correlated("c1", **wrong)
    with pytest.raises(ValueError, match="cursor"):
        both.correlated("c1", cursor="page 2")
    with pytest.raises(ValueError, match="limit"):
        both.page("c1", limit=0)


def big_group(count: int, seed: int) -> list[dict[str, Any]]:
    """Traces with two keys an event among the rest, and moments that hundreds of events share."""
    source = random.Random(seed)
    made = []
    for number in range(count):
        at_ms = source.choice((7.0, 7.25, float(source.randrange(50))))
        span = {"type": "trace", "trace_id": "t", "span_id": f"s{number // 2}"} if number % 3 else {"level": "error"}
        made.append(event(f"e{number:05d}", at_ms, **span))
    return made


@pytest.mark.parametrize("limit", [1, 7, 100, 999, 5000])
def test_pages_of_any_size_give_a_large_group_once_and_in_order(
    limit: int, both: Both, loader: Loader, seed: int
) -> None:
    made = big_group(150 if limit == 1 else 2500, seed)
    loader.store(made)
    everything = both.correlated("c1")
    assert sorted(ids(everything)) == [row["id"] for row in made]
    assert everything == sorted(everything, key=lambda one: (one.timestamp_ns, one.id))
    pages = list(both.pages("c1", limit=limit))
    assert [one for page in pages for one in page] == everything
    assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)


def test_a_page_tells_where_the_next_begins(both: Both, loader: Loader) -> None:
    loader.store(event(f"e{number}", number) for number in range(5))
    first = both.page("c1", limit=2)
    second = both.page("c1", limit=2, cursor=first.cursor)
    third = both.page("c1", limit=2, cursor=second.cursor)
    assert [ids(page.events) for page in (first, second, third)] == [["e0", "e1"], ["e2", "e3"], ["e4"]]
    assert third.cursor is None
    assert ids(both.correlated("c1", limit=3)) == ["e0", "e1", "e2"]


def test_cursors_lead_through_moments_that_many_events_share(both: Both, loader: Loader, seed: int) -> None:
    loader.store(big_group(400, seed))
    cursor, walked = None, []
    while True:
        page = both.page("c1", limit=37, cursor=cursor)
        walked += page.events
        cursor = page.cursor
        if cursor is None:
            break
    assert walked == both.correlated("c1")


def test_what_comes_between_two_pages_moves_nothing(both: Both, loader: Loader) -> None:
    loader.store(event(f"e{number}", 10 * number) for number in range(6))
    first = both.page("c1", limit=3)
    loader.store([event("earlier", 5), event("later", 35)])
    rest = both.correlated("c1", cursor=first.cursor)
    assert ids(first.events) + ids(rest) == ["e0", "e1", "e2", "e3", "later", "e4", "e5"]


def test_a_value_that_is_no_event_is_named_and_hides_no_other(
    both: Both, loader: Loader, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    loader.store(event(f"e{number}", number, type="metric") for number in range(3))
    client.set("events:metric:e1", b"{cut")
    page = both.page("c1")
    assert ids(page.events) == ["e0", "e2"]
    assert page.unreadable == ("events:metric:e1",)
    assert "values in Redis cannot be read as events" in caplog.text
    with pytest.raises(InvalidEvent):
        both.get("e1")


def test_following_gives_what_is_there_and_then_what_comes_however_late(server: PrivateRedis, loader: Loader) -> None:
    span = {"type": "trace", "trace_id": "t", "span_id": "s"}
    loader.store([event("start", 10, **span), event("log", 20)])
    with EventStore(server.url) as store:
        following = store.follow("c1", interval_s=0.01)
        assert [next(following).id, next(following).id] == ["start", "log"]
        loader.store([event("end", 30, **span), event("late", 1)])
        assert [next(following).id, next(following).id] == ["late", "end"]
        loader.store([event("other", 40, correlation_id="c2"), event("last", 15)])
        assert next(following).id == "last"
        following.close()


def test_following_ends_by_itself_and_takes_filters(both: Both, loader: Loader) -> None:
    loader.store([event("1"), event("2", level="error"), event("3", 5, level="error")])
    until = BEGUN + timedelta(milliseconds=5)
    assert ids(both.follow("c1", interval_s=0.01, for_s=0.02, levels="error", until=until)) == ["2"]


def test_a_trace_holds_events_of_every_type_and_its_spans_once(both: Both, loader: Loader) -> None:
    spans = [
        event("r1", 0, type="trace", trace_id="t", span_id="root"),
        event("c1", 5, type="trace", trace_id="t", span_id="kid", metadata={"parent_span_id": "root"}),
        event("c2", 25, type="trace", trace_id="t", span_id="kid", data={"duration_ms": 20}),
        event("r2", 40, type="trace", trace_id="t", span_id="root", data={"duration_ms": 40, "operation": "GET /"}),
    ]
    loader.store(
        [*spans, event("said", 6, trace_id="t", span_id="kid", level="error"), event("loose", 7, trace_id="t")]
    )
    assert ids(both.trace_events("t")) == ["r1", "c1", "said", "loose", "c2", "r2"]
    assert ids(both.trace_events("t", levels="error")) == ["said"]
    tree = both.trace("t")
    assert [(span.span_id, span.duration_ns, span.has_error) for span in tree.spans] == [
        ("root", 40_000_000, False),
        ("kid", 20_000_000, True),
    ]
    assert tree.bottleneck is not None and tree.bottleneck.span_id in ("root", "kid")


def test_the_store_takes_a_url_a_client_and_a_config(server: PrivateRedis, loader: Loader, tmp_path: Path) -> None:
    loader.store([event("e1")])
    texts = redis.Redis(unix_socket_path=str(server.socket), decode_responses=True)
    for source in (server.url, texts, RedisConfig(url=server.url)):
        with EventStore(source) as store:
            assert ids(store.correlated("c1")) == ["e1"]
            assert store.get("e1") == store.correlated("c1")[0]
    assert texts.ping()  # a client of one's own stays open
    texts.close()

    async def look() -> None:
        mine = redis.asyncio.Redis(unix_socket_path=str(server.socket), decode_responses=True)
        for source in (server.url, mine, RedisConfig(url=server.url)):
            async with AsyncEventStore(source) as store:
                assert ids(await store.correlated("c1")) == ["e1"]
        await mine.aclose()

    asyncio.run(look())


def test_only_indexes_and_keys_are_asked_for(both: Both, loader: Loader, client: redis.Redis) -> None:
    loader.store(big_group(300, 1))
    client.config_resetstat()
    both.correlated("c1")
    both.trace("t")
    both.get("e00001")
    list(both.pages("c1", limit=10))
    used = {name.removeprefix("cmdstat_").split("|")[0] for name in client.info("commandstats")}
    assert used <= {"zrange", "mget", "client", "select", "hello", "config", "info"}


def test_a_store_of_another_form_of_numbers_reads_alike(server: PrivateRedis, loader: Loader) -> None:
    """The third version of the protocol gives pairs where the second gives a flat list."""
    loader.store(event(f"e{number}", number) for number in range(3))
    for protocol in (2, 3):
        with redis.Redis(unix_socket_path=str(server.socket), protocol=protocol) as own:
            assert ids(EventStore(own).correlated("c1")) == ["e0", "e1", "e2"]


def test_json_of_what_was_found_is_what_was_written(both: Both, loader: Loader) -> None:
    made = event("e1", labels={"a": "b"}, metadata={"n": 1}, data={"x": [1, 2.5, None]}, service="s", component="c")
    loader.store([made | {"message": "m"}])
    assert json.loads(both.get("e1").to_json()) == made | {"message": "m"}
