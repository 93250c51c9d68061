"""Where Redis is: what the sentinels are asked, and that nothing of the question stays open."""

import asyncio

import pytest
import redis.asyncio.sentinel

from ingestd.config.schema import RedisConfig, SentinelConfig
from ingestd.pipeline.sinks.redis_server import find_endpoint


class FakeSentinel:
    """Stands for redis-py's class and for its clients."""

    made: list["FakeSentinel"] = []

    def __init__(self, nodes: list[tuple[str, int]], **settings: object) -> None:
        self.nodes, self.sentinels, self.closed = nodes, [self], False
        self.made.append(self)

    async def discover_master(self, name: str) -> tuple[str, int]:
        if name == "unknown":
            raise redis.asyncio.sentinel.MasterNotFoundError(name)
        return "10.0.0.1", 6379

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.parametrize("master", ["main", "unknown"])
def test_sentinels_are_asked_by_address_and_let_go(monkeypatch: pytest.MonkeyPatch, master: str):
    monkeypatch.setattr(redis.asyncio.sentinel, "Sentinel", FakeSentinel)
    config = RedisConfig(sentinel=SentinelConfig(master=master, nodes=("[fd00::1]:26379", "sentinel-2:26380")))
    if master == "unknown":
        with pytest.raises(redis.RedisError):
            asyncio.run(find_endpoint(config))
    else:
        endpoint = asyncio.run(find_endpoint(config))
        assert (endpoint.host, endpoint.port) == ("10.0.0.1", 6379)
    asked = FakeSentinel.made.pop()
    assert asked.nodes == [("fd00::1", 26379), ("sentinel-2", 26380)] and asked.closed
