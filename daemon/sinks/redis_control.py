"""Where Redis is and what it says of itself. RedisConfig in; an endpoint and a few facts out. Uses redis-py.

Runs on: the loop. The data plane dials on its own; this is for what happens once a connection.
"""

import asyncio
import ssl
from typing import NamedTuple

import redis.asyncio
import redis.asyncio.sentinel
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ingestd.config import RedisConfig, read_secret, secret_path
from ingestd.errors import RedisProtocolError, RedisUnavailable

DIAL_TIMEOUT_S = 5.0
# Whoever asks tries again himself. redis-py's ten tries keep a fail-over waiting a minute for a host that is gone.
ONE_TRY = Retry(NoBackoff(), 0)


class Endpoint(NamedTuple):
    """One server to dial: a host and port, or a socket path."""

    host: str
    port: int
    path: str | None
    database: int
    tls: ssl.SSLContext | None

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


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


def credentials(config: RedisConfig) -> tuple[str | None, str | None]:
    """(user name, password), read anew each time so that a changed file is used at the next connect."""
    return config.username, read_secret(config.password_file) if config.password_file else None


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
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port, ssl=endpoint.tls)
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


def _tls_context(config: RedisConfig) -> ssl.SSLContext:
    tls = config.tls
    context = ssl.create_default_context(cafile=str(secret_path(tls.ca_file)) if tls.ca_file else None)
    if tls.cert_file:
        context.load_cert_chain(secret_path(tls.cert_file), secret_path(tls.key_file) if tls.key_file else None)
    return context


async def find_endpoint(config: RedisConfig) -> Endpoint:
    """The server to dial now: the URL's, or the one that the sentinels name as master."""
    parts = parse_url(config.url)
    tls = _tls_context(config) if config.url.startswith("rediss:") else None
    database = int(parts.get("db") or 0)
    if config.sentinel is not None:
        pairs = (node.rsplit(":", 1) for node in config.sentinel.nodes)
        nodes = [(host.strip("[]"), int(port)) for host, port in pairs]
        settings = {"socket_timeout": DIAL_TIMEOUT_S, "retry": ONE_TRY}
        finder = redis.asyncio.sentinel.Sentinel(nodes, sentinel_kwargs=settings)
        try:
            host, port = await finder.discover_master(config.sentinel.master)
        finally:
            for sentinel in finder.sentinels:
                await sentinel.aclose()
        return Endpoint(host, port, None, database, tls)
    return Endpoint(parts.get("host", "localhost"), int(parts.get("port", 6379)), parts.get("path"), database, tls)


async def read_facts(config: RedisConfig, endpoint: Endpoint) -> ServerFacts:
    """Ask the server itself. Raises redis.RedisError or OSError."""
    username, password = credentials(config)
    common = {"username": username, "password": password, "socket_timeout": DIAL_TIMEOUT_S, "retry": ONE_TRY}
    if endpoint.path:
        client = redis.asyncio.Redis(unix_socket_path=endpoint.path, **common)
    else:
        tls = config.tls
        secure = (
            {}
            if endpoint.tls is None
            else {
                "ssl": True,
                "ssl_ca_certs": str(secret_path(tls.ca_file)) if tls.ca_file else None,
                "ssl_certfile": str(secret_path(tls.cert_file)) if tls.cert_file else None,
                "ssl_keyfile": str(secret_path(tls.key_file)) if tls.key_file else None,
            }
        )
        client = redis.asyncio.Redis(
            host=endpoint.host, port=endpoint.port, socket_connect_timeout=DIAL_TIMEOUT_S, **common, **secure
        )
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
