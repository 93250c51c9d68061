"""Redis goes, comes back, or refuses. A batch is done only when every reply to it was good, and then Redis has all."""

import asyncio
import json
import os
import random
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import redis
import uvloop

from ingestd._fastpath import Batch, IndexCache, RouteTable, process_batch
from ingestd.config.schema import Config, RedisConfig
from ingestd.pipeline.route_table import table_arguments
from ingestd.pipeline.sinks.redis import RedisSink
from ingestd.pipeline.sinks.redis_server import find_endpoint, read_facts
from tests.support.harness import until
from tests.support.proxy import CuttingProxy
from tests.support.redis_node import RedisNode
from tests.support.runtime import quiet_log, runtime_for_tests
from tests.support.wait import MULTIPLIER


class Bench:
    """One Redis sink with what it needs; `done` is what it gave back."""

    def __init__(self, url: str, client_name: str = "test", **settings: object) -> None:
        self.table = RouteTable((), **table_arguments(Config()))
        self.cache = IndexCache()
        self.done: list[tuple[Batch, object]] = []
        runtime = runtime_for_tests(quiet_log())
        self.counters = runtime.counters
        self.sink = RedisSink(
            config=RedisConfig(url=url, **settings),
            client_name=client_name,
            cache=self.cache,
            on_done=self._on_done,
            runtime=runtime,
        )

    def _on_done(self, batch: Batch) -> None:
        self.done.append((batch, batch.refused_records))

    def answer(self, replies: bytes) -> None:
        """As if Redis had sent this on the connection in use."""
        link = self.sink._link
        link.reader.feed(replies)
        self.sink.on_replies(link)

    def batch(self, first: int, count: int = 3, **more: object) -> Batch:
        rows = []
        for number in range(first, first + count):
            event = {"id": f"e{number}", "type": "log", "level": "info", "correlation_id": "c", "trace_id": "t", **more}
            rows.append((json.dumps(event).encode(), 1_700_000_000_000 + number, "in", 0, 0, number, None, False))
        batch = Batch(count)
        batch.load(rows)
        process_batch(batch, self.table, self.cache, int(time.time()))
        return batch


@asynccontextmanager
async def connected(url: str, **settings: object) -> AsyncIterator[Bench]:
    """A sink that is connected, and is closed also when the test fails: uvloop does not end with an open connection."""
    bench = Bench(url, **settings)
    keeper = asyncio.create_task(bench.sink.run())
    try:
        await until(lambda: bench.sink.connected, "connected")
        yield bench
    finally:
        bench.sink.close()
        keeper.cancel()


def run(work) -> None:
    uvloop.run(asyncio.wait_for(work, 100))


def all_keys(node: RedisNode) -> dict[bytes, int]:
    client = node.client()
    return {key: client.ttl(key) for key in client.keys("*")}


@pytest.mark.parametrize("direction", ["up_bytes", "down_bytes"])
def test_a_connection_cut_anywhere_in_a_batch_costs_nothing(redis_node: RedisNode, direction: str, seed: int):
    async def work() -> None:
        async with CuttingProxy(redis_node.port) as proxy:
            bench = Bench(f"redis://127.0.0.1:{proxy.port}/0")
            keeper = asyncio.create_task(bench.sink.run())
            await until(lambda: bench.sink.connected, "connected")
            size = len(bench.batch(0).resp()) if direction == "up_bytes" else 5 * bench.batch(0).reply_count - 1
            # Every 13th byte from a seeded start: the whole is the same at every place, and each cut is a reconnect.
            places = range(1 + random.Random(seed).randrange(13), size, 13 if direction == "up_bytes" else 5)
            for number, place in enumerate(places):
                proxy.arm(**{direction: place})
                batches = [bench.batch(100 * number), bench.batch(100 * number + 50)]
                for batch in batches:
                    bench.sink.submit(batch)
                await until(lambda n=number: len(bench.done) == 2 * n + 2, f"both are done, cut at {place}")
                assert [batch for batch, _ in bench.done[-2:]] == batches, "done in the order of submitting"
                assert all(refused is None for _, refused in bench.done[-2:])
            assert proxy.cuts == len(places)
            keys = all_keys(redis_node)
            for number in range(len(places)):
                for ident in (100 * number, 100 * number + 52):
                    assert f"events:log:e{ident}".encode() in keys
            assert all(ttl > 0 for ttl in keys.values()), "a key without a TTL"
            assert redis_node.client().zcard("correlation_index:c") == 6 * len(places)
            bench.sink.close()
            keeper.cancel()

    run(work())


