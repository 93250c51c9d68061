"""How a `redis` section becomes what redis-py and the sink's own dialling take."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from ingestd.client.lookup.store import AsyncEventStore, EventStore
from ingestd.config.redis_options import (
    Endpoint,
    credentials,
    place_options,
    redis_py_options,
    sentinel_nodes,
    tls_context,
    url_endpoint,
)
from ingestd.config.schema import RedisConfig, SentinelConfig, TlsConfig


@pytest.mark.parametrize(
    ("url", "expected", "shown"),
    [
        ("redis://h", Endpoint("h", 6379, None, 0, False), "h:6379"),
        ("redis://10.0.0.1:7000/3", Endpoint("10.0.0.1", 7000, None, 3, False), "10.0.0.1:7000"),
        ("redis://h/1?db=3", Endpoint("h", 6379, None, 3, False), "h:6379"),
        ("rediss://[::1]:7000", Endpoint("::1", 7000, None, 0, True), "[::1]:7000"),
        ("redis://", Endpoint("localhost", 6379, None, 0, False), "localhost:6379"),
        ("unix:///run/a%20b.sock?db=2", Endpoint("localhost", 6379, "/run/a b.sock", 2, False), "/run/a b.sock"),
    ],
)
def test_the_url_says_where_and_which_database_as_redis_py_reads_it(url: str, expected: Endpoint, shown: str) -> None:
    found = url_endpoint(RedisConfig(url=url))
    assert found == expected and str(found) == shown
    theirs = redis.ConnectionPool.from_url(url).connection_kwargs
    ours = redis_py_options(RedisConfig(url=url), 1.0) | place_options(found)
    place = {"host": "localhost", "port": 6379, "db": 0} | theirs
    if found.path is None:
        assert {key: ours[key] for key in ("host", "port", "db")} == {key: place[key] for key in ("host", "port", "db")}
    else:
        assert (ours["unix_socket_path"], ours["db"]) == (theirs["path"], theirs["db"])


def test_a_changed_password_is_used_at_the_next_connect(tmp_path: Path) -> None:
    file = tmp_path / "password"
    config = RedisConfig(username="me", password_file=str(file))
    for password in ("first", "second"):
        file.write_text(password + "\n")
        assert credentials(config) == ("me", password)
        options = redis_py_options(config, 1.0)
        assert (options["username"], options["password"]) == ("me", password)


def test_tls_is_for_rediss_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    files = TlsConfig(ca_file="ca.pem", cert_file="cert.pem", key_file="/etc/key.pem")
    plain, secure = (
        redis_py_options(RedisConfig(url=f"{scheme}://h", tls=files), 1.0) for scheme in ("redis", "rediss")
    )
    assert not [name for name in plain if name.startswith("ssl")]
    assert secure["ssl"] is secure["ssl_check_hostname"] is True
    assert secure["ssl_ca_certs"] == str(tmp_path / "ca.pem") and secure["ssl_keyfile"] == "/etc/key.pem"
    assert tls_context(RedisConfig(url="redis://h", tls=files)) is None
    context = tls_context(RedisConfig(url="rediss://h"))
    assert context is not None and context.check_hostname


def test_sentinels_are_told_by_host_and_port_also_by_ipv6() -> None:
    nodes = ("[fd00::1]:26379", "sentinel-2:26380")
    config = RedisConfig(sentinel=SentinelConfig(master="main", nodes=nodes))
    assert sentinel_nodes(config) == [("fd00::1", 26379), ("sentinel-2", 26380)]
    assert sentinel_nodes(RedisConfig()) == []
    with EventStore(config) as store:
        found = [client.connection_pool.connection_kwargs["host"] for client in store._own[1:]]
    assert found == ["fd00::1", "sentinel-2"]


@pytest.mark.parametrize("url", ["redis://h:7/1", "rediss://h:7/1", "unix:///run/redis.sock?db=1"])
@pytest.mark.parametrize("sentinel", [None, SentinelConfig(master="main", nodes=("s:26379",))])
def test_both_stores_give_redis_py_the_same_options(url: str, sentinel: SentinelConfig | None) -> None:
    config = RedisConfig(url=url, sentinel=sentinel, username="me", reply_timeout_ms=1500)

    async def of_async() -> dict[str, Any]:
        async with AsyncEventStore(config) as store:
            return dict(store._redis.connection_pool.connection_kwargs)

    with EventStore(config) as store:
        options = store._redis.connection_pool.connection_kwargs
    theirs = asyncio.run(of_async())
    wanted = ("db", "username", "socket_timeout", "host", "port", "path", "ssl_check_hostname")
    assert {name: options.get(name) for name in wanted} == {name: theirs.get(name) for name in wanted}
    assert options["socket_timeout"] == 1.5 and options["db"] == 1 and options["username"] == "me"
