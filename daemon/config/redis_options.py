"""How Redis is reached by the `redis` section of a config: for redis-py, and for the sink, which dials on its own.

One reading of URL, user, password file and TLS for the daemon, `validate`, look-ups and services. Imports no redis-py.
"""

import re
import ssl
from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from ..errors import Problem
from .schema import RedisConfig
from .secrets import read_secret, secret_path

DIAL_TIMEOUT_S: Final = 5.0
REDIS_PORT: Final = 6379
URL_FORM: Final = "redis://HOST:PORT/DATABASE"
PEM_MEND: Final = "a PEM file begins with -----BEGIN"
URL_FIELDS_MAX: Final = 16
_DATABASE: Final = re.compile(r"[0-9]{1,9}")
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


class RedisUrl(NamedTuple):
    """What a URL says. A config may not name user and password there; a program may."""

    endpoint: Endpoint
    username: str | None
    password: str | None


class BadUrl(ValueError):
    """The URL says nothing that all of ingestd would read alike. Never shows it: it may hold a password."""

    def __init__(self, what: str, mend: str = URL_FORM) -> None:
        self.what, self.mend = what, mend
        super().__init__(f"the URL of Redis {what} ({mend})")


def read_url(url: str) -> RedisUrl:
    """`redis://HOST:PORT/DATABASE`, `rediss://` with TLS, `unix:///PATH?db=DATABASE`. Raises BadUrl for all else."""
    try:
        parts = urlsplit(url)
        port = parts.port
        username, password = (unquote(part) if part else None for part in (parts.username, parts.password))
        host = unquote(parts.hostname or "localhost")
        query = parse_qs(parts.query, keep_blank_values=True, max_num_fields=URL_FIELDS_MAX)
    except ValueError:
        raise BadUrl("has a host or port that can't be read") from None
    # urlsplit gives the scheme in small letters, as all must compare it.
    if "cluster" in parts.scheme or "cluster" in query:
        raise BadUrl("is of Redis Cluster, which is not supported", "use one master, or redis.sentinel")
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise BadUrl("is not redis://, rediss:// or unix://")
    if "@" in parts.path + parts.query + parts.fragment or query.keys() & {"username", "password"}:
        raise BadUrl("holds a user name or password where it is not read", "write / @ # ? in them as %2F %40 %23 %3F")
    if query.keys() - {"db"} or parts.fragment:
        raise BadUrl("has other parameters than db", "they are not read; leave them out")
    numbers = query.get("db", [])
    if parts.scheme == "unix":
        if parts.netloc.rpartition("@")[2] or not parts.path.startswith("/"):
            raise BadUrl("has no path of a socket", "unix:///PATH, with three slashes")
        path = unquote(parts.path)
    else:
        path = None
        if parts.path.strip("/"):
            numbers = [*numbers, parts.path[1:]]
    if not all(_DATABASE.fullmatch(number) for number in numbers):
        raise BadUrl("has a database that is no number")
    if port == 0 or not is_host(host) or (path is not None and not path.isprintable()):
        raise BadUrl("has a host or port that can't be one")
    endpoint = Endpoint(host, port or REDIS_PORT, path, int(numbers[0]) if numbers else 0, parts.scheme == "rediss")
    return RedisUrl(endpoint, username, password)


def is_host(text: str) -> bool:
    """Whether a name can be looked up at all: Python raises for some, where the system would say no."""
    try:
        text.encode("idna")
    except UnicodeError:
        return False
    return text.isprintable() and not any(char.isspace() for char in text)


def url_endpoint(config: RedisConfig) -> Endpoint:
    """The server that `redis.url` names. With `redis.sentinel`, only its database and its TLS count."""
    return read_url(config.url).endpoint


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
        # Without a password here, one would be asked for on the terminal.
        context.load_cert_chain(cert_file, key_file, password="")
    return context


def tls_problems(config: RedisConfig) -> Iterator[Problem]:
    """What TLS itself says of the files, which can be read: a certificate that is none, a key of another one."""
    if not url_endpoint(config).is_tls:
        return
    ca_file, cert_file, key_file = _tls_files(config)
    try:
        ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        yield Problem("redis.tls.ca_file", f"{ca_file} holds no certificates: {_tls_reason(error)}", PEM_MEND)
        return
    try:
        tls_context(config)
    except OSError as error:
        what = f"{cert_file} with {key_file or 'the key in it'} is refused: {_tls_reason(error)}"
        yield Problem("redis.tls.cert_file", what, f"{PEM_MEND}; the key has no password")


def _tls_reason(error: OSError) -> str:
    return str(getattr(error, "reason", None) or error.strerror or error)


def _tls_files(config: RedisConfig) -> list[str | None]:
    tls = config.tls
    return [str(secret_path(name)) if name else None for name in (tls.ca_file, tls.cert_file, tls.key_file)]


def redis_py_options(config: RedisConfig, reply_timeout_s: float) -> dict[str, Any]:
    """What a client of redis-py takes, but for its place: see `place_options`; a sentinel's client has none.

    User and password of the URL are those of a program: `checks` refuses them in a config.
    """
    endpoint, url_username, url_password = read_url(config.url)
    username, password = credentials(config)
    username, password = username or url_username, password if password is not None else url_password
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
        options |= {
            "ssl": True,
            "ssl_check_hostname": True,
            "ssl_password": "",
            **dict(zip(names, _tls_files(config), strict=True)),
        }
    return options


def place_options(endpoint: Endpoint) -> dict[str, Any]:
    """Where a client of redis-py dials."""
    if endpoint.path is not None:
        return {"unix_socket_path": endpoint.path}
    return {"host": endpoint.host, "port": endpoint.port}