def test_an_emptied_redis_gets_ttls_on_every_index_again(redis_node: RedisNode):
    async def work() -> None:
        bench = Bench(redis_node.url)
        keeper = asyncio.create_task(bench.sink.run())
        await until(lambda: bench.sink.connected, "connected")
        bench.sink.submit(bench.batch(0))
        await until(lambda: len(bench.done) == 1, "the first is done")
        # Built while the TTL is remembered, so without an EXPIRE; sent to a server that has nothing.
        late = bench.batch(10)
        assert b"EXPIRE" not in late.resp()
        redis_node.client().flushall()
        redis_node.stop()
        await until(lambda: not bench.sink.connected, "the loss is noticed")
        bench.sink.submit(late)
        redis_node.start()
        await until(lambda: len(bench.done) == 2, "the second is done")
        assert redis_node.client().ttl("correlation_index:c") > 0
        bench.sink.close()
        keeper.cancel()

    run(work())


def test_a_command_refused_for_good_names_its_record_and_the_others_are_kept(redis_node: RedisNode):
    async def work() -> None:
        bench = Bench(redis_node.url)
        redis_node.client().set("correlation_index:c", "no sorted set")
        keeper = asyncio.create_task(bench.sink.run())
        await until(lambda: bench.sink.connected, "connected")
        bench.sink.submit(bench.batch(0, 4))
        await until(lambda: bench.done, "it is done")
        ((_, refused),) = bench.done
        assert sorted(set(refused)) == [0, 1, 2, 3]
        assert redis_node.client().exists("events:log:e0", "events:log:e3") == 2
        bench.sink.close()
        keeper.cancel()

    run(work())


def test_a_full_redis_is_waited_for(redis_node: RedisNode):
    async def work() -> None:
        bench = Bench(redis_node.url)
        client = redis_node.client()
        keeper = asyncio.create_task(bench.sink.run())
        await until(lambda: bench.sink.connected, "connected")
        client.config_set("maxmemory", "1")
        bench.sink.submit(bench.batch(0))
        await until(lambda: bench.counters.value("ingestd_errors_total", "index", "OOM") > 0, "it was refused")
        assert bench.done == []
        client.config_set("maxmemory", "0")
        await until(lambda: len(bench.done) == 1, "it is done")
        assert client.exists("events:log:e0", "events:log:e2") == 2
        bench.sink.close()
        keeper.cancel()

    run(work())


def test_replies_that_stop_coming_are_a_lost_connection(redis_node: RedisNode):
    async def work() -> None:
        bench = Bench(redis_node.url, reply_timeout_ms=300)
        keeper = asyncio.create_task(bench.sink.run())
        await until(lambda: bench.sink.connected, "connected")
        redis_node.freeze()
        bench.sink.submit(bench.batch(0))
        await until(lambda: not bench.sink.connected, "the silence is noticed")
        redis_node.thaw()
        await until(lambda: len(bench.done) == 1, "it is done")
        bench.sink.close()
        keeper.cancel()

    run(work())


def test_a_large_event_on_a_slow_line_is_no_silence(redis_node: RedisNode):
    async def work() -> None:
        # Small buffers, so that what is out of our hands is soon through.
        async with CuttingProxy(redis_node.port, buffer_bytes=65536) as proxy:
            url = f"redis://127.0.0.1:{proxy.port}/0"
            async with connected(url, reply_timeout_ms=1000) as bench:
                descriptor = os.dup(bench.sink._link.transport.get_extra_info("socket").fileno())
                with socket.socket(fileno=descriptor) as line:
                    line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
                bench.table = RouteTable((), **(table_arguments(Config()) | {"event_bytes_max": 1 << 25}))
                proxy.up_pause_s = 0.008  # 8 MB/s at most: the first reply comes after two seconds at least
                bench.sink.submit(bench.batch(0, 1, message="m" * 20_000_000))
                await until(lambda: bench.done, "it is done")
                assert bench.counters.value("ingestd_errors_total", "index", "connection") == 0

    run(work())


def test_skip_gives_the_batch_back_at_once_and_counts_it(redis_node: RedisNode):
    async def work() -> None:
        redis_node.stop()
        bench = Bench(redis_node.url, on_unavailable="skip")
        bench.sink.submit(bench.batch(0))
        assert len(bench.done) == 1
        assert bench.counters.value("ingestd_events_discarded_total", "redis_unavailable", "true") == 3

    run(work())


