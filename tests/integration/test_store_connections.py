"""How a store reaches Redis by the `redis` section of a config. In: sections. Out: events through each of them."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from ingestd.cli.private_redis import find_server
from ingestd.client.store import AsyncEventStore, EventStore
from ingestd.config import RedisConfig, SentinelConfig
from tests.support.ports import free_ports
from tests.support.redis_node import RedisNode
from tests.support.wait import wait_until


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RedisNode]:
    node = RedisNode(tmp_path / "redis").start()
    with node.client() as client:
        client.set("events:log:e1", b'{"id":"e1","type":"log","level":"info"}')
    yield node
    node.stop()


def found(config: RedisConfig) -> list[str]:
    """What both stores find."""

    async def look() -> str:
        async with AsyncEventStore(config) as store:
            event = await store.get("e1")
            return event.id if event else ""

    with EventStore(config) as store:
        event = store.get("e1")
    return [event.id if event else "", asyncio.run(look())]


def test_the_password_comes_from_its_file(node: RedisNode, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("open sesame\n")
    with node.client() as client:
        client.config_set("requirepass", "open sesame")
    assert found(RedisConfig(url=node.url, password_file=str(tmp_path / "secret"))) == ["e1", "e1"]
    with pytest.raises(redis.AuthenticationError):
        found(RedisConfig(url=node.url))


def test_a_named_user_needs_no_more_than_two_commands(node: RedisNode, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("pw")
    with node.client() as client:
        client.acl_setuser("looker", enabled=True, passwords=["+pw"], keys=["*"], commands=["+mget", "+zrange"])
    assert found(RedisConfig(url=node.url, username="looker", password_file=str(tmp_path / "secret"))) == ["e1", "e1"]


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
                with redis.Redis(port=port) as client:
                    return bool(client.ping())
            except redis.RedisError:
                return False

        wait_until(answers, "the sentinel answers", 20)
        assert found(config) == ["e1", "e1"]
    finally:
        process.terminate()
        process.wait(20)
