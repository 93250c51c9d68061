"""How stores and services reach Redis by the `redis` section of a config. In: sections. Out: events through each."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from ingestd.cli.demo.private_redis import find_server
from ingestd.client import AsyncEventStreamingService, EventStreamingService
from ingestd.client.lookup.store import AsyncEventStore, EventStore
from ingestd.config.schema import Config, KafkaConfig, RedisConfig, SentinelConfig
from tests.support.ports import free_ports
from tests.support.redis_node import RedisNode
from tests.support.wait import wait_until


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RedisNode]:
    node = RedisNode(tmp_path / "redis").start()
    with node.client() as client:
        client.set("events:log:e1", b'{"id":"e1","type":"log","level":"info","correlation_id":"c1"}')
        client.zadd("correlation_index:c1", {"events:log:e1": 1.0})
    yield node
    node.stop()


QUIET: Any = {"librdkafka": {"log_level": 0}}


def whole(section: RedisConfig) -> Config:
    return Config(kafka=KafkaConfig(brokers=("127.0.0.1:1",)), redis=section)


def service(section: RedisConfig, given: Any = None) -> EventStreamingService:
    return EventStreamingService(whole(section), given, **QUIET)


def services_find(section: RedisConfig, given: Any = None) -> list[str]:
    """What both services find by a correlation. `given`: what they get beside the config."""

    async def look() -> list[str]:
        async with AsyncEventStreamingService(whole(section), given, **QUIET) as asked:
            return [event.id for event in await asked.get_correlated_events("c1")]

    with service(section, given) as asked:
        events = asked.get_correlated_events("c1")
    return [*(event.id for event in events), *asyncio.run(look())]


def found(config: RedisConfig) -> list[str]:
    """What both stores find, and what both services do whose config has this section."""

    async def look() -> str:
        async with AsyncEventStore(config) as store:
            event = await store.get("e1")
            return event.id if event else ""

    with EventStore(config) as store:
        event = store.get("e1")
    return [event.id if event else "", asyncio.run(look()), *services_find(config)]


def test_the_password_comes_from_its_file(node: RedisNode, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("open sesame\n")
    with node.client() as client:
        client.config_set("requirepass", "open sesame")
    assert found(RedisConfig(url=node.url, password_file=str(tmp_path / "secret"))) == ["e1"] * 4
    with pytest.raises(redis.AuthenticationError):
        found(RedisConfig(url=node.url))


def test_a_named_user_needs_no_more_than_two_commands(node: RedisNode, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("pw")
    with node.client() as client:
        client.acl_setuser("looker", enabled=True, passwords=["+pw"], keys=["*"], commands=["+mget", "+zrange"])
    assert found(RedisConfig(url=node.url, username="looker", password_file=str(tmp_path / "secret"))) == ["e1"] * 4


def test_a_service_takes_what_a_store_takes_and_asks_that_before_its_config(node: RedisNode) -> None:
    nowhere = RedisConfig(url="redis://127.0.0.1:1/0")
    for given in (RedisConfig(url=node.url), node.url):
        assert services_find(nowhere, given) == ["e1"] * 2


def test_a_service_closes_its_own_connections_and_leaves_open_what_it_was_given(node: RedisNode) -> None:
    nowhere = RedisConfig(url="redis://127.0.0.1:1/0")
    with node.client() as given:
        mine = given.client_id()

        def others() -> set[int]:
            return {int(row["id"]) for row in given.client_list()} - {mine}

        with service(RedisConfig(url=node.url)) as own:
            assert [event.id for event in own.get_correlated_events("c1")] == ["e1"]
            assert len(others()) == 1
        wait_until(lambda: not others(), "its own connection is closed", 10)
        with service(nowhere, given) as other:
            assert [event.id for event in other.get_correlated_events("c1")] == ["e1"]
        assert given.client_id() == mine, "it is still the same connection"


def test_the_sentinels_say_where_the_master_is(node: RedisNode, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    conf = tmp_path / "sentinel.conf"
    conf.write_text(f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\nsentinel monitor mymaster 127.0.0.1 {node.port} 1\n")
    with open(tmp_path / "sentinel.log", "wb") as log:
        process = subprocess.Popen([find_server(), str(conf), "--sentinel"], stdout=log, stderr=log)
    try:
        config = RedisConfig(sentinel=SentinelConfig(master="mymaster", nodes=(f"127.0.0.1:{port}",)))

        def answers() -> bool:
            try:
                with redis.Redis(host="127.0.0.1", port=port) as client:
                    return bool(client.ping())
            except redis.RedisError:
                return False

        wait_until(answers, "the sentinel answers", 20)
        assert found(config) == ["e1"] * 4
    finally:
        process.terminate()
        process.wait(20)