@pytest.mark.parametrize(
    "word",
    [
        "MOVED 1234 127.0.0.1:1",
        "ASK 1234 127.0.0.1:1",
        "READONLY You can't write",
        "ERR unknown command 'ZADD', with args beginning with: ",
    ],
)
def test_an_error_that_is_about_the_server_makes_no_event_bad(redis_node: RedisNode, word: str):
    async def work() -> None:
        async with connected(redis_node.url) as bench:
            bench.sink.submit(bench.batch(0))
            bench.answer(b"+OK\r\n-" + word.encode() + b"\r\n")
            assert not bench.sink.connected
            await until(lambda: bench.done, "it is done on the next connection")
            assert bench.done[0][1] is None

    run(work())


def test_an_error_in_the_place_of_wait_s_answer_sends_the_batch_again(redis_node: RedisNode):
    async def work() -> None:
        async with connected(redis_node.url, wait_replicas=1) as bench:
            batch = bench.batch(0)
            bench.sink.submit(batch)
            bench.answer(b":1\r\n" * batch.reply_count + b"-UNBLOCKED instance state changed (master -> replica?)\r\n")
            assert not bench.sink.connected and bench.sink.waiting_count == 1
            await until(lambda: bench.sink.connected, "connected again")
            bench.answer(b":1\r\n" * (batch.reply_count + 1))
            assert bench.done == [(batch, None)]

    run(work())


def test_a_connection_that_ends_with_its_handshake_is_not_used(redis_node: RedisNode):
    async def work() -> None:
        async with CuttingProxy(redis_node.port) as proxy:
            bench = Bench(f"redis://127.0.0.1:{proxy.port}/0")
            dial = bench.sink._dial

            async def dial_and_be_cut(endpoint):
                bench.sink._dial = dial
                proxy.arm(down_bytes=len(b"+OK\r\n+OK\r\n"))  # the answers to SELECT and CLIENT SETNAME
                return await dial(endpoint)

            bench.sink._dial = dial_and_be_cut
            bench.sink.submit(bench.batch(0))
            keeper = asyncio.create_task(bench.sink.run())
            await until(lambda: bench.done or keeper.done(), "it is done")
            assert proxy.cuts == 1 and not keeper.done()
            bench.sink.close()
            keeper.cancel()

    run(work())


def test_an_index_that_was_refused_for_want_of_memory_gets_its_ttl_when_it_is_made(redis_node: RedisNode):
    async def work() -> None:
        async with connected(redis_node.url, on_full="skip") as bench:
            client = redis_node.client()
            client.config_set("maxmemory", "1")
            bench.sink.submit(bench.batch(0))
            await until(lambda: len(bench.done) == 1, "the first is given up")
            client.config_set("maxmemory", "0")
            bench.sink.submit(bench.batch(10))
            await until(lambda: len(bench.done) == 2, "the second is done")
            assert client.ttl("correlation_index:c") > 0 and client.ttl("trace_index:t") > 0

    run(work())


def test_a_full_redis_is_waited_for_also_where_an_absent_one_is_not(redis_node: RedisNode):
    async def work() -> None:
        async with connected(redis_node.url, on_unavailable="skip") as bench:
            client = redis_node.client()
            client.config_set("maxmemory", "1")
            bench.sink.submit(bench.batch(0))
            await until(
                lambda: bench.counters.value("ingestd_errors_total", "index", "OOM") > 1, "it was refused again"
            )
            bench.sink.submit(bench.batch(10))
            assert bench.done == []
            client.config_set("maxmemory", "0")
            await until(lambda: len(bench.done) == 2, "both are done")
            assert client.exists("events:log:e0", "events:log:e12") == 2
            redis_node.stop()
            await until(lambda: not bench.sink.connected, "the loss is noticed")
            bench.sink.submit(bench.batch(20))
            assert len(bench.done) == 3, "an absent one is not waited for"

    run(work())


def test_a_redis_that_is_not_there_is_said_at_the_first_try(redis_node: RedisNode):
    async def work() -> None:
        redis_node.stop()
        begun_s = time.monotonic()
        with pytest.raises((redis.exceptions.ConnectionError, OSError)):
            config = RedisConfig(url=redis_node.url)
            await read_facts(config, await find_endpoint(config))
        assert time.monotonic() - begun_s < 5 * MULTIPLIER, "redis-py's own ten tries take far longer"

    run(work())


def test_a_client_id_that_is_no_name_for_redis_is_made_one(redis_node: RedisNode):
    async def work() -> None:
        async with connected(redis_node.url, client_name="Büro 1"):
            assert "B-ro-1" in [client["name"] for client in redis_node.client().client_list()]

    run(work())
