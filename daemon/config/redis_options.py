"""How Redis is reached by the `redis` section of a config: for redis-py, and for the sink, which dials on its own.

One reading of URL, user, password file and TLS for the daemon, `validate`, look-ups and services. Imports no redis-py.
"""

import ssl
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from .schema import RedisConfig
from .secrets import read_secret, secret_path

DIAL_TIMEOUT_S: Final = 5.0
REDIS_PORT: Final = 6379
# For questions to sentinels, whichever redis-py asks them.
SENTINEL_OPTIONS: Final = {"socket_timeout": DIAL_TIMEOUT_S}


class Endpoint(NamedTuple):
    """One server to dial: a host and port, or the path of a socket."""

    host: str
    port: int
    path: str | None
    database: int
    is_tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.path or f"{host}:{self.port}"


def url_endpoint(config: RedisConfig) -> Endpoint:
    """The server that `redis.url` names. With `redis.sentinel`, only its database and its TLS count."""
    parts = urlsplit(config.url)
    database = parse_qs(parts.query).get("db", [""])[-1]
    if parts.scheme == "unix":
        return Endpoint("localhost", REDIS_PORT, unquote(parts.path), int(database or 0), False)
    database = database or parts.path.strip("/")
    host = unquote(parts.hostname or "localhost")
    return Endpoint(host, parts.port or REDIS_PORT, None, int(database or 0), parts.scheme == "rediss")


def sentinel_nodes(config: RedisConfig) -> list[tuple[str, int]]:
    """The sentinels by host and port; none where the URL says where Redis is."""
    if config.sentinel is None:
        return []
    pairs = (node.rsplit(":", 1) for node in config.sentinel.nodes)
    return [(host.strip("[]"), int(port)) for host, port in pairs]


def credentials(config: RedisConfig) -> tuple[str | None, str | None]:
    """(user name, password), read again each time, so that a changed file is used at the next connect."""
    return config.username, read_secret(config.password_file) if config.password_file else None


def tls_context(config: RedisConfig) -> ssl.SSLContext | None:
    """For who dials on his own. None where the URL is not rediss://."""
    if not url_endpoint(config).is_tls:
        return None
    ca_file, cert_file, key_file = _tls_files(config)
    context = ssl.create_default_context(cafile=ca_file)
    if cert_file:
        context.load_cert_chain(cert_file, key_file)
    return context


def _tls_files(config: RedisConfig) -> list[str | None]:
    tls = config.tls
    return [str(secret_path(name)) if name else None for name in (tls.ca_file, tls.cert_file, tls.key_file)]


def redis_py_options(config: RedisConfig, reply_timeout_s: float) -> dict[str, Any]:
    """What a client of redis-py takes, but for its place: see `place_options`; a sentinel's client has none."""
    endpoint = url_endpoint(config)
    username, password = credentials(config)
    options: dict[str, Any] = {
        "db": endpoint.database,
        "username": username,
        "password": password,
        "socket_timeout": reply_timeout_s,
    }
    if endpoint.path is None:
        options["socket_connect_timeout"] = DIAL_TIMEOUT_S
    if endpoint.is_tls:
        names = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
        options |= {"ssl": True, "ssl_check_hostname": True, **dict(zip(names, _tls_files(config), strict=True))}
    return options


def place_options(endpoint: Endpoint) -> dict[str, Any]:
    """Where a client of redis-py dials."""
    if endpoint.path is not None:
        return {"unix_socket_path": endpoint.path}
    return {"host": endpoint.host, "port": endpoint.port}
