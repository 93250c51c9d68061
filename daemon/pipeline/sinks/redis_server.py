"""Finds the Redis server to dial, by URL or sentinels, and asks it for its role and identity, by redis-py.

Runs on: the loop. The data plane dials on its own; this is for what happens once a connection.
"""

from typing import Any, NamedTuple

import redis.asyncio
import redis.asyncio.sentinel
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ...config.redis_options import (
    DIAL_TIMEOUT_S,
    SENTINEL_OPTIONS,
    Endpoint,
    place_options,
    redis_py_options,
    sentinel_nodes,
    url_endpoint,
)
from ...config.schema import RedisConfig

# Whoever asks tries again himself. redis-py's ten tries keep a fail-over waiting a minute for a host that is down.
ONE_TRY = Retry(NoBackoff(), 0)


class ServerFacts(NamedTuple):
    """What INFO says. `run_id` changes with a restart, `replication_id` with a fail-over."""

    version: str
    run_id: str
    replication_id: str
    role: str
    memory_policy: str


async def find_endpoint(config: RedisConfig) -> Endpoint:
    """The server to dial now: the URL's, or the one that the sentinels name as master."""
    named = url_endpoint(config)
    if config.sentinel is None:
        return named
    settings = SENTINEL_OPTIONS | {"retry": ONE_TRY}
    finder = redis.asyncio.sentinel.Sentinel(sentinel_nodes(config), sentinel_kwargs=settings)
    try:
        host, port = await finder.discover_master(config.sentinel.master)
    finally:
        for sentinel in finder.sentinels:
            await sentinel.aclose()
    return named._replace(host=host, port=port, path=None)


def connect(config: RedisConfig, endpoint: Endpoint, **options: Any) -> redis.asyncio.Redis:
    """A client of redis-py for a few questions to this server. It dials when it is first used."""
    settings = redis_py_options(config, DIAL_TIMEOUT_S) | place_options(endpoint) | {"retry": ONE_TRY}
    return redis.asyncio.Redis(**settings, **options)


async def read_facts(config: RedisConfig, endpoint: Endpoint) -> ServerFacts:
    """Ask the server itself. Raises redis.RedisError or OSError."""
    client = connect(config, endpoint)
    try:
        info = await client.info()
    finally:
        await client.aclose()
    return ServerFacts(
        info.get("redis_version", "0"),
        info.get("run_id", ""),
        info.get("master_replid", ""),
        info.get("role", "master"),
        info.get("maxmemory_policy", "noeviction"),
    )
