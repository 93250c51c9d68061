"""Finds the Redis server to dial, by URL or sentinels, and asks it for its role and identity, by redis-py.

Runs on: the loop. The data plane dials on its own; this is for what happens once a connection.
"""

import asyncio
from typing import Any, NamedTuple

import redis.asyncio
import redis.asyncio.sentinel
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ...config.redis_options import (
    DIAL_TIMEOUT_S,
    SENTINEL_OPTIONS,
    Endpoint,
    credentials,
    place_options,
    redis_py_options,
    sentinel_nodes,
    tls_context,
    url_endpoint,
)
from ...config.schema import RedisConfig
from ...errors import RedisProtocolError, RedisUnavailable

# Whoever asks tries again himself. redis-py's ten tries keep a fail-over waiting a minute for a host that is down.
ONE_TRY = Retry(NoBackoff(), 0)


class ServerFacts(NamedTuple):
    """What INFO says. `run_id` changes with a restart, `replication_id` with a fail-over."""

    version: str
    run_id: str
    replication_id: str
    role: str
    memory_policy: str


class RedisRefused(RedisUnavailable):
    """The server answered with an error line, such as `WRONGPASS invalid username-password pair`."""

    @property
    def of_login(self) -> bool:
        """Whether the user or the password is what it refuses."""
        line = str(self)
        return line.startswith("WRONGPASS") or "AUTH" in line


def command(*words: str | int) -> bytes:
    """One command as RESP, for the few that are not written by the fast path."""
    texts = [str(word).encode() for word in words]
    return b"*%d\r\n" % len(texts) + b"".join(b"$%d\r\n%s\r\n" % (len(text), text) for text in texts)


def login(config: RedisConfig, endpoint: Endpoint) -> list[bytes]:
    """AUTH and SELECT. Each is answered with one line."""
    username, password = credentials(config)
    auth = [] if password is None else [command("AUTH", *([username] if username else []), password)]
    return [*auth, command("SELECT", endpoint.database)]


async def knock(config: RedisConfig, endpoint: Endpoint) -> None:
    """Log in and ask for INFO, without redis-py: its errors lack the word that Redis puts first, and which class has
    which cause changes with its releases. Raises RedisRefused, RedisProtocolError, OSError or TimeoutError."""
    async with asyncio.timeout(DIAL_TIMEOUT_S):
        if endpoint.path:
            reader, writer = await asyncio.open_unix_connection(endpoint.path)
        else:
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port, ssl=tls_context(config))
        try:
            commands = [*login(config, endpoint), command("INFO", "server")]
            writer.write(b"".join(commands))
            for _ in commands:
                _judge(await reader.readline())
        finally:
            writer.close()


def _judge(line: bytes) -> None:
    """The first line of a reply."""
    text = line.decode("utf-8", "replace").strip()
    if not line:
        raise ConnectionResetError("it closed the connection")
    if line.startswith(b"-"):
        raise RedisRefused(text[1:])
    if not line.startswith((b"+", b"$")):
        raise RedisProtocolError(f"what answers there is no Redis: {text[:60]!r}")


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
